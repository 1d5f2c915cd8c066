"""The evaluation's figures against values worked out by hand."""

import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the metrics use scipy")

from backend.evaluation import metrics  # noqa: E402
from backend.evaluation.wording import Meaning, stems  # noqa: E402


def gaussian(mean, deviation, count=4000, seed=0):
    """Samples whose mean and covariance are exactly the ones asked for."""
    x = np.random.default_rng(seed).standard_normal((count, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x * deviation + mean


def test_frechet_of_known_gaussians():
    a = gaussian([0.0, 0.0], [1.0, 2.0])
    b = gaussian([3.0, 4.0], [2.0, 2.0], seed=1)
    # |mu|^2 = 25; diagonal covariances: (1 - 2)^2 + (2 - 2)^2
    assert metrics.frechet_distance(a, b) == pytest.approx(26.0, abs=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    low, high = metrics.bootstrap(a, b)
    assert 24 < low < 26.2 < high < 29


def test_frechet_of_correlated_gaussians():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    a, b = gaussian([0.0, 0.0], [1.0, 3.0]) @ turn.T, gaussian([0.0, 0.0], [2.0, 3.0]) @ turn.T
    assert metrics.frechet_distance(a, b) == pytest.approx(1.0, abs=1e-6)


def test_ranks_of_a_constructed_matrix():
    similarity = np.array([[0.9, 0.1, 0.2, 0.0], [0.8, 0.5, 0.6, 0.0], [0.3, 0.2, 0.1, 0.4], [1.0, 1.0, 1.0, 1.0]])
    none = np.eye(4, dtype=bool)
    assert metrics.ranks(similarity, none).tolist() == [1, 3, 4, 2.5]
    same = none.copy()
    same[1, 0] = True  # the first caption is true of the second motion too: no rival
    assert metrics.ranks(similarity, same).tolist() == [1, 2, 4, 2.5]
    assert metrics.r_precision(similarity, none, None) == {"R@1": 0.25, "R@2": 0.25, "R@3": 0.75}


def test_r_precision_of_nothing_known_is_chance():
    similarity = np.random.default_rng(0).standard_normal((400, 400))
    found = metrics.r_precision(similarity, np.eye(400, dtype=bool))
    for k in (1, 2, 3):
        assert found[f"R@{k}"] == pytest.approx(k / 32, abs=0.02)
    constant = metrics.r_precision(np.zeros((64, 64)), np.eye(64, dtype=bool))
    assert constant["R@3"] == 0.0  # a judge that says the same of everything finds nothing


def test_distances():
    a = np.array([[0.0, 0.0], [3.0, 0.0]])
    b = np.array([[0.0, 4.0], [3.0, 2.0]])
    assert metrics.matching_distance(a, b) == 3.0
    assert metrics.nearest(b, a) == pytest.approx((4 + 2) / 2)
    assert metrics.diversity(a) == 3.0
    assert metrics.multimodality(np.array([[[0.0], [2.0]], [[0.0], [4.0]]])) == 3.0


def test_interval_is_students():
    found = metrics.interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2.0 and found["half"] == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert metrics.interval([5.0]) == {"mean": 5.0}


def test_projection_keeps_the_wide_axes():
    real = gaussian([1.0, 2.0, 3.0], [5.0, 0.01, 1.0], count=100)
    projected = metrics.Projection(real, most=2)(real)
    assert projected.shape == (100, 2) and projected.std(0, ddof=1) == pytest.approx([5.0, 1.0], rel=1e-6)
    assert metrics.Projection(real, samples=4)(real).shape == (100, 2)


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("a man is walking backwards", ["walk", "backward"]),
        ("The person sits down, then stands up.", ["sit", "down", "then", "stand", "up"]),
        ("someone jumps twice", ["jump", "2"]),
        ("a figure runs", ["run"]),
        ("a woman is running", ["run"]),
    ],
)
def test_stems(sentence, found):
    assert stems(sentence) == found


def test_what_means_the_same():
    captions = ["a person walks forward", "someone is walking forward", "a person walks backward",
                "a person walks forward and turns left", "a person walks forward and turns right",
                "a person sits down, then walks forward", "a person walks forward, then sits down",
                "a man waves"]  # fmt: skip
    meaning = Meaning(captions)
    alike = (meaning.vectors(captions) @ meaning.vectors(captions).T).toarray()
    assert alike[0, 1] == pytest.approx(1.0, abs=1e-6)
    for a, b in ((0, 2), (3, 4), (5, 6), (0, 3), (0, 7)):
        assert alike[a, b] < Meaning.SAME, (captions[a], captions[b])
    said = meaning.said_of([captions[1], captions[7]], [captions[:1], captions[2:4]])
    assert said[0, 0] > 0.99 > Meaning.SAME > said[0, 1] and said[1].max() < 0.1
    assert meaning.vectors(["xyzzy"]).nnz == 0

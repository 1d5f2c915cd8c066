"""The figures of the report as plain functions of arrays: retrieval ranks, distances, intervals."""

from collections.abc import Sequence

import numpy as np
from scipy import linalg, stats

GALLERY = 32


def ranks(similarity: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Rank (N,), 1 the best, of the right column i in each row i of ``similarity`` (N,N).

    Columns that mean the same as the right one (``same``, (N,N) bool) do not compete; a tie counts half.
    """
    rivals = ~same & ~np.eye(len(similarity), dtype=bool)
    right = np.diag(similarity)[:, None]
    return 1 + (rivals & (similarity > right)).sum(1) + 0.5 * (rivals & (similarity == right)).sum(1)


def r_precision(similarity: np.ndarray, same: np.ndarray, gallery: int | None = GALLERY, draws: int = 20) -> dict:
    """Share of rows whose right column is among the best 1, 2, 3 of a gallery: {"R@1": ..., "R@2": ..., "R@3": ...}.

    gallery: the right column and ``gallery - 1`` others drawn from those that mean something else, averaged over
    ``draws`` (Guo et al., CVPR 2022 take 32); None: all others. Chance is k / gallery.
    """
    if gallery is None:
        found = ranks(similarity, same)[None]
    else:
        random = np.random.default_rng(0)
        found = np.empty((draws, len(similarity)))
        for row in range(len(similarity)):
            rivals = np.flatnonzero(~same[row] & (np.arange(len(similarity)) != row))
            count = min(gallery - 1, len(rivals))
            better = (similarity[row, rivals] > similarity[row, row]) + 0.5 * (
                similarity[row, rivals] == similarity[row, row]
            )
            for draw in range(draws):
                found[draw, row] = 1 + better[random.choice(len(rivals), count, replace=False)].sum()
    return {f"R@{k}": float((found <= k).mean()) for k in (1, 2, 3)}


def matching_distance(motions: np.ndarray, texts: np.ndarray) -> float:
    """Mean Euclidean distance between the embeddings (N,D) of motions and of their sentences; lower is better."""
    return float(np.linalg.norm(motions - texts, axis=1).mean())


class Projection:
    """Principal axes of real embeddings (N,D): at most ``most`` of them, and at most a quarter of N."""

    def __init__(self, real: np.ndarray, most: int = 64, samples: int | None = None):
        self.mean = real.mean(0)
        axes = np.linalg.svd(real - self.mean, full_matrices=False)[2]
        self.axes = axes[: max(2, min(most, (samples or len(real)) // 4))]

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        return (embeddings - self.mean) @ self.axes.T


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to samples (N,D) and (M,D): Heusel et al. 2017.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).
    """
    difference = a.mean(0) - b.mean(0)
    ca, cb = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # the trace of the root of C_a C_b is the sum of the roots of its eigenvalues, which are real and not negative
    eigenvalues = linalg.eigvals(ca @ cb).real
    distance = difference @ difference + np.trace(ca) + np.trace(cb) - 2 * np.sqrt(eigenvalues.clip(0)).sum()
    return float(max(distance, 0.0))


def bootstrap(a: np.ndarray, b: np.ndarray, draws: int = 50, seed: int = 0) -> list[float]:
    """95 % interval of the Frechet distance when both sets (N,D), (M,D) are drawn anew with replacement.

    Repeated samples narrow the fitted Gaussians, so the interval lies a little above the distance itself.
    """
    random = np.random.default_rng(seed)
    found = [
        frechet_distance(a[random.integers(0, len(a), len(a))], b[random.integers(0, len(b), len(b))])
        for _ in range(draws)
    ]
    return [float(v) for v in np.percentile(found, [2.5, 97.5])]


def diversity(embeddings: np.ndarray, pairs: int = 300) -> float:
    """Mean distance between two embeddings (N,D) drawn at random; closest to the real motion's is best."""
    random = np.random.default_rng(0)
    first = random.integers(0, len(embeddings), pairs)
    second = (first + random.integers(1, max(len(embeddings), 2), pairs)) % len(embeddings)
    return float(np.linalg.norm(embeddings[first] - embeddings[second], axis=1).mean())


def multimodality(embeddings: np.ndarray) -> float:
    """Mean distance between motions of the same sentence; embeddings (sentences, variations, D)."""
    count = embeddings.shape[1]
    pairs = [(i, j) for i in range(count) for j in range(i)]
    return float(np.mean([np.linalg.norm(embeddings[:, i] - embeddings[:, j], axis=-1).mean() for i, j in pairs]))


def nearest(embeddings: np.ndarray, training: np.ndarray) -> float:
    """Mean distance from each embedding (N,D) to the nearest training clip (M,D); near zero says memorised."""
    squared = (embeddings**2).sum(1)[:, None] + (training**2).sum(1) - 2 * embeddings @ training.T
    return float(np.sqrt(squared.min(1).clip(0)).mean())


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean of the seeds and half of its 95 % interval (Student's t); no half for a single seed."""
    values = np.asarray(values, dtype=float)
    result = {"mean": float(values.mean())}
    if len(values) > 1:
        result["half"] = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return result

"""Quality figures: each one moves when, and only when, its fault is put in."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from motions import raise_hand, turn, walk  # noqa: E402

from backend.motion.quality import metrics  # noqa: E402


def standing():
    motion = raise_hand("left").slice(0, 25)
    motion.translation[:, 1] = 0.96
    motion.contacts[:] = 1
    return motion


def test_standing_is_clean():
    found = metrics(standing())
    for name in ("contact_speed", "skate_ratio", "penetration", "float", "jerk", "pops", "forward_speed"):
        assert found[name] == pytest.approx(0, abs=2e-3), name


def test_sliding_feet_are_seen():
    motion = standing()
    motion.translation[:, 2] = np.arange(motion.frames) * 0.5 / 30
    found = metrics(motion)
    assert found["contact_speed"] == pytest.approx(0.5, rel=0.01)
    assert found["skate_ratio"] == 1 and found["forward_speed"] == pytest.approx(0.5, rel=0.01)


def test_height_errors_have_a_sign():
    low, high = standing(), standing()
    low.translation[:, 1] -= 0.03
    high.translation[:, 1] += 0.08
    assert metrics(low)["penetration"] == pytest.approx(0.03, abs=1e-3) and metrics(low)["float"] == 0
    assert metrics(high)["float"] == pytest.approx(0.08, abs=1e-3) and metrics(high)["penetration"] == 0


def test_noise_raises_jerk_and_a_flip_is_a_pop():
    motion = standing()
    motion.translation += np.random.default_rng(0).normal(0, 0.005, motion.translation.shape)
    assert metrics(motion)["jerk"] > 200
    flipped = standing()
    flipped.rotations[10, 20] = turn(0, np.array([1.0]))[0]
    assert metrics(flipped)["pops"] == pytest.approx(2 / (24 / 30), rel=1e-6)


def test_heading_change_is_positive_to_the_left():
    assert metrics(walk(4, yaw_rate=20))["heading_change"] == pytest.approx(20 * 119 / 30, rel=0.01)
    assert metrics(walk(4, yaw_rate=20))["forward_speed"] == pytest.approx(1.2, rel=0.02)

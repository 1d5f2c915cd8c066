"""The data set: what is measured, what is said about it, and how it is cleaned and cut."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from motions import jump, raise_hand, walk  # noqa: E402

from backend.data import clean, describe, extend  # noqa: E402
from backend.data.measure import measure  # noqa: E402
from backend.motion.skeleton import JOINT_INDEX  # noqa: E402


def texts(motion, descriptions=(), human=()):
    return describe.captions(motion, list(descriptions), list(human), 1)


def test_a_walk_is_a_walk():
    m = measure(walk())
    assert m["forward"] == pytest.approx(4.76, abs=0.1) and abs(m["left"]) < 0.01
    assert [p["kind"] for p in m["phases"]] == ["walk"]
    found = texts(walk())
    assert 6 <= len(found) <= 9 and len(set(found)) == len(found)
    assert "a person walks forward" in found
    assert not any(word in text for text in found for word in ("left", "right", "run", "jump", "back"))


@pytest.mark.parametrize(("rate", "side", "other"), [(25, "left", "right"), (-25, "right", "left")])
def test_turning_left_is_counter_clockwise_from_above(rate, side, other):
    motion = walk(yaw_rate=rate)
    # from above, with x to the right and z down the page, counter-clockwise means towards +x
    assert np.sign(motion.translation[-1, 0]) == np.sign(rate)
    found = texts(motion)
    assert any(side in text for text in found) and not any(other in text for text in found)


def test_backward_and_sideways():
    back = walk(speed=-1.0)
    assert any("backward" in text for text in texts(back))
    side = walk()
    side.translation[:, 0], side.translation[:, 2] = side.translation[:, 2].copy(), 0
    assert [p["kind"] for p in measure(side)["phases"]] == ["left"]
    assert any("to the left" in text for text in texts(side))


def test_running_is_faster_than_walking():
    assert any("run" in text for text in texts(walk(speed=3.5)))
    assert any("slow" in text for text in texts(walk(speed=0.6)))


def test_a_jump_is_counted():
    m = measure(jump())
    assert len(m["jumps"]) == 1 and m["jumps"][0]["rise"] > 0.3
    assert any("jump" in text for text in texts(jump()))


@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_the_raised_hand_has_the_right_side(side, other):
    motion = raise_hand(side)
    wrist = motion.joints()[-1, JOINT_INDEX[f"{side}_wrist"]]
    assert wrist[1] > 1.5 and np.sign(wrist[0]) == (1 if side == "left" else -1)
    for m, word, wrong in ((motion, side, other), (clean.mirrored(motion), other, side)):
        found = texts(m)
        assert any(word in text for text in found) and not any(wrong in text for text in found)


def test_descriptions_add_actions_only_where_the_numbers_allow():
    still = walk(3.0, 0.0)
    assert not any("jump" in text or "soccer" in text for text in texts(still, ["jumping jacks", "soccer"]))
    assert any("sneak" in text or "stealth" in text for text in texts(walk(), ["walk stealthily"]))


def test_human_sentences_must_not_contradict():
    left = walk(yaw_rate=25)
    found = texts(left, human=["a person turns right.", "a person strolls around"])
    assert "a person strolls around" in found and "a person turns right" not in found
    assert describe.swap_sides("turns left, then right, clockwise") == "turns right, then left, counterclockwise"


def test_mirroring_twice_changes_nothing():
    motion = walk(yaw_rate=20)
    back = clean.mirrored(clean.mirrored(motion))
    np.testing.assert_allclose(back.rotations, motion.rotations, atol=1e-7)
    once = clean.mirrored(motion).joints()
    np.testing.assert_allclose(once[:, JOINT_INDEX["left_foot"], 0], -motion.joints()[:, JOINT_INDEX["right_foot"], 0])


def test_place_faces_forward_at_the_origin():
    placed = clean.place(walk(yaw_rate=30).slice(40, 110))
    np.testing.assert_allclose(placed.translation[0, [0, 2]], 0, atol=1e-6)
    assert placed.translation[3, 2] > 0.05 and abs(placed.translation[3, 0]) < 0.03


def test_idle_ends_are_cut():
    motion = raise_hand("left")
    (start, stop), *rest = clean.active_parts(motion)
    assert not rest and 10 < start <= 30 and 60 <= stop < 90


def test_windows_have_legal_lengths():
    motion = walk(30)
    windows = clean.cut(motion, 0, motion.frames, 7)
    assert windows == clean.cut(motion, 0, motion.frames, 7)
    assert all(clean.SHORTEST <= b - a <= clean.LONGEST for a, b in windows)
    assert windows[0][0] == 0 and windows[-1][1] > motion.frames - clean.SHORTEST
    assert all(later[0] < earlier[1] for earlier, later in zip(windows, windows[1:], strict=False))


def test_broken_windows_are_refused_and_flips_repaired():
    assert clean.fault(walk()) is None
    sunk = walk()
    sunk.translation[:, 1] -= 0.4
    assert "under the floor" in clean.fault(sunk)
    high = walk()
    high.translation[:, 1] += 0.5
    assert "off the ground" in clean.fault(high)
    fast = walk()
    fast.translation[60:, 2] += 3
    assert "25 m/s" in clean.fault(fast)
    flipped = walk()
    flipped.rotations[50, JOINT_INDEX["left_wrist"]] = [0, 1, 0, 0]
    assert "degrees" in clean.fault(flipped)
    assert clean.fault(clean.repair(flipped)) is None


def test_a_gait_cycle_is_repeated_without_a_seam():
    motion = walk(2.4, yaw_rate=15)
    cycle = extend.find_cycle(motion)
    assert cycle is not None
    longer = extend.repeat_cycle(motion, cycle, 2)
    assert longer.frames == motion.frames + 2 * (cycle[1] - cycle[0])
    steps = np.linalg.norm(np.diff(longer.translation, axis=0), axis=1)
    assert steps.max() < 1.3 * 1.2 / 30
    assert clean.fault(longer) is None
    m = measure(longer)
    assert m["turn"] == pytest.approx(15 * longer.seconds, rel=0.2)

"""Frames onto a rig as they come: the same whatever the pieces, at any rate, with feet that hold still."""

from dataclasses import replace

import numpy as np
import pytest
from figures import figure, pose_matrices, walk, world_heads

from blender_addon.retarget import CanonicalMotion, foot_lock, retarget
from blender_addon.retarget.live import Live, Placer, joined
from blender_addon.retarget.splicing import Stand, placed
from blender_addon.rig import match


def pieces(motion, sizes):
    at, found = 0, []
    for size in sizes:
        part = slice(at, min(at + size, motion.frames))
        found.append(
            CanonicalMotion(
                motion.rotations[part], motion.translation[part], motion.rest_offsets, motion.fps, motion.contacts[part]
            )
        )
        at += size
        if at >= motion.frames:
            break
    return found


def streamed(motion, sizes, fps=30.0, **options):
    """Rotations and root locations of all frames that came out, and the first piece."""
    rig = figure()
    live = Live(rig, match(rig.bones), fps, **options)
    made = [one for one in map(live.add, pieces(motion, sizes)) if one is not None]
    return np.concatenate([one.rotations for one in made]), np.concatenate([one.root_location for one in made]), made[0]


def degrees(a, b):
    return np.degrees(2 * np.arccos(np.clip(np.abs(np.sum(a * b, -1)), 0, 1))).max()


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_the_sizes_of_the_pieces_do_not_matter(fps):
    motion = walk(3.0)
    whole = streamed(motion, [1000], fps, clear_hands=True)
    small = streamed(motion, [8, 4, 16, 1, 2, 5] * 10, fps, clear_hands=True)
    assert whole[0].shape == small[0].shape
    assert degrees(whole[0], small[0]) < 1e-3 and np.abs(whole[1] - small[1]).max() < 1e-6
    jumps = np.sum(small[0][1:] * small[0][:-1], -1)
    assert jumps.min() > 0.5, "the sign of a quaternion changes from one piece to the next"


@pytest.mark.parametrize("fps", [24.0, 25.0, 30.0, 60.0])
def test_without_care_it_is_the_same_as_all_at_once(fps):
    motion = walk(3.0)
    rotations, location, first = streamed(motion, [7] * 20, fps, hold_feet=False)
    rig = figure()
    known = retarget(motion, rig, match(rig.bones), fps, foot_lock=False)
    count = len(rotations)
    assert 0 <= known.frames - count <= 1 and first.bones == known.bones
    assert degrees(rotations, known.rotations[:count]) < 1e-3
    assert np.abs(location - known.root_location[:count]).max() < 1e-6


def toe_speed(motion, rotations, location, first):
    """Metres a second over the ground of the balls of the feet in contact, on the rig."""
    rig = figure()
    heads = world_heads(rig, pose_matrices(rig, replace(first, rotations=rotations, root_location=location)))
    moved = []
    for side, column in (("left", 1), ("right", 3)):
        ball = heads[f"{side}_foot"]
        still = (motion.contacts[1:, column] > 0.5) & (motion.contacts[:-1, column] > 0.5)
        moved.append(np.linalg.norm(np.diff(ball[:, :2], axis=0), axis=-1)[still] * 30)
    return float(np.concatenate(moved).mean())


def skating(seconds=4.0):
    """A walk whose feet slide by a third of its speed while they touch."""
    motion = walk(seconds)
    motion.translation[:, 2] *= 1.33
    return motion


def test_feet_that_touch_hold_still_without_a_look_ahead():
    motion = skating()
    loose = toe_speed(motion, *streamed(motion, [8] * 40, hold_feet=False))
    held = toe_speed(motion, *streamed(motion, [8] * 40))
    assert loose > 0.3 and held < 0.25 * loose, (loose, held)


def test_corrections_ease_so_that_nothing_jumps():
    motion = skating()
    rotations, _, first = streamed(motion, [8] * 40)
    free, _, _ = streamed(motion, [8] * 40, hold_feet=False)
    for bone in ("left_hip", "left_knee", "right_hip", "right_knee"):
        k = first.bones.index(bone)
        step = np.degrees(2 * np.arccos(np.clip(np.abs(np.sum(rotations[1:, k] * rotations[:-1, k], -1)), 0, 1)))
        known = np.degrees(2 * np.arccos(np.clip(np.abs(np.sum(free[1:, k] * free[:-1, k], -1)), 0, 1)))
        assert step.max() < known.max() + 12, (bone, step.max(), known.max())


def test_no_correction_is_larger_than_the_limit():
    motion = walk(3.0)
    motion.contacts[:] = 1.0  # both feet are said to stand all the time, and the body walks away
    rotations, location, first = streamed(motion, [8] * 40)
    assert np.isfinite(rotations).all() and foot_lock.LIMIT <= 0.25


def test_a_motion_begins_where_the_figure_stands():
    motion, start = walk(2.0), Stand((1.0, 0.9, -2.0), 1.2)
    placer = Placer(start)
    there = joined(*[placer(piece) for piece in pieces(motion, [8] * 20)])
    known = placed(motion, start, None)
    assert np.abs(there.translation - known.translation).max() < 1e-5
    assert degrees(there.rotations, known.rotations) < 0.1  # float32
    assert Placer(None)(motion) is motion

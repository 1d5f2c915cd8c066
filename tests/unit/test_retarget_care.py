"""After-care of a motion: feet at a run, hands outside the body, loops, in place, fewer keys."""

import numpy as np
import pytest
from figures import figure, mixamo_names, pose_matrices, turn, walk, wild, world_heads

from blender_addon.retarget import CanonicalMotion, close_loop, in_place, key_masks, reduce_keys, retarget
from blender_addon.retarget import rotations as rot
from blender_addon.retarget.after_care import travel
from blender_addon.retarget.foot_lock import contact_spans, running
from blender_addon.retarget.splicing import to_quaternions
from blender_addon.rig import canonical, match


def run(speed: float = 4.0, seconds: float = 2.0) -> CanonicalMotion:
    """A run whose feet skate at a third of its speed while they stand, and whose contacts nobody noticed."""
    fps = 30.0
    time = np.arange(int(seconds * fps)) / fps
    phase = 2 * np.pi * 1.4 * time
    rotations = np.zeros((len(time), 22, 4))
    rotations[..., 0] = 1.0
    for side, shift in (("left", 0.0), ("right", np.pi)):
        lift = np.maximum(0.0, np.sin(phase + shift + 1.2)) ** 0.7
        hip, knee, ankle = (canonical.INDEX[f"{side}_{role}"] for role in ("hip", "knee", "ankle"))
        rotations[:, hip] = turn("x", -35 * np.sin(phase + shift) - 15 * lift - 10)
        rotations[:, knee] = turn("x", 20 + 75 * lift)
        rotations[:, ankle] = turn("x", 10 * np.sin(phase + shift))
    path = np.stack([np.zeros_like(time), np.full_like(time, 0.93), speed * time], -1)
    motion = CanonicalMotion(rotations, path, fps=fps)
    balls = motion.joints()[:, [canonical.INDEX["left_foot"], canonical.INDEX["right_foot"]], 1]
    motion.translation[:, 1] -= balls.min(-1) * (balls.min(-1) < 0.04)
    return motion


RIG = figure(mixamo_names())
MAP = match(RIG.bones)


def heads(motion, rig=RIG, mapping=MAP, **options):
    return world_heads(rig, pose_matrices(rig, retarget(motion, rig, mapping, **options)))


def test_feet_stand_at_a_run_that_has_no_contacts():
    motion = run()
    assert not motion.contacts.any()
    free, held = heads(motion, foot_lock=False), heads(motion)
    raw, locked = [], []
    for side in ("left", "right"):
        ball = MAP.bone(f"{side}_foot")
        stands = running(free[MAP.bone("pelvis")], free[ball], np.array([0, 0, 1.0]), 0.0, 0.82, 30.0)
        spans = contact_spans(stands, 2)
        assert len(spans) >= 2, "a step every 0.7 s"
        steps = [frame for start, stop in spans for frame in range(start, stop - 1)]
        raw += list(np.linalg.norm(np.diff(free[ball][:, :2], axis=0), axis=-1)[steps] * 30)
        locked += list(np.linalg.norm(np.diff(held[ball][:, :2], axis=0), axis=-1)[steps] * 30)
        assert held[ball][:, 2].min() > -0.005, "no foot below the floor"
    assert np.mean(raw) > 0.5
    assert np.mean(locked) < 0.25 * np.mean(raw)
    # no pops: the knees accelerate at most a few times harder than they did
    for side in ("left", "right"):
        knee = MAP.bone(f"{side}_knee")
        hard = [np.linalg.norm(np.diff(path[knee], 2, axis=0), axis=-1).max() for path in (free, held)]
        assert hard[1] < 4 * hard[0] + 0.01


@pytest.mark.parametrize("motion", [walk(2.0), wild(60, size=30)], ids=["walk", "wild"])
def test_slower_motion_has_no_running_feet(motion):
    free = heads(motion, foot_lock=False)
    for side in ("left", "right"):
        ball = free[MAP.bone(f"{side}_foot")]
        assert not running(free[MAP.bone("pelvis")], ball, np.array([0, 0, 1.0]), 0.0, 0.82, 30.0).any()


def test_a_heel_rises_where_the_leg_is_too_short():
    """Hips that run away from a foot that stands: the ball holds on as far as leg and foot reach."""
    motion = walk(1.0, speed=0.0)
    for joint in ("left_hip", "left_knee", "left_ankle"):
        motion.rotations[:, canonical.INDEX[joint]] = [1, 0, 0, 0]
    motion.translation[:, 2] = np.linspace(0, 0.3, 30)
    motion.translation[:, 1] = 0.95
    motion.contacts[:] = [0, 1, 0, 0]
    ball = MAP.bone("left_foot")
    free, held = heads(motion, foot_lock=False)[ball], heads(motion)[ball]
    assert np.ptp(free[:, 1]) > 0.29
    assert np.ptp(held[:, 1]) < 0.4 * np.ptp(free[:, 1])


def hand_in_belly() -> CanonicalMotion:
    """The left forearm swings into the belly and out again."""
    motion = walk(3.0, speed=0.0)
    time = np.linspace(0, 2 * np.pi, motion.frames)
    swing = 0.5 - 0.5 * np.cos(time)
    motion.rotations[:, canonical.INDEX["left_shoulder"]] = turn("z", np.full_like(time, -75.0))
    motion.rotations[:, canonical.INDEX["left_elbow"]] = rot.multiply(
        turn("y", -5 - 20 * swing), turn("z", -80 * swing)
    )
    return motion


def test_hands_in_the_body_are_said_and_pushed_out():
    motion = hand_in_belly()
    before = retarget(motion, RIG, MAP)
    assert len(before.warnings) == 1 and "left hand goes through the body" in before.warnings[0]
    after = retarget(motion, RIG, MAP, clear_hands=True)
    again = retarget(motion, RIG, MAP, clear_hands=True, foot_lock=False)
    assert not after.warnings and np.allclose(
        after.rotations[:, after.bones.index(MAP.bone("left_elbow"))],
        again.rotations[:, again.bones.index(MAP.bone("left_elbow"))],
    )
    wrist = MAP.bone("left_wrist")
    paths = [world_heads(RIG, pose_matrices(RIG, one)) for one in (before, after)]
    middle = slice(40, 50)
    centre = (paths[0][MAP.bone("pelvis")] + paths[0][MAP.bone("neck")]) / 2
    inside, outside = (np.linalg.norm((path[wrist] - centre)[middle, :2], axis=-1).min() for path in paths)
    assert outside > inside + 0.02
    hard = [np.linalg.norm(np.diff(path[wrist], 2, axis=0), axis=-1).max() for path in paths]
    assert hard[1] < 4 * hard[0] + 0.01, "the push does not jump"


def test_ordinary_motion_keeps_its_hands():
    plain, cleared = (retarget(walk(2.0), RIG, MAP, clear_hands=clear) for clear in (False, True))
    assert not plain.warnings and np.array_equal(plain.rotations, cleared.rotations)


def test_in_place_removes_travel_and_keeps_sway():
    motion = walk(6.0, speed=1.3)
    still = in_place(motion)
    assert np.ptp(motion.translation[:, 2]) > 7.0
    assert np.abs(still.translation[:, [0, 2]]).max() < 0.12
    assert np.array_equal(still.translation[:, 1], motion.translation[:, 1])
    assert np.allclose(still.translation + travel(motion), motion.translation, atol=1e-5), "and back again"
    sway = motion.translation[30:-30, 0]
    assert np.ptp(still.translation[30:-30, 0]) > 0.6 * np.ptp(sway)


def test_in_place_on_a_rig_keeps_the_locked_feet_and_says_what_it_took():
    motion = walk(4.0)
    world, still = retarget(motion, RIG, MAP), retarget(motion, RIG, MAP, in_place=True)
    assert np.array_equal(world.rotations, still.rotations)
    a, b = (world_heads(RIG, pose_matrices(RIG, one))[MAP.bone("left_foot")] for one in (world, still))
    assert world.travel is None
    assert np.allclose(b + still.travel, a, atol=1e-6)


def test_a_loop_ends_as_it_begins():
    motion = walk(5.0, steps_per_second=1.7)
    motion.rotations[:, canonical.INDEX["head"]] = turn("y", np.linspace(0, 25, motion.frames))
    loop = close_loop(motion)
    assert motion.frames / 2 <= loop.frames <= motion.frames
    assert np.degrees(rot.angle(loop.rotations[-1], loop.rotations[0])).max() < 0.01
    assert abs(loop.translation[-1, 1] - loop.translation[0, 1]) < 1e-4
    assert loop.translation[-1, 2] - loop.translation[0, 2] > 1.0, "travel stays"
    # speeds go on: the last step of the loop and its first are alike
    joints = loop.joints() - loop.translation[:, None] * np.array([1, 0, 1])
    last, first = joints[-1] - joints[-2], joints[1] - joints[0]
    assert np.linalg.norm(last - first, axis=-1).max() * 30 < 0.3
    inner = np.linalg.norm(np.diff(motion.joints(), 2, axis=0), axis=-1).max()
    assert np.linalg.norm(np.diff(loop.joints(), 2, axis=0), axis=-1).max() < 1.5 * inner, "no pops"


def test_a_loop_of_a_turning_motion_goes_on_turning():
    motion = walk(4.0)
    yaw = turn("y", np.linspace(0, 120, motion.frames))
    motion.rotations[:, 0] = rot.multiply(yaw, motion.rotations[:, 0])
    motion.translation[:] = rot.rotate(yaw, motion.translation)
    loop = close_loop(motion)
    turned = np.degrees(rot.angle(loop.rotations[0, 0], loop.rotations[-1, 0]))
    assert 45 < turned < 125
    assert np.degrees(rot.angle(loop.rotations[-1, 1:], loop.rotations[0, 1:])).max() < 0.01


@pytest.mark.parametrize("mode", ["QUATERNION", "AXIS_ANGLE", "XYZ", "ZXY"])
@pytest.mark.parametrize("tolerance", [0.2, 1.0, 5.0])
def test_keys_are_reduced_within_the_error(mode, tolerance):
    q = rot.continuous(rot.normalise(wild(120).rotations[:, 16]))
    values = {"QUATERNION": lambda: q, "AXIS_ANGLE": lambda: rot.to_axis_and_angle(q)}.get(
        mode, lambda: rot.to_euler(q, mode)
    )()
    keep = reduce_keys(values, mode, tolerance)
    assert keep[0] and keep[-1] and keep.sum() < 120
    frames = np.arange(120)
    between = np.stack([np.interp(frames, frames[keep], column[keep]) for column in values.T], -1)
    assert np.degrees(rot.angle(to_quaternions(mode, between), q)).max() <= tolerance + 1e-9


def test_plain_values_that_do_not_move_need_two_keys():
    assert reduce_keys(np.ones((50, 3)), "", 1e-6).sum() == 2
    assert reduce_keys(np.ones((1, 3)), "", 1e-6).sum() == 1
    line = np.linspace(0, 1, 50)[:, None]
    assert reduce_keys(line, "", 1e-6).sum() == 2
    assert reduce_keys(np.abs(line - line[20]), "", 1e-6).sum() == 3


@pytest.mark.parametrize("degrees, cm", [(1.0, 2.0), (3.0, 0.5)])
def test_reduced_keys_keep_bones_where_they_were(degrees, cm):
    """Both promises at once, on a figure of 1.8 units under a scale of 0.01: a centimetre is one in the world."""
    motion = walk(3.0)
    matrix = np.diag([0.01, 0.01, 0.01, 1.0])
    rig = figure(mixamo_names(), object_matrix=matrix)
    animation = retarget(motion, rig, MAP)
    modes = dict.fromkeys(animation.bones, "QUATERNION")
    masks = key_masks(animation, rig, modes, degrees, cm)
    frames = np.arange(animation.frames)
    thin = retarget(motion, rig, MAP)
    for k, name in enumerate(animation.bones):
        keep = masks[name, "rotation"]
        for column in range(4):
            thin.rotations[:, k, column] = np.interp(frames, frames[keep], animation.rotations[keep, k, column])
    thin.rotations = rot.normalise(thin.rotations)
    keep = masks[animation.root, "location"]
    thin.root_location = np.stack(
        [np.interp(frames, frames[keep], animation.root_location[keep, axis]) for axis in range(3)], -1
    )
    assert np.degrees(rot.angle(thin.rotations, animation.rotations)).max() <= degrees + 1e-6
    a, b = (world_heads(rig, pose_matrices(rig, one)) for one in (animation, thin))
    worst = max(float(np.linalg.norm(a[name] - b[name], axis=-1).max()) for name in animation.bones)
    assert worst <= cm / 100 + 1e-6
    share = np.mean([mask.mean() for mask in masks.values()])
    assert share < 0.7

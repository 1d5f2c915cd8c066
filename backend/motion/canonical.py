"""From any capture skeleton to the canonical one, twist kept.

A reader gives a :class:`SourceMotion`. The canonical rotation of a joint is the capture's world rotation (as a change
from the capture's rest pose) times a constant that poses the canonical T-pose like that rest pose. Rotations are never
rebuilt from positions.
"""

import numpy as np

from backend.errors import BackendError
from backend.motion import rest_pose
from backend.motion import rotations as rot
from backend.motion.contacts import REST_HEIGHTS, foot_contacts
from backend.motion.joint_matching import SourceMotion, match
from backend.motion.skeleton import CANONICAL_OFFSETS, CONTACT_JOINTS, JOINT_INDEX, Motion, forward_kinematics
from backend.protocol import FPS, JOINTS, PARENTS

MAX_FRAMES = 200_000
MAX_JOINTS = 1_000
LEG_LENGTH = float(
    np.linalg.norm(CANONICAL_OFFSETS[[JOINT_INDEX["left_knee"], JOINT_INDEX["left_ankle"]]], axis=-1).sum()
)


def to_canonical(source: SourceMotion, fps: float = FPS, floor: bool = True, up: str | None = None) -> Motion:
    """The capture on the canonical skeleton: metres, Y up, feet on the floor, ``fps`` frames per second.

    The translation is scaled by the ratio of leg lengths (thigh + shin), so files need no unit. ``up``: the axis of the
    file that points up ('X', 'Y', 'Z', '-Y' ...); unless told, the way the person stands in the rest pose. Raises
    BackendError('bad_file') when joints are missing or nobody stands in the file.
    """
    frames = len(source.rotations)
    if not 1 <= frames <= MAX_FRAMES:
        raise BackendError("bad_file", f"{source.source}: {frames} frames; between 1 and {MAX_FRAMES} can be read.")
    if len(source.names) > MAX_JOINTS:
        raise BackendError("bad_file", f"{source.source}: {len(source.names)} joints; at most {MAX_JOINTS}.")
    if not (np.isfinite(source.rotations).all() and np.isfinite(source.positions).all()):
        raise BackendError("bad_file", f"{source.source}: the motion holds numbers that are not finite.")
    family = match(source)
    index = {name: i for i, name in enumerate(source.names)}
    mapped = {joint: index[name] for joint, name in family.joints.items() if name in index}
    rest = rest_pose.find(source, family, mapped, up)
    joints = [joint for joint in JOINTS if joint in mapped]
    picked = [mapped[joint] for joint in joints]
    world = rest.axes @ source.rotations[:, picked] @ np.swapaxes(rest.bind[picked], -1, -2) @ rest.rest_axes.T
    world = dict(zip(joints, np.moveaxis(world, 1, 0), strict=True))

    canonical = np.empty((frames, 22, 3, 3))
    local = np.empty_like(canonical)
    for j, (joint, parent) in enumerate(zip(JOINTS, PARENTS, strict=True)):
        canonical[:, j] = world[joint] @ rest.correction[joint] if joint in mapped else canonical[:, parent]
        local[:, j] = canonical[:, j] if parent < 0 else np.swapaxes(canonical[:, parent], -1, -2) @ canonical[:, j]
    quaternions = rot.continuous(rot.matrix_to_quaternion(local))

    # hang the canonical pelvis from the middle of the capture's hip joints, so that the legs start in the same place
    some = source.positions[:: max(1, frames // 20)]
    scale = LEG_LENGTH / np.mean([rest_pose.leg_length(places, mapped) for places in some])
    hips = source.positions[:, [mapped["left_hip"], mapped["right_hip"]]].mean(1) @ rest.axes.T * scale
    between = CANONICAL_OFFSETS[[JOINT_INDEX["left_hip"], JOINT_INDEX["right_hip"]]].mean(0)
    translation = hips - canonical[:, 0] @ between
    if abs(source.fps - fps) > 1e-3:
        quaternions = rot.resample_quaternions(quaternions, source.fps, fps)
        translation = rot.resample_vectors(translation, source.fps, fps)
    motion = Motion(quaternions, translation, fps=float(fps))
    if floor:
        put_on_floor(motion)
    motion.contacts = foot_contacts(motion.joints(), motion.fps)
    return motion


def floor_height(joints: np.ndarray) -> float:
    """Height of the ground under joints (T,22,3): a low percentile of what the feet would stand on."""
    lowest = (joints[:, list(CONTACT_JOINTS), 1] - REST_HEIGHTS).min(1)
    return float(np.percentile(lowest, 3))


def put_on_floor(motion: Motion) -> None:
    """Move the motion up or down, in place, so that its feet stand on y = 0."""
    joints = forward_kinematics(motion.rotations, motion.translation, motion.rest_offsets)
    motion.translation[:, 1] -= floor_height(joints)

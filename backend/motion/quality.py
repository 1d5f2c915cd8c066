"""How a motion looks to an animator, in numbers: sliding and floating feet, jerk, pops, speed, turning."""

import numpy as np

from backend.motion import rotations as rot
from backend.motion.contacts import REST_HEIGHTS
from backend.motion.skeleton import CONTACT_JOINTS, JOINT_INDEX, Motion

TOE_HEIGHT = 0.05  # metres; below it a toe counts as on the floor for the skate ratio
TOE_SPEED = 0.20  # m/s; above it a toe on the floor skates
POP_DEGREES = 30.0
TOES = [JOINT_INDEX["left_foot"], JOINT_INDEX["right_foot"]]


def metrics(motion: Motion, floor: float = 0.0) -> dict[str, float]:
    """Quality figures of a motion; ``floor`` is the height of the ground in metres.

    contact_speed: mean horizontal speed of the toes between two frames that are both labelled in contact, m/s.
    skate_ratio: share of the frames with a toe under 5 cm in which that toe moves faster than 0.2 m/s (real walking has
        some 0.3, since toes swing low).
    penetration, float: mean depth of the lower foot under the floor, and mean height of it above (metres); a float of a
        few millimetres is a rolling foot, jumps and runs have more.
    jerk: mean size of the third derivative of the joint positions, m/s^3 (real capture at 30 fps: 60-190).
    pops: rotations of more than 30 degrees in a frame, counted per second over all joints.
    forward_speed: mean speed along the heading, m/s; heading_change: net, degrees, counter-clockwise (left) positive.
    """
    joints = motion.joints().astype(np.float64)
    frames, fps = motion.frames, motion.fps
    toes = joints[:, TOES]
    speed = np.linalg.norm(np.diff(toes[..., [0, 2]], axis=0), axis=-1) * fps
    toe_down = motion.contacts[:, [1, 3]] > 0.5
    contact = toe_down[1:] & toe_down[:-1]
    low = toes[1:, :, 1] - floor < TOE_HEIGHT
    sole = (joints[:, list(CONTACT_JOINTS), 1] - REST_HEIGHTS).min(1) - floor
    yaw = np.unwrap(rot.heading(motion.rotations[:, 0]).astype(np.float64))
    step = np.diff(motion.translation.astype(np.float64), axis=0)
    forward = step[:, 0] * np.sin(yaw[:-1]) + step[:, 2] * np.cos(yaw[:-1])
    turns = np.degrees(rot.quaternion_angle(motion.rotations[:-1], motion.rotations[1:]))
    seconds = max(frames - 1, 1) / fps
    third = np.diff(joints, n=3, axis=0) * fps**3
    result = {
        "contact_speed": speed[contact].mean() if contact.any() else 0.0,
        "skate_ratio": (speed[low] > TOE_SPEED).mean() if low.any() else 0.0,
        "penetration": np.maximum(-sole, 0).mean(),
        "float": np.maximum(sole, 0).mean(),
        "jerk": np.linalg.norm(third, axis=-1).mean() if frames > 3 else 0.0,
        "pops": (turns > POP_DEGREES).sum() / seconds,
        "forward_speed": forward.mean() * fps if frames > 1 else 0.0,
        "heading_change": np.degrees(yaw[-1] - yaw[0]),
    }
    return {name: float(value) for name, value in result.items()}

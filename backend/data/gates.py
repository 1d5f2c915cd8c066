"""Quality gates: what a window of motion must not do, for captured and augmented motion alike."""

from dataclasses import dataclass

import numpy as np

from backend.data.tracks import runs, smooth
from backend.motion import rotations as rot
from backend.motion.contacts import REST_HEIGHTS
from backend.motion.skeleton import CONTACT_JOINTS, JOINT_INDEX, JOINTS, Motion

# share of the body's mass by segment and how far from its first joint the segment's centre lies (Winter,
# Biomechanics and Motor Control of Human Movement, table 4.1)
_SEGMENTS = [("pelvis", "neck", 0.497, 0.5), ("neck", "head", 0.081, 1.0)]
for _side in ("left_", "right_"):
    _SEGMENTS += [
        (_side + "shoulder", _side + "elbow", 0.028, 0.436),
        (_side + "elbow", _side + "wrist", 0.022, 0.682),
        (_side + "hip", _side + "knee", 0.100, 0.433),
        (_side + "knee", _side + "ankle", 0.0465, 0.433),
        (_side + "ankle", _side + "foot", 0.0145, 0.5),
    ]
MASS = np.zeros(22)  # the centre of mass is MASS @ joints
for _first, _second, _mass, _at in _SEGMENTS:
    MASS[JOINT_INDEX[_first]] += _mass * (1 - _at)
    MASS[JOINT_INDEX[_second]] += _mass * _at
MASS /= MASS.sum()

# how far the surface of the body lies below a joint that touches the floor, metres
_RADIUS = {"ankle": 0.06, "foot": 0.0, "knee": 0.05, "hip": 0.09, "wrist": 0.03, "elbow": 0.05, "shoulder": 0.08}
RADII = np.array([_RADIUS.get(name.split("_")[-1], 0.10) for name in JOINTS])
# parts of the body that a hand cannot go through: from joint to joint, with a radius in metres
SOLID = [("pelvis", "spine3", 0.12), ("spine3", "neck", 0.11), ("neck", "head", 0.08), ("head", "head", 0.10)]
SOLID += [(f"{s}_hip", f"{s}_knee", 0.07) for s in ("left", "right")]
HAND = 0.08  # metres from the wrist to the middle of the hand


@dataclass(frozen=True)
class Limit:
    """One gate. name: what a report calls it; figure: key of :func:`figures`; most: the largest value that passes."""

    name: str
    figure: str
    most: float


# Each is set between the 99th percentile of captured windows and their largest value, so that 95 % of them pass all
# (the comments give the median and the 95th and 99th percentile of 1259 windows): what lies beyond is a fault of the
# capture more often than a feat of the actor.
LIMITS = (
    Limit("skate", "contact_speed", 0.25),  # 0.08, 0.19, 0.23
    Limit("skate", "slide", 0.21),  # 0.03, 0.13, 0.18
    Limit("jerk", "jerk", 600.0),  # 132, 370, 552
    Limit("jerk", "jerk_peak", 2000.0),  # 294, 950, 1713
    Limit("pops", "pop", 95.0),  # 30, 72, 91
    Limit("penetration", "penetration", 0.04),  # 0.001, 0.014, 0.031
    Limit("float", "float", 0.045),  # 0.004, 0.018, 0.036
    Limit("float", "flight", 1.2),  # 0, 0.47, 1.11 (steps and boxes that the data does not show)
    Limit("limb speed", "limb_speed", 12.0),  # 2.9, 8.9, 10.6
    Limit("balance", "balance", 0.15),  # 0.01, 0.07, 0.13
    Limit("hand in body", "inside", 0.035),  # 0, 0, 0.02
)


def figures(motion: Motion) -> dict[str, float]:
    """What the gates look at.

    contact_speed: mean horizontal speed of the balls of the feet in contact, m/s; slide: farthest that one strays from
    its place within one contact, m; jerk, jerk_peak: third derivative of the positions, mean over the joints: of the
    window and of its worst 5 frames, m/s^3; pop: largest change of a joint's turn from one frame to the next, degrees;
    penetration: deepest point of the body under the floor, m; float: height of the lowest point of the body over the
    floor in 4 of 5 frames, m; flight: longest time off the floor, s; limb_speed: fastest joint against the pelvis,
    m/s; balance: distance of the centre of mass from the line between the points of contact that a slow standing body
    exceeds for 0.4 s, m; inside: how deep a hand is inside trunk, head or thigh for 3 frames, m.
    """
    joints = motion.joints().astype(np.float64)
    fps, frames = motion.fps, motion.frames
    feet = joints[:, list(CONTACT_JOINTS)]
    down = motion.contacts > 0.5
    planted = down[1:] & down[:-1]
    step = np.linalg.norm(np.diff(feet[..., [0, 2]], axis=0), axis=-1)
    toes = planted[:, [1, 3]]
    slide = 0.0
    for i in (1, 3):
        for a, b in runs(planted[:, i], 2):
            place = feet[a : b + 1, i][:, [0, 2]]
            slide = max(slide, float(np.linalg.norm(place - np.median(place, axis=0), axis=1).max()))
    jerk = np.linalg.norm(np.diff(joints, n=3, axis=0), axis=-1).mean(1) * fps**3
    turn = rot.quaternion_multiply(rot.quaternion_conjugate(motion.rotations[:-1]), motion.rotations[1:])
    change = np.linalg.norm(np.diff(rot.quaternion_to_axis_angle(turn), axis=0), axis=-1)
    lowest = np.minimum((joints[..., 1] - RADII).min(1), (feet[..., 1] - REST_HEIGHTS).min(1))
    relative = np.linalg.norm(np.diff(joints - joints[:, :1], axis=0), axis=-1) * fps
    result = {
        "contact_speed": step[:, [1, 3]][toes].mean() * fps if toes.any() else 0.0,
        "slide": slide,
        "jerk": jerk.mean() if frames > 3 else 0.0,
        "jerk_peak": smooth(jerk, 5).max() if frames > 3 else 0.0,
        "pop": np.degrees(change.max(initial=0.0)),
        "penetration": np.maximum(-lowest, 0).max(),
        "float": np.percentile(lowest, 20),
        "flight": max((b - a for a, b in runs(lowest > 0.05)), default=0) / fps,
        "limb_speed": relative.max(initial=0.0),
        "balance": _held(_off_balance(joints, down, fps), round(0.4 * fps)),
        "inside": _held(hands_inside(joints), 3),
    }
    return {name: float(value) for name, value in result.items()}


def gate(motion: Motion) -> str | None:
    """Why a window is not good enough to learn from ("skate", "jerk", ...), or None; contacts have to be filled in."""
    found = figures(motion)
    return next((limit.name for limit in LIMITS if found[limit.figure] > limit.most), None)


def _held(values: np.ndarray, frames: int) -> float:
    """The largest value that (T,) does not fall below for ``frames`` frames in a row."""
    if len(values) < frames:
        return 0.0
    return float(np.lib.stride_tricks.sliding_window_view(values, frames).min(1).max())


def centre_of_mass(joints: np.ndarray) -> np.ndarray:
    """Centre of mass (T,3) of joints (T,22,3) by the mass of the body's segments."""
    return np.einsum("tjc,j->tc", joints, MASS)


def _off_balance(joints: np.ndarray, down: np.ndarray, fps: float) -> np.ndarray:
    """How far the centre of mass is from the nearest line between two points of contact (T,), metres.

    0 where the body is not slow, upright and on its feet alone: what moves is balanced by its acceleration.
    """
    centre = centre_of_mass(joints)[:, [0, 2]]
    slow = np.linalg.norm(np.gradient(smooth(centre, round(0.5 * fps)), axis=0), axis=1) * fps < 0.25
    on_feet = (joints[:, 0, 1] > 0.75) & (joints[:, [20, 21], 1].min(1) > 0.25) & down.any(1)
    feet = joints[:, list(CONTACT_JOINTS)][..., [0, 2]]
    distance = np.full(len(joints), np.inf)
    for i in range(4):
        for k in range(i, 4):
            apart = _to_segment(centre, feet[:, i], feet[:, k])
            distance = np.where(down[:, i] & down[:, k], np.minimum(distance, apart), distance)
    return np.where(slow & on_feet, distance, 0.0)


def _to_segment(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance (T,) of points (T,n) from the segments between a and b (T,n)."""
    along = b - a
    share = np.clip(((point - a) * along).sum(1) / np.maximum((along**2).sum(1), 1e-12), 0, 1)
    return np.linalg.norm(point - a - share[:, None] * along, axis=1)


def hands_inside(joints: np.ndarray) -> np.ndarray:
    """How deep the deeper hand is inside trunk, head or thigh (T,), metres; 0 outside."""
    deepest = np.zeros(len(joints))
    for side in ("left", "right"):
        wrist, elbow = joints[:, JOINT_INDEX[f"{side}_wrist"]], joints[:, JOINT_INDEX[f"{side}_elbow"]]
        fore = wrist - elbow
        hand = wrist + HAND * fore / np.maximum(np.linalg.norm(fore, axis=1, keepdims=True), 1e-9)
        for first, second, radius in SOLID:
            apart = _to_segment(hand, joints[:, JOINT_INDEX[first]], joints[:, JOINT_INDEX[second]])
            deepest = np.maximum(deepest, radius - apart)
    return deepest

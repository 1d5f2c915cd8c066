"""One clip after another: where their poses and speeds agree, without a jump, and with the feet where they stand.

Cut points are found in a pose and velocity feature (the distance of Kovar et al., Motion Graphs, 2002). After the cut
the second clip plays with the difference at the cut added, and the difference dies out: inertialisation (Bollo,
Inertialization: High-Performance Animation Transitions in Gears of War, GDC 2018), here with a quintic per rotation
vector. A foot that stands through the cut keeps its place until it lifts.
"""

from dataclasses import dataclass

import numpy as np

from backend.data.feet import EASE, move_feet, smoothstep
from backend.data.retime import with_contacts
from backend.data.tracks import runs
from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, JOINTS, Motion

BLEND = (0.35, 0.55)  # seconds that a difference takes to die out: small ones, large ones
LARGE = np.radians(70)  # a large difference of a joint
MOST_TURN = np.radians(110)  # a joint that differs by more does not blend well
MOST_RATE = 6.0  # radians a second; a larger difference in speed is not carried over
MOST_SHIFT = 0.12  # metres by which a foot may be moved to keep its place
FEET = [JOINT_INDEX["left_foot"], JOINT_INDEX["right_foot"]]
VELOCITY_SECONDS = 0.12  # a difference in speed of 1 m/s weighs as much as one of so many metres in place
CONTACT_METRES = 0.25  # a foot that stands in one and not in the other weighs as much as so many metres

_WEIGHT = {"foot": 2.0, "ankle": 2.0, "hip": 1.5, "wrist": 0.6, "elbow": 0.7, "pelvis": 2.0}
WEIGHTS = np.sqrt([_WEIGHT.get(name.split("_")[-1], 1.0) for name in JOINTS])
WEIGHTS /= np.linalg.norm(WEIGHTS)


def planted(motion: Motion) -> np.ndarray:
    """Which foot stands (T,2), left and right: its ball or its ankle."""
    return (motion.contacts > 0.5).reshape(-1, 2, 2).any(2)


def pose_features(motion: Motion) -> np.ndarray:
    """(T, 134): joints over the floor under the pelvis and their velocities in the heading frame, and feet that stand.

    The Euclidean distance of two frames is in metres: the weighted root mean square over the joints, plus velocities
    and contacts as the constants above weigh them.
    """
    joints = motion.joints().astype(np.float64)
    root = motion.rotations[:, 0].astype(np.float64)
    unturn = rot.yaw_quaternion(-rot.heading(root))[:, None]
    velocity = np.gradient(joints, axis=0) * motion.fps
    place = rot.quaternion_rotate(unturn, joints - joints[:, :1] * np.array([1.0, 0.0, 1.0]))
    speed = rot.quaternion_rotate(unturn, velocity) * VELOCITY_SECONDS
    weights = WEIGHTS[:, None]
    stands = planted(motion) * (CONTACT_METRES / np.sqrt(2))
    flat = [(place * weights).reshape(len(joints), -1), (speed * weights).reshape(len(joints), -1), stands]
    return np.concatenate(flat, 1).astype(np.float32)


@dataclass
class Seam:
    """What a switch costs. turn: largest difference of a joint, radians; shift: farthest that a foot was moved, metres;
    jerk: largest mean jerk of the joints around the switch, m/s^3."""

    turn: float
    shift: float
    jerk: float


def join(first: Motion, cut: int, second: Motion, start: int) -> tuple[Motion, Seam]:
    """Frames 0..cut of ``first``, then ``second`` from frame ``start`` + 1 on, and what the switch costs.

    Frame ``cut`` shows the first clip: the second is turned about the vertical and moved over the floor so that its
    frame ``start`` fits there. 1 <= cut < first.frames, 0 <= start < second.frames - 1; a clip that is entered at its
    frame 0 is taken to start from rest. The first clip stays where it is.
    """
    earlier = max(start - 1, 0)
    second = _aligned(first, cut, second, start)
    a, b = first.rotations.astype(np.float64), second.rotations.astype(np.float64)
    tail = second.frames - start  # frames from the cut on
    gap = _difference(a[cut], b[start])
    rate = (gap - _difference(a[cut - 1], b[earlier])) * first.fps
    turn = np.linalg.norm(gap, axis=-1)
    size = np.linalg.norm(rate, axis=-1, keepdims=True)
    rate *= np.minimum(1, MOST_RATE / np.maximum(size, 1e-9))
    seconds = np.interp(turn, [0, LARGE], BLEND)
    rest = decay(gap, rate, seconds[:, None], tail, first.fps)
    rotations = rot.quaternion_multiply(rot.axis_angle_to_quaternion(rest), b[start:])
    move = first.translation[cut].astype(np.float64) - second.translation[start]
    before = first.translation[cut - 1].astype(np.float64) - second.translation[earlier]
    rest = decay(move, (move - before) * first.fps, np.array(BLEND[1]), tail, first.fps)
    translation = second.translation[start:] + rest
    blended = with_contacts(rotations, translation, second)
    shift = _hold_feet(first.joints()[cut], second.slice(start, second.frames), blended)
    if np.abs(shift).max() > 1e-4:
        blended = move_feet(blended, shift)
    result = with_contacts(
        np.concatenate([a[:cut], blended.rotations.astype(np.float64)]),
        np.concatenate([first.translation[:cut].astype(np.float64), blended.translation]),
        first,
    )
    around = result.joints()[max(0, cut - 4) : cut + 8].astype(np.float64)
    jerk = np.linalg.norm(np.diff(around, n=3, axis=0), axis=-1).mean(1).max() * first.fps**3
    return result, Seam(float(turn.max()), float(np.linalg.norm(shift, axis=-1).max()), float(jerk))


def decay(gap: np.ndarray, rate: np.ndarray, seconds: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """A difference dying out: (frames, ...) from ``gap`` (...) with speed ``rate`` (...) to rest at 0 in ``seconds``.

    The quintic with the given place and speed and no acceleration at the start, and none of either at the end.
    """
    at = np.arange(frames).reshape((-1,) + (1,) * gap.ndim) / fps
    s = np.clip(at / seconds, 0, 1)
    place = 1 + s**3 * (-10 + s * (15 - 6 * s))
    speed = s + s**3 * (-6 + s * (8 - 3 * s))
    return gap * place + rate * seconds * speed


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vectors (J,3) that turn rotations b (J,4) to a."""
    turn = rot.quaternion_multiply(a, rot.quaternion_conjugate(b))
    return rot.quaternion_to_axis_angle(turn)


def _aligned(first: Motion, cut: int, second: Motion, start: int) -> Motion:
    """``second`` turned about the vertical and moved over the floor so that its frame ``start`` lies on ``cut``."""
    a, b = first.joints()[cut].astype(np.float64), second.joints()[start].astype(np.float64)
    weights = WEIGHTS**2 * np.ones(22)
    # feet that stand in both say where the body is
    for i, stands in enumerate(planted(first)[cut] & planted(second)[start]):
        weights[FEET[i]] *= 8 if stands else 1
    weights /= weights.sum()
    p, q = a[:, [0, 2]] - weights @ a[:, [0, 2]], b[:, [0, 2]] - weights @ b[:, [0, 2]]
    # the turn that brings q nearest to p; positive from +z to +x, as yaw is
    sine = weights @ (q[:, 1] * p[:, 0] - q[:, 0] * p[:, 1])
    cosine = weights @ (q[:, 0] * p[:, 0] + q[:, 1] * p[:, 1])
    turn = rot.yaw_quaternion(np.arctan2(sine, cosine))
    rotations = second.rotations.astype(np.float64)
    rotations[:, 0] = rot.quaternion_multiply(turn, rotations[:, 0])
    flat = np.array([1.0, 0.0, 1.0])
    translation = rot.quaternion_rotate(turn, second.translation.astype(np.float64) - weights @ b * flat)
    return Motion(rotations, translation + weights @ a * flat, second.rest_offsets, second.fps, second.contacts)


def _hold_feet(pose: np.ndarray, second: Motion, blended: Motion) -> np.ndarray:
    """How far the feet of ``blended`` have to move (T,2,3) so that they move as those of ``second`` where these stand.

    pose: joints (22,3) at the cut, where the blend starts. A foot that stands through the cut starts from there; one
    that comes down during the blend stays where it comes down. Heights ease to those of the second clip.
    """
    wanted, shown = second.joints()[:, FEET].astype(np.float64), blended.joints()[:, FEET].astype(np.float64)
    frames = len(wanted)
    stands = second.contacts[:, [1, 3]] > 0.5
    shift = np.zeros((frames, 2, 3))
    for side in range(2):
        for a, b in runs(stands[:, side], 2):
            begin = pose[FEET[side]] if a == 0 else shown[a, side] + shift[a, side]
            error = begin - wanted[a, side]
            if np.linalg.norm(error) < 1e-3:
                # from here on the blend shows the second clip as it is
                continue
            held = np.repeat(error[None], b - a, axis=0)
            held[:, 1] *= smoothstep(1 - np.arange(b - a) / EASE)
            shift[a:b, side] = wanted[a:b, side] + held - shown[a:b, side]
            fade = smoothstep(1 - np.arange(1, min(EASE, frames - b) + 1) / (EASE + 1))
            shift[b : b + len(fade), side] = shift[b - 1, side] * fade[:, None]
            shift[b + len(fade) :, side] = 0
    return shift

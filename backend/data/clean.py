"""From a whole clip to sound windows: trim what is idle, cut at quiet moments, refuse what is broken."""

import numpy as np

from backend.data.measure import runs, smooth
from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import JOINT_INDEX, MIRROR, Motion

IDLE_SPEED = 0.05  # m/s, mean over all joints
SHORTEST, LONGEST = 64, 300
SHORTEST_CLIP = 32  # whole clips shorter than a window (a run through the capture volume) are kept from here on
MAX_JOINT_SPEED = 25.0
MAX_ROTATION = 75.0  # degrees a frame
FLIP = 60.0  # degrees a frame that no limb does
DEEPEST = -0.15
SHOULDERS = [JOINT_INDEX["left_shoulder"], JOINT_INDEX["right_shoulder"]]


def joint_speed(motion: Motion) -> np.ndarray:
    """Mean speed of all joints per frame (T,), m/s, smoothed over a third of a second."""
    joints = motion.joints()
    if len(joints) < 2:
        return np.zeros(len(joints))
    speed = np.linalg.norm(np.gradient(joints, axis=0), axis=-1).mean(1) * motion.fps
    return smooth(speed, round(motion.fps / 3))


def active_parts(motion: Motion) -> list[tuple[int, int]]:
    """Stretches of a clip between idle ones: a second or more of (almost) no movement is cut, less a short margin.

    A calibration T-pose (arms stretched out sideways and still) is cut even where it moves a little.
    """
    speed = joint_speed(motion)
    idle = speed < IDLE_SPEED
    joints = motion.joints()
    left, right = joints[:, JOINT_INDEX["left_wrist"]], joints[:, JOINT_INDEX["right_wrist"]]
    span = np.linalg.norm(left - right, axis=1) > 1.25
    level = np.abs(np.stack([left[:, 1], right[:, 1]], 1) - joints[:, SHOULDERS, 1]).max(1) < 0.2
    idle |= span & level & (speed < 0.15)
    keep = np.ones(motion.frames, dtype=bool)
    margin = round(0.3 * motion.fps)
    for start, stop in runs(idle, round(motion.fps)):
        first = start if start == 0 else start + margin
        last = stop if stop == motion.frames else stop - margin
        keep[first:last] = False
    parts = runs(keep, SHORTEST_CLIP)
    # an idle lead-in or end shorter than a second goes too, down to a margin
    trimmed = []
    for start, stop in parts:
        busy = np.flatnonzero(~idle[start:stop])
        if len(busy):
            trimmed.append((max(start, start + int(busy[0]) - margin), min(stop, start + int(busy[-1]) + 1 + margin)))
    return [(a, b) for a, b in trimmed if b - a >= SHORTEST_CLIP]


def cut(motion: Motion, start: int, stop: int, seed: int) -> list[tuple[int, int]]:
    """Windows of 2-10 s inside start..stop, overlapping by a third or more, cut at quiet moments.

    A part that fits is also kept whole. Lengths vary from window to window, so that all durations are learnt.
    """
    length = stop - start
    windows = []
    if length <= LONGEST:
        windows.append((start, stop))
    if length < 1.5 * SHORTEST:
        return windows
    speed = joint_speed(motion)
    random = np.random.default_rng(seed)
    at = start
    while stop - at >= SHORTEST:
        size = int(random.choice([75, 100, 130, 165, 210, 270], p=[0.16, 0.22, 0.22, 0.18, 0.14, 0.08]))
        size = min(size, int(0.75 * length) if length <= LONGEST else size)
        end = min(at + max(size, SHORTEST), stop)
        if stop - end < SHORTEST // 2 and stop - at <= LONGEST:
            end = stop
        elif end < stop:
            near = np.arange(max(at + SHORTEST, end - 15), min(stop, end + 15))
            end = int(near[np.argmin(speed[near])]) if len(near) else end
        if end - at >= SHORTEST and end - at <= LONGEST and (at, end) not in windows:
            windows.append((at, end))
        if end >= stop:
            break
        step = max(20, int((end - at) * random.uniform(0.5, 0.7)))
        at = min(at + step, stop - SHORTEST)
        near = np.arange(max(start, at - 10), min(stop - SHORTEST, at + 10) + 1)
        at = max(int(near[np.argmin(speed[near])]), windows[-1][0] + 12) if len(near) else at
    return windows


def broken_frames(motion: Motion) -> dict[str, np.ndarray]:
    """Frames (T,) that show what no body does, by reason."""
    joints = motion.joints()
    step = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(1) * motion.fps
    turn = np.degrees(rot.quaternion_angle(motion.rotations[:-1], motion.rotations[1:])).max(1)
    upright = 1 - 2 * (motion.rotations[:, 0, 1] ** 2 + motion.rotations[:, 0, 3] ** 2)
    high = np.zeros(motion.frames, dtype=bool)
    for start, stop in runs(lowest_foot(joints) > 0.15, round(0.8 * motion.fps)):
        high[start:stop] = True
    return {
        "a limb moves faster than 25 m/s": np.append(step > MAX_JOINT_SPEED, False),
        "a joint turns more than 75 degrees in a frame": np.append(turn > MAX_ROTATION, False),
        "the body lies in the air": (upright < 0.3) & (joints[:, 0, 1] > 0.8),
        "a foot is far under the floor": joints[:, [7, 8, 10, 11], 1].min(1) < DEEPEST,
        "off the ground (equipment that is not in the data)": high,
    }


def lowest_foot(joints: np.ndarray) -> np.ndarray:
    """Height (T,) in metres of the lower foot over the floor, the ankle counted from its height in a flat foot."""
    return np.minimum(joints[:, [10, 11], 1], joints[:, [7, 8], 1] - 0.06).min(1)


def without_broken(parts: list[tuple[int, int]], motion: Motion) -> list[tuple[int, int]]:
    """The parts less the broken frames in them: what lies between two faults may still be long enough for a window."""
    keep = np.zeros(motion.frames, dtype=bool)
    for start, stop in parts:
        keep[start:stop] = True
    for mask in broken_frames(motion).values():
        keep[mask] = False
        keep[1:][mask[:-1]] = False  # a step is broken at both of its ends
    return runs(keep, SHORTEST_CLIP)


def fault(motion: Motion) -> str | None:
    """Why a window cannot be used, or None: jumps in the data, limbs too fast, feet under the floor, floating."""
    reason = next((name for name, mask in broken_frames(motion).items() if mask.any()), None)
    if reason:
        return reason
    lowest = lowest_foot(motion.joints())
    if (lowest > 0.25).mean() > 0.3:
        return "off the ground (equipment that is not in the data)"
    if np.percentile(lowest, 20) > 0.10:
        return "floats above the floor"
    return None


def repair(motion: Motion) -> Motion:
    """Flips of a joint that last at most a third of a second are bridged by interpolation.

    Captured twist is undefined for a moment where a limb is straight; the joint then jumps away and back.
    """
    angle = np.degrees(rot.quaternion_angle(motion.rotations[:-1], motion.rotations[1:]))
    rotations = motion.rotations.astype(np.float64)
    longest = round(motion.fps / 3)
    for joint in np.flatnonzero((angle > FLIP).any(0)):
        pops = np.flatnonzero(angle[:, joint] > FLIP)
        for group in np.split(pops, np.flatnonzero(np.diff(pops) > longest) + 1):
            # frames before and after the flip; a lone jump is spread over its neighbours
            before, after = max(0, int(group[0]) - 1), min(motion.frames - 1, int(group[-1]) + 2)
            if after - before > 2 * longest:
                continue
            path = rot.resample_quaternions(rotations[[before, after], joint], 1.0, float(after - before))
            turned = np.degrees(rot.quaternion_angle(path[:1], path[-1:]))[0]
            if turned < 0.5 * MAX_ROTATION * (after - before):
                rotations[before : after + 1, joint] = path
    result = Motion(rot.continuous(rotations), motion.translation, motion.rest_offsets, motion.fps)
    result.contacts = foot_contacts(result.joints(), result.fps)
    return result


def place(motion: Motion) -> Motion:
    """The motion moved so that it starts at x = z = 0 with the heading +Z; heights stay."""
    root = motion.rotations[:, 0].astype(np.float64)
    turn = rot.yaw_quaternion(-rot.heading(root[0]))
    rotations = motion.rotations.copy()
    rotations[:, 0] = rot.quaternion_multiply(turn, root)
    shift = motion.translation - motion.translation[0] * np.array([1, 0, 1], dtype=np.float32)
    translation = rot.quaternion_rotate(turn, shift)
    if rotations[0, 0, 0] < 0:
        rotations[:, 0] *= -1
    return Motion(rotations, translation, motion.rest_offsets, motion.fps, motion.contacts)


def mirrored(motion: Motion) -> Motion:
    """The motion seen in a mirror: left and right swapped (x becomes -x)."""
    rotations = motion.rotations[:, list(MIRROR)] * np.array([1, 1, -1, -1], dtype=np.float32)
    translation = motion.translation * np.array([-1, 1, 1], dtype=np.float32)
    contacts = motion.contacts[:, [2, 3, 0, 1]]
    return Motion(rotations, translation, motion.rest_offsets, motion.fps, contacts)


def without_rest_frame(motion: Motion) -> Motion:
    """The motion without a first frame from which it leaps: exporters put the rest pose there."""
    if motion.frames < 3:
        return motion
    joints = motion.joints()
    step = np.linalg.norm(np.diff(joints[:3], axis=0), axis=-1).max(1) * motion.fps
    return motion.slice(1, motion.frames) if step[0] > 10.0 and step[0] > 4 * step[1] else motion

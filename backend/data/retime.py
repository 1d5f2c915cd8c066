"""The same movement at another speed, and walks played backward."""

import numpy as np
from scipy.interpolate import CubicSpline

from backend.data.acts import leg_phrases
from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import Motion

SLOWER, FASTER = (0.85, 0.93), (1.08, 1.15)
# a body in the air falls at 9.81 m/s^2: a factor f asks for f^2 times that, so flights keep nearer to their own speed
AIRBORNE = (0.93, 1.08)
AIR = 0.08  # share of frames with both feet up
UPRIGHT_WALK = {"walk", "backward", "left", "right", "turn", "still"}


def at_speed(motion: Motion, factor: float) -> Motion:
    """The motion ``factor`` times as fast, contacts found anew.

    Cubic splines through pelvis and quaternions: lines between the frames would take away a third of the jerk, and a
    model that learns from them moves like through honey.
    """
    at = np.arange(int((motion.frames - 1) / factor + 1e-6) + 1) * factor
    frames = np.arange(motion.frames)
    rotations = CubicSpline(frames, rot.continuous(motion.rotations.astype(np.float64)))(at)
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    return with_contacts(rotations, CubicSpline(frames, motion.translation.astype(np.float64))(at), motion)


def speed_factor(labels: dict, random: np.random.Generator) -> float | None:
    """A factor for a window with these measurements, or None where another speed would defy gravity (jumps)."""
    if labels["jumps"]:
        return None
    airborne = labels["air"] > AIR
    faster = random.random() < 0.5
    if airborne:
        return AIRBORNE[1] if faster else AIRBORNE[0]
    return float(random.uniform(*(FASTER if faster else SLOWER)))


def reverse(motion: Motion) -> Motion:
    """The motion played backward, contacts found anew."""
    return with_contacts(motion.rotations[::-1].astype(np.float64), motion.translation[::-1], motion)


def reversible(row: dict) -> bool:
    """Whether a window may be played backward: slow, upright stepping with quiet arms, and nothing else.

    A forward step lands on the heel and leaves from the toes; backward it lands on the toes and leaves from the heel,
    as people do. A backward walk turned forward would land on its toes, so that is done with slow ones only. What
    flies, falls or throws cannot be turned round at all.
    """
    labels = row["labels"]
    kinds = {phase["kind"] for phase in labels["phases"]}
    ways = kinds & {"walk", "backward", "left", "right"}
    quiet = (
        labels["hand_activity"] < 0.9
        and max(labels["left_hand"], labels["right_hand"]) < -0.1
        and not sum(labels["kicks"].values())
        and not sum(labels["punches"].values())
        and not any(labels["waves"].values())
    )
    fastest = 1.5 if ways == {"walk"} else 0.9 if "backward" not in ways else 0.7
    return bool(
        ways and kinds <= UPRIGHT_WALK and quiet and leg_phrases(row.get("phrases") or [])
        and not labels["jumps"] and labels["air"] < 0.03 and labels["lean"] < 35
        and 0.4 < labels["speed"] < fastest and labels["distance"] > 0.8
    )  # fmt: skip


def with_contacts(rotations: np.ndarray, translation: np.ndarray, like: Motion) -> Motion:
    """A motion on the skeleton and at the rate of ``like``, its quaternions continuous and its contacts filled in."""
    result = Motion(rot.continuous(rotations), translation, like.rest_offsets, like.fps)
    result.contacts = foot_contacts(result.joints(), result.fps)
    return result

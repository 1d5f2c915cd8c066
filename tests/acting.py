"""Small performances made in code, for the tests of what is said about motion: sitting, kicking, waving, clapping...

Each stands on the floor in every frame, faces +Z and lasts a few seconds at 30 fps; left is +X.
"""

import numpy as np
from motions import turn

from backend.motion.skeleton import JOINT_INDEX, Motion

FPS = 30


def ramp(time: np.ndarray, start: float, stop: float) -> np.ndarray:
    """0 before ``start`` seconds, 1 after ``stop``, smooth between."""
    x = np.clip((time - start) / (stop - start), 0, 1)
    return x * x * (3 - 2 * x)


def dip(time: np.ndarray, start: float, seconds: float) -> np.ndarray:
    """0, up to 1 in the middle of a stretch of time, 0 again."""
    x = np.clip((time - start) / seconds, 0, 1)
    return np.sin(np.pi * x) ** 2


class Actor:
    """A body with arms down whose joints are bent by curves (T,) of radians."""

    def __init__(self, seconds: float = 4.0):
        self.time = np.arange(round(seconds * FPS)) / FPS
        frames = len(self.time)
        self.rotations = np.zeros((frames, 22, 4))
        self.rotations[..., 0] = 1
        self.way = np.zeros((frames, 3))
        self.bend("left_shoulder", 2, np.full(frames, -1.3))
        self.bend("right_shoulder", 2, np.full(frames, 1.3))

    def bend(self, joint: str, axis: int, angle: np.ndarray) -> "Actor":
        self.rotations[:, JOINT_INDEX[joint]] = turn(axis, angle)
        return self

    def legs(self, hip: np.ndarray, knee: np.ndarray) -> "Actor":
        """Both hips flexed and both knees bent; the feet stay level."""
        for side in ("left", "right"):
            self.bend(f"{side}_hip", 0, -hip).bend(f"{side}_knee", 0, knee).bend(f"{side}_ankle", 0, hip - knee)
        return self

    def motion(self, flight: np.ndarray | float = 0.0) -> Motion:
        """The motion, its lowest foot on the floor plus ``flight`` metres."""
        body = Motion(self.rotations, self.way)
        joints = body.joints()
        feet = [JOINT_INDEX[f"{s}_{p}"] for s in ("left", "right") for p in ("ankle", "foot")]
        lowest = (joints[:, feet, 1] - [0.06, 0, 0.06, 0]).min(1)
        return Motion(self.rotations, self.way + np.outer(flight - lowest + 0.01, [0, 1, 0]))


def stand(seconds: float = 3.0) -> Motion:
    return Actor(seconds).motion()


def squats(count: int) -> Motion:
    actor = Actor(1.0 + 2.0 * count)
    low = sum(dip(actor.time, 0.5 + 2.0 * i, 1.6) for i in range(count))
    actor.legs(1.6 * low, 2.0 * low).bend("spine1", 0, 0.5 * low)
    actor.way[:, 2] = -0.12 * low
    return actor.motion()


def sit_down() -> Motion:
    actor = Actor(4.0)
    down = ramp(actor.time, 0.8, 1.8)
    actor.legs(1.45 * down, 1.5 * down)
    actor.way[:, 2] = -0.40 * down
    return actor.motion()


def stand_up() -> Motion:
    actor = Actor(4.0)
    down = 1 - ramp(actor.time, 1.8, 2.8)
    actor.legs(1.45 * down, 1.5 * down)
    actor.way[:, 2] = -0.40 * down
    return actor.motion()


def bow() -> Motion:
    actor = Actor(4.0)
    low = dip(actor.time, 1.0, 2.0)
    return actor.bend("spine1", 0, 0.9 * low).bend("spine2", 0, 0.6 * low).motion()


def turn_on_the_spot(degrees: float) -> Motion:
    actor = Actor(3.0)
    return actor.bend("pelvis", 1, np.radians(degrees) * ramp(actor.time, 0.8, 2.0)).motion()


def jumps(count: int, forward: float = 0.0) -> Motion:
    actor = Actor(1.2 + 1.2 * count)
    flight, half = np.zeros(len(actor.time)), 0.25
    for i in range(count):
        since = actor.time - (1.0 + 1.2 * i)
        flight += np.where(np.abs(since) < half, 4.9 * (half**2 - since**2), 0)
        actor.way[:, 2] += forward * np.clip((since + half) / (2 * half), 0, 1)
    return actor.motion(flight)


def kicks(side: str, count: int = 1) -> Motion:
    actor = Actor(1.5 + 1.2 * count)
    lift = sum(dip(actor.time, 0.8 + 1.2 * i, 0.6) for i in range(count))
    return actor.bend(f"{side}_hip", 0, -1.5 * lift).motion()


def wave(side: str) -> Motion:
    actor = Actor(4.0)
    sign = 1 if side == "left" else -1
    up = ramp(actor.time, 0.5, 1.0)
    actor.bend(f"{side}_shoulder", 2, sign * (-1.3 + 1.5 * up))
    swing = 0.5 * np.sin(2 * np.pi * 2.0 * actor.time) * ramp(actor.time, 1.0, 1.2)
    return actor.bend(f"{side}_elbow", 2, sign * (1.2 * up + swing)).motion()


def raise_arm(side: str, keep: bool = True) -> Motion:
    actor = Actor(4.0)
    sign = 1 if side == "left" else -1
    up = ramp(actor.time, 0.8, 1.4) * (1 if keep else 1 - ramp(actor.time, 2.2, 2.8))
    return actor.bend(f"{side}_shoulder", 2, sign * (-1.3 + 2.7 * up)).motion()


def claps(count: int) -> Motion:
    actor = Actor(1.0 + 0.5 * count)
    closed = 1.45 + 0.45 * sum(dip(actor.time, 0.5 + 0.5 * i, 0.5) for i in range(count))
    return actor.bend("left_shoulder", 1, -closed).bend("right_shoulder", 1, closed).motion()


def punches(side: str, count: int) -> Motion:
    """A guard with the elbow bent; the arm shoots forward and comes back."""
    actor = Actor(1.0 + 0.8 * count)
    sign = 1 if side == "left" else -1
    out = sum(dip(actor.time, 0.6 + 0.8 * i, 0.36) for i in range(count))
    actor.bend(f"{side}_shoulder", 1, -sign * (0.9 + 0.67 * out))
    return actor.bend(f"{side}_elbow", 1, -sign * 2.2 * (1 - out)).motion()


def joined(*motions: Motion) -> Motion:
    """Motions that all face the same way and stand at their ends, one after the other."""
    rotations = np.concatenate([m.rotations for m in motions])
    translation, offset = [], np.zeros(3)
    for m in motions:
        moved = m.translation + offset * [1, 0, 1]
        translation.append(moved)
        offset = moved[-1] - m.translation[0] * [1, 0, 1]
    return Motion(rotations, np.concatenate(translation))

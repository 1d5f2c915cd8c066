"""Small motions made in code: a procedural walk and its relatives, for the tests of files, data and quality."""

import numpy as np

from backend.motion.skeleton import JOINT_INDEX, Motion


def turn(axis: int, angle: np.ndarray) -> np.ndarray:
    """Quaternions (T,4) about x, y or z (0, 1, 2) by angles (T,) in radians."""
    q = np.zeros((len(angle), 4))
    q[:, 0] = np.cos(angle / 2)
    q[:, 1 + axis] = np.sin(angle / 2)
    return q


def walk(seconds: float = 4.0, speed: float = 1.2, yaw_rate: float = 0.0) -> Motion:
    """A walk with arms down: legs swing as pendulums, the body moves along its heading; yaw_rate in degrees/s."""
    frames = round(seconds * 30)
    time = np.arange(frames) / 30
    rotations = np.zeros((frames, 22, 4))
    rotations[..., 0] = 1
    yaw = np.radians(yaw_rate) * time
    rotations[:, 0] = turn(1, yaw)
    swing = 0.45 * np.sin(2 * np.pi * 0.9 * time)
    rotations[:, JOINT_INDEX["left_hip"]] = turn(0, -swing)
    rotations[:, JOINT_INDEX["right_hip"]] = turn(0, swing)
    rotations[:, JOINT_INDEX["left_knee"]] = turn(0, 0.5 * np.maximum(0, np.cos(2 * np.pi * 0.9 * time)))
    rotations[:, JOINT_INDEX["right_knee"]] = turn(0, 0.5 * np.maximum(0, -np.cos(2 * np.pi * 0.9 * time)))
    rotations[:, JOINT_INDEX["left_shoulder"]] = turn(2, np.full(frames, -1.3))
    rotations[:, JOINT_INDEX["right_shoulder"]] = turn(2, np.full(frames, 1.3))
    step = np.stack([np.sin(yaw), np.zeros(frames), np.cos(yaw)], 1) * speed / 30
    translation = np.cumsum(step, axis=0) - step[:1]
    translation[:, 1] = 0.95
    return Motion(rotations, translation)


def raise_hand(side: str) -> Motion:
    """Standing; after a second one arm goes up over the head and stays there."""
    motion = walk(4.0, 0.0)
    for joint in ("left_hip", "right_hip", "left_knee", "right_knee"):
        motion.rotations[:, JOINT_INDEX[joint]] = [1, 0, 0, 0]
    time = np.arange(motion.frames) / 30
    up = -1.3 + 2.6 * np.clip(time - 1, 0, 1)
    motion.rotations[:, JOINT_INDEX[f"{side}_shoulder"]] = turn(2, up if side == "left" else -up)
    return motion


def jump() -> Motion:
    """Standing, a jump of half a metre on the spot in the middle, standing."""
    motion = raise_hand("left")
    motion.rotations[:, JOINT_INDEX["left_shoulder"]] = motion.rotations[:1, JOINT_INDEX["left_shoulder"]]
    time = np.arange(motion.frames) / 30 - 2
    flight = 0.3
    motion.translation[:, 1] = 0.96 + np.where(np.abs(time) < flight, 4.9 * (flight**2 - time**2), 0)
    return motion

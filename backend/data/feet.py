"""Feet that keep their place: small corrections of the legs, so that a planted foot does not slide."""

import numpy as np

from backend.data.retime import with_contacts
from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, Motion, forward_kinematics, global_rotations

SIDES = ("left", "right")
EASE = 10  # frames over which a correction fades in before and out after a contact
STRETCH = 0.995  # a leg is never straighter than that: at its full length the knee would snap


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, between them a quintic without speed or acceleration at either end."""
    x = np.clip(x, 0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)


def move_feet(motion: Motion, shift: np.ndarray) -> Motion:
    """The motion with its ankles moved by ``shift`` (T,2,3) metres, left and right, through hip and knee.

    The knee bends in the plane it bends in, the foot keeps its direction in the world; a goal out of reach is
    approached as far as the leg goes. Contacts are found anew.
    """
    rotations = motion.rotations.astype(np.float64)
    joints = forward_kinematics(rotations, motion.translation.astype(np.float64), motion.rest_offsets)
    world = global_rotations(rotations)
    for i, side in enumerate(SIDES):
        hip, knee, ankle = (JOINT_INDEX[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        goal = joints[:, ankle] + shift[:, i]
        thigh, shin = _two_bone(joints[:, hip], joints[:, knee], joints[:, ankle], goal, world[:, hip])
        new_thigh = thigh @ world[:, hip]
        new_shin = shin @ world[:, knee]
        parent = np.swapaxes(world[:, 0], -1, -2)
        local = [
            (hip, parent @ new_thigh),
            (knee, np.swapaxes(new_thigh, -1, -2) @ new_shin),
            (ankle, np.swapaxes(new_shin, -1, -2) @ world[:, ankle]),
        ]
        for joint, matrix in local:
            rotations[:, joint] = rot.matrix_to_quaternion(matrix)
    return with_contacts(rotations, motion.translation, motion)


def _two_bone(
    hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, goal: np.ndarray, frame: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World turns (T,3,3) of thigh and shin that bring the ankle from ``ankle`` to ``goal`` (T,3)."""
    thigh, shin = knee - hip, ankle - knee
    long, short = np.linalg.norm(thigh, axis=1), np.linalg.norm(shin, axis=1)
    reach = np.linalg.norm(goal - hip, axis=1)
    # a leg that is straight already may stay so; a correction does not straighten it further
    most = np.maximum(STRETCH * (long + short), np.minimum(np.linalg.norm(ankle - hip, axis=1), long + short))
    reach = np.clip(reach, np.abs(long - short) + 0.02, most)
    bend = np.cross(thigh, shin)
    size = np.linalg.norm(bend, axis=1, keepdims=True)
    # a straight leg bends about the lateral axis of the thigh: forward of the hip
    axis = np.where(size > 0.02 * (long * short)[:, None], bend / np.maximum(size, 1e-9), frame[:, :, 0])
    now = np.arctan2(np.sum(np.cross(thigh, shin) * axis, 1), np.sum(thigh * shin, 1))
    wanted = np.pi - np.arccos(np.clip((long**2 + short**2 - reach**2) / (2 * long * short), -1, 1))
    turn = _rotation(axis * (np.where(now < 0, -wanted, wanted) - now)[:, None])
    foot = thigh + (turn @ shin[..., None])[..., 0]
    swing = _between(foot, goal - hip)
    return swing, swing @ turn


def _rotation(vector: np.ndarray) -> np.ndarray:
    return rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(vector))


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest turns (T,3,3) of directions a onto directions b (T,3)."""
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    cross, dot = np.cross(a, b), np.sum(a * b, 1)
    sine = np.linalg.norm(cross, axis=1)
    angle = np.arctan2(sine, dot)
    return _rotation(cross * (angle / np.maximum(sine, 1e-12))[:, None])

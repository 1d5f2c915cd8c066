"""More motion than was captured, for the codec: windows changed so that every frame stays a possible pose.

The codec only has to reconstruct, so a window need not make sense as an action: the arms of one person on the legs of
another, a slower or faster playback, a wrist held a little differently.
"""

import torch
from torch import Tensor

from backend.motion.features import BLOCKS, ENDS, local_positions, six_to_matrix
from backend.motion.skeleton import JOINT_INDEX

PARTS = (
    ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
    ("neck", "head"),
    ("spine1", "spine2", "spine3"),
)
HELD = ("head", "left_wrist", "right_wrist", "left_ankle", "right_ankle", "left_foot", "right_foot",
        "left_shoulder", "right_shoulder", "left_hip", "right_hip")  # fmt: skip
HELD_DEGREES = 8.0
SLOWEST = 0.75


def varied(windows: Tensor, share: float) -> Tensor:
    """Windows (B,T,155) of features, each changed in each of three ways with the probability ``share``.

    Time: the beginning of the window played at 0.75 to 1 of its speed. Parts: arms, head and spine of other windows of
    the batch. Pose: a constant turn of up to about 16 degrees of wrists, ankles, head, shoulders and hips. The
    positions of head, hands and feet are computed anew; contacts and root travel follow the time change.
    """
    windows = _retimed(windows, share)
    matrices = six_to_matrix(windows[..., BLOCKS["rotations"]].unflatten(-1, (22, 6)))
    batch = len(windows)
    for part in PARTS:
        joints = [JOINT_INDEX[name] for name in part]
        taken = torch.rand(batch, device=windows.device) < share / 2
        other = torch.randperm(batch, device=windows.device)
        source = torch.where(taken, other, torch.arange(batch, device=windows.device))
        matrices[:, :, joints] = matrices[source][:, :, joints]
    joints = [JOINT_INDEX[name] for name in HELD]
    held = (torch.rand(batch, len(joints), 1, device=windows.device) < share) * HELD_DEGREES * torch.pi / 180
    vector = torch.randn(batch, len(joints), 3, device=windows.device) * held
    turn = torch.linalg.matrix_exp(_cross(vector))[:, None]
    matrices[:, :, joints] = matrices[:, :, joints] @ turn
    result = windows.clone()
    result[..., BLOCKS["rotations"]] = matrices[..., :2].transpose(-1, -2).flatten(-3)
    positions = local_positions(result)
    result[..., BLOCKS["ends"]] = (positions[:, :, list(ENDS)] - positions[:, :, :1]).flatten(-2)
    return result


def _retimed(windows: Tensor, share: float) -> Tensor:
    """The windows played slower, same number of frames; rotations between frames are blended."""
    batch, frames, _ = windows.shape
    speed = torch.empty(batch, device=windows.device).uniform_(SLOWEST, 1.0)
    speed = torch.where(torch.rand(batch, device=windows.device) < share, speed, 1.0)
    at = torch.arange(frames, device=windows.device) * speed[:, None]
    low = at.floor().long().clamp(max=frames - 2)
    weight = (at - low)[..., None]
    rows = torch.arange(batch, device=windows.device)[:, None]
    result = windows[rows, low] * (1 - weight) + windows[rows, low + 1] * weight
    result[..., :3] *= speed[:, None, None]
    result[..., BLOCKS["contacts"]] = result[..., BLOCKS["contacts"]].round()
    return result


def _cross(vector: Tensor) -> Tensor:
    """Skew-symmetric matrices (...,3,3) of vectors (...,3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))

"""The features that the codecs learn: 155 numbers a frame at 30 fps, free of place and heading.

| block      | width | what                                                                                    |
|------------|-------|-----------------------------------------------------------------------------------------|
| velocity   | 2     | pelvis x, z movement since the frame before, in the heading frame, metres               |
| yaw_rate   | 1     | heading change since the frame before, radians                                          |
| height     | 1     | pelvis height, metres                                                                   |
| rotations  | 132   | 6D (first two columns, Zhou et al. 2019): pelvis without heading, others parent-relative |
| contacts   | 4     | 0..1, order of ``skeleton.CONTACT_JOINTS``                                              |
| ends       | 15    | head, hands and balls of the feet relative to the pelvis in the heading frame, metres   |

The heading is the twist of the pelvis about the vertical, which stays defined when the body bends over.
"""

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from backend.motion import rotations as rot
from backend.motion.skeleton import CANONICAL_OFFSETS, JOINT_INDEX, Motion, forward_kinematics
from backend.protocol import FPS, PARENTS

BLOCKS = {
    "velocity": slice(0, 2),
    "yaw_rate": slice(2, 3),
    "height": slice(3, 4),
    "rotations": slice(4, 136),
    "contacts": slice(136, 140),
    "ends": slice(140, 155),
}
WIDTH = 155
ENDS = tuple(JOINT_INDEX[n] for n in ("head", "left_wrist", "right_wrist", "left_foot", "right_foot"))


def heading(root: np.ndarray) -> np.ndarray:
    """Heading (T,) in radians, counter-clockwise seen from above, of world pelvis quaternions (T,4) wxyz."""
    return np.unwrap(rot.heading(root))


def _yaw(angles: np.ndarray) -> Rotation:
    return Rotation.from_euler("Y", np.asarray(angles)[:, None])


def encode(motion: Motion) -> np.ndarray:
    """A canonical 30 fps motion to features (T,155) float32. Proportions are not kept: see ``decode``."""
    root = Rotation.from_quat(motion.rotations[:, 0], scalar_first=True)
    yaw = heading(motion.rotations[:, 0].astype(np.float64))
    unturn = _yaw(-yaw)
    features = np.zeros((motion.frames, WIDTH), dtype=np.float32)
    moved = np.diff(motion.translation, axis=0, prepend=motion.translation[:1])
    features[:, BLOCKS["velocity"]] = unturn.apply(moved)[:, [0, 2]]
    features[1:, 2] = np.diff(yaw)
    if motion.frames > 1:
        features[0, :3] = features[1, :3]
    features[:, 3] = motion.translation[:, 1]
    matrices = Rotation.from_quat(motion.rotations.reshape(-1, 4), scalar_first=True).as_matrix()
    matrices = matrices.reshape(-1, 22, 3, 3)
    matrices[:, 0] = (unturn * root).as_matrix()
    features[:, BLOCKS["rotations"]] = np.swapaxes(matrices[..., :2], -1, -2).reshape(motion.frames, 132)
    features[:, BLOCKS["contacts"]] = motion.contacts
    joints = forward_kinematics(motion.rotations, np.zeros_like(motion.translation), motion.rest_offsets)
    ends = joints[:, ENDS].reshape(-1, 3)
    features[:, BLOCKS["ends"]] = _yaw(np.repeat(-yaw, len(ENDS))).apply(ends).reshape(-1, 15)
    return features


def decode(features: np.ndarray) -> Motion:
    """Features (T,155) to a canonical motion that starts at x = z = 0 with heading +Z."""
    features = np.asarray(features, dtype=np.float64)
    yaw = np.concatenate([[0.0], np.cumsum(features[1:, 2])])
    moved = np.zeros((len(features), 3))
    moved[:, [0, 2]] = features[:, BLOCKS["velocity"]]
    moved[0] = 0.0
    translation = np.cumsum(_yaw(yaw).apply(moved), axis=0)
    translation[:, 1] = features[:, 3]
    six = torch.from_numpy(features[:, BLOCKS["rotations"]].reshape(-1, 22, 6))
    matrices = six_to_matrix(six).numpy()
    matrices[:, 0] = _yaw(yaw).as_matrix() @ matrices[:, 0]
    quaternions = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat(scalar_first=True).reshape(-1, 22, 4)
    return Motion(
        continuous(quaternions),
        translation,
        CANONICAL_OFFSETS.copy(),
        float(FPS),
        np.clip(features[:, BLOCKS["contacts"]], 0.0, 1.0),
    )


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations (T,...,4) with signs chosen so that neighbouring frames lie in one hemisphere."""
    flips = np.sum(quaternions[1:] * quaternions[:-1], -1) < 0
    signs = np.concatenate([np.ones((1, *flips.shape[1:]), dtype=int), np.where(np.cumsum(flips, 0) % 2, -1, 1)])
    return quaternions * signs[..., None]


def six_to_matrix(six: Tensor) -> Tensor:
    """6D rotations (...,6) to matrices (...,3,3) by Gram-Schmidt (Zhou et al. 2019)."""
    a, b = six[..., :3], six[..., 3:]
    x = torch.nn.functional.normalize(a, dim=-1, eps=1e-6)
    y = torch.nn.functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1, eps=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def local_positions(features: Tensor) -> Tensor:
    """Joint positions (...,22,3) in metres from features (...,155): heading frame, pelvis at x = z = 0.

    Differentiable forward kinematics on the canonical proportions, for losses.
    """
    local = six_to_matrix(features[..., BLOCKS["rotations"]].unflatten(-1, (22, 6)))
    offsets = torch.as_tensor(CANONICAL_OFFSETS, dtype=features.dtype, device=features.device)
    pelvis = torch.zeros_like(features[..., :3])
    pelvis[..., 1] = features[..., 3]
    world, positions = [local[..., 0, :, :]], [pelvis]
    for joint in range(1, 22):
        parent = PARENTS[joint]
        world.append(world[parent] @ local[..., joint, :, :])
        positions.append(positions[parent] + world[parent] @ offsets[joint])
    return torch.stack(positions, -2)


class Normaliser:
    """Per-dimension mean and per-block spread: dimensions of one block keep their relative size.

    mean, std: (155,) float32. Contacts stay as they are.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        self.mean = torch.as_tensor(mean, dtype=torch.float32)
        self.std = torch.as_tensor(std, dtype=torch.float32)

    @classmethod
    def fit(cls, features: np.ndarray) -> "Normaliser":
        mean, std = features.mean(0), np.ones(WIDTH)
        for name, block in BLOCKS.items():
            std[block] = features[:, block].std(0).mean() + 1e-6
            if name == "contacts":
                mean[block], std[block] = 0.0, 1.0
        return cls(mean, std)

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean.to(features)) / self.std.to(features)

    def inverse(self, features: Tensor) -> Tensor:
        return features * self.std.to(features) + self.mean.to(features)

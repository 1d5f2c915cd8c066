"""The canonical motion: 22 joints in SMPL order, metres, Y up, the rest pose a T-pose that faces +Z, 30 fps.

Left is +X. ``rotations`` are local (parent-relative); joint 0 is the pelvis in the world. Identity everywhere is the
T-pose. Joint positions are never stored: :func:`forward_kinematics` derives them.
"""

from dataclasses import dataclass, field

import numpy as np

from backend.protocol import FPS, JOINTS, PARENTS, REST_OFFSETS

CANONICAL_OFFSETS = np.asarray(REST_OFFSETS, dtype=np.float32)
JOINT_INDEX = {name: index for index, name in enumerate(JOINTS)}
CONTACT_JOINTS = tuple(JOINT_INDEX[n] for n in ("left_ankle", "left_foot", "right_ankle", "right_foot"))
# left/right partners, for mirroring: MIRROR[j] is the joint on the other side
MIRROR = tuple(JOINT_INDEX[n.replace("left", "#").replace("right", "left").replace("#", "right")] for n in JOINTS)

# offsets of the SMPL body in its T-pose, the mean of left and right, to the millimetre
SMPL_REST = np.array(
    [
        (0.0, 0.0, 0.0), (0.059, -0.086, -0.016), (-0.059, -0.086, -0.016), (0.0, 0.124, -0.038),
        (0.043, -0.385, 0.002), (-0.043, -0.385, 0.002), (0.0, 0.138, 0.027), (-0.017, -0.423, -0.036),
        (0.017, -0.423, -0.036), (0.0, 0.056, 0.003), (0.038, -0.061, 0.126), (-0.038, -0.061, 0.126),
        (0.0, 0.212, -0.033), (0.077, 0.113, -0.021), (-0.077, 0.113, -0.021), (0.0, 0.089, 0.050),
        (0.118, 0.046, -0.014), (-0.118, 0.046, -0.014), (0.258, -0.015, -0.027), (-0.258, -0.015, -0.027),
        (0.267, 0.010, -0.007), (-0.267, 0.010, -0.007),
    ]
)  # fmt: skip


@dataclass
class Motion:
    """One motion on the canonical skeleton.

    rotations: (T,22,4) float32, local unit quaternions wxyz.
    translation: (T,3) float32, world position of the pelvis joint in metres.
    rest_offsets: (22,3) float32, each joint's offset from its parent in the T-pose, metres; row 0 is zero.
    fps: frames per second.
    contacts: (T,4) float32 in 0..1, in the order of ``CONTACT_JOINTS``: left ankle, left ball of the foot, right
        ankle, right ball of the foot on the ground.
    """

    rotations: np.ndarray
    translation: np.ndarray
    rest_offsets: np.ndarray = field(default_factory=lambda: CANONICAL_OFFSETS.copy())
    fps: float = float(FPS)
    contacts: np.ndarray | None = None

    def __post_init__(self):
        self.rotations = np.asarray(self.rotations, dtype=np.float32)
        self.translation = np.asarray(self.translation, dtype=np.float32)
        self.rest_offsets = np.asarray(self.rest_offsets, dtype=np.float32)
        frames = len(self.rotations)
        if self.rotations.shape != (frames, 22, 4) or self.translation.shape != (frames, 3):
            raise ValueError(
                f"a motion needs rotations (T,22,4) and translation (T,3), "
                f"not {self.rotations.shape} and {self.translation.shape}"
            )
        if self.contacts is None:
            self.contacts = np.zeros((frames, 4), dtype=np.float32)
        self.contacts = np.asarray(self.contacts, dtype=np.float32)

    @property
    def frames(self) -> int:
        return len(self.rotations)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    def joints(self) -> np.ndarray:
        """World positions of the joints, (T,22,3) metres, Y up."""
        return forward_kinematics(self.rotations, self.translation, self.rest_offsets)

    def slice(self, start: int, stop: int) -> "Motion":
        return Motion(
            self.rotations[start:stop].copy(),
            self.translation[start:stop].copy(),
            self.rest_offsets,
            self.fps,
            self.contacts[start:stop].copy(),
        )


def quaternion_to_matrix(q: np.ndarray) -> np.ndarray:
    """Unit quaternions (...,4) wxyz to rotation matrices (...,3,3)."""
    w, x, y, z = np.moveaxis(np.asarray(q), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def global_rotations(rotations: np.ndarray) -> np.ndarray:
    """Local quaternions (T,22,4) wxyz to world rotation matrices (T,22,3,3)."""
    local = quaternion_to_matrix(rotations)
    world = np.empty_like(local)
    for joint, parent in enumerate(PARENTS):
        world[:, joint] = local[:, joint] if parent < 0 else world[:, parent] @ local[:, joint]
    return world


def forward_kinematics(rotations: np.ndarray, translation: np.ndarray, rest_offsets: np.ndarray) -> np.ndarray:
    """World joint positions (T,22,3) in metres from local quaternions (T,22,4), pelvis (T,3) and offsets (22,3)."""
    world = global_rotations(rotations)
    positions = np.empty(rotations.shape[:2] + (3,), dtype=world.dtype)
    positions[:, 0] = translation
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            positions[:, joint] = positions[:, parent] + world[:, parent] @ rest_offsets[joint]
    return positions

"""What a motion has to meet, frame by frame: poses, joints, places."""

from dataclasses import dataclass

import numpy as np

from backend.motion.skeleton import CANONICAL_OFFSETS


@dataclass
class Target:
    """Given parts of a canonical motion at 30 fps; everything that is not given is free.

    rotations (T,22,4) local unit quaternions wxyz, pelvis in the world; joints (T,22) bool: which of them are given.
    translation (T,3) pelvis in metres, Y up; place (T,3) bool: which coordinates are given.
    """

    rotations: np.ndarray
    joints: np.ndarray
    translation: np.ndarray
    place: np.ndarray

    @classmethod
    def empty(cls, frames: int) -> "Target":
        """A target that asks for nothing."""
        rotations = np.zeros((frames, 22, 4))
        rotations[..., 0] = 1.0
        translation = np.zeros((frames, 3))
        translation[:, 1] = -CANONICAL_OFFSETS[[4, 7, 10]].sum(0)[1]
        return cls(rotations, np.zeros((frames, 22), bool), translation, np.zeros((frames, 3), bool))

    @property
    def frames(self) -> int:
        return len(self.rotations)

    @property
    def anchored(self) -> bool:
        """Whether it fixes where the motion happens: a place on the floor or a heading."""
        return bool(self.joints[:, 0].any() or self.place[:, [0, 2]].any())

    def __bool__(self) -> bool:
        return bool(self.joints.any() or self.place.any())

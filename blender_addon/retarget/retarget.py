"""Canonical motion onto a rig."""

from dataclasses import dataclass, field

import numpy as np

from ..rig.bones import BoneMap, Rig
from .motion import CanonicalMotion


@dataclass
class RigAnimation:
    """What to key: per frame, the pose-space (basis) rotation of each bone and the location of one.

    bones: names of the keyed bones, n of them.
    rotations: (T,n,4) unit quaternions wxyz, signs continuous along T.
    root: name of the bone that carries travel.
    root_location: (T,3) basis location of ``root`` (Blender's ``pose_bone.location``).
    fps: frames per second of T.
    """

    bones: list[str]
    rotations: np.ndarray
    root: str
    root_location: np.ndarray
    fps: float
    warnings: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.rotations)


def retarget(
    motion: CanonicalMotion, rig: Rig, bone_map: BoneMap, fps: float | None = None, *, foot_lock: bool = True
) -> RigAnimation:
    """``motion`` on ``rig`` at ``fps`` frames per second (the motion's own when None)."""
    raise NotImplementedError

"""A posed rig back to canonical motion: the inverse of retargeting."""

import numpy as np

from ..rig.bones import BoneMap, Rig
from .motion import CanonicalMotion


def capture(rig: Rig, bone_map: BoneMap, pose: np.ndarray, fps: float) -> CanonicalMotion:
    """Canonical motion of posed bones; ``pose`` (T,n,4,4): armature-space matrices of all bones of ``rig``."""
    raise NotImplementedError

"""World places as the canonical motion counts them."""

from dataclasses import replace

import numpy as np

from ..rig.bones import BoneMap, Rig
from . import controls
from .rest_pose import RestPose, analyse


def canonical_points(rig: Rig, bone_map: BoneMap, points: np.ndarray) -> np.ndarray:
    """World points (n,3) in canonical metres around the figure, Y up: what ``translation`` of its motion would be.

    Raises RigError when the rig cannot be used.
    """
    rest = _rest(rig, bone_map)
    return (np.asarray(points, dtype=np.float64) - rest.origin) @ rest.frame / rest.scale


def world_points(rig: Rig, bone_map: BoneMap, points: np.ndarray) -> np.ndarray:
    """The other way round: canonical points (n,3) in the world."""
    rest = _rest(rig, bone_map)
    return rest.origin + rest.scale * np.asarray(points, dtype=np.float64) @ rest.frame.T


def _rest(rig: Rig, bone_map: BoneMap) -> RestPose:
    plan = controls.find(rig, bone_map)
    if plan is None:
        return analyse(rig, bone_map)
    return analyse(controls.figure(rig, plan.figure), replace(plan.figure, controls=None, twist={}))

"""World places as the canonical motion counts them."""

from dataclasses import replace

import numpy as np

from ..rig.bones import BoneMap, Rig
from . import controls
from .rest_pose import analyse


def canonical_points(rig: Rig, bone_map: BoneMap, points: np.ndarray) -> np.ndarray:
    """World points (n,3) in canonical metres around the figure, Y up: what ``translation`` of its motion would be.

    Raises RigError when the rig cannot be used.
    """
    plan = controls.find(rig, bone_map)
    if plan is not None:
        rest = analyse(controls.figure(rig, plan.figure), replace(plan.figure, controls=None, twist={}))
    else:
        rest = analyse(rig, bone_map)
    return (np.asarray(points, dtype=np.float64) - rest.origin) @ rest.frame / rest.scale

"""An animation in the scene back to canonical motion, for captions and export."""

import bpy

from ..retarget import CanonicalMotion


def capture(
    armature: bpy.types.Object,
    action: bpy.types.Action | None = None,
    frame_range: tuple[int, int] | None = None,
    fps: float | None = 30.0,
) -> CanonicalMotion:
    """The motion of ``armature`` under ``action`` (its active one when None) over ``frame_range`` (inclusive; the
    action's own when None), resampled to ``fps`` (None keeps the scene's rate).

    Raises RigError with a plain sentence when there is no animation or the armature cannot be mapped.
    """
    raise NotImplementedError

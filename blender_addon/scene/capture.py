"""An animation in the scene back to canonical motion, for captions and export."""

import bpy
import numpy as np

from .. import retarget
from ..retarget import CanonicalMotion
from ..rig import BoneMap, Rig, RigError
from . import compat, posing
from .armature import read_mapped

# Longer than any action a caption can be about; keeps a wrong frame range from filling the memory
MAX_FRAMES = 100_000


def scene_fps(scene: bpy.types.Scene | None = None) -> float:
    """Frames per second of the scene."""
    render = (scene or bpy.context.scene).render
    return render.fps / render.fps_base


def active_action(armature: bpy.types.Object) -> bpy.types.Action | None:
    data = armature.animation_data
    return data.action if data is not None else None


def is_animated(armature: bpy.types.Object) -> bool:
    """Whether an action or a strip moves the armature."""
    data = armature.animation_data
    return data is not None and (data.action is not None or any(t.strips and not t.mute for t in data.nla_tracks))


def frame_span(action: bpy.types.Action | None, frame_range: tuple[int, int] | None = None) -> tuple[int, int]:
    """First and last frame of ``frame_range``; when None, of ``action``; without one, of the scene."""
    if frame_range is None:
        scene = bpy.context.scene
        frame_range = tuple(action.frame_range) if action is not None else (scene.frame_start, scene.frame_end)
    return int(np.floor(frame_range[0])), int(np.ceil(frame_range[1]))


def poses(
    armature: bpy.types.Object,
    action: bpy.types.Action | None = None,
    frame_range: tuple[int, int] | None = None,
    mapped: bool = False,
) -> tuple[Rig, np.ndarray, np.ndarray]:
    """(rig, frames (T,), armature-space matrices (T,n,4,4)) of an animation at every scene frame.

    mapped: only what capture reads is wanted; other bones may come back at rest, which saves time on control rigs.
    Raises RigError with a plain sentence when there is nothing to read.
    """
    return _poses(armature, action, frame_range, mapped)[:3]


def _poses(armature, action, frame_range, mapped: bool) -> tuple[Rig, np.ndarray, np.ndarray, BoneMap]:
    rig, mapping = read_mapped(armature)
    current = active_action(armature)
    action = action or current
    data = armature.animation_data
    if action is None and not is_animated(armature):
        raise RigError(f"'{armature.name}' has no animation yet.")
    if action is not None and not compat.fcurves(action, armature):
        raise RigError(f"The action '{action.name}' does not animate '{armature.name}'.")
    first, last = frame_span(action, frame_range)
    if last < first:
        raise RigError("The frame range ends before it starts.")
    if last - first >= MAX_FRAMES:
        raise RigError(f"The frame range is longer than {MAX_FRAMES:,} frames.")
    frames = np.arange(first, last + 1)
    if action is not None and posing.fcurves_tell_everything(armature, action):
        return rig, frames, posing.from_fcurves(armature, rig, action, frames), mapping
    names = retarget.bones_read(rig, mapping.require()) if mapped else None
    if action is None or action == current:
        return rig, frames, posing.from_scene(armature, rig, frames, names), mapping
    slot = data.action_slot if compat.SLOTTED and data is not None else None
    try:
        compat.assign(armature, action)
        return rig, frames, posing.from_scene(armature, rig, frames, names), mapping
    finally:
        compat.assign(armature, current, slot)


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
    rig, _, matrices, mapping = _poses(armature, action, frame_range, mapped=True)
    motion = retarget.capture(rig, mapping.require(), matrices, scene_fps())
    return motion if fps is None else motion.resample(fps)

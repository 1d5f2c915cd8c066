"""Scenes for the tests of blender_addon.scene: armatures built from plain data, and what Blender makes of them."""

import time

import bpy
import numpy as np

from blender_addon import runtime
from blender_addon.rig import Rig


def empty() -> None:
    """An empty file at 30 fps."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 30, 1.0


def build(rig: Rig, name: str = "figure") -> bpy.types.Object:
    """An armature object with the bones and the object matrix of ``rig``."""
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in rig.bones:
        made = armature.data.edit_bones.new(bone.name)
        made.head, made.tail = bone.head, bone.tail
        made.align_roll(bone.matrix[:3, 2])
        if bone.parent:
            made.parent = armature.data.edit_bones[bone.parent]
    bpy.ops.object.mode_set(mode="OBJECT")
    armature.matrix_world = rig.object_matrix.T
    bpy.context.view_layer.update()
    return armature


def rigify() -> bpy.types.Object:
    """The control rig that Rigify makes of its smaller template, in an empty file."""
    empty()
    bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_basic_human_metarig_add()
    bpy.ops.pose.rigify_generate()
    return next(item for item in bpy.data.objects if item.type == "ARMATURE" and item.name != "metarig")


def pixels_of(path) -> np.ndarray:
    """A picture (height,width,4), top row first."""
    image = bpy.data.images.load(str(path))
    pixels = np.empty(len(image.pixels), dtype=np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return pixels


def world_heads(armature: bpy.types.Object, frames) -> dict[str, np.ndarray]:
    """Bone name -> world path (T,3) of its head, as Blender evaluates it."""
    scene = bpy.context.scene
    paths = {bone.name: [] for bone in armature.pose.bones}
    for frame in frames:
        scene.frame_set(int(frame))
        posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        for bone in posed.pose.bones:
            paths[bone.name].append((posed.matrix_world @ bone.matrix).translation[:])
    return {name: np.array(path) for name, path in paths.items()}


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between directions (...,3)."""
    cosine = np.sum(a * b, -1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def tick_until_done() -> None:
    """What Blender does in a window: call the add-on's one timer again and again, until no request runs."""
    end = time.monotonic() + 60
    while runtime._tick() is not None:
        assert time.monotonic() < end, "the timer never ends"
        time.sleep(0.01)


def bone_matrices(armature: bpy.types.Object) -> dict[str, np.ndarray]:
    """Bone name -> world matrix (4,4) now, as Blender evaluates it."""
    posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return {bone.name: np.array(posed.matrix_world @ bone.matrix) for bone in posed.pose.bones}


def poses_apart(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> tuple[float, float]:
    """(metres, degrees): how far the bones of two poses are apart at most."""
    metres = max(float(np.linalg.norm(a[name][:3, 3] - b[name][:3, 3])) for name in a)
    degrees = 0.0
    for name in a:
        turn = np.linalg.solve(a[name][:3, :3], b[name][:3, :3])
        sine = np.linalg.norm(turn - turn.T) / np.sqrt(8)
        degrees = max(degrees, float(np.degrees(np.arctan2(sine, (np.trace(turn) - 1) / 2))))
    return Apart((metres, degrees))


class Apart(tuple):
    """Less than another pair only where both numbers are."""

    def __lt__(self, other) -> bool:
        return all(mine < limit for mine, limit in zip(self, other, strict=True))


def key_values(armature: bpy.types.Object) -> dict[tuple, dict[int, tuple]]:
    """(data path, index) -> frame -> everything that the active action's key there is."""
    from blender_addon.scene import compat

    found = {}
    for curve in compat.fcurves(armature.animation_data.action, armature):
        found[curve.data_path, curve.array_index] = {
            round(key.co[0]): (*key.co, *key.handle_left, *key.handle_right, key.interpolation, key.type, key.easing)
            for key in curve.keyframe_points
        }
    return found

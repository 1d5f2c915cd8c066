"""Posed bone matrices over time, from f-curves where they tell everything, from Blender's evaluation where not."""

import re

import bpy
import numpy as np

from ..retarget import rotations as rot
from ..rig import Rig
from . import compat

_PATH = re.compile(r'pose\.bones\["((?:[^"\\]|\\.)*)"\]\.(\w+)$')
_SIZES = {"location": 3, "scale": 3, "rotation_quaternion": 4, "rotation_euler": 3, "rotation_axis_angle": 4}


def bone_of(data_path: str) -> tuple[str, str] | None:
    """(bone name, property) of an f-curve's data path, or None when it animates something else."""
    found = _PATH.match(data_path)
    return (re.sub(r"\\(.)", r"\1", found.group(1)), found.group(2)) if found else None


def fcurves_tell_everything(armature: bpy.types.Object, action: bpy.types.Action) -> bool:
    """Whether bone poses follow from the action's f-curves alone: no constraints, drivers, NLA or moving object."""
    data = armature.animation_data
    if data is not None and (data.drivers or any(not t.mute and t.strips for t in data.nla_tracks)):
        return False
    if armature.constraints or not _stands_still(armature.parent) or armature.parent_type not in {"OBJECT", "ARMATURE"}:
        return False
    if any(bone_of(curve.data_path) is None for curve in compat.fcurves(action, armature)):
        return False
    for pose_bone in armature.pose.bones:
        if any(not constraint.mute for constraint in pose_bone.constraints):
            return False
    return not _scales(armature, action) or all(bone.inherit_scale == "FULL" for bone in armature.data.bones)


def _stands_still(parent: bpy.types.Object | None) -> bool:
    """Whether an object and all that it hangs from is not animated."""
    while parent is not None:
        data = parent.animation_data
        animated = data is not None and (data.action or data.drivers or data.nla_tracks)
        if animated or parent.constraints or parent.parent_type != "OBJECT":
            return False
        parent = parent.parent
    return True


def _scales(armature: bpy.types.Object, action: bpy.types.Action) -> bool:
    """Whether any bone is scaled, by a key or by hand."""
    if any(curve.data_path.endswith(".scale") for curve in compat.fcurves(action, armature)):
        return True
    scales = np.empty(3 * len(armature.pose.bones), dtype=np.float32)
    armature.pose.bones.foreach_get("scale", scales)
    return bool(np.abs(scales - 1.0).max() > 1e-5)


def from_fcurves(armature: bpy.types.Object, rig: Rig, action: bpy.types.Action, frames: np.ndarray) -> np.ndarray:
    """Armature-space matrices (T,n,4,4) of all bones at ``frames`` (T,); what is not animated keeps its pose."""
    curves: dict[str, dict[str, dict[int, bpy.types.FCurve]]] = {}
    for curve in compat.fcurves(action, armature):
        found = bone_of(curve.data_path)
        if found and not curve.mute:
            curves.setdefault(found[0], {}).setdefault(found[1], {})[curve.array_index] = curve
    times = np.asarray(frames, dtype=np.float64)
    rest = rig.rest
    inverses = np.linalg.inv(rest)
    pose = np.empty((len(times), len(rig.bones), 4, 4))
    for i, bone in enumerate(rig.bones):
        basis = _basis(armature.pose.bones[bone.name], curves.get(bone.name), times)
        parent = rig.parents[i]
        channel = rest[i] if parent < 0 else pose[:, parent] @ (inverses[parent] @ rest[i])
        pose[:, i] = channel @ basis
        # As Blender does: the location has axes of its own, and a bone may keep its rotation from its parent's
        if not bone.local_location:
            axes = np.eye(3) if parent < 0 else pose[:, parent, :3, :3]
            pose[:, i, :3, 3] = channel[..., :3, 3] + (axes @ basis[..., :3, 3:])[..., 0]
        if not bone.inherit_rotation:
            pose[:, i, :3, :3] = rest[i, :3, :3] @ basis[..., :3, :3]
    return pose


def _basis(pose_bone: bpy.types.PoseBone, curves: dict | None, times: np.ndarray) -> np.ndarray:
    """(T,4,4) of one bone, or (4,4) when nothing is animated."""
    if not curves:
        return np.array(pose_bone.matrix_basis)

    def values(name: str) -> np.ndarray:
        now = getattr(pose_bone, name)
        out = np.tile(np.array(now[:], dtype=np.float64), (len(times), 1))
        for index, curve in curves.get(name, {}).items():
            if index < _SIZES[name]:
                out[:, index] = _evaluated(curve, times)
        return out

    mode = pose_bone.rotation_mode
    if mode == "QUATERNION":
        quaternion = rot.normalise(values("rotation_quaternion"))
    elif mode == "AXIS_ANGLE":
        keyed = values("rotation_axis_angle")
        length = np.maximum(np.linalg.norm(keyed[:, 1:], axis=-1, keepdims=True), 1e-12)
        quaternion = rot.from_axis_angle(keyed[:, 1:] / length, keyed[:, 0])
    else:
        quaternion = rot.from_euler(values("rotation_euler"), mode)
    basis = np.tile(np.eye(4), (len(times), 1, 1))
    basis[:, :3, :3] = rot.to_matrix(quaternion) * values("scale")[:, None, :]
    basis[:, :3, 3] = values("location")
    return basis


def _evaluated(curve: bpy.types.FCurve, times: np.ndarray) -> np.ndarray:
    """Values (T,) of an f-curve: those of its keys where every time has one, else evaluated."""
    keys = curve.keyframe_points
    if len(keys) >= len(times) and not curve.modifiers:
        points = np.empty(2 * len(keys), dtype=np.float32)
        keys.foreach_get("co", points)
        known, values = points[0::2], points[1::2]
        place = np.clip(np.searchsorted(known, times - 1e-4), 0, len(known) - 1)
        if np.abs(known[place] - times).max() < 1e-4:
            return values[place]
    return np.array([curve.evaluate(time) for time in times])


def from_scene(armature: bpy.types.Object, rig: Rig, frames: np.ndarray, names: "set[str] | None" = None) -> np.ndarray:
    """The same by stepping through the timeline: slower, but with constraints, drivers, NLA and a moving object.

    The object's own motion is folded into the matrices, which stay relative to ``rig.object_matrix``. ``names``: the
    bones that are wanted, all when None; the others keep their rest. The current frame is restored.
    """
    scene = bpy.context.scene
    before = scene.frame_current, scene.frame_subframe
    still = np.linalg.inv(rig.object_matrix)
    wanted = [bone.name for bone in rig.bones if names is None or bone.name in names]
    places = [rig.index[name] for name in wanted]
    pose = np.tile(rig.rest, (len(frames), 1, 1, 1))
    try:
        for t, frame in enumerate(frames):
            scene.frame_set(int(frame), subframe=float(frame) % 1.0)
            evaluated = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
            bones = evaluated.pose.bones
            matrices = np.array([bones[name].matrix for name in wanted])
            pose[t, places] = (still @ np.array(evaluated.matrix_world)) @ matrices
    finally:
        scene.frame_set(before[0], subframe=before[1])
    return pose

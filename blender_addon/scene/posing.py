"""Posed bone matrices over time, from f-curves where they tell everything, from Blender's evaluation where not."""

import re

import bpy
import numpy as np

from ..retarget import rotations as rot
from ..rig import Rig
from . import compat, following
from .stand_in import stand_in

_PATH = re.compile(r'pose\.bones\["((?:[^"\\]|\\.)*)"\]\.(\w+)$')
_SIZES = {"location": 3, "scale": 3, "rotation_quaternion": 4, "rotation_euler": 3, "rotation_axis_angle": 4}


def bone_of(data_path: str) -> tuple[str, str] | None:
    """(bone name, property) of an f-curve's data path, or None when it animates something else."""
    found = _PATH.match(data_path)
    return (re.sub(r"\\(.)", r"\1", found.group(1)), found.group(2)) if found else None


def fcurves_tell_everything(armature: bpy.types.Object, action: bpy.types.Action) -> bool:
    """Whether bone poses follow from the action's f-curves alone: no constraints, drivers, NLA or moving object."""
    data = armature.animation_data
    if data is not None and data.drivers:
        return False
    if any(bone_of(curve.data_path) is None for curve in compat.fcurves(action, armature)):
        return False
    for pose_bone in armature.pose.bones:
        if any(not constraint.mute for constraint in pose_bone.constraints):
            return False
    if not _moves_only_bones(armature):
        return False
    return not _scales(armature, action) or all(bone.inherit_scale == "FULL" for bone in armature.data.bones)


def _moves_only_bones(armature: bpy.types.Object) -> bool:
    """Whether nothing moves the object itself, and no NLA strip is mixed in."""
    data = armature.animation_data
    if data is not None and any(not track.mute and track.strips for track in data.nla_tracks):
        return False
    return (
        not armature.constraints and armature.parent_type in {"OBJECT", "ARMATURE"} and _stands_still(armature.parent)
    )


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
    curves = _by_bone(armature, action)
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


def _by_bone(armature: bpy.types.Object, action: bpy.types.Action) -> dict:
    """Bone -> property -> array index -> f-curve."""
    curves: dict[str, dict[str, dict[int, bpy.types.FCurve]]] = {}
    for curve in compat.fcurves(action, armature):
        found = bone_of(curve.data_path)
        if found and not curve.mute:
            curves.setdefault(found[0], {}).setdefault(found[1], {})[curve.array_index] = curve
    return curves


def _basis(pose_bone: bpy.types.PoseBone, curves: dict | None, times: np.ndarray) -> np.ndarray:
    """(T,4,4) of one bone, or (4,4) when nothing is animated."""
    if not curves:
        return np.array(pose_bone.matrix_basis)
    quaternion, location, scale = _keyed(pose_bone, curves, times)
    basis = np.tile(np.eye(4), (len(times), 1, 1))
    basis[:, :3, :3] = rot.to_matrix(quaternion) * scale[:, None, :]
    basis[:, :3, 3] = location
    return basis


def _keyed(pose_bone: bpy.types.PoseBone, curves: dict, times: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rotation (T,4), location (T,3) and scale (T,3) of one bone."""

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
    return quaternion, values("location"), values("scale")


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
    """The same with constraints, drivers, NLA and a moving object, as Blender evaluates them.

    The object's own motion is folded into the matrices, which stay relative to ``rig.object_matrix``. ``names``: the
    bones that are wanted, all when None; the others keep their rest. Those of a control rig that is posed by FK are
    worked out from the keys, and stand where Blender puts them on five frames of the range, or the timeline is stepped
    through after all. The scene and its current frame are left alone.
    """
    frames = np.asarray(frames, dtype=np.float64)
    still = np.linalg.inv(rig.object_matrix)
    with stand_in(armature, names, _switches_stand(armature)) as (copied, scene):
        places = [rig.index[bone.name] for bone in copied.pose.bones]
        matrices = np.empty(16 * len(places), dtype=np.float32)
        seen = []

        def stepped(times: np.ndarray) -> np.ndarray:
            pose = np.tile(rig.rest, (len(times), 1, 1, 1))
            for t, frame in enumerate(times):
                scene.frame_set(int(np.floor(frame)), subframe=float(frame) % 1.0)
                evaluated = copied.evaluated_get(scene.view_layers[0].depsgraph)
                evaluated.pose.bones.foreach_get("matrix", matrices)
                columns = matrices.reshape(-1, 4, 4).transpose(0, 2, 1)
                pose[t, places] = (still @ np.array(evaluated.matrix_world)) @ columns
                if len(times) <= _SAMPLES:
                    seen.append(following.mechanism(evaluated))
            return pose

        if names is None or len(frames) <= 2 * _SAMPLES or not _keys_may_tell(armature):
            return stepped(frames)
        samples = np.unique(np.linspace(0, len(frames) - 1, _SAMPLES).astype(int))
        known = stepped(frames[samples])

        def followed(times: np.ndarray) -> np.ndarray | None:
            return following.poses(rig, seen[0], _not_resting(copied, times), names, len(times))

        if all(each == seen[0] for each in seen):
            pose = followed(frames[samples])
            if pose is not None and _agree(pose, known, [rig.index[name] for name in names]):
                return followed(frames)
        return stepped(frames)


# Frames on which what is worked out is compared with what Blender evaluates
_SAMPLES = 5


def _keys_may_tell(armature: bpy.types.Object) -> bool:
    """Whether the active action may tell the pose of a rig with constraints: nothing else moves, and its switches stay
    as they are."""
    data = armature.animation_data
    action = data.action if data is not None else None
    if action is None or not _moves_only_bones(armature) or _scales(armature, action):
        return False
    return _switches_stand(armature)


def _switches_stand(armature: bpy.types.Object) -> bool:
    """Whether the animation moves bones and nothing else of the armature, its custom properties least of all."""
    for data in (armature.animation_data, armature.data.animation_data):
        if data is not None and any(track.strips and not track.mute for track in data.nla_tracks):
            return False
    if armature.data.animation_data is not None and armature.data.animation_data.action is not None:
        return False
    data = armature.animation_data
    action = data.action if data is not None else None
    curves = compat.fcurves(action, armature) if action is not None else ()
    return all(bone_of(curve.data_path) or _constant(curve) for curve in curves)


def _constant(curve: bpy.types.FCurve) -> bool:
    values = np.empty(2 * len(curve.keyframe_points), dtype=np.float32)
    curve.keyframe_points.foreach_get("co", values)
    return curve.data_path.startswith("pose.bones[") and not curve.modifiers and np.ptp(values[1::2]) == 0.0


def _not_resting(armature: bpy.types.Object, times: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bone -> rotation (T,4) and location (T,3) of those that are keyed or posed by hand."""
    curves = _by_bone(armature, armature.animation_data.action)
    found = {}
    for bone in armature.pose.bones:
        if bone.name in curves or not np.allclose(np.array(bone.matrix_basis), np.eye(4), atol=1e-6):
            found[bone.name] = _keyed(bone, curves.get(bone.name, {}), times)[:2]
    return found


def _agree(pose: np.ndarray, known: np.ndarray, places: list[int]) -> bool:
    """Whether matrices (T,n,4,4) put the heads of bones in the same places, within a thousandth of the figure."""
    heads = known[:, places, :3, 3]
    height = np.ptp(heads.reshape(-1, 3), axis=0).max()
    return bool(np.abs(pose[:, places, :3, 3] - heads).max() < 5e-4 * height)

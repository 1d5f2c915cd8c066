"""Poses of an armature, as its own bones have them and as canonical ones: what a motion is asked to meet."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import bpy
import numpy as np

from .. import retarget
from ..retarget import CanonicalMotion, controls
from ..rig import RigError
from . import capture, keys, posing, splice, stored_map
from .armature import read_rig

_ROTATIONS = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}


@dataclass
class Pose:
    """One pose. values: data path on the armature -> the keyed values that show it; rotations (22,4) wxyz and
    translation (3,): the same pose, canonical."""

    values: dict[str, list[float]]
    rotations: np.ndarray
    translation: np.ndarray

    @property
    def motion(self) -> CanonicalMotion:
        """The pose as a motion of one frame."""
        return CanonicalMotion(self.rotations[None], self.translation[None])

    def pack(self) -> str:
        """As text, to be stored."""
        values = {path: [round(x, 7) for x in row] for path, row in self.values.items()}
        canonical = {name: np.round(getattr(self, name), 7).tolist() for name in ("rotations", "translation")}
        return json.dumps({"values": values, **canonical})

    @classmethod
    def unpack(cls, text: str) -> "Pose":
        """What :meth:`pack` made. Raises RigError for anything else."""
        try:
            stored = json.loads(text)
            rotations = np.array(stored["rotations"], dtype=np.float64)
            translation = np.array(stored["translation"], dtype=np.float64)
            values = {str(path): [float(x) for x in row] for path, row in stored["values"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RigError("A stored pose cannot be read; take it again.") from error
        if rotations.shape != (22, 4) or translation.shape != (3,):
            raise RigError("A stored pose cannot be read; take it again.")
        return cls(values, rotations, translation)


def present(armature: bpy.types.Object) -> Pose:
    """The pose that ``armature`` has now, keyed or not. Raises RigError."""
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    evaluated = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    still = np.linalg.inv(rig.object_matrix) @ np.array(evaluated.matrix_world)
    matrices = np.array([np.array(evaluated.pose.bones[bone.name].matrix) for bone in rig.bones])
    return _pose(armature, rig, (still @ matrices)[None], _values(armature))


def shown(armature: bpy.types.Object, frames: Iterable[int]) -> dict[int, Pose]:
    """The poses that the animation of ``armature`` shows at scene ``frames``. Raises RigError without animation.

    What is posed but not keyed stays as it is.
    """
    action = capture.active_action(armature)
    curves = splice.curves_of(armature, action) if action is not None else {}
    told = action is not None and posing.fcurves_tell_everything(armature, action)
    kept = _values(armature)
    found = {}
    try:
        for frame in sorted({int(frame) for frame in frames}):
            rig, _, matrices = capture.poses(armature, None, (frame, frame), mapped=True)
            values = dict(kept) if action is not None else _values_at(armature, frame)
            for (path, index), curve in curves.items():
                if path in values and index < len(values[path]) and len(curve.keyframe_points):
                    values[path] = [*values[path][:index], curve.evaluate(float(frame)), *values[path][index + 1 :]]
            found[frame] = _pose(armature, rig, matrices, values)
    finally:
        if not told:
            _put_back(armature, kept)
    return found


def of_action(armature: bpy.types.Object, action: bpy.types.Action) -> Pose:
    """The pose at the first frame of ``action`` (of a pose library, for example) on ``armature``. Raises RigError."""
    curves = splice.curves_of(armature, action)
    if not curves:
        raise RigError(f"The action '{action.name}' holds no pose of '{armature.name}'.")
    frame = float(action.frame_range[0])
    values = _values(armature)
    for (path, index), curve in curves.items():
        if path in values and index < len(values[path]):
            values[path] = [*values[path][:index], curve.evaluate(frame), *values[path][index + 1 :]]
    rig = read_rig(armature)
    return _pose(armature, rig, posing.from_fcurves(armature, rig, action, np.array([frame])), values)


def keyed_frames(
    armature: bpy.types.Object, first: int | None = None, last: int | None = None, selected: bool = False
) -> list[int]:
    """The frames at which the active action has keys of bones, in order; ``selected``: of keys that are selected."""
    action = capture.active_action(armature)
    found: set[int] = set()
    for (path, _), curve in (splice.curves_of(armature, action) if action is not None else {}).items():
        if not posing.bone_of(path):
            continue
        frames = np.empty(2 * len(curve.keyframe_points), dtype=np.float32)
        curve.keyframe_points.foreach_get("co", frames)
        chosen = np.ones(len(curve.keyframe_points), dtype=bool)
        if selected:
            curve.keyframe_points.foreach_get("select_control_point", chosen)
            chosen &= curve.select
        found.update(int(round(float(frame))) for frame in frames[0::2][chosen])
    return sorted(f for f in found if (first is None or f >= first) and (last is None or f <= last))


def _pose(armature: bpy.types.Object, rig, matrices: np.ndarray, values: dict[str, list[float]]) -> Pose:
    """The pose of matrices (1,n,4,4), which the keyed ``values`` show."""
    mapping = stored_map.bone_map(armature, rig.bones).require()
    motion = retarget.capture(rig, mapping, matrices, capture.scene_fps())
    if mapping.controls is not None and mapping.controls.switches:
        values = values | _other_controls(armature, rig, mapping, matrices, values)
    return Pose(values, motion.rotations[0], motion.translation[0])


def _other_controls(armature, rig, mapping, matrices: np.ndarray, values: dict[str, list[float]]) -> dict:
    """Values of the controls of limbs that the pose was not made with, FK or IK, so that these show it as well. A limb
    under IK without its pole target is not made with what is keyed later, and gets both."""
    rotations, locations = controls.in_step(rig, mapping, matrices)
    known, found = mapping.controls, {}
    fk = {name for names in known.fk.values() for name in names}
    rolls = {ik.roll for ik in known.ik.values()}
    for limb in known.switches:
        used = shown_by(mapping, limb, values)
        for name in controls.limb_bones(rig, mapping, limb):
            if used is not None and (name in fk) == (used == "FK"):
                continue
            path, mode = keys.bone_path(name), armature.pose.bones[name].rotation_mode
            still = name in rolls
            if name in rotations or still:
                turn = np.array([[1.0, 0.0, 0.0, 0.0]]) if still else rotations[name]
                channel, row = keys.rotation_channels(mode, turn)
                found[f"{path}.{channel}"] = [float(x) for x in row[0]]
            if name in locations or still:
                found[f"{path}.location"] = [0.0] * 3 if still else [float(x) for x in locations[name][0]]
    return found


def shown_by(mapping, limb: str, values: dict[str, list[float]]) -> "str | None":
    """Which controls of a limb (of ``controls.switches``) show the pose of keyed ``values``: "FK", "IK", or None for
    IK whose pole target is switched off."""
    switch, ik = mapping.controls.switches[limb], mapping.controls.ik.get(limb)
    value = values.get(keys.property_path(switch.bone, switch.name), [switch.fk])[0]
    if abs(value - switch.fk) <= abs(value - switch.ik):
        return "FK"
    if ik is not None and ik.pole_switch:
        bone, name, works = ik.pole_switch
        if abs(values.get(keys.property_path(bone, name), [works])[0] - works) > 0.5:
            return None
    return "IK"


def _values(armature: bpy.types.Object) -> dict[str, list[float]]:
    """Location, rotation and switches of every bone as they are now, by data path."""
    found = {}
    for bone in armature.pose.bones:
        path, name = keys.bone_path(bone.name), _ROTATIONS.get(bone.rotation_mode, "rotation_euler")
        found[f"{path}.location"] = [float(x) for x in bone.location]
        found[f"{path}.{name}"] = [float(x) for x in getattr(bone, name)]
        for switch, value in bone.items():  # which controls a control rig listens to, among others
            if isinstance(value, (int, float)):
                found[keys.property_path(bone.name, switch)] = [float(value)]
    return found


def _values_at(armature: bpy.types.Object, frame: int) -> dict[str, list[float]]:
    """The same at a frame, as the NLA shows it."""
    scene = bpy.context.scene
    before = scene.frame_current, scene.frame_subframe
    try:
        scene.frame_set(frame)
        return _values(armature)
    finally:
        scene.frame_set(before[0], subframe=before[1])


def _put_back(armature: bpy.types.Object, values: dict[str, list[float]]) -> None:
    """Undo what stepping through the timeline did to bones that are posed but not keyed."""
    for bone in armature.pose.bones:
        path, name = keys.bone_path(bone.name), _ROTATIONS.get(bone.rotation_mode, "rotation_euler")
        for attribute in ("location", name):
            wanted = values.get(f"{path}.{attribute}")
            if wanted is not None and list(getattr(bone, attribute)) != wanted:
                setattr(bone, attribute, wanted)

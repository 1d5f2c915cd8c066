"""Keyframes: an action from retargeted motion, never touching what was there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ..retarget import RigAnimation
from ..retarget import rotations as rot
from ..rig import RigError
from . import compat, key_data, posing
from .armature import keep_reference, problem

_METADATA = "momug"


@dataclass
class Channel:
    """The keyed values of one property of one bone.

    path: its data path on the armature. mode: the bone's rotation mode, empty for what is not a rotation.
    values: (T,k), one column for each f-curve. keep: (T,) the frames that get a key, all when None. single: a plain
    number, which has no array index. hold: a switch that must not glide from one value to another.
    """

    bone: str
    path: str
    mode: str
    values: np.ndarray
    keep: np.ndarray | None = None
    single: bool = False
    hold: bool = False

    @property
    def curves(self) -> Iterator[tuple[int, np.ndarray]]:
        """(array index, values (T,)) of each f-curve."""
        return enumerate(self.values.T)


def channels(armature: bpy.types.Object, animation: RigAnimation, only: "set[str] | None" = None) -> list[Channel]:
    """What to key on ``armature`` to show ``animation``, rotations in each bone's own rotation mode.

    only: names of the bones that are wanted, all when None. Raises RigError when a bone is gone.
    """
    wanted = [*animation.bones, *animation.locations, *animation.rested, *(bone for bone, _ in animation.properties)]
    missing = [bone for bone in wanted if bone not in armature.pose.bones]
    if missing:
        raise RigError(f"'{armature.name}' has no bone called '{missing[0]}' any more.")
    found = []
    locations = {**animation.locations, animation.root: animation.root_location}
    for k, bone in enumerate(animation.bones):
        mode = armature.pose.bones[bone].rotation_mode
        path, values = rotation_channels(mode, animation.rotations[:, k])
        found.append(Channel(bone, f"{bone_path(bone)}.{path}", mode, values))
    for bone, location in locations.items():
        found.append(Channel(bone, f"{bone_path(bone)}.location", "", np.asarray(location)))
    first = np.arange(animation.frames) == 0
    for bone in animation.rested:
        mode = armature.pose.bones[bone].rotation_mode
        still = np.tile((1.0, 0.0, 0.0, 0.0), (animation.frames, 1))
        path, values = rotation_channels(mode, still)
        found.append(Channel(bone, f"{bone_path(bone)}.{path}", mode, values, first))
        found.append(Channel(bone, f"{bone_path(bone)}.location", "", np.zeros((animation.frames, 3)), first))
    for (bone, name), value in animation.properties.items():
        path = property_path(bone, name)
        values = np.full((animation.frames, 1), float(value))
        found.append(Channel(bone, path, "", values, first, single=True, hold=True))
    return [channel for channel in found if only is None or channel.bone in only]


def bone_path(bone: str) -> str:
    """The data path of a pose bone on its armature object."""
    return f'pose.bones["{bpy.utils.escape_identifier(bone)}"]'


def property_path(bone: str, name: str) -> str:
    """The data path of a custom property of a pose bone on its armature object."""
    return f'{bone_path(bone)}["{bpy.utils.escape_identifier(name)}"]'


def write_action(
    armature: bpy.types.Object,
    animation: RigAnimation,
    name: str,
    frame_start: int,
    metadata: dict | None = None,
) -> bpy.types.Action:
    """A new action called ``name``, made active on ``armature`` with its slot bound.

    Rotation keys in each bone's own rotation mode and location keys of the root, one a frame from ``frame_start``,
    typed GENERATED. The action that was active before stays in the file untouched (fake user). ``metadata`` (JSON-able)
    is stored on the action; read it with :func:`read_metadata`.
    """
    action, slot = make_action(armature, animation, name, frame_start, metadata)
    previous = armature.animation_data.action if armature.animation_data else None
    if previous is not None:
        previous.use_fake_user = True
        clear_leftovers(armature, previous)
    compat.assign(armature, action, slot)
    return action


def make_action(
    armature: bpy.types.Object,
    animation: RigAnimation,
    name: str,
    frame_start: int,
    metadata: dict | None = None,
    wanted: list[Channel] | None = None,
) -> tuple[bpy.types.Action, object]:
    """The same without assigning it: (action, its slot or None before 4.4). wanted: channels, all when None."""
    sentence = problem(armature)
    if sentence:
        raise RigError(sentence)
    wanted = channels(armature, animation) if wanted is None else wanted
    stored = json.dumps(metadata or {}, ensure_ascii=False)
    action, slot = compat.new_action(action_name(name), armature)
    try:
        write_channels(compat.channels(action, slot, ensure=True), wanted, frame_start)
        action[_METADATA] = stored
    except Exception:
        bpy.data.actions.remove(action)
        raise
    if animation.reference is not None:
        keep_reference(armature, animation.reference)
    return action, slot


def write_channels(bag, wanted: list[Channel], frame_start: int) -> None:
    """Write whole new f-curves into a channelbag: about fifteen times faster than keyframe_insert."""
    groups: dict[str, bpy.types.ActionGroup] = {}
    for channel in wanted:
        if channel.bone not in groups:
            groups[channel.bone] = bag.groups.new(channel.bone)
        frames = frame_start + np.arange(len(channel.values))
        for index, values in channel.curves:
            curve = bag.fcurves.new(channel.path, index=index)
            curve.group = groups[channel.bone]
            if channel.single:
                key_data.write_new(curve, frames[:1], values[:1])
                continue
            if channel.keep is not None:
                key_data.write_new(curve, frames[channel.keep], values[channel.keep])
            else:
                key_data.write_new(curve, frames, values)


def append(armature: bpy.types.Object, action: bpy.types.Action, wanted: list[Channel], frame_start: int) -> None:
    """Keys for the next frames, from ``frame_start`` on, at the end of curves that ``action`` has already.

    For motion that comes in pieces: what is keyed once only, and curves that are gone, are left out.
    """
    there = {(curve.data_path, curve.array_index): curve for curve in compat.fcurves(action, armature)}
    for channel in wanted:
        if channel.single or channel.keep is not None:
            continue
        for index, values in channel.curves:
            curve = there.get((channel.path, index))
            if curve is None:
                continue
            points = curve.keyframe_points
            at = len(points)
            points.add(len(values))  # one by one from here: foreach_set would write all keys anew
            for k, value in enumerate(values):
                point = points[at + k]
                point.interpolation = "LINEAR"
                point.co = (frame_start + k, value)
    action.update_tag()


def write_metadata(action: bpy.types.Action, metadata: dict) -> None:
    """Store ``metadata`` (JSON-able) on an action."""
    action[_METADATA] = json.dumps(metadata, ensure_ascii=False)


def read_metadata(action: bpy.types.Action) -> dict:
    """What :func:`write_action` stored; empty for other actions."""
    try:
        stored = json.loads(action.get(_METADATA, "{}"))
    except (TypeError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def action_name(prompt: str) -> str:
    """A datablock name from a prompt: one line, within Blender's 63 bytes, never empty."""
    text = " ".join(prompt.split()) or "Motion"
    return text.encode("utf-8")[:60].decode("utf-8", "ignore").strip()


def rotation_channels(mode: str, quaternions: np.ndarray) -> tuple[str, np.ndarray]:
    """(property, values (T,3 or 4)) that key continuous ``quaternions`` (T,4) in a bone's rotation mode."""
    if mode == "QUATERNION":
        return "rotation_quaternion", quaternions
    if mode == "AXIS_ANGLE":
        return "rotation_axis_angle", rot.to_axis_and_angle(quaternions)
    return "rotation_euler", rot.to_euler(quaternions, mode)


def clear_leftovers(armature: bpy.types.Object, previous: bpy.types.Action) -> None:
    """Put bones that the previous action moved back to rest: its last pose must not mix into the new motion."""
    for curve in compat.fcurves(previous, armature):
        found = posing.bone_of(curve.data_path)
        pose_bone = armature.pose.bones.get(found[0]) if found else None
        if pose_bone is None:
            continue
        if found[1] == "location":
            pose_bone.location = (0.0, 0.0, 0.0)
        elif found[1] == "scale":
            pose_bone.scale = (1.0, 1.0, 1.0)
        elif found[1] == "rotation_quaternion":
            pose_bone.rotation_quaternion = (1.0, 0.0, 0.0, 0.0)
        elif found[1] == "rotation_euler":
            pose_bone.rotation_euler = (0.0, 0.0, 0.0)
        elif found[1] == "rotation_axis_angle":
            pose_bone.rotation_axis_angle = (0.0, 0.0, 1.0, 0.0)

"""The only file that asks for Blender's version: actions, slots and channelbags from 3.4 to 5.2.

Before 4.4 an action holds f-curves for one datablock. From 4.4 on it holds slots (one for each animated datablock),
and the f-curves lie in a channelbag for each slot; ``Action.fcurves`` and ``Action.groups`` are gone in 5.0.
"""

import bpy
import numpy as np

VERSION: tuple[int, int, int] = tuple(bpy.app.version)
SLOTTED = VERSION >= (4, 4, 0)


def new_action(name: str, target: bpy.types.ID) -> tuple[bpy.types.Action, object]:
    """A new action and its slot for ``target`` (None before 4.4)."""
    action = bpy.data.actions.new(name)
    if not SLOTTED:
        return action, None
    return action, action.slots.new(id_type=target.id_type, name=target.name)


def channels(action: bpy.types.Action, slot, ensure: bool = False):
    """What holds ``fcurves`` and ``groups`` of a slot: a channelbag, or the action itself before 4.4.

    None when the slot has no channels and ``ensure`` is false.
    """
    if not SLOTTED:
        return action
    if ensure:
        layer = action.layers[0] if action.layers else action.layers.new("Layer")
        strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
        return strip.channelbag(slot, ensure=True)
    for layer in action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(slot) if slot is not None else None
            if bag is not None:
                return bag
    return None


def slot_for(action: bpy.types.Action, target: bpy.types.ID):
    """The slot of ``action`` that animates ``target``: the bound one, one of its name, or the first for objects."""
    if not SLOTTED:
        return None
    data = target.animation_data
    if data is not None and data.action == action and data.action_slot is not None:
        return data.action_slot
    slots = [slot for slot in action.slots if slot.target_id_type in (target.id_type, "UNSPECIFIED")]
    named = [slot for slot in slots if slot.name_display == target.name]
    return (named or slots or [None])[0]


def fcurves(action: bpy.types.Action, target: bpy.types.ID) -> list[bpy.types.FCurve]:
    """The f-curves by which ``action`` animates ``target``."""
    bag = channels(action, slot_for(action, target))
    return list(bag.fcurves) if bag is not None else []


def assign(target: bpy.types.ID, action: bpy.types.Action | None, slot=None) -> None:
    """Make ``action`` the active action of ``target`` with ``slot`` bound (found by itself when None)."""
    data = target.animation_data or target.animation_data_create()
    data.action = action
    if SLOTTED and action is not None:
        data.action_slot = slot if slot is not None else slot_for(action, target)


def slot_name(target: bpy.types.ID) -> str:
    """What finds the bound slot of ``target`` again; empty when there is none, and before 4.4."""
    data = target.animation_data
    slot = data.action_slot if SLOTTED and data is not None else None
    return slot.identifier if slot is not None else ""


def slot_named(action: bpy.types.Action, name: str):
    """The slot of ``action`` with this identifier, or None."""
    if not SLOTTED or not name:
        return None
    return next((slot for slot in action.slots if slot.identifier == name), None)


def remove_curve(action: bpy.types.Action, target: bpy.types.ID, curve: bpy.types.FCurve) -> None:
    """Take one f-curve out of ``action``, and its group when that is empty then."""
    bag = channels(action, slot_for(action, target))
    group = curve.group.name if curve.group is not None else None
    bag.fcurves.remove(curve)
    for left in [other for other in bag.groups if other.name == group and not len(other.channels)]:
        bag.groups.remove(left)  # newer versions have done so


def add_strip(
    target: bpy.types.ID, action: bpy.types.Action, slot, frame_start: float, name: str
) -> tuple[bpy.types.NlaTrack, bpy.types.NlaStrip]:
    """A new track on top with one strip of ``action``: full influence, its slot bound."""
    data = target.animation_data or target.animation_data_create()
    track = data.nla_tracks.new()
    track.name = name
    strip = track.strips.new(name, int(frame_start), action)
    bind_strip(strip, slot if slot is not None else slot_for(action, target))
    strip.use_animated_influence = False
    strip.influence = 1.0  # strips that Python makes start with 0
    return track, strip


def bind_strip(strip: bpy.types.NlaStrip, slot) -> None:
    """Let an NLA strip play ``slot`` of its action."""
    if SLOTTED:
        strip.action_slot = slot


def key_type_generated() -> int:
    """The number of the key type GENERATED; versions that lack it (before 4.3) get JITTER, a colour of its own."""
    items = bpy.types.Keyframe.bl_rna.properties["type"].enum_items
    return items["GENERATED" if "GENERATED" in items else "JITTER"].value


def interpolation(name: str) -> int:
    """The number of an interpolation mode of keyframes."""
    return bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items[name].value


def handle_type(name: str) -> int:
    """The number of a handle type of keyframes."""
    return bpy.types.Keyframe.bl_rna.properties["handle_left_type"].enum_items[name].value


def get_handle_types(points, name: str) -> np.ndarray:
    """``handle_left_type`` or ``handle_right_type`` of all ``points`` as numbers (n,) int32."""
    if VERSION >= (4, 0, 0):
        types = np.empty(len(points), dtype=np.int32)
        points.foreach_get(name, types)
        return types
    # foreach_get reads beyond the single byte that holds the type there
    numbers = {item.identifier: item.value for item in bpy.types.Keyframe.bl_rna.properties[name].enum_items}
    return np.array([numbers[getattr(point, name)] for point in points], dtype=np.int32)


def set_handle_types(points, name: str, types: np.ndarray) -> None:
    """The other way round."""
    if VERSION >= (4, 0, 0):
        points.foreach_set(name, np.ascontiguousarray(types, dtype=np.int32))
        return
    names = {item.value: item.identifier for item in bpy.types.Keyframe.bl_rna.properties[name].enum_items}
    for point, number in zip(points, types, strict=True):
        setattr(point, name, names[int(number)])


def select_bone(pose_bone: bpy.types.PoseBone, selected: bool) -> None:
    """Select a bone in pose mode: a property of the bone at first, of the pose bone in newer versions."""
    (pose_bone if hasattr(pose_bone, "select") else pose_bone.bone).select = selected


def is_selected(pose_bone: bpy.types.PoseBone) -> bool:
    return bool((pose_bone if hasattr(pose_bone, "select") else pose_bone.bone).select)


def flat_shader() -> str:
    """The name of the built-in shader that fills with one colour."""
    return "UNIFORM_COLOR" if VERSION >= (4, 0, 0) else "2D_UNIFORM_COLOR"

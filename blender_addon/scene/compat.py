"""The only file that asks for Blender's version: actions, slots and channelbags from 3.4 to 5.2.

Before 4.4 an action holds f-curves for one datablock. From 4.4 on it holds slots (one for each animated datablock),
and the f-curves lie in a channelbag for each slot; ``Action.fcurves`` and ``Action.groups`` are gone in 5.0.
"""

import bpy

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


def key_type_generated() -> int:
    """The number of the key type GENERATED; versions that lack it (before 4.3) get JITTER, a colour of its own."""
    items = bpy.types.Keyframe.bl_rna.properties["type"].enum_items
    return items["GENERATED" if "GENERATED" in items else "JITTER"].value


def interpolation(name: str) -> int:
    """The number of an interpolation mode of keyframes."""
    return bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items[name].value


def select_bone(pose_bone: bpy.types.PoseBone, selected: bool) -> None:
    """Select a bone in pose mode: a property of the bone at first, of the pose bone in newer versions."""
    (pose_bone if hasattr(pose_bone, "select") else pose_bone.bone).select = selected


def is_selected(pose_bone: bpy.types.PoseBone) -> bool:
    return bool((pose_bone if hasattr(pose_bone, "select") else pose_bone.bone).select)

"""What a control rig shows, on a plain armature of its deforming bones: what other programs can read."""

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..retarget import controls
from ..retarget import rotations as rot
from ..rig import BoneMap, Rig, RigError
from . import compat, keys
from .capture import poses

_LAYERS = ("ORG-", "DEF-", "MCH-")


def deform_parents(rig: Rig, mapping: BoneMap) -> dict[str, str | None]:
    """Deforming bone -> the deforming bone it hangs from (None for the root), parents first.

    Rigs hang them from bones that do not deform. There, a deforming bone of the same name but for the layer's prefix
    stands in ("DEF-spine" for "ORG-spine"), or else the one of the joint that the body has above.
    """
    deforming = {bone.name for bone in rig.bones if bone.deform}
    twins = {_plain(name): name for name in sorted(deforming, reverse=True)}
    figure = {bone.name: bone.parent for bone in controls.figure(rig, mapping).bones}
    pelvis = mapping.bone("pelvis")
    found: dict[str, str | None] = {}
    for bone in rig.bones:
        if bone.name not in deforming:
            continue
        above, parent = bone.parent, None
        while above is not None and parent is None:
            twin = above if above in deforming else twins.get(_plain(above))
            parent = twin if twin != bone.name else None
            above = rig.bones[rig.index[above]].parent
        if bone.name == pelvis:
            parent = None
        elif parent is None:
            parent = figure.get(bone.name) or pelvis
        found[bone.name] = parent
    ordered: dict[str, str | None] = {}

    def add(name: str, below: tuple[str, ...] = ()) -> None:
        if name in ordered:
            return
        parent = found[name]
        if parent in below or parent == name:  # two bones that stand in for each other
            parent = pelvis
        if parent is not None:
            add(parent, (*below, name))
        ordered[name] = parent

    add(pelvis)
    for name in found:
        add(name)
    return ordered


def _plain(name: str) -> str:
    for prefix in _LAYERS:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def can_bake(rig: Rig, mapping: BoneMap) -> bool:
    """Whether this is a control rig whose deforming bones are a whole body."""
    if mapping.error is not None or mapping.controls is None:
        return False
    return all(rig.bones[rig.index[name]].deform for listed in mapping.joints.values() for name in listed)


@contextmanager
def plain_copy(
    armature: bpy.types.Object, mapping: BoneMap, frame_range: tuple[int, int] | None, skins: list[bpy.types.Object]
) -> Iterator[bpy.types.Object]:
    """An armature of the deforming bones in place of ``armature``: its name, its motion as keys, copies of ``skins``
    on it. Everything is taken away again, and the names are put back. Squash and stretch is not carried."""
    rig, frames, matrices = poses(armature, None, frame_range)
    parents = deform_parents(rig, mapping)
    data = bpy.data.armatures.new(armature.data.name)
    made: list[bpy.types.ID] = [data]
    renamed: list[tuple[bpy.types.Object, str]] = []
    active = bpy.context.view_layer.objects.active
    try:
        copied = bpy.data.objects.new(_take_name(armature, renamed), data)
        made.append(copied)
        bpy.context.scene.collection.objects.link(copied)
        copied.matrix_world = np.array(rig.object_matrix).T
        _add_bones(copied, rig, parents)
        action, slot = compat.new_action(_action_name(armature), copied)
        made.append(action)
        keys.write_channels(
            compat.channels(action, slot, ensure=True), _channels(rig, parents, matrices), int(frames[0])
        )
        compat.assign(copied, action, slot)
        for skin in skins:
            other = skin.copy()
            made.append(other)
            other.name = _take_name(skin, renamed)
            bpy.context.scene.collection.objects.link(other)
            _rebind(other, armature, copied, parents)
        bpy.context.view_layer.update()
        yield copied
    except (RuntimeError, AttributeError, TypeError) as error:
        raise RigError(f"The deforming bones of '{armature.name}' could not be exported: {error}") from error
    finally:
        bpy.context.view_layer.objects.active = active
        for one in reversed(made):
            kind = {bpy.types.Object: bpy.data.objects, bpy.types.Action: bpy.data.actions}.get(type(one))
            (kind or bpy.data.armatures).remove(one)
        for one, name in renamed:
            one.name = name


def _take_name(thing: bpy.types.Object, renamed: list) -> str:
    name = thing.name
    if thing.library is None and thing.override_library is None:
        thing.name = f"{name[:50]} (rig)"
        renamed.append((thing, name))
    return name


def _action_name(armature: bpy.types.Object) -> str:
    action = armature.animation_data.action
    return action.name if action is not None else "Animation"


def _add_bones(copied: bpy.types.Object, rig: Rig, parents: dict[str, str | None]) -> None:
    view_layer = bpy.context.view_layer
    for other in list(bpy.context.selected_objects):
        other.select_set(False)
    view_layer.objects.active = copied
    copied.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    for name, parent in parents.items():
        bone = rig.bones[rig.index[name]]
        edit = copied.data.edit_bones.new(name)
        edit.head, edit.tail = bone.head, bone.tail
        edit.align_roll(bone.matrix[:3, 2])
        if parent is not None:
            edit.parent = copied.data.edit_bones[parent]
    bpy.ops.object.mode_set(mode="OBJECT")
    copied.select_set(False)


def _channels(rig: Rig, parents: dict[str, str | None], matrices: np.ndarray) -> list[keys.Channel]:
    rest = rig.rest

    def posed(name: str) -> np.ndarray:
        pose = matrices[:, rig.index[name]].copy()
        pose[:, :3, :3] = rot.to_matrix(rot.from_matrix(_unscaled(pose[:, :3, :3])))
        return pose

    known = {name: posed(name) for name in parents}
    found = []
    for name, parent in parents.items():
        own = rest[rig.index[name]]
        base = own if parent is None else known[parent] @ (np.linalg.inv(rest[rig.index[parent]]) @ own)
        basis = np.linalg.inv(base) @ known[name]
        path = keys.bone_path(name)
        turns = rot.continuous(rot.from_matrix(basis[:, :3, :3]))
        found.append(keys.Channel(name, f"{path}.rotation_quaternion", "QUATERNION", turns))
        found.append(keys.Channel(name, f"{path}.location", "", basis[:, :3, 3]))
    return found


def _unscaled(axes: np.ndarray) -> np.ndarray:
    return axes / np.maximum(np.linalg.norm(axes, axis=-2, keepdims=True), 1e-12)


def _rebind(
    skin: bpy.types.Object, old: bpy.types.Object, new: bpy.types.Object, parents: dict[str, str | None]
) -> None:
    for modifier in skin.modifiers:
        if modifier.type == "ARMATURE" and modifier.object == old:
            modifier.object = new
    if skin.parent != old:
        return
    world = skin.matrix_world.copy()
    bone = skin.parent_bone
    skin.parent = new
    if skin.parent_type == "BONE":
        twins = {_plain(name): name for name in parents}
        skin.parent_bone = bone if bone in parents else twins.get(_plain(bone), next(iter(parents)))
    bpy.context.view_layer.update()
    skin.matrix_world = world

"""A stand-in for an armature, so that stepping through its animation costs no more than the bones that are wanted.

Blender evaluates a whole scene for every frame: meshes with their modifiers, and of a control rig hundreds of bones of
the face. The stand-in is a copy of the armature alone in a scene of its own, without the bones that nothing depends on.
What its constraints, drivers and parents look at outside the armature is evaluated with it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import bpy

_BONE = re.compile(r'^(?:pose\.)?bones\["((?:[^"\\]|\\.)*)"\]')


@contextmanager
def stand_in(armature: bpy.types.Object, names: "set[str] | None" = None) -> Iterator[tuple]:
    """(copy of ``armature`` with the bones ``names`` and all that they depend on, scene that holds nothing else).

    names: all bones when None. The copy has the same action, NLA tracks, drivers and constraints; both are removed
    afterwards.
    """
    source = bpy.context.scene
    scene = bpy.data.scenes.new("MoMug stand-in")
    made, data = armature.copy(), armature.data.copy()
    try:
        scene.render.frame_map_old, scene.render.frame_map_new = (
            source.render.frame_map_old,
            source.render.frame_map_new,
        )
        made.data = data
        scene.collection.objects.link(made)
        needed = None if names is None else _needed(armature, names)
        _look_at_itself(armature, made, needed)
        # The copy of a library override is one as well, whose bones cannot be edited: it keeps them all
        if needed is not None and len(needed) < len(armature.data.bones) and made.override_library is None:
            _keep_only(made, scene, needed)
        yield made, scene
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(made)
        bpy.data.armatures.remove(data)


def _bone(data_path: str) -> str | None:
    found = _BONE.match(data_path)
    return re.sub(r"\\(.)", r"\1", found.group(1)) if found else None


def _drivers(armature: bpy.types.Object) -> Iterator[tuple]:
    """(animation data, driver curve) of the object and of its armature."""
    for data in (armature.animation_data, armature.data.animation_data):
        for curve in list(data.drivers) if data is not None else ():
            yield data, curve


def _looks(curve: bpy.types.FCurve, armature: bpy.types.Object) -> Iterator[str]:
    """Bones that a driver reads."""
    for variable in curve.driver.variables:
        for target in variable.targets:
            if target.id in (armature, armature.data):
                yield from filter(None, (target.bone_target, _bone(target.data_path)))


def _needed(armature: bpy.types.Object, names: set[str]) -> set[str]:
    """``names`` with their parents and whatever their constraints and drivers follow."""
    driven: dict[str, list[str]] = {}
    found = set(names)
    for _, curve in _drivers(armature):
        bone = _bone(curve.data_path)
        if bone is None:
            found.update(_looks(curve, armature))
        else:
            driven.setdefault(bone, []).extend(_looks(curve, armature))
    bones = armature.pose.bones
    pending = list(found)
    while pending:
        bone = bones.get(pending.pop())
        if bone is None:
            continue
        more = [bone.parent.name] if bone.parent else []
        more += driven.get(bone.name, [])
        for constraint in bone.constraints:
            followed = [(getattr(constraint, "target", None), getattr(constraint, "subtarget", ""))]
            followed.append((getattr(constraint, "pole_target", None), getattr(constraint, "pole_subtarget", "")))
            followed += [(target.target, target.subtarget) for target in getattr(constraint, "targets", ())]
            more += [name for target, name in followed if target == armature and name]
        fresh = set(more) - found
        found |= fresh
        pending.extend(fresh)
    return {name for name in found if name in bones}


def _look_at_itself(armature: bpy.types.Object, made: bpy.types.Object, needed: "set[str] | None") -> None:
    """What the copy has from the original still follows the original: let it follow the copy."""
    own = {armature: made, armature.data: made.data}
    for data, curve in _drivers(made):
        bone = _bone(curve.data_path)
        if needed is not None and bone is not None and bone not in needed:
            data.drivers.remove(curve)
            continue
        for variable in curve.driver.variables:
            for target in variable.targets:
                if target.id in own:
                    target.id = own[target.id]
    for bone in made.pose.bones:
        if needed is not None and bone.name not in needed:
            continue
        for constraint in bone.constraints:
            for each in (constraint, *getattr(constraint, "targets", ())):
                for name in ("target", "pole_target", "space_object"):
                    if getattr(each, name, None) == armature:
                        setattr(each, name, made)


def _keep_only(made: bpy.types.Object, scene: bpy.types.Scene, needed: set[str]) -> None:
    layer = scene.view_layers[0]
    layer.objects.active = made
    with bpy.context.temp_override(scene=scene, view_layer=layer, object=made, active_object=made):
        bpy.ops.object.mode_set(mode="EDIT")
        bones = made.data.edit_bones
        for bone in list(bones):
            if bone.name not in needed:
                bones.remove(bone)
        bpy.ops.object.mode_set(mode="OBJECT")

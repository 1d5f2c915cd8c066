"""A stand-in for an armature, so that stepping through its animation costs no more than the bones that are wanted.

Blender evaluates a whole scene for every frame: meshes with their modifiers, and of a control rig hundreds of bones of
the face. The stand-in is a copy of the armature alone in a scene of its own, without the bones that nothing depends on.
What its constraints, drivers and parents look at outside the armature is evaluated with it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import bpy

_CONSTRAINT = re.compile(r"pose\.bones\[.*\]\.constraints\[")
_WORD = re.compile(r"[A-Za-z_]\w*")
_BONE = re.compile(r'^(?:pose\.)?bones\["((?:[^"\\]|\\.)*)"\]')


@contextmanager
def stand_in(armature: bpy.types.Object, names: "set[str] | None" = None, settled: bool = False) -> Iterator[tuple]:
    """(copy of ``armature`` with the bones ``names`` and all that they depend on, scene that holds nothing else).

    names: all bones when None. settled: no custom property of the armature changes over the animation, so that drivers
    that read nothing else are evaluated once. The copy has the same action, NLA tracks, and else the same drivers and
    constraints; both are removed afterwards.
    """
    source = bpy.context.scene
    scene = bpy.data.scenes.new("MoMug stand-in")
    made, data = armature.copy(), armature.data.copy()
    try:
        scene.render.frame_map_old, scene.render.frame_map_new = (
            source.render.frame_map_old,
            source.render.frame_map_new,
        )
        made.data, made.hide_viewport = data, False  # Blender neither evaluates nor edits what is hidden everywhere
        scene.collection.objects.link(made)
        _look_at_itself(armature, made)
        # The copy of a library override is one as well, whose bones and constraints cannot be edited: it keeps them all
        own = made.override_library is None
        if names is not None and settled and own:
            _settle(made, scene)
        if names is not None:
            needed = _needed(made, names)
            for animation, curve in _drivers(made):
                if _bone(curve.data_path) not in needed | {None} or curve.data_path.endswith(".hide"):
                    animation.drivers.remove(curve)
            if own and len(needed) < len(data.bones):
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


def _settle(made: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Write down once what drivers of constraints say that read only custom properties, and remove them; then remove
    the constraints that do nothing. Of a generated Rigify rig these are its switches, and the limbs that are switched
    off: a third of what a frame costs."""
    layer = scene.view_layers[0]
    layer.update()
    shown = made.evaluated_get(layer.depsgraph)
    driven = {curve.data_path for _, curve in _drivers(made)}
    left = set()
    for animation, curve in _drivers(made):
        owner, _, name = curve.data_path.rpartition(".")
        if _CONSTRAINT.match(owner) and _reads_switches(curve, made, driven):
            value = getattr(shown.path_resolve(owner), name)
            if isinstance(value, (bool, int, float)):
                setattr(made.path_resolve(owner), name, value)
                animation.drivers.remove(curve)
                continue
        left.add(owner)
    for bone in made.pose.bones:
        listed = list(zip(bone.constraints, shown.pose.bones[bone.name].constraints, strict=True))
        stays = [constraint.path_from_id() not in left for constraint, _ in listed]
        last = max((i for i, (_, seen) in enumerate(listed) if stays[i] and _replaces_all(seen, shown)), default=0)
        for i, (constraint, seen) in enumerate(listed):
            idle = stays[i] and (seen.mute or seen.influence == 0.0)
            if idle or (i < last and constraint.type not in {"IK", "SPLINE_IK"}):
                bone.constraints.remove(constraint)


def _replaces_all(constraint: bpy.types.Constraint, armature: bpy.types.Object) -> bool:
    """Whether a constraint puts its bone where another one is, whatever those before it did."""
    return (
        constraint.type == "COPY_TRANSFORMS"
        and not constraint.mute
        and constraint.influence == 1.0
        and constraint.mix_mode == "REPLACE"
        and {constraint.owner_space, constraint.target_space} <= {"WORLD", "POSE"}
        and constraint.target == armature
        and constraint.subtarget in armature.pose.bones
    )


def _reads_switches(curve: bpy.types.FCurve, made: bpy.types.Object, driven: set[str]) -> bool:
    """Whether a driver depends on nothing but custom properties of the armature that no other driver sets."""
    driver = curve.driver
    variables = {variable.name for variable in driver.variables}
    if driver.use_self or (driver.type == "SCRIPTED" and not set(_WORD.findall(driver.expression)) <= variables):
        return False
    return all(
        variable.type == "SINGLE_PROP"
        and variable.targets[0].id in (made, made.data)
        and variable.targets[0].data_path.endswith("]")
        and variable.targets[0].data_path.replace("'", '"') not in driven
        for variable in driver.variables
    )


def _look_at_itself(armature: bpy.types.Object, made: bpy.types.Object) -> None:
    """What the copy has from the original still follows the original: let it follow the copy."""
    own = {armature: made, armature.data: made.data}
    for _, curve in _drivers(made):
        for variable in curve.driver.variables:
            for target in variable.targets:
                if target.id in own:
                    target.id = own[target.id]
    for bone in made.pose.bones:
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

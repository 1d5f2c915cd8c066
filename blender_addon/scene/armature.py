"""Armature objects as plain data, and whether they can be animated."""

import json
import logging
from collections.abc import Iterable

import bpy
import numpy as np

from ..retarget.rest_pose import is_human
from ..rig import Bone, BoneMap, Constraint, Rig, RigError
from . import compat, following, kept, posing, stored_map

log = logging.getLogger(__name__)
# Constraints that replace what is keyed on a bone
_REPLACING = {"COPY_TRANSFORMS", "COPY_ROTATION", "IK", "SPLINE_IK", "ARMATURE", "CHILD_OF", "DAMPED_TRACK", "TRACK_TO",
              "LOCKED_TRACK", "STRETCH_TO", "ACTION", "TRANSFORM"}  # fmt: skip


def problem(armature: bpy.types.Object | None) -> str | None:
    """Why this object cannot receive motion, one plain sentence; None when it can. Cheap enough for ``poll``."""
    if armature is None:
        return "Select an armature first."
    if armature.type != "ARMATURE":
        return f"'{armature.name}' is not an armature."
    if armature.library is not None:
        return (
            f"'{armature.name}' is linked from another file; make a library override of it "
            "(Object > Library Override > Make) and try again."
        )
    override = armature.override_library
    if override is not None and getattr(override, "is_system_override", False):
        return f"The library override of '{armature.name}' is not editable; make it editable and try again."
    if armature.mode == "EDIT":
        return f"'{armature.name}' is in edit mode; leave it first."
    if not armature.data.bones:
        return f"'{armature.name}' has no bones."
    if armature.animation_data is not None and armature.animation_data.use_tweak_mode:
        return f"'{armature.name}' is tweaking a strip in the NLA editor; leave tweak mode first."
    return None


def bones(armature: bpy.types.Object) -> list[Bone]:
    """The bones of an armature object at rest, parents before children."""
    listed: list[Bone] = []

    def add(bone: bpy.types.Bone) -> None:
        pose = armature.pose.bones[bone.name] if armature.pose else None
        listed.append(
            Bone(
                name=bone.name,
                parent=bone.parent.name if bone.parent else None,
                head=bone.head_local[:],
                tail=bone.tail_local[:],
                matrix=np.array(bone.matrix_local),
                rotation_mode=pose.rotation_mode if pose else "QUATERNION",
                inherit_rotation=bone.use_inherit_rotation,
                local_location=bone.use_local_location,
                deform=bone.use_deform,
                constrained=bool(pose) and any(_replaces(constraint) for constraint in pose.constraints),
                constraints=tuple(_constraint(constraint, armature) for constraint in pose.constraints) if pose else (),
            )
        )

    pending = [bone for bone in armature.data.bones if bone.parent is None][::-1]
    while pending:
        bone = pending.pop()
        add(bone)
        pending.extend(reversed(bone.children))
    return listed


def _constraint(constraint: bpy.types.Constraint, armature: bpy.types.Object) -> Constraint:
    """What the matcher reads of a constraint: bones of the same armature that it follows."""

    def bone(target: str, subtarget: str) -> str | None:
        return (getattr(constraint, subtarget, "") or None) if getattr(constraint, target, None) == armature else None

    return Constraint(
        kind=constraint.type,
        target=bone("target", "subtarget"),
        pole=bone("pole_target", "pole_subtarget"),
        chain=getattr(constraint, "chain_count", 0),
        influence=0.0 if constraint.mute else constraint.influence,
    )


def _replaces(constraint: bpy.types.Constraint) -> bool:
    return constraint.type in _REPLACING and not constraint.mute and constraint.influence > 0.01


def read_rig(armature: bpy.types.Object, mapping: BoneMap | None = None) -> Rig:
    """The rest skeleton of an armature object as plain data (parents first), with the object's world matrix.

    mapping: its bone map, where it is known already. See :func:`read_mapped`.
    """
    return read_mapped(armature, mapping)[0]


def read_mapped(armature: bpy.types.Object, mapping: BoneMap | None = None) -> tuple[Rig, BoneMap]:
    """The rest skeleton of an armature object (see :func:`read_rig`) and its bone map; check ``.error`` of that.

    The reference pose is the T-pose that the artist set with :func:`keep_tpose`; without one the rest pose; and when
    that is not a human pose (some BVH files) but an action poses the figure, the action's first frame.
    """
    sentence = problem(armature)
    if sentence:
        raise RigError(sentence)
    rig = Rig(armature.name, bones(armature), np.array(armature.matrix_world))
    mapping = mapping or stored_map.bone_map(armature, rig.bones)
    if mapping.controls is None and mapping.error is None:
        rig.carrier = _carrier(armature, rig, mapping)
    if mapping.controls is not None:
        rig.mechanism = following.mechanism(armature.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    rig.reference = _kept_tpose(armature, rig)
    rig.tpose = rig.reference is not None
    if not rig.tpose and mapping.error is None and not is_human(rig, mapping):
        rig.reference = _kept_reference(armature, rig)
        if rig.reference is not None:
            return rig, mapping
        data = armature.animation_data
        action = data.action if data else None
        if action is not None and compat.fcurves(action, armature):
            first = int(action.frame_range[0])
            rig.reference = posing.from_fcurves(armature, rig, action, np.array([float(first)]))[0]
            if not is_human(rig, mapping):
                rig.reference = None
    return rig, mapping


def _carrier(armature: bpy.types.Object, rig: Rig, mapping: BoneMap) -> str | None:
    """The nearest bone above the pelvis below which mesh hangs that would stay behind if only the pelvis travelled."""
    above = []
    bone = rig.bones[rig.index[mapping.bone("pelvis")]]
    while bone.parent is not None:
        bone = rig.bones[rig.index[bone.parent]]
        if not bone.inherit_rotation or bone.constrained:
            return None
        above.append(bone.name)
    if not above:
        return None
    # Bone -> the bone above the pelvis that it hangs from, the pelvis itself where it travels with that
    ways: dict[str, str] = {}
    for bone in rig.bones:
        own = bone.name in above or bone.name == mapping.bone("pelvis")
        ways[bone.name] = bone.name if own else ways.get(bone.parent or "", "")
    mapped = {name for names in mapping.joints.values() for name in names}
    left = {name: way for name, way in ways.items() if way in above and name not in mapped}
    deforming = {name for name in left if rig.bones[rig.index[name]].deform}
    carrying = [above.index(left[name]) for name in _with_mesh(armature, deforming)]
    return above[max(carrying)] if carrying else None


# A bone that fewer vertices of a mesh than one in this many hang on may be overlooked in a heavy mesh
_LOOKED_AT = 20_000


def _with_mesh(armature: bpy.types.Object, names: set[str]) -> set[str]:
    """Those of the bones ``names`` that move vertices, or an object that hangs on them."""
    found: set[str] = set()
    for item in bpy.context.scene.objects:
        if item.parent == armature and item.parent_type == "BONE" and item.parent_bone in names:
            found.add(item.parent_bone)
        if item.type != "MESH" or not any(m.type == "ARMATURE" and m.object == armature for m in item.modifiers):
            continue
        groups = {group.index: group.name for group in item.vertex_groups if group.name in names - found}
        vertices = item.data.vertices
        for at in range(0, len(vertices), 1 + len(vertices) // _LOOKED_AT) if groups else ():
            for element in vertices[at].groups:
                if element.weight > 0.01 and element.group in groups:
                    found.add(groups.pop(element.group))
            if not groups:
                break
    return found


def keep_tpose(armature: bpy.types.Object, forget: bool = False) -> None:
    """Take the pose in which the armature stands now as its T-pose, which motion is matched with; or forget it.

    The artist's answer to a rest pose that is read wrongly: pose the figure with straight arms to the sides, palms
    down, feet forward, and keep it. Raises RigError when the armature cannot be used.
    """
    sentence = problem(armature)
    if sentence:
        raise RigError(sentence)
    text = ""
    if not forget:
        posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
        text = _pose_text((bone.name, bone.matrix) for bone in posed)
    kept.write(armature, kept.TPOSE, text)


def has_tpose(armature: bpy.types.Object) -> bool:
    """Whether the artist set a T-pose."""
    return bool(kept.read(armature, kept.TPOSE))


def _kept_tpose(armature: bpy.types.Object, rig: Rig) -> np.ndarray | None:
    text = kept.read(armature, kept.TPOSE)
    if not text:
        return None
    try:
        known = _pose_of(text)
    except (ValueError, TypeError, AttributeError) as error:
        raise RigError(f"The T-pose that is kept on '{armature.name}' cannot be read; set it again.") from error
    if any(bone.name not in known for bone in rig.bones):
        raise RigError(f"'{armature.name}' has other bones than when its T-pose was set; set it again.")
    return np.array([known[bone.name] for bone in rig.bones])


def keep_reference(armature: bpy.types.Object, reference: np.ndarray) -> None:
    """Remember the reference pose (n,4,4) of a figure whose rest pose is not human, in the order of :func:`bones`."""
    kept.write(
        armature, kept.REFERENCE, _pose_text(zip((bone.name for bone in bones(armature)), reference, strict=True))
    )


def _kept_reference(armature: bpy.types.Object, rig: Rig) -> np.ndarray | None:
    """Another figure by now, or text that somebody changed: read from the action again."""
    try:
        known = _pose_of(kept.read(armature, kept.REFERENCE) or "{}")
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("the reference pose that is kept on the armature is not used: %s", error)
        return None
    return np.array([known[bone.name] for bone in rig.bones]) if set(rig.names) <= set(known) else None


def _pose_text(matrices: Iterable[tuple[str, np.ndarray]]) -> str:
    return json.dumps({name: np.array(matrix).round(7).ravel().tolist() for name, matrix in matrices})


def _pose_of(text: str) -> dict[str, np.ndarray]:
    return {name: np.array(values, dtype=np.float64).reshape(4, 4) for name, values in json.loads(text).items()}


def bone_map(armature: bpy.types.Object) -> BoneMap:
    """The bone map of an armature object, the artist's own first; check ``.error`` or call ``.require()``."""
    return stored_map.bone_map(armature, bones(armature))


def warnings(armature: bpy.types.Object, mapping: BoneMap) -> list[str]:
    """Sentences about what will not look right: bones that get keys but are under constraints that replace them.

    On a control rig the controls get the keys; the IK of a keyed limb agrees with its targets, which are keyed as well.
    """
    joints = mapping.joints if mapping.controls is None else mapping.controls.fk
    names = [name for listed in joints.values() for name in listed if name in armature.pose.bones]
    agreeing = set() if mapping.controls is None else {"IK"}
    held = [
        name
        for name in dict.fromkeys(names)
        if any(_replaces(c) and c.type not in agreeing for c in armature.pose.bones[name].constraints)
    ]
    if not held:
        return []
    listed = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
    return [f"Constraints drive {listed}: keys on these bones show only when the constraints are muted."]

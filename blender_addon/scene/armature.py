"""Armature objects as plain data, and whether they can be animated."""

import json

import bpy
import numpy as np

from ..retarget.rest_pose import is_human
from ..rig import Bone, BoneMap, Constraint, Rig, RigError
from . import compat, following, kept, posing, stored_map

_REFERENCE = "momug_reference"
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
        text = json.dumps({bone.name: np.array(bone.matrix).round(7).ravel().tolist() for bone in posed})
    kept.write(armature, kept.TPOSE, text)


def has_tpose(armature: bpy.types.Object) -> bool:
    """Whether the artist set a T-pose."""
    return bool(kept.read(armature, kept.TPOSE))


def _kept_tpose(armature: bpy.types.Object, rig: Rig) -> np.ndarray | None:
    text = kept.read(armature, kept.TPOSE)
    if not text:
        return None
    try:
        known = {name: np.array(values, dtype=np.float64).reshape(4, 4) for name, values in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise RigError(f"The T-pose that is kept on '{armature.name}' cannot be read; set it again.") from error
    if any(bone.name not in known for bone in rig.bones):
        raise RigError(f"'{armature.name}' has other bones than when its T-pose was set; set it again.")
    return np.array([known[bone.name] for bone in rig.bones])


def keep_reference(armature: bpy.types.Object, reference: np.ndarray) -> None:
    """Remember the reference pose (n,4,4) of a figure whose rest pose is not human, in the order of :func:`bones`."""
    armature[_REFERENCE] = np.asarray(reference, dtype=np.float64).ravel().tolist()


def _kept_reference(armature: bpy.types.Object, rig: Rig) -> np.ndarray | None:
    kept = armature.get(_REFERENCE)
    if kept is None or len(kept) != 16 * len(rig.bones):
        return None
    return np.array(kept[:]).reshape(-1, 4, 4)


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

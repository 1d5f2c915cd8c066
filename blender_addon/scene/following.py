"""How the bones of an armature follow each other, as plain data, and poses that follow from it without Blender."""

from dataclasses import replace

import bpy
import numpy as np

from ..retarget import rotations as rot
from ..retarget.mechanism import Constraint, Mechanism, NotFollowed
from ..rig import Rig


def mechanism(armature: bpy.types.Object) -> dict[str, list[Constraint]]:
    """Bone -> its active constraints, of an evaluated armature: with the influences that drivers give them now."""
    found: dict[str, list[Constraint]] = {}
    for pose_bone in armature.pose.bones:
        listed = [_plain(c, armature) for c in pose_bone.constraints if not c.mute and c.influence > 1e-5]
        if listed:
            found[pose_bone.name] = listed
    return found


def _plain(constraint: bpy.types.Constraint, armature: bpy.types.Object) -> Constraint:
    def inside(target: bpy.types.Object | None) -> bool:
        return target is not None and target.original == armature.original

    def value(name: str, default):
        return getattr(constraint, name, default)

    plain = value("mix_mode", "REPLACE") == "REPLACE" and not value("use_offset", False)
    if constraint.type in {"COPY_ROTATION", "COPY_LOCATION"}:
        plain = plain and all(value(f"use_{axis}", True) and not value(f"invert_{axis}", False) for axis in "xyz")
    plain = plain and value("track_axis", "TRACK_Y") == "TRACK_Y" and value("keep_axis", "SWING_Y") == "SWING_Y"
    own = inside(value("target", None))
    return Constraint(
        kind=constraint.type,
        target=(value("subtarget", "") or None) if own else None,
        influence=constraint.influence,
        space=(constraint.owner_space, constraint.target_space),
        plain=plain,
        along=value("head_tail", 0.0),
        weights=tuple(
            (target.subtarget if inside(target.target) else None, target.weight) for target in value("targets", ())
        ),
        chain=value("chain_count", 0),
        pole_angle=value("pole_angle", 0.0),
    )


def poses(
    rig: Rig,
    constraints: dict[str, list[Constraint]],
    basis: dict[str, tuple[np.ndarray, np.ndarray]],
    names: set[str],
    frames: int,
) -> np.ndarray | None:
    """Armature-space matrices (T,n,4,4) of the bones ``names`` (the others at rest) from what is keyed; None where
    that does not tell.

    constraints: :func:`mechanism`. basis: bone -> rotations (T,4) and locations (T,3) of those that do not rest.
    """
    posed = Mechanism(replace(rig, mechanism=constraints), frames)
    for name, (rotation, location) in basis.items():
        posed.put(name, rotation, location)
    pose = np.tile(rig.rest, (frames, 1, 1, 1))
    try:
        for name in names:
            place = posed.place(name)
            pose[:, rig.index[name], :3, :3] = rot.to_matrix(place.turn)
            pose[:, rig.index[name], :3, 3] = place.head
    except NotFollowed:
        return None
    return pose

"""The artist's bone map on the armature object; ``rig.editing`` knows what it means."""

import logging
from functools import lru_cache

import bpy

from ..rig import Bone, BoneMap, RigError, editing, match
from ..rig.editing import EditedMap
from . import kept

log = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def _parsed(text: str) -> "EditedMap | None":
    try:
        return editing.from_json(text)
    except RigError as error:
        log.warning("the bone map that is stored on the armature is not used: %s", error)
        return None


def read(armature: bpy.types.Object) -> EditedMap | None:
    """The map that is stored on ``armature``, a copy; None when there is none (or it cannot be read: see the log)."""
    text = kept.read(armature, kept.BONE_MAP)
    stored = _parsed(text) if text else None
    return EditedMap(stored.joints, stored.edited, stored.family) if stored is not None else None


def write(armature: bpy.types.Object, stored: EditedMap) -> None:
    """Store ``stored`` on ``armature``."""
    kept.write(armature, kept.BONE_MAP, stored.to_json())


def clear(armature: bpy.types.Object) -> None:
    """Forget the stored map: the matcher decides again."""
    kept.write(armature, kept.BONE_MAP, "")


def text(armature: bpy.types.Object) -> str:
    """What is stored, for telling whether it has changed."""
    return kept.read(armature, kept.BONE_MAP)


def bone_map(armature: bpy.types.Object, bones: list[Bone]) -> BoneMap:
    """The map of an armature whose bones are ``bones``: the stored one first, else what the matcher says."""
    automatic = match(bones)
    stored = read(armature)
    return automatic if stored is None else editing.edited_map(automatic, stored, bones)

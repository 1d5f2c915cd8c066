"""Keyframes: a new action from retargeted motion, never touching what was there."""

import bpy

from ..retarget import RigAnimation


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
    raise NotImplementedError


def read_metadata(action: bpy.types.Action) -> dict:
    """What :func:`write_action` stored; empty for other actions."""
    raise NotImplementedError

"""Pictures of a motion."""

from pathlib import Path

import bpy


def contact_sheet(
    armature: bpy.types.Object,
    path: str | Path,
    frames: list[int] | None = None,
    columns: int | None = None,
    size: tuple[int, int] = (320, 400),
    title: str = "",
) -> Path:
    """Render poses of ``armature`` at ``frames`` (eight over its action when None) into one PNG."""
    raise NotImplementedError

"""What the add-on keeps on an armature: text under a name, saved with the file and undone with it.

Custom properties that are added to a library override are lost when the file is opened again (seen on 3.4, 4.5 and
5.2), so those keep it in a registered property that may be overridden.
"""

import bpy

BONE_MAP = "momug_bone_map"
TPOSE = "momug_tpose"
REFERENCE = "momug_reference"
_NAMES = (BONE_MAP, TPOSE, REFERENCE)


def _overridable(name: str) -> str:
    return f"{name}_override"


def read(armature: bpy.types.Object, name: str) -> str:
    """The text that was kept, or an empty one."""
    kept = getattr(armature, _overridable(name), "") or armature.get(name, "")
    return kept if isinstance(kept, str) else ""


def write(armature: bpy.types.Object, name: str, text: str) -> None:
    """Keep ``text``; an empty one forgets."""
    if armature.override_library is not None and hasattr(armature, _overridable(name)):
        setattr(armature, _overridable(name), text)
    elif text:
        armature[name] = text
    elif name in armature:
        del armature[name]


def register() -> None:
    """Make the overridable properties known to Blender."""
    setting = bpy.props.StringProperty(options={"HIDDEN"}, override={"LIBRARY_OVERRIDABLE"})
    for name in _NAMES:
        setattr(bpy.types.Object, _overridable(name), setting)


def unregister() -> None:
    for name in _NAMES:
        delattr(bpy.types.Object, _overridable(name))

"""MoMug for Blender: type what should happen and get keyframes on your armature; read a caption back.

Nothing here touches Blender before ``register()``, so that the parts which need no Blender (client, rig, retarget)
can be imported by plain Python.
"""

bl_info = {
    "name": "MoMug",
    "author": "The MoMug contributors",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "3D View > Sidebar > MoMug",
    "description": "Type what should happen and get keyframes, or read a caption back",
    "category": "Animation",
}


def _parts():
    from . import (
        installation,
        library_properties,
        operators,
        panels,
        preferences,
        properties,
        runtime,
        strip,
        translations,
    )

    return translations, preferences, properties, library_properties, runtime, installation, operators, panels, strip


def register():
    for part in _parts():
        part.register()


def unregister():
    for part in reversed(_parts()):
        part.unregister()

"""Settings that belong to the computer, not to a scene."""

import bpy

ROOT_PACKAGE = __package__


class MomugPreferences(bpy.types.AddonPreferences):
    """Where the model side runs."""

    bl_idname = ROOT_PACKAGE

    backend_python: bpy.props.StringProperty(
        name="Python of the Model",
        description="The Python that runs the model. Leave empty to use the one that set-up made",
        subtype="FILE_PATH",
    )
    backend_command: bpy.props.StringProperty(
        name="Backend Command",
        description=(
            "For developers: the complete command that starts the backend, arguments separated by spaces "
            "(quote what contains spaces). Leave empty for the normal one"
        ),
    )

    def draw(self, _context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "backend_python")
        layout.prop(self, "backend_command")
        row = layout.row()
        row.operator("momug.unload_backend", icon="CANCEL")
        row.operator("momug.open_log", icon="TEXT")


def get() -> "MomugPreferences | None":
    """The preferences, or None when the package runs from a checkout without being enabled as an add-on."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon else None


def register():
    bpy.utils.register_class(MomugPreferences)


def unregister():
    bpy.utils.unregister_class(MomugPreferences)

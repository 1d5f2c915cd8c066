"""The model's process, its log, and its programs: load, unload, install, repair, remove."""

import bpy

from .. import installation, preferences, properties, runtime, service
from ..client import installer, plan
from ..translations import tr
from .base import Polled, failed


class _WhileIdle(Polled):
    """Mix-in: not while something is installed, and not while the model works."""

    @classmethod
    def why_not(cls, _context) -> str:
        if installation.the_installer().busy:
            return "Wait for the installation to end, or cancel it"
        return "The model is working; wait for it, or cancel it" if runtime.active() is not None else ""


class MOMUG_OT_open_log(bpy.types.Operator):
    """Open the folder with the logs of the add-on and of the model"""

    bl_idname = "momug.open_log"
    bl_label = "Open Log"

    def execute(self, _context):
        folder = service.log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if bpy.app.background:
            self.report({"INFO"}, tr(f"The logs are in {folder}"))
            return {"FINISHED"}
        try:
            return bpy.ops.wm.path_open(filepath=str(folder))
        except RuntimeError as error:
            service.log.warning("cannot open %s: %s", folder, error)
            self.report({"WARNING"}, tr(f"The logs are in {folder}"))
            return {"CANCELLED"}


class MOMUG_OT_copy_diagnostics(bpy.types.Operator):
    """Copy versions, settings, state and the last lines of the logs, to paste them where you ask for help. Prompts \
stay in the log files"""

    bl_idname = "momug.copy_diagnostics"
    bl_label = "Copy Details"

    def execute(self, context):
        context.window_manager.clipboard = installation.diagnostics()
        self.report({"INFO"}, tr("Copied; paste it where you ask for help"))
        return {"FINISHED"}


class MOMUG_OT_load_backend(_WhileIdle, bpy.types.Operator):
    """Start the model's process and load the chosen model now, so that the first motion does not wait for it"""

    bl_idname = "momug.load_backend"
    bl_label = "Load Model"

    def execute(self, context):
        name = properties.chosen_model(properties.get(context.scene))
        try:
            runtime.start("load", {"model": name}, None, lambda header, arrays: runtime.tell("The model is loaded."))
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


class MOMUG_OT_unload_backend(Polled, bpy.types.Operator):
    """End the model's process and give its memory back. It starts again when it is needed"""

    bl_idname = "momug.unload_backend"
    bl_label = "Unload Model"

    @classmethod
    def why_not(cls, _context) -> str:
        return "" if service.running() else "The model is not loaded"

    def execute(self, _context):
        runtime.shutdown(wait=False)
        self.report({"INFO"}, tr("The model's memory was given back"))
        return {"FINISHED"}


class _Starts(_WhileIdle):
    """Mix-in: starts a command of the installer and reports why it cannot."""

    command = ""

    @classmethod
    def why_not(cls, context) -> str:
        problem = super().why_not(context)
        if not problem and preferences.wheel_folder() is None and not installation.online():
            problem = installation.offline_problem()
        return problem

    def execute(self, _context):
        try:
            installation.start(self.command, getattr(self, "fetch_python", False))
        except service.Error as error:
            runtime.show_error(error)
            self.report({"ERROR"}, tr(f"{error.message} {error.hint}".strip()))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOMUG_OT_plan_installation(_WhileIdle, bpy.types.Operator):
    """See what the model's programs take: packages, sizes, free disk, licences. Nothing is downloaded yet"""

    bl_idname = "momug.plan_installation"
    bl_label = "Install..."

    def execute(self, _context):
        installation.look()
        return {"FINISHED"}


class MOMUG_OT_forget_plan(bpy.types.Operator):
    """Close the list; nothing is installed"""

    bl_idname = "momug.forget_plan"
    bl_label = "Not Now"

    def execute(self, _context):
        installation.the_installer().forget()
        return {"FINISHED"}


class MOMUG_OT_show_packages(Polled, bpy.types.Operator):
    """Show every package with its version, size and licence"""

    bl_idname = "momug.show_packages"
    bl_label = "All Packages and Licences"

    @classmethod
    def why_not(cls, _context) -> str:
        known = installation.the_installer().plan is not None
        return "" if known else "Press Install first: then it is known what is needed"

    def invoke(self, context, _event):
        return context.window_manager.invoke_popup(self, width=620)

    def execute(self, _context):
        return {"FINISHED"}

    def draw(self, _context):
        made = installation.the_installer().plan
        items = sorted(made.items, key=lambda item: -item.size)
        half = (len(items) + 1) // 2
        split = self.layout.split()
        for part in (items[:half], items[half:]):
            column = split.column(align=True)
            column.scale_y = 0.7
            for item in part:
                size = plan.in_words(item.size) if item.size else "?"
                column.label(text=tr(f"{item.name} {item.version}  {size}  {item.licence[:24]}"))


class MOMUG_OT_install_backend(_Starts, bpy.types.Operator):
    """Download and install the model's programs, in the background. It can be cancelled and goes on later"""

    bl_idname = "momug.install_backend"
    bl_label = "Install Now"

    command = installer.INSTALL
    fetch_python: bpy.props.BoolProperty(
        name="Fetch Python",
        description="Let uv, a program from the package index, fetch a Python for the model alone",
        options={"SKIP_SAVE"},
    )


class MOMUG_OT_repair_backend(_Starts, bpy.types.Operator):
    """Compare every installed file with its hash, and install again what is damaged"""

    bl_idname = "momug.repair_backend"
    bl_label = "Repair"

    command = installer.REPAIR


class MOMUG_OT_remove_backend(_Starts, bpy.types.Operator):
    """Delete the model's programs, the language model and unfinished downloads. Motions, styles and settings stay"""

    bl_idname = "momug.remove_backend"
    bl_label = "Remove"

    command = installer.REMOVE

    @classmethod
    def why_not(cls, context) -> str:
        return _WhileIdle.why_not(context)  # needs no network

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)


class MOMUG_OT_cancel_installation(Polled, bpy.types.Operator):
    """Stop at once. What was downloaded is kept, and the next installation goes on from there"""

    bl_idname = "momug.cancel_installation"
    bl_label = "Cancel"

    @classmethod
    def why_not(cls, _context) -> str:
        running = installation.the_installer().state == installer.RUNNING
        return "" if running else "No installation is running"

    def execute(self, _context):
        installation.cancel()
        return {"FINISHED"}


class MOMUG_OT_choose_wheels(_WhileIdle, bpy.types.Operator):
    """Install without internet: choose a folder that was made with 'python3 build.py wheels --out FOLDER'"""

    bl_idname = "momug.choose_wheels"
    bl_label = "Use Folder of Wheels..."

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def why_not(cls, context) -> str:
        return "Enable MoMug in Blender's preferences first" if preferences.get() is None else super().why_not(context)

    def invoke(self, context, _event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, _context):
        preferences.get().wheel_folder = self.directory
        installation.look()
        return {"FINISHED"}


class MOMUG_OT_forget_wheels(bpy.types.Operator):
    """Install from the internet again"""

    bl_idname = "momug.forget_wheels"
    bl_label = "Forget Folder of Wheels"

    def execute(self, _context):
        if preferences.get() is not None:
            preferences.get().wheel_folder = ""
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_open_log,
    MOMUG_OT_copy_diagnostics,
    MOMUG_OT_load_backend,
    MOMUG_OT_unload_backend,
    MOMUG_OT_plan_installation,
    MOMUG_OT_forget_plan,
    MOMUG_OT_show_packages,
    MOMUG_OT_install_backend,
    MOMUG_OT_repair_backend,
    MOMUG_OT_remove_backend,
    MOMUG_OT_cancel_installation,
    MOMUG_OT_choose_wheels,
    MOMUG_OT_forget_wheels,
)

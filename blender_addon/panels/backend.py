"""The model's programs: whether they are here, what they do, how to install them; and the page of the preferences."""

from types import SimpleNamespace

import bpy

from .. import installation, preferences
from ..client import installer, plan
from ..translations import tr
from .base import Sidebar, beside, narrow, paragraph

ICONS = {
    installation.NOT_INSTALLED: "IMPORT",
    installation.STOPPED: "PAUSE",
    installation.STARTING: "TIME",
    installation.READY: "CHECKMARK",
    installation.BUSY: "PLAY",
    installation.FAILED: "ERROR",
}
TITLES = {
    installation.NOT_INSTALLED: "Missing",
    installation.STOPPED: "Stopped",
    installation.STARTING: "Starting",
    installation.READY: "Ready",
    installation.BUSY: "Working",
    installation.FAILED: "Failed",
}
SHOWN_PACKAGES, SHOWN_LINES = 8, 3


class MOMUG_PT_backend(Sidebar, bpy.types.Panel):
    bl_label = "Backend"
    bl_order = 20
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header_preset(self, context):
        code = installation.state().code
        # in a narrow sidebar the word would lie on the name of the section
        self.layout.label(text="" if narrow(context) else TITLES[code], icon=ICONS[code])

    def draw(self, context):
        draw_state(self.layout, context)
        draw_installation(self.layout, context)


def draw_state(layout, context) -> None:
    """What the model does now, and the buttons for it."""
    shown = installation.state()
    paragraph(layout, context, shown.sentence, ICONS[shown.code], alert=shown.code == installation.FAILED)
    if shown.hint:
        paragraph(layout, context, shown.hint, "BLANK1")
    if shown.details:
        box = layout.box()
        for line in shown.details.splitlines()[-SHOWN_LINES:]:
            paragraph(box, context, line, boxed=True)
    facts = installation.facts()
    if facts:
        column = layout.column(align=True)
        for name, told in facts:
            split = column.split(factor=0.5)
            split.label(text=name)
            split.label(text=tr(told))
    row = beside(layout, context)
    if shown.code != installation.NOT_INSTALLED:
        row.operator("momug.load_backend", text="Load", icon="PLAY")
        row.operator("momug.unload_backend", text="Unload", icon="CANCEL")
    row = beside(layout, context)
    row.operator("momug.open_log")  # with icons the words would be cut
    row.operator("momug.copy_diagnostics", text="Copy Details")


def draw_installation(layout, context) -> None:
    """Install, repair, remove: what it takes, how it goes, what went wrong."""
    worker = installation.the_installer()
    if worker.busy:
        draw_progress(layout, context, worker)
        return
    box = layout.box()
    if worker.state == installer.FAILED and worker.problem is not None:
        paragraph(box, context, worker.problem.message, "ERROR", alert=True, boxed=True)
        if worker.problem.hint:
            paragraph(box, context, worker.problem.hint, "BLANK1", boxed=True)
        if worker.problem.code == "no_python":
            box.operator("momug.install_backend", text="Let uv Fetch a Python and Install").fetch_python = True
    if told := installation.outcome(worker):
        paragraph(box, context, told, "CHECKMARK", boxed=True)
    if worker.state == installer.PLANNED and worker.plan is not None:
        draw_plan(box, context, worker)
    elif installation.is_installed():
        row = beside(box, context)
        row.operator("momug.repair_backend", icon="FILE_REFRESH")
        row.operator("momug.remove_backend", icon="TRASH")
    else:
        row = box.row()
        row.scale_y = 1.4
        row.operator("momug.plan_installation", icon="IMPORT")
        row = box.row(align=True)
        row.operator("momug.choose_wheels", icon="FILE_FOLDER")
        if preferences.wheel_folder() is not None:
            row.operator("momug.forget_wheels", text="", icon="X")
        reason = "" if preferences.wheel_folder() else installation.offline_problem()
        if reason:
            paragraph(box, context, reason, "INFO", boxed=True)


def draw_progress(layout, context, worker: installer.Installer) -> None:
    """The bar, what is being done, and the way to stop it."""
    column = layout.column(align=True)
    if hasattr(column, "progress"):  # 4.1+
        column.progress(factor=worker.fraction, text=tr(worker.phase_text))
    else:
        paragraph(column, context, f"{worker.phase_text} ({worker.fraction:.0%})", "TIME")
    if worker.label and worker.phase == "download":
        column.label(text=worker.label)
    row = column.row()
    row.scale_y = 1.4
    row.enabled = worker.state == installer.RUNNING
    row.operator("momug.cancel_installation", icon="CANCEL")


def draw_plan(layout, context, worker: installer.Installer) -> None:
    """Everything that somebody wants to know before it is downloaded."""
    made = worker.plan
    for line in installer.summary(made):
        paragraph(layout, context, line, boxed=True)
    paragraph(layout, context, f"{made.build.label}. {made.why}", boxed=True)
    problem = installer.wheel_folder_problem(made)
    if problem is not None:
        paragraph(layout, context, f"{problem.message} {problem.hint}", "ERROR", alert=True, boxed=True)
    column = layout.column(align=True)
    column.scale_y = 0.8
    shown = installer.largest(made, SHOWN_PACKAGES)
    for item in shown:
        split = column.split(factor=0.7)
        split.label(text=tr(f"{item.name} {item.version}"))
        split.label(text=plan.in_words(item.size) if item.size else "?")
    rest = sum(item.size for item in made.items) - sum(item.size for item in shown)
    if len(made.items) > len(shown):
        split = column.split(factor=0.7)
        split.label(text=tr(f"Smaller ones: {len(made.items) - len(shown)}"))
        split.label(text=plan.in_words(rest))
    layout.operator("momug.show_packages")
    row = layout.row(align=True)
    row.scale_y = 1.4
    row.operator("momug.install_backend", icon="IMPORT").fetch_python = False
    row.operator("momug.forget_plan", text="", icon="X")


def draw_preferences(page, context) -> None:
    """The page in Blender's preferences."""
    layout = page.layout
    left, right = _halves(layout)
    left.label(text="Model", icon="SETTINGS")
    for name in ("device", "precision", "prefetch", "idle_minutes"):
        left.prop(page, name)
    left.label(text="New Scenes", icon="SCENE_DATA")
    for name in ("default_model", "default_preset"):
        left.prop(page, name)
    left.label(text="Folders", icon="FILE_FOLDER")
    folders = left.column()
    folders.enabled = not installation.the_installer().busy  # what is being installed stays where it was begun
    for name in ("cache_folder", "log_folder", "wheel_folder"):
        folders.prop(page, name)
    right.label(text="Programs of the Model", icon="IMPORT")
    narrow = _half_as_wide(context)
    draw_state(right, narrow)
    draw_installation(right, narrow)
    layout.separator()
    column = layout.column(align=True)
    column.label(text="Licences", icon="INFO")
    column.scale_y = 0.85
    for line in preferences.LICENCES:
        column.label(text=line)
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.label(text="For Developers", icon="CONSOLE")
    column.prop(page, "backend_python")
    column.prop(page, "backend_command")


def _half_as_wide(context):
    """What ``paragraph`` asks of a context, for a column of half the width."""
    width = context.region.width if context.region else 560
    return SimpleNamespace(preferences=context.preferences, region=SimpleNamespace(width=int(width * 0.46)))


def _halves(layout):
    split = layout.split(factor=0.5)
    columns = split.column(), split.column()
    columns[0].use_property_split = True
    columns[0].use_property_decorate = False
    return columns


def register():
    preferences.MomugPreferences.page = staticmethod(draw_preferences)


def unregister():
    preferences.MomugPreferences.page = None


CLASSES = (MOMUG_PT_backend,)

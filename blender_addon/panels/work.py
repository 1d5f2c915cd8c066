"""What all sections that ask the model share: how far it is, Cancel, what came of it, why a button is grey."""

import bpy

from .. import installation, properties, results, runtime
from ..translations import tr
from . import backend, live
from .base import paragraph


def button_row(layout):
    """The row for a section's big button; None while the model works: then its progress is shown instead."""
    task = runtime.active()
    if task is not None and task.live is not None:
        live.draw(layout, bpy.context, task.live)
        return None
    if task is not None:
        draw_progress(layout, task)
        return None
    row = layout.row(align=True)
    row.scale_y = 1.4
    return row


def draw_progress(layout, task) -> None:
    """What the model does now, how long that takes, and the button that stops it."""
    if task.live is not None:
        return  # told where it was asked for: see button_row
    column = layout.column(align=True)
    number, count = runtime.turn()
    if count > 1:
        column.label(text=tr(f"{number} of {count}"), icon="ARMATURE_DATA")
    if hasattr(column, "progress"):  # 4.1+
        column.progress(factor=task.fraction, text=tr(task.phase_text))
    else:
        column.label(text=tr(task.phase_text), icon="TIME")
    left = task.remaining
    # a line even when nothing is known yet: Cancel must not move away from under the pointer
    column.label(text=tr(f"About {left:.0f} s left") if left is not None and left >= 1.0 else " ")
    row = column.row()
    row.scale_y = 1.4
    row.operator("momug.cancel", icon="CANCEL")


def draw_status(layout, context, section: str) -> None:
    """The last thing that happened, where it was asked for: a sentence, and for a failure what to do about it."""
    status = runtime.status()
    if not status.message or status.section != section or runtime.active() is not None:
        return
    if not status.failed:
        paragraph(layout, context, status.message, "CHECKMARK")
        return
    box = layout.box()
    paragraph(box, context, status.message, "ERROR", alert=True, boxed=True)
    if status.hint:
        paragraph(box, context, status.hint, "BLANK1", boxed=True)
    box.operator("momug.open_log", icon="TEXT")


def draw_reason(layout, context, reason: str) -> None:
    """Why the button above is grey; that there is no armature, or what is wrong with it, is told in its own section."""
    armature = properties.chosen_armature(context)
    if reason and runtime.active() is None and armature is not None and not results.map_health(armature).problem:
        paragraph(layout, context, reason, "INFO")


def draw_missing_model(layout, context) -> bool:
    """Without the model's programs: say so, and offer to install them right here. Were they missing?"""
    if installation.state().code != installation.NOT_INSTALLED and not installation.the_installer().busy:
        return False
    paragraph(layout, context, "The model's programs are not installed.", "INFO")
    backend.draw_installation(layout, context)
    return True

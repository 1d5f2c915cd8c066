"""Actions as assets: mark, find, use."""

import bpy

from .. import indexing, library_properties, properties, results
from ..rig import RigError
from ..scene import assets
from ..translations import tr
from .base import Polled


def _chosen(context) -> list:
    """The ticked actions; without any, the one that is picked in the list."""
    found = library_properties.ticked()
    shown = library_properties.shown_action(context)
    return found or ([shown] if shown is not None else [])


class MOMUG_OT_mark_assets(Polled, bpy.types.Operator):
    """Make the ticked actions (or the picked one) assets: the caption becomes the description, its words become tags"""

    bl_idname = "momug.mark_assets"
    bl_label = "Mark as Asset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        there = any(action.library is None and action.asset_data is None for action in _chosen(context))
        return "" if there else "Tick an action of this file that is no asset yet"

    def execute(self, context):
        marked = [action for action in _chosen(context) if action.library is None and action.asset_data is None]
        for action in marked:
            assets.mark(action)
        bare = sum(not assets.caption_of(action) for action in marked)
        told = tr("Actions that are assets now: {count}.").format(count=len(marked))
        if bare:
            told += " " + tr("Without a caption, so without tags: {count}.").format(count=bare)
        self.report({"INFO"}, told)
        return {"FINISHED"}


class MOMUG_OT_unmark_assets(Polled, bpy.types.Operator):
    """Make the ticked assets (or the picked one) ordinary actions again. Keys and captions stay"""

    bl_idname = "momug.unmark_assets"
    bl_label = "Unmark"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        there = any(action.library is None and action.asset_data is not None for action in _chosen(context))
        return "" if there else "Tick an action of this file that is an asset"

    def execute(self, context):
        for action in _chosen(context):
            if action.library is None and action.asset_data is not None:
                assets.unmark(action)
        return {"FINISHED"}


class MOMUG_OT_tick_actions(bpy.types.Operator):
    """Tick all actions that the search finds, or none"""

    bl_idname = "momug.tick_actions"
    bl_label = "Tick"
    bl_options = {"REGISTER", "UNDO"}

    all: bpy.props.BoolProperty(name="All", description="Tick what the search finds; else untick all", default=True)

    def execute(self, context):
        from ..library import rank

        actions = [action for action in bpy.data.actions if action.library is None]
        found = set()
        if self.all:
            search = library_properties.library(context).search
            found = {index for index, _ in rank(search, [assets.entry(action) for action in actions])}
        for index, action in enumerate(actions):
            action.momug_ticked = index in found
        return {"FINISHED"}


class _Apply(Polled):
    """Put an action on the armature."""

    bl_options = {"REGISTER", "UNDO"}

    def put(self, context, action) -> "set[str]":
        try:
            told = assets.assign(action, properties.chosen_armature(context))
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        if told:
            self.report({"WARNING"}, tr(told))
        return {"FINISHED"}

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        if armature is None:
            return "Select an armature, or add the mannequin"
        return results.map_health(armature).problem if armature.library is not None else ""


class MOMUG_OT_apply_action(_Apply, bpy.types.Operator):
    """Put the picked action on the armature. The action it has now stays in the file"""

    bl_idname = "momug.apply_action"
    bl_label = "Use on Armature"

    @classmethod
    def why_not(cls, context) -> str:
        problem = super().why_not(context)
        if not problem and library_properties.shown_action(context) is None:
            problem = "Pick an action in the list"
        return problem

    def execute(self, context):
        return self.put(context, library_properties.shown_action(context))


class MOMUG_OT_apply_found(_Apply, bpy.types.Operator):
    """Copy the picked action of another file into this one and put it on the armature"""

    bl_idname = "momug.apply_found"
    bl_label = "Copy and Use"

    @classmethod
    def why_not(cls, context) -> str:
        library, problem = library_properties.library(context), super().why_not(context)
        if not problem and not 0 <= library.found_index < len(library.found):
            problem = "Pick an action of another file in the list"
        return problem

    def execute(self, context):
        library = library_properties.library(context)
        found = library.found[library.found_index]
        before = set(bpy.data.actions)
        try:
            action = assets.append(found.file, found.name)
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        done = self.put(context, action)
        if done == {"CANCELLED"} and action not in before:
            bpy.data.actions.remove(action)
        return done


class MOMUG_OT_read_libraries(Polled, bpy.types.Operator):
    """Read the asset libraries of the preferences, so that the search finds their actions. Blender stays usable"""

    bl_idname = "momug.read_libraries"
    bl_label = "Read Asset Libraries"

    @classmethod
    def why_not(cls, _context) -> str:
        problem = ""
        if indexing.running() is not None:
            problem = "The libraries are being read"
        elif not indexing.folders():
            problem = "The preferences name no asset library whose folder is there"
        return problem

    def execute(self, _context):
        indexing.begin()
        return {"FINISHED"}


class MOMUG_OT_cancel_libraries(Polled, bpy.types.Operator):
    """Stop reading the asset libraries. What was read can be found"""

    bl_idname = "momug.cancel_libraries"
    bl_label = "Stop"

    @classmethod
    def why_not(cls, _context) -> str:
        return "No library is being read" if indexing.running() is None else ""

    def execute(self, _context):
        indexing.cancel()
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_mark_assets,
    MOMUG_OT_unmark_assets,
    MOMUG_OT_tick_actions,
    MOMUG_OT_apply_action,
    MOMUG_OT_apply_found,
    MOMUG_OT_read_libraries,
    MOMUG_OT_cancel_libraries,
)

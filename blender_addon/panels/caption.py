"""From keys to words, and finding motion again by words."""

import bpy

from .. import captions, indexing, library_properties, properties, results
from ..library import rank
from ..scene import assets
from ..translations import tr
from . import work
from .base import Sidebar, columns, paragraph, wide_icon

ROWS = 5
NARROW = 40  # letters across the sidebar


class MOMUG_PT_caption(Sidebar, bpy.types.Panel):
    bl_label = "Captions & Library"
    bl_order = 6

    def draw(self, context):
        layout = self.layout
        settings = library_properties.settings(context.scene)
        queue = captions.running()
        column = layout.column(align=True)
        column.enabled = queue is None
        column.prop(settings, "scope", text="")
        if settings.scope == captions.RANGE:
            row = column.row(align=True)
            row.prop(settings, "first", text="From")
            row.prop(settings, "last", text="To")
        if queue is not None:
            draw_queue(layout, queue)
        else:
            layout.operator("momug.caption", icon="FILE_TEXT")
        work.draw_status(layout, context, "captions")
        armature = properties.chosen_armature(context)
        owner = results.current_action(armature) or armature
        if owner is not None:
            self.draw_caption(layout, context, owner)

    @staticmethod
    def draw_caption(layout, context, owner):
        """The caption of what the armature does now, and of parts of it."""
        text = results.caption_of(properties.chosen_armature(context))
        parts = assets.captions_of_parts(owner)
        if not text and not parts:
            return
        box = layout.box()
        if text:
            draw_words(box, context, owner, text)
            box.operator("momug.caption_to_prompt", icon="COPYDOWN").text = text
        for first, last, told in parts:
            row = box.row(align=True)
            row.label(text=tr(f"{first} – {last}"), icon="TIME", translate=False)
            row.operator("momug.caption_to_prompt", text="", icon="COPYDOWN").text = told
            forget = row.operator("momug.forget_caption_of_part", text="", icon="X")
            forget.first, forget.last = first, last
            paragraph(box, context, told, boxed=True)


def draw_words(box, context, owner, text: str) -> None:
    """A caption: a field to change it, and all of it when the field is too short."""
    editable = isinstance(owner, bpy.types.Action) and owner.library is None
    if editable:
        box.prop(owner, "momug_words", text="")
    if not editable or len(text) > columns(context) - 8:  # the field shows only a part of it
        paragraph(box, context, text, boxed=True)


def draw_queue(layout, queue) -> None:
    """How far the captions are, and the button that stops them."""
    name = queue.current.name if queue.current is not None else ""
    text = tr("Caption {number} of {total}").format(number=min(queue.number, queue.total), total=queue.total)
    column = layout.column(align=True)
    if hasattr(column, "progress"):  # 4.1+
        column.progress(factor=queue.fraction, text=text)
    else:
        column.label(text=text, icon="TIME", translate=False)
    if name:
        column.label(text=name, icon="ACTION", translate=False)
    column.operator("momug.cancel_captions", icon="CANCEL")


class MOMUG_UL_actions(bpy.types.UIList):
    """The actions of this file, with what is said of them."""

    def draw_item(self, context, layout, _data, action, _icon, _active, _property, _index=0, _flag=0):
        caption = assets.caption_of(action)
        both = caption and columns(context) > NARROW  # a narrow sidebar shows the caption of the picked one, below
        row = layout.row(align=True)
        split = row.split(factor=0.55 if both else 1.0, align=True)
        left = split.row(align=True)
        if action.library is None:
            left.prop(action, "momug_ticked", text="")
            left.prop(action, "name", text="", emboss=False, icon="ASSET_MANAGER" if action.asset_data else "NONE")
        else:
            left.label(text=action.name, icon="LINKED", translate=False)
        if both:
            split.label(text=caption, translate=False)

    def draw_filter(self, _context, _layout):
        """The search above the list is the filter."""

    def filter_items(self, context, data, name):
        actions = getattr(data, name)
        search = library_properties.library(context).search
        if not search.strip():
            return [], []
        found = rank(search, [assets.entry(action) for action in actions])
        flags, order = [0] * len(actions), [0] * len(actions)
        for place, (index, _score) in enumerate(found):
            flags[index], order[index] = self.bitflag_filter_item, place
        place = len(found)
        for index in range(len(actions)):
            if not flags[index]:
                order[index] = place
                place += 1
        return flags, order


class MOMUG_UL_found(bpy.types.UIList):
    """Actions of other files that fit the search."""

    def draw_item(self, _context, layout, _data, found, _icon, _active, _property, _index=0, _flag=0):
        split = layout.split(factor=0.5, align=True)
        split.label(text=found.name, icon="LIBRARY_DATA_DIRECT", translate=False)
        split.label(text=found.caption, translate=False)

    def draw_filter(self, _context, _layout):
        """The search above the list is the filter."""


class MOMUG_PT_library(Sidebar, bpy.types.Panel):
    bl_label = "Library"
    bl_parent_id = "MOMUG_PT_caption"

    def draw(self, context):
        layout = self.layout
        library = library_properties.library(context)
        layout.prop(library, "search", text="", icon="VIEWZOOM")
        if bpy.data.actions:
            self.draw_own(layout, context, library)
        else:
            paragraph(layout, context, "This file has no actions yet.")
        self.draw_others(layout, context, library)

    @staticmethod
    def draw_own(layout, context, library):
        """The actions of this file."""
        row = layout.row(align=True)
        row.label(text="In this file")
        row.operator("momug.tick_actions", text="", icon="CHECKBOX_HLT").all = True
        row.operator("momug.tick_actions", text="", icon="CHECKBOX_DEHLT").all = False
        layout.template_list(
            "MOMUG_UL_actions", "", bpy.data, "actions", library, "action_index", rows=ROWS, maxrows=ROWS
        )
        row = layout.row(align=True)
        row.operator("momug.mark_assets", icon="ASSET_MANAGER")
        row.operator("momug.unmark_assets", text="", icon="X")
        layout.operator("momug.apply_action", icon="ARMATURE_DATA")
        shown = library_properties.shown_action(context)
        text = assets.caption_of(shown)
        if shown is None or not text:
            return
        box = layout.box()
        draw_words(box, context, shown, text)
        names = assets.asset_tags(shown) if assets.is_asset(shown) else ()
        if names:
            paragraph(box, context, tr("Tags: {tags}").format(tags=", ".join(names)), "BOOKMARKS", boxed=True)
        box.operator("momug.caption_to_prompt", icon="COPYDOWN").text = text

    @staticmethod
    def draw_others(layout, context, library):
        """The actions of asset libraries."""
        work = indexing.running()
        layout.label(text="In asset libraries")
        if len(library.found):
            layout.template_list("MOMUG_UL_found", "", library, "found", library, "found_index", rows=3, maxrows=ROWS)
            layout.operator("momug.apply_found", icon="APPEND_BLEND")
        elif library.search.strip():
            paragraph(layout, context, "Nothing fits in the libraries that were read.")
        if work is None:
            layout.operator("momug.read_libraries", icon=wide_icon(context, "FILE_REFRESH"))
            return
        told = tr("Files looked at: {count}").format(count=len(work.seen))
        layout.label(text=told, icon="TIME", translate=False)
        layout.operator("momug.cancel_libraries", icon="CANCEL")


CLASSES = (MOMUG_UL_actions, MOMUG_UL_found, MOMUG_PT_caption, MOMUG_PT_library)

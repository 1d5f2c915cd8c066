"""What the next motion has to meet: poses, a path, bones that stay; and parts of the animation made anew."""

import bpy

from .. import conditions, properties, runtime, service
from ..operators import generate
from ..translations import tr
from . import work
from .base import Sidebar, beside, paragraph, wide_icon


class MOMUG_UL_poses(bpy.types.UIList):
    """Poses to be met, by frame."""

    def draw_item(self, context, layout, _data, pose, _icon, _active, _property, _index=0, _flag=0):
        row = layout.row(align=True)
        row.prop(pose, "use", text="")
        row.prop(pose, "frame", emboss=False)
        armature = properties.chosen_armature(context)
        strange = armature is not None and pose.owner not in ("", armature.name)
        if strange:
            row.label(text=pose.owner, icon="ERROR", translate=False)
        else:
            row.label(text="", icon="POSE_HLT")

    def draw_filter(self, _context, _layout):
        """Poses are in the order of their frames."""


class MOMUG_PT_poses(Sidebar, bpy.types.Panel):
    bl_label = "Poses & Path"
    bl_order = 3
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        column = layout.column(align=True)
        column.label(text="Current pose as")
        row = column.row(align=True)
        row.operator("momug.add_pose", text="Start").place = "START"
        row.operator("momug.add_pose", text="Here").place = "HERE"
        row.operator("momug.add_pose", text="End").place = "END"
        column.operator("momug.add_key_poses", icon="KEYFRAME_HLT")
        if settings.poses:
            row = layout.row()
            row.template_list(
                "MOMUG_UL_poses", "", settings, "poses", settings, "pose_index", rows=3, maxrows=6, sort_lock=True
            )
            side = row.column(align=True)
            side.operator("momug.remove_pose", text="", icon="REMOVE").every = False
            side.operator("momug.remove_pose", text="", icon="TRASH").every = True
            side.operator("momug.go_to_pose", text="", icon="TIME")
        column = layout.column(align=True)
        column.label(text="Curve to follow")
        row = column.row(align=True)
        row.prop(settings, "path", text="", icon="CURVE_DATA")
        row.operator("momug.add_path", text="", icon="ADD")
        if settings.path is None:
            column.label(text="Or waypoints")
            column.prop(settings, "waypoints", text="")
        layout.prop(settings, "keep_selected")


class MOMUG_PT_rework(Sidebar, bpy.types.Panel):
    bl_label = "In Your Animation"
    bl_parent_id = "MOMUG_PT_poses"

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        column = layout.column(align=True)
        row = column.row(align=True)
        ends = beside(row, context)
        ends.prop(settings, "range_start", text="From")
        ends.prop(settings, "range_end", text="To")
        row.operator("momug.range_of_keys", text="", icon="KEYFRAME")
        column.operator("momug.regenerate", icon=wide_icon(context, "FILE_REFRESH"))
        column.operator("momug.regenerate_rest", icon=wide_icon(context, "ARROW_LEFTRIGHT"))
        layout.operator("momug.in_between", icon=wide_icon(context, "IPO_BEZIER"))
        task = runtime.active()
        if task is not None:
            work.draw_progress(layout, task)
        else:
            work.draw_reason(layout, context, generate.MOMUG_OT_regenerate.why_not(context))
        work.draw_status(layout, context, "poses")


def told(context, settings) -> str:
    """What the poses and the path make of the next motion, in a sentence; empty when nothing is given."""
    armature = properties.chosen_armature(context)
    if armature is None:
        return ""
    path = generate.path_of(settings)
    count = sum(item.use and item.owner in ("", armature.name) for item in settings.poses)
    parts = []
    if count:
        parts.append(f"meets {count} {'pose' if count == 1 else 'poses'}")
    if path is not None:
        parts.append(f"follows '{path.name}'" if settings.path else f"passes the objects of '{path.name}'")
    if not parts:
        return ""
    first, frames = generate.span(settings, armature, context.scene)
    where = f"frames {frames[0]} to {frames[1]}" if frames else f"from frame {first} on"
    if not settings.prompt.strip():
        return f"The next motion {' and '.join(parts)}, {where}; without a prompt this alone decides."
    return f"The next motion {' and '.join(parts)}, {where}."


def draw_better(layout, context, settings):
    """Offers the model that was measured to meet such poses better than the chosen one."""
    armature = properties.chosen_armature(context)
    if armature is None or generate.path_of(settings) is not None or settings.keep_selected:
        return
    frames = [item.frame for item in settings.poses if item.use and item.owner in ("", armature.name)]
    if not frames:
        return
    first, span = generate.span(settings, armature, context.scene)
    case = conditions.case_of(frames, first, span[1] if span else None, not settings.prompt.strip())
    best = conditions.better_model(properties.chosen_model(settings), case)
    if best:
        label = service.model_info(best).get("label") or best
        paragraph(layout, context, f"{label} was measured to meet such poses better.", "INFO")
        row = layout.operator("wm.context_set_enum", text=tr(f"Use {label}"))
        row.data_path, row.value = "scene.momug.model", best


CLASSES = (MOMUG_UL_poses, MOMUG_PT_poses, MOMUG_PT_rework)

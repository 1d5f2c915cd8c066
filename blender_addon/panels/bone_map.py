"""Which bone is which joint: a field for each, and how sure the add-on is."""

import bpy

from .. import maps, properties, results
from ..rig import canonical
from .base import Sidebar, paragraph

_PARTS = (
    ("Body", ("pelvis", "spine1", "spine2", "spine3", "neck", "head")),
    ("Arms", ("collar", "shoulder", "elbow", "wrist")),
    ("Legs", ("hip", "knee", "ankle", "foot")),
)
_LABELS = {
    "pelvis": "Pelvis", "spine1": "Spine 1", "spine2": "Spine 2", "spine3": "Spine 3", "neck": "Neck", "head": "Head",
    "collar": "Collar", "shoulder": "Arm", "elbow": "Forearm", "wrist": "Hand", "hip": "Thigh", "knee": "Shin",
    "ankle": "Foot", "foot": "Toes",
}  # fmt: skip


class MOMUG_PT_bone_map(Sidebar, bpy.types.Panel):
    bl_label = "Bone Map"
    bl_parent_id = "MOMUG_PT_character"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return properties.chosen_armature(context) is not None

    def draw(self, context):
        layout = self.layout
        armature = properties.chosen_armature(context)
        health = results.map_health(armature)
        row = layout.row(align=True)
        row.operator("momug.detect_bones", icon="VIEWZOOM").forget = False
        row.operator("momug.validate_bones", icon="CHECKMARK")
        row.menu("MOMUG_MT_bone_map", text="", icon="DOWNARROW_HLT")
        if health.mapping is None:
            return
        settings = properties.get(context.scene)
        for title, joints in _PARTS:
            column = layout.column(align=True)
            sides = ("",) if title == "Body" else ("left_", "right_")
            for side in sides:
                heading = title if not side else f"{side[:-1].capitalize()} {title[:-1]}"
                column.label(text=heading)
                for joint in joints:
                    self.draw_joint(column, settings, armature, health, side + joint, _LABELS[joint])
        for note in health.mapping.notes:
            paragraph(layout, context, note, "INFO")

    @staticmethod
    def draw_joint(column, settings, armature, health, joint: str, label: str) -> None:
        split = column.split(factor=0.3, align=True)
        extra = len(health.mapping.joints.get(joint, ())) - 1
        split.label(text=f"{label} +{extra}" if extra > 0 else label)
        row = split.row(align=True)
        field = row.row(align=True)
        field.alert = joint in health.doubts
        field.prop_search(settings.bones, joint, armature.data, "bones", text="", icon="NONE")
        row.operator("momug.joint", text="", icon=_icon(health, joint)).joint = joint


def _icon(health, joint: str) -> str:
    mapping = health.mapping
    if joint in health.doubts:
        return "ERROR"
    if joint in health.edited:
        return "PINNED"
    if not mapping.joints.get(joint):
        return "QUESTION" if mapping.candidates.get(joint) or joint in canonical.REQUIRED else "REMOVE"
    return "CHECKMARK" if mapping.confidence.get(joint, 1.0) >= maps.SURE else "QUESTION"


CLASSES = (MOMUG_PT_bone_map,)

"""Poses and paths for the next motion: taken from the armature, from its keys, from a curve."""

import bpy
import numpy as np

from .. import properties, results
from ..rig import RigError
from ..scene import capture, paths, poses
from ..translations import tr
from .base import Polled
from .generate import frames_between

PLACES = START, HERE, END = "START", "HERE", "END"


def _add(settings, armature, frame: int, data: str) -> bool:
    """A pose at a frame, in place of the one of this armature that is there. Whether there was one."""
    there = [index for index, item in enumerate(settings.poses) if (item.frame, item.owner) == (frame, armature.name)]
    for index in reversed(there):
        settings.poses.remove(index)
    item = settings.poses.add()
    item.frame, item.data, item.owner = frame, data, armature.name
    later = [index for index, other in enumerate(settings.poses) if other.frame > frame]
    place = later[0] if later else len(settings.poses) - 1
    settings.poses.move(len(settings.poses) - 1, place)
    settings.pose_index = place
    return bool(there)


class _CharacterOperator(Polled):
    """Needs a character that can be posed."""

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        if armature is None:
            return "Select an armature, or add the mannequin"
        return results.map_health(armature).problem


class MOMUG_OT_add_pose(_CharacterOperator, bpy.types.Operator):
    """Let the next motion meet the present pose, keyed or not"""

    bl_idname = "momug.add_pose"
    bl_label = "Add Current Pose"
    bl_options = {"REGISTER", "UNDO"}

    place: bpy.props.EnumProperty(
        name="Place",
        description="When the motion meets the pose",
        items=[
            (START, "Start", "The motion begins with this pose"),
            (HERE, "Here", "The motion meets this pose at the current frame"),
            (END, "End", "The motion ends with this pose"),
        ],
        default=HERE,
    )

    @classmethod
    def description(cls, _context, given):
        told = {
            START: "The next motion begins with the present pose, at the first frame of the range or the current frame",
            HERE: "The next motion meets the present pose at the current frame",
            END: "The next motion ends with the present pose, after the length that is set above",
        }
        return tr(told[given.place])

    def execute(self, context):
        settings, armature = properties.get(context.scene), properties.chosen_armature(context)
        try:
            pose = poses.present(armature)
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        frame = self.frame(settings, armature, context.scene)
        if _add(settings, armature, frame, pose.pack()):
            self.report({"INFO"}, tr(f"This pose replaces the one that was given for frame {frame}"))
        return {"FINISHED"}

    def frame(self, settings, armature, scene) -> int:
        if self.place == HERE:
            return scene.frame_current
        if settings.use_range:
            return settings.range_start if self.place == START else settings.range_end
        frames = [item.frame for item in settings.poses if item.owner == armature.name]
        if self.place == START:
            return scene.frame_current
        first = min(frames, default=scene.frame_current)
        return first + max(1, round(settings.seconds * capture.scene_fps(scene)) - 1)


class MOMUG_OT_add_key_poses(_CharacterOperator, bpy.types.Operator):
    """Let the next motion meet the poses that the armature's keys show: of selected keys, or of all"""

    bl_idname = "momug.add_key_poses"
    bl_label = "Poses From Keys"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        problem = super().why_not(context)
        if not problem and not poses.keyed_frames(properties.chosen_armature(context)):
            problem = "The armature has no keys yet"
        return problem

    def execute(self, context):
        settings, armature = properties.get(context.scene), properties.chosen_armature(context)
        frames = frames_between(settings, armature)
        if len(frames) > MOST:
            self.report({"ERROR"}, tr(f"{len(frames)} frames have keys; select the keys of at most {MOST}"))
            return {"CANCELLED"}
        try:
            found = poses.shown(armature, frames)  # taken now: the motion may go into another action
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        for frame, pose in found.items():
            _add(settings, armature, frame, pose.pack())
        return {"FINISHED"}


MOST = 64  # poses


class _PoseOperator(Polled):
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        return "" if properties.get(context.scene).poses else "There is no pose yet"

    @staticmethod
    def here(settings) -> int:
        return min(max(settings.pose_index, 0), len(settings.poses) - 1)


class MOMUG_OT_remove_pose(_PoseOperator, bpy.types.Operator):
    """Remove the chosen pose from the list"""

    bl_idname = "momug.remove_pose"
    bl_label = "Remove Pose"

    every: bpy.props.BoolProperty(name="All", description="Remove all poses", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _context, given):
        return tr("Remove all poses from the list" if given.every else cls.__doc__)

    def execute(self, context):
        settings = properties.get(context.scene)
        if self.every:
            settings.poses.clear()
        else:
            settings.poses.remove(self.here(settings))
        settings.pose_index = max(0, min(settings.pose_index, len(settings.poses) - 1))
        return {"FINISHED"}


class MOMUG_OT_go_to_pose(_PoseOperator, bpy.types.Operator):
    """Go to the frame of the chosen pose"""

    bl_idname = "momug.go_to_pose"
    bl_label = "Go to Frame"

    def execute(self, context):
        settings = properties.get(context.scene)
        context.scene.frame_set(settings.poses[self.here(settings)].frame)
        return {"FINISHED"}


class MOMUG_OT_add_path(_CharacterOperator, bpy.types.Operator):
    """Add a curve on the ground in front of the character, to be followed; shape it in Edit Mode"""

    bl_idname = "momug.add_path"
    bl_label = "Add Path"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context):
        settings, armature = properties.get(context.scene), properties.chosen_armature(context)
        try:
            pose = poses.present(armature)
            start, forward, scale = paths.in_front(armature, pose)
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        settings.path = paths.add_curve("Path", np.asarray(start), np.asarray(forward), 4.0 * scale)
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_add_pose,
    MOMUG_OT_add_key_poses,
    MOMUG_OT_remove_pose,
    MOMUG_OT_go_to_pose,
    MOMUG_OT_add_path,
)

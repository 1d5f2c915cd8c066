"""Motion files in and out, through Blender's file browser."""

import re
from dataclasses import replace

import bpy
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .. import ask, exchange, properties, runtime, service
from ..scene import capture, takes
from ..translations import tr
from .base import Polled, failed

# identifier -> (label, tooltip, suffix, HumanML3D's features)
KINDS = {
    "BVH": ("BVH (.bvh)", "Every bone, Y up; of a control rig its deforming bones", ".bvh", False),
    "FBX": ("FBX (.fbx)", "Armature, skinned meshes and this animation, by Blender's exporter", ".fbx", False),
    "GLB": ("glTF (.glb)", "Armature, skinned meshes and this animation, by Blender's exporter", ".glb", False),
    "NPZ": ("SMPL-X / AMASS (.npz)", "Rotations of the 22 body joints, on an SMPL-X armature of all", ".npz", False),
    "NPY": ("HumanML3D Joints (.npy)", "Positions of 22 joints on SMPL's bones, 20 frames a second", ".npy", False),
    "FEATURES": ("HumanML3D Features (.npy)", "263 numbers a frame, 20 frames a second", ".npy", True),
}


class MOMUG_OT_import_motion(Polled, bpy.types.Operator, ImportHelper):
    """Put a motion file on the armature: SMPL-X, SMPL or AMASS (.npz), HumanML3D (.npy), BVH or Acclaim (.amc). \
Your own keys stay; Reject takes it away again"""

    bl_idname = "momug.import_motion"
    bl_label = "Import Motion"

    filter_glob: bpy.props.StringProperty(default="*.npz;*.npy;*.bvh;*.amc", options={"HIDDEN"})
    destination: bpy.props.EnumProperty(
        name="Into",
        description="Where the motion goes",
        items=(
            (takes.ACTION, "New Action", "A new action; the one that is there is kept"),
            (takes.NLA, "NLA Strip", "A strip on top of what is there"),
            (takes.SPLICE, "This Action", "Into the present action, whose keys elsewhere stay as they are"),
        ),
    )
    frame_start: bpy.props.IntProperty(name="First Frame", description="Where the motion begins")
    foot_lock: bpy.props.BoolProperty(
        name="Foot Lock",
        description="Feet hold still on the ground, where the armature's legs differ from the file's",
    )
    up: bpy.props.EnumProperty(
        name="Up",
        description="Which axis of the file points up",
        items=(
            ("AUTO", "As the File Says", "Found out from the file"),
            ("Y", "Y", "Y points up in the file"),
            ("Z", "Z", "Z points up in the file"),
        ),
    )
    source_fps: bpy.props.FloatProperty(
        name="File's Frame Rate",
        description="Frames a second in the file, where it does not say or says wrong; 0 for what it says",
        min=0.0,
        max=1000.0,
        precision=2,
    )

    @classmethod
    def why_not(cls, context) -> str:
        return ask.why_not(properties.chosen_armature(context))

    def invoke(self, context, event):
        self.frame_start = context.scene.frame_current
        return ImportHelper.invoke(self, context, event)

    def execute(self, context):
        runtime.asked_in("files")
        try:
            task = exchange.start_import(
                self.filepath,
                properties.chosen_armature(context),
                frame_start=self.frame_start if self.properties.is_property_set("frame_start") else None,
                options=replace(exchange.OPTIONS, destination=self.destination, foot_lock=self.foot_lock),
                up=None if self.up == "AUTO" else self.up,
                source_fps=self.source_fps or None,
                scene=context.scene,
                extend_timeline=True,
                undo_step=True,
            )
            if bpy.app.background:  # no timer fires while a script runs
                runtime.wait(task)
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


class MOMUG_OT_export_motion(Polled, bpy.types.Operator, ExportHelper):
    """Save what the armature does now as a file"""

    bl_idname = "momug.export_motion"
    bl_label = "Export Motion"

    kind: bpy.props.EnumProperty(
        name="Format",
        description="The kind of file",
        items=[(name, label, tooltip) for name, (label, tooltip, _, _) in KINDS.items()],
        options={"SKIP_SAVE"},
    )

    @property
    def filename_ext(self) -> str:
        """What ``ExportHelper`` puts behind the name."""
        return KINDS[self.kind][2]

    @classmethod
    def description(cls, _context, given) -> str:
        return tr(KINDS[given.kind][1] if given.is_property_set("kind") else cls.__doc__)

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        problem = ask.why_not(armature)
        if not problem and not capture.is_animated(armature):
            problem = "The armature has no animation yet"
        return problem

    def invoke(self, context, event):
        armature = properties.chosen_armature(context)
        action = capture.active_action(armature)
        name = action.name if action is not None else armature.name
        self.filepath = (re.sub(r'[\\/:*?"<>|]+', "_", name).strip() or "motion") + self.filename_ext
        return ExportHelper.invoke(self, context, event)

    def draw(self, _context):
        self.layout.label(text=KINDS[self.kind][0])

    def execute(self, context):
        armature = properties.chosen_armature(context)
        _, _, suffix, features = KINDS[self.kind]
        runtime.asked_in("files")
        try:
            path = exchange.checked_path(self.filepath, features)
            if path.suffix.lower() != suffix:
                raise service.Error("bad_file", f"The file's name has to end with {suffix}.")
            if suffix == ".npy":
                task = exchange.start_export(armature, path, features=features)
                if bpy.app.background:
                    runtime.wait(task)
            else:
                exchange.write(armature, path)
                runtime.tell(f"{path.name} is written.")
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


CLASSES = (MOMUG_OT_import_motion, MOMUG_OT_export_motion)

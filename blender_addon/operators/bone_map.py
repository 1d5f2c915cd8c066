"""The map of an armature's bones: detect, correct, mirror, check, keep as a file."""

from pathlib import Path

import bpy

from .. import maps, properties, results
from ..rig import RigError, canonical, editing
from ..scene import armature as armatures
from ..scene import stored_map
from ..translations import tr
from .base import Polled


class MapOperator(Polled):
    """What all buttons of the map share: an armature is needed, an error is one sentence."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        return "Select an armature first" if armature is None else armatures.problem(armature) or ""

    def execute(self, context):
        try:
            sentence = self.edit(properties.chosen_armature(context))
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        if sentence:
            self.report({"INFO"}, tr(sentence))
        return {"FINISHED"}


class MOMUG_OT_detect_bones(MapOperator, bpy.types.Operator):
    """Look for the bones anew and keep the map with the armature. Your own choices stay"""

    bl_idname = "momug.detect_bones"
    bl_label = "Detect"

    forget: bpy.props.BoolProperty(
        name="Forget My Choices", description="Look for the joints that you chose, too", options={"SKIP_SAVE"}
    )

    def edit(self, armature):
        return maps.detect(armature, self.forget)


class MOMUG_OT_mirror_bones(MapOperator, bpy.types.Operator):
    """Choose the opposite bones for the other side"""

    bl_idname = "momug.mirror_bones"
    bl_label = "Mirror"

    source: bpy.props.EnumProperty(
        name="From",
        description="The side that is right already",
        items=[
            ("left", "Left to Right", "The left side is right"),
            ("right", "Right to Left", "The right side is right"),
        ],
    )

    def edit(self, armature):
        return maps.mirror(armature, self.source)


class MOMUG_OT_validate_bones(MapOperator, bpy.types.Operator):
    """Check the map: bones that are absent, used twice, in the wrong order or on the wrong side"""

    bl_idname = "momug.validate_bones"
    bl_label = "Validate"
    bl_options = {"REGISTER"}

    def execute(self, context):
        try:
            found = maps.validate(properties.chosen_armature(context))
        except RigError as error:
            found = [str(error)]
        for sentence in found:
            self.report({"WARNING"}, tr(sentence))
        if not found:
            self.report({"INFO"}, tr("The bone map can be used as it is."))
        return {"FINISHED"}


class MOMUG_OT_clear_bones(MapOperator, bpy.types.Operator):
    """Forget the map that is kept with the armature, and all your choices in it"""

    bl_idname = "momug.clear_bones"
    bl_label = "Clear"

    @classmethod
    def why_not(cls, context) -> str:
        problem = super().why_not(context)
        if not problem and not stored_map.text(properties.chosen_armature(context)):
            problem = "No map is kept with this armature: the bones are found automatically"
        return problem

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def edit(self, armature):
        maps.clear(armature)
        return "The bones are found automatically again."


class MOMUG_OT_choose_bone(MapOperator, bpy.types.Operator):
    """Choose the bone of this joint"""

    bl_idname = "momug.choose_bone"
    bl_label = "Choose Bone"

    joint: bpy.props.StringProperty(options={"HIDDEN"})
    bone: bpy.props.StringProperty(options={"HIDDEN"})
    how: bpy.props.EnumProperty(
        items=[
            ("USE", "Use", "This bone is the joint"),
            ("ADD", "Add", "This bone shares the turn of the joint as well"),
            ("REMOVE", "Remove", "This bone has nothing to do with the joint"),
            ("NONE", "No Bone", "The figure has no such bone"),
            ("AUTOMATIC", "Automatic", "Let the add-on find the bone"),
        ],
        options={"HIDDEN"},
    )

    @classmethod
    def description(cls, _context, given):
        told = {
            "USE": f"'{given.bone}' is the {canonical.words(given.joint)}",
            "ADD": f"'{given.bone}' shares the turn of the {canonical.words(given.joint)}",
            "REMOVE": f"'{given.bone}' does not turn with the {canonical.words(given.joint)} any more",
            "NONE": f"The figure has no bone for the {canonical.words(given.joint)}",
            "AUTOMATIC": f"Find the {canonical.words(given.joint)} automatically again",
        }
        return tr(told[given.how])

    def edit(self, armature):
        if self.joint not in canonical.INDEX:
            raise RigError(f"There is no joint '{self.joint}'.")
        mapping = results.map_health(armature).mapping
        names = list(mapping.joints.get(self.joint, ())) if mapping is not None else []
        if self.how == "AUTOMATIC":
            maps.automatic_again(armature, self.joint)
        elif self.how == "NONE":
            maps.choose(armature, self.joint, [])
        elif self.how == "ADD":
            maps.choose(armature, self.joint, [*names, self.bone])
        elif self.how == "REMOVE":
            maps.choose(armature, self.joint, [name for name in names if name != self.bone])
        else:
            maps.choose_first(armature, self.joint, self.bone)
        return ""


class MOMUG_OT_joint(bpy.types.Operator):
    """What is known about this joint, and other bones for it"""

    bl_idname = "momug.joint"
    bl_label = "Joint"

    joint: bpy.props.StringProperty(options={"HIDDEN"})

    @classmethod
    def description(cls, context, given):
        armature = properties.chosen_armature(context)
        return " ".join(map(tr, _about(results.map_health(armature), given.joint))) if armature is not None else ""

    def execute(self, context):
        armature = properties.chosen_armature(context)
        if armature is None or self.joint not in canonical.INDEX:
            return {"CANCELLED"}
        context.window_manager.popup_menu(self._menu, title=canonical.words(self.joint).capitalize())
        return {"FINISHED"}

    def _menu(self, menu, context):
        armature = properties.chosen_armature(context)
        health = results.map_health(armature)
        layout = menu.layout
        for sentence in _about(health, self.joint):
            layout.label(text=sentence)
        mapping = health.mapping
        if mapping is None:
            return
        layout.separator()
        names = mapping.joints.get(self.joint, [])
        active = context.active_pose_bone.name if context.active_pose_bone in list(armature.pose.bones) else ""
        offered = [name for name in dict.fromkeys([active, *mapping.candidates.get(self.joint, ())]) if name]
        for name in offered:
            if name not in names:
                self._offer(layout, "USE", f"Use '{name}'", "BONE_DATA", name)
        if self.joint in editing.CHAINS:
            if active and active not in names:
                self._offer(layout, "ADD", f"Add '{active}'", "ADD", active)
            for name in names[1:]:
                self._offer(layout, "REMOVE", f"Remove '{name}'", "REMOVE", name)
        if not offered:
            layout.label(text="Make a bone active in Pose Mode to use it", icon="INFO")
        if names:
            self._offer(layout, "NONE", "No Bone", "X")
        if self.joint in health.edited:
            self._offer(layout, "AUTOMATIC", "Automatic", "FILE_REFRESH")

    def _offer(self, layout, how: str, text: str, icon: str, bone: str = "") -> None:
        given = layout.operator("momug.choose_bone", text=text, icon=icon)
        given.joint, given.how, given.bone = self.joint, how, bone


def _about(health, joint: str) -> list[str]:
    """Sentences about one joint."""
    told = list(health.doubts.get(joint, ()))
    mapping = health.mapping
    if mapping is None:
        return told or [health.problem]
    names = mapping.joints.get(joint, [])
    words = canonical.words(joint)
    if joint in health.edited:
        told.append(f"You chose {_listed(names)}." if names else f"You said that there is no {words}.")
    elif names:
        sure = mapping.confidence.get(joint, 1.0)
        told.append(f"{_listed(names)} was found, {round(100 * sure)} percent sure.")
    elif not told:
        told.append(f"This figure does without the {words}.")
    others = mapping.candidates.get(joint, [])
    if others and joint not in health.edited:
        told.append(f"It could also be {_listed(others[:3])}.")
    return told


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


class MOMUG_OT_save_bone_map(MapOperator, bpy.types.Operator):
    """Save this map under a name in your own folder, for other files and figures with the same bones"""

    bl_idname = "momug.save_bone_map"
    bl_label = "Save Bone Map"
    bl_options = {"REGISTER"}

    name: bpy.props.StringProperty(name="Name", description="The name of the map")

    def invoke(self, context, _event):
        self.name = self.name or properties.chosen_armature(context).name
        return context.window_manager.invoke_props_dialog(self)

    def edit(self, armature):
        path = maps.path_of(self.name)
        maps.save(armature, path)
        return f"The bone map is saved as '{path.stem}'."


_names: list = []


def _saved_maps(_self, _context):
    _names[:] = [(name, name, f"Use the map '{name}'") for name in maps.saved()] or [("", "No saved maps", "")]
    return _names


class MOMUG_OT_load_bone_map(MapOperator, bpy.types.Operator):
    """Use a map that you saved. Its joints become your choices"""

    bl_idname = "momug.load_bone_map"
    bl_label = "Load Bone Map"
    bl_property = "name"

    name: bpy.props.EnumProperty(name="Map", description="The maps in your folder", items=_saved_maps)

    @classmethod
    def why_not(cls, context) -> str:
        return super().why_not(context) or ("" if maps.saved() else "You have not saved a bone map yet")

    def invoke(self, context, _event):
        context.window_manager.invoke_search_popup(self)
        return {"FINISHED"}

    def edit(self, armature):
        return maps.load(armature, maps.path_of(self.name))


class _FileOperator(MapOperator):
    def invoke(self, context, _event):
        if not self.filepath:
            self.filepath = f"{properties.chosen_armature(context).name}.json"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class MOMUG_OT_export_bone_map(_FileOperator, bpy.types.Operator):
    """Write this map to a JSON file, to share it"""

    bl_idname = "momug.export_bone_map"
    bl_label = "Export Bone Map"
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH")
    filter_glob: bpy.props.StringProperty(default="*.json", options={"HIDDEN"})

    def edit(self, armature):
        path = Path(bpy.path.ensure_ext(bpy.path.abspath(self.filepath), ".json"))
        maps.save(armature, path)
        return f"The bone map is in {path.name}."


class MOMUG_OT_import_bone_map(_FileOperator, bpy.types.Operator):
    """Use a map from a JSON file that somebody shared"""

    bl_idname = "momug.import_bone_map"
    bl_label = "Import Bone Map"

    filepath: bpy.props.StringProperty(subtype="FILE_PATH")
    filter_glob: bpy.props.StringProperty(default="*.json", options={"HIDDEN"})

    def edit(self, armature):
        return maps.load(armature, Path(bpy.path.abspath(self.filepath)))


class MOMUG_MT_bone_map(bpy.types.Menu):
    """Keep and share bone maps"""

    bl_idname = "MOMUG_MT_bone_map"
    bl_label = "Bone Map"

    def draw(self, _context):
        layout = self.layout
        layout.operator("momug.mirror_bones", text="Mirror Left to Right", icon="MOD_MIRROR").source = "left"
        layout.operator("momug.mirror_bones", text="Mirror Right to Left", icon="MOD_MIRROR").source = "right"
        layout.separator()
        layout.operator("momug.detect_bones", text="Detect, Forget My Choices", icon="FILE_REFRESH").forget = True
        layout.operator("momug.clear_bones", icon="TRASH")
        layout.separator()
        layout.operator("momug.save_bone_map", text="Save...", icon="FILE_TICK")
        layout.operator("momug.load_bone_map", text="Load...", icon="FILE_FOLDER")
        layout.operator("momug.export_bone_map", text="Export...", icon="EXPORT")
        layout.operator("momug.import_bone_map", text="Import...", icon="IMPORT")


CLASSES = (
    MOMUG_OT_detect_bones,
    MOMUG_OT_mirror_bones,
    MOMUG_OT_validate_bones,
    MOMUG_OT_clear_bones,
    MOMUG_OT_choose_bone,
    MOMUG_OT_joint,
    MOMUG_OT_save_bone_map,
    MOMUG_OT_load_bone_map,
    MOMUG_OT_export_bone_map,
    MOMUG_OT_import_bone_map,
    MOMUG_MT_bone_map,
)

"""What happens to a generated motion: keep it, take it away, look at another, change how it was put into the scene."""

import bpy

from .. import ask, commit, properties, results, runtime, service
from ..rig import RigError
from ..scene import posing, splice, takes
from ..translations import tr
from .base import Polled


def _found(context):
    armature = properties.chosen_armature(context)
    return commit.current(armature) if armature is not None else None


def waiting(context) -> list:
    """The chosen armatures whose motion waits for Accept or Reject."""
    return [armature for armature in properties.chosen_armatures(context) if commit.pending(armature) is not None]


class _ResultOperator(Polled):
    """An operator on the generated motion that is shown; an error is one sentence, a change is one undo step."""

    bl_options = {"REGISTER", "UNDO"}
    waiting = True  # only while Accept or Reject is still to come

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        reason = ask.why_not(armature)
        found = commit.current(armature) if not reason else None
        if not reason and found is None:
            reason = "Nothing that MoMug made is on this armature"
        elif not reason and cls.waiting and found.take.state != takes.PENDING:
            reason = "This motion was accepted already"
        return reason

    def execute(self, context):
        try:
            sentence = self.decide(context, properties.chosen_armature(context))
        except RigError as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        except Exception:
            service.log.exception("%s failed", self.bl_idname)
            self.report({"ERROR"}, tr("That failed inside MoMug; undo brings back what was there. See the log."))
            return {"FINISHED"}  # whatever was changed must be one undo step
        runtime.tell(sentence)
        return {"FINISHED"}


class MOMUG_OT_accept(_ResultOperator, bpy.types.Operator):
    """Keep this motion, of every selected armature that has a new one. The other variations are removed"""

    bl_idname = "momug.accept"
    bl_label = "Accept"

    keep_others: bpy.props.BoolProperty(
        name="Keep Variations", description="The other variations stay in the file as actions", options={"SKIP_SAVE"}
    )

    def decide(self, context, _armature):
        told = [commit.accept(one, self.keep_others) for one in waiting(context)]
        return told[0] if len(told) == 1 else f"{len(told)} motions are kept."


class MOMUG_OT_reject(_ResultOperator, bpy.types.Operator):
    """Take this motion away again, of every selected armature that has a new one. Your keys and your pose are as they \
were before"""

    bl_idname = "momug.reject"
    bl_label = "Reject"

    def decide(self, context, _armature):
        told = [commit.reject(one) for one in waiting(context)]
        return told[0] if len(told) == 1 else f"{len(told)} motions are taken away again."


class MOMUG_OT_show_variation(_ResultOperator, bpy.types.Operator):
    """Look at another variation"""

    bl_idname = "momug.show_variation"
    bl_label = "Variation"

    step: bpy.props.IntProperty(name="Step", description="1 for the next one, -1 for the one before", default=1)

    @classmethod
    def description(cls, _context, given):
        return tr("The next variation" if given.step > 0 else "The variation before")

    @classmethod
    def why_not(cls, context) -> str:
        problem = super().why_not(context)
        if not problem and commit.variations(_found(context))[1] < 2:
            problem = "There is only one variation"
        return problem

    def decide(self, _context, armature):
        return commit.show(armature, self.step)


class MOMUG_OT_change_result(_ResultOperator, bpy.types.Operator):
    """Put the same motion into the scene in another way, without asking the model again"""

    bl_idname = "momug.change_result"
    bl_label = "Change Result"
    waiting = False

    in_place: bpy.props.BoolProperty(name="In Place", description="No travel over the ground")
    loop: bpy.props.BoolProperty(name="Loop", description="The end of the motion runs into its start")
    foot_lock: bpy.props.BoolProperty(name="Foot Lock", description="Feet do not slide while they stand")
    reduce: bpy.props.BoolProperty(name="Fewer Keys", description="Leave out keys that the motion does not need")
    reduce_degrees: bpy.props.FloatProperty(
        name="Error in Degrees", description="How far a bone may turn away", default=0.5, min=0.01, max=10.0
    )
    reduce_cm: bpy.props.FloatProperty(
        name="Error in cm", description="How far the hips may move away", default=0.5, min=0.01, max=10.0
    )
    clear_hands: bpy.props.BoolProperty(name="Clear Hands", description="Push hands out of the trunk")
    ik_legs: bpy.props.BoolProperty(name="IK Legs", description="Key the IK controls of the legs on control rigs")
    ik_arms: bpy.props.BoolProperty(name="IK Arms", description="Key the IK controls of the arms on control rigs")
    destination: bpy.props.EnumProperty(
        name="Put It Into",
        description="Where the keys go",
        items=properties.DESTINATIONS,
    )
    blend_in: bpy.props.IntProperty(name="Blend In", description="Frames at the start", default=6, min=0, max=250)
    blend_out: bpy.props.IntProperty(name="Blend Out", description="Frames at the end", default=6, min=0, max=250)

    @classmethod
    def description(cls, context, given):
        told = {
            "in_place": "No travel over the ground; the sway of the hips stays",
            "loop": "The end of the motion runs into its start",
            "foot_lock": "Feet do not slide while they stand on the ground",
            "reduce": "Leave out keys that the motion does not need, within an error",
            "destination": next(about for name, _, about in properties.DESTINATIONS if name == given.destination),
        }
        named = [text for name, text in told.items() if given.is_property_set(name)]
        return tr(". ".join((*named, "The model is not asked again")) if len(named) == 1 else cls.__doc__)

    def invoke(self, context, _event):
        found = _found(context)
        if any(self.properties.is_property_set(name) for name in properties.OPTIONS):
            return self.execute(context)
        for name in properties.OPTIONS:
            setattr(self, name, getattr(found.take.options, name))
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in properties.OPTIONS:
            if not name.startswith("reduce_"):
                layout.prop(self, name)
        column = layout.column()
        column.active = self.reduce
        column.prop(self, "reduce_degrees")
        column.prop(self, "reduce_cm")

    def decide(self, context, armature):
        changed = {name: getattr(self, name) for name in properties.OPTIONS if self.properties.is_property_set(name)}
        return commit.change(armature, context.scene, **changed)


class MOMUG_OT_range_of_keys(Polled, bpy.types.Operator):
    """Take the frames from the selected keys of the armature's action; without any, from the preview range"""

    bl_idname = "momug.range_of_keys"
    bl_label = "Range of Selected Keys"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        return "Select an armature first" if properties.chosen_armature(context) is None else ""

    def execute(self, context):
        armature = properties.chosen_armature(context)
        action = results.current_action(armature)
        frames = [
            point.co[0]
            for curve in (splice.curves_of(armature, action).values() if action is not None else ())
            if posing.bone_of(curve.data_path) and curve.select
            for point in curve.keyframe_points
            if point.select_control_point
        ]
        settings, scene = properties.get(context.scene), context.scene
        if len(set(frames)) > 1:
            settings.range_start, settings.range_end = round(min(frames)), round(max(frames))
        elif scene.use_preview_range:
            settings.range_start, settings.range_end = scene.frame_preview_start, scene.frame_preview_end
        else:
            self.report({"WARNING"}, tr("Select at least two keys, or set the preview range"))
            return {"CANCELLED"}
        settings.use_range = True
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_accept,
    MOMUG_OT_reject,
    MOMUG_OT_show_variation,
    MOMUG_OT_change_result,
    MOMUG_OT_range_of_keys,
)

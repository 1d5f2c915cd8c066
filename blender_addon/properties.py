"""The artist's settings, saved with the scene. What runs right now lives in ``runtime`` and is never saved."""

import bpy

from . import preferences, service
from . import property_items as items
from .library_properties import style_items
from .property_items import DEFAULT_MODEL, MODEL_PRESET, OWN_STEPS
from .scene import capture, compat, kept, takes

__all__ = ["DEFAULT_MODEL", "DESTINATIONS", "LENGTHS", "MODEL_PRESET", "OPTIONS", "OWN_STEPS", "chosen_armature",
           "chosen_armatures", "chosen_model", "chosen_preset", "get", "options", "selected_bones"]  # fmt: skip

LENGTHS = SECONDS, FRAMES, MODEL = "SECONDS", "FRAMES", "MODEL"
DESTINATIONS = (
    (takes.ACTION, "New Action", "A new action becomes the active one; the former action stays in the file"),
    (takes.NLA, "NLA Strip", "A strip on top of the NLA; the active action becomes a strip below"),
    (takes.SPLICE, "This Action", "Into the active action, where its ends run into your keys"),
)


def _is_armature(_self, candidate) -> bool:
    return candidate.type == "ARMATURE"


def _is_curve(_self, candidate) -> bool:
    return candidate.type == "CURVE"


def _get_length(self) -> int:
    return 2 if self.auto_seconds else int(self.in_frames)


def _set_length(self, value: int) -> None:
    self.auto_seconds = value == 2
    if value != 2:
        self.in_frames = value == 1


def _get_frames(self) -> int:
    return max(2, round(self.seconds * capture.scene_fps(self.id_data)))


def _set_frames(self, value: int) -> None:
    self.seconds = value / capture.scene_fps(self.id_data)


def _typed(self, _context) -> None:
    if not bpy.app.background and self.prompt.strip():  # scripts say themselves when they need the model
        service.prefetch(chosen_model(self))


class MomugSettings(bpy.types.PropertyGroup):
    """What to make, for whom."""

    armature: bpy.props.PointerProperty(
        name="Armature",
        description="The character that gets the motion. Empty: the active armature",
        type=bpy.types.Object,
        poll=_is_armature,
    )
    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What the character does, in plain English: 'a person walks forward and waves'",
        update=_typed,
    )
    auto_seconds: bpy.props.BoolProperty(
        name="Let the Model Decide",
        description="The model chooses how long the motion is",
        default=False,
    )
    in_frames: bpy.props.BoolProperty(name="In Frames", description="Set the length in frames of the scene")
    length: bpy.props.EnumProperty(
        name="Length",
        description="How the length of the motion is set",
        items=[
            (SECONDS, "Seconds", "Set the length in seconds"),
            (FRAMES, "Frames", "Set the length in frames of the scene"),
            (MODEL, "Auto", "The model decides how long the motion is"),
        ],
        get=_get_length,
        set=_set_length,
    )
    frames: bpy.props.IntProperty(
        name="Frames",
        description="Length of the motion in frames of the scene",
        min=2,
        soft_max=300,
        max=60_000,
        get=_get_frames,
        set=_set_frames,
    )
    seconds: bpy.props.FloatProperty(
        name="Seconds",
        description="Length of the motion. The frame rate of the scene stays as it is",
        default=4.0,
        min=0.1,
        soft_min=1.0,
        soft_max=10.0,
        max=600.0,
        step=50,
        precision=1,
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="The same seed, prompt and settings make the same motion again",
        default=0,
        min=0,
    )
    lock_seed: bpy.props.BoolProperty(
        name="Lock Seed",
        description="Keep this seed. Unlocked, every motion gets a new one, which is shown here",
        default=False,
    )
    model: bpy.props.EnumProperty(name="Model", description="Which model makes the motion", items=items.model_items)
    preset: bpy.props.EnumProperty(
        name="Quality",
        description="How much work goes into a motion, and what that costs in time",
        items=items.preset_items,
    )
    steps: bpy.props.IntProperty(
        name="Steps",
        description="How many times the model refines the motion",
        default=10,
        min=1,
        soft_max=50,
        max=100,
    )
    style: bpy.props.EnumProperty(
        name="Style", description="How the character moves, whatever it does", items=style_items
    )
    style_weight: bpy.props.FloatProperty(
        name="Weight",
        description="How much of the style: 0 is the model's own manner, 1 all of the style",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    use_guidance: bpy.props.BoolProperty(
        name="Own Guidance", description="Set the guidance yourself instead of the model's own value", default=False
    )
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance",
        description="How closely the motion follows the prompt. Higher is more literal and less varied",
        default=5.0,
        min=0.0,
        soft_max=6.0,
        max=20.0,
    )
    variations: bpy.props.IntProperty(
        name="Variations",
        description="How many motions to make, each with its own seed and its own action. The first one is shown",
        default=1,
        min=1,
        max=8,
    )
    bones: bpy.props.PointerProperty(name="Bones", description="The bone of each joint", type=items.MomugBones)
    destination: bpy.props.EnumProperty(
        name="Put It Into",
        description="Where the keys go. Keys of yours are never changed outside the frames that you name",
        items=DESTINATIONS,
    )
    use_range: bpy.props.BoolProperty(
        name="Fill Frame Range",
        description="The motion fills these frames exactly, in place of its own length from the current frame on",
    )
    range_start: bpy.props.IntProperty(
        name="First Frame", description="First frame of the motion", default=1, min=-1_000_000, max=1_000_000
    )
    range_end: bpy.props.IntProperty(
        name="Last Frame", description="Last frame of the motion", default=100, min=-1_000_000, max=1_000_000
    )
    only_selected: bpy.props.BoolProperty(
        name="Only Selected Bones",
        description="Only bones that are selected in Pose Mode get keys, the others keep what they have",
    )
    keep_selected: bpy.props.BoolProperty(
        name="Keep Selected Bones",
        description=(
            "Bones that are selected in Pose Mode keep the motion that they have, and the model makes the others go "
            "with them. For this action or an NLA strip"
        ),
    )
    blocks: bpy.props.CollectionProperty(
        name="Blocks", description="The sentences of the timeline, in order", type=items.MomugBlock
    )
    block_index: bpy.props.IntProperty(name="Block", description="The block that the buttons are about")
    timeline_start: bpy.props.IntProperty(
        name="Start", description="The frame at which the timeline begins", default=1, min=-1_000_000, max=1_000_000
    )
    show_strip: bpy.props.BoolProperty(
        name="Show in Timeline",
        description="Draw the blocks as a strip in the timeline and the dope sheet",
        default=True,
    )
    poses: bpy.props.CollectionProperty(
        name="Poses", description="What the next motion has to meet, by frame", type=items.MomugPose
    )
    pose_index: bpy.props.IntProperty(name="Pose", description="The pose that the buttons are about")
    path: bpy.props.PointerProperty(
        name="Path", description="The character follows this curve at even speed", type=bpy.types.Object, poll=_is_curve
    )
    waypoints: bpy.props.PointerProperty(
        name="Waypoints",
        description="The character passes the objects of this collection, in the order of their names",
        type=bpy.types.Collection,
    )
    in_place: bpy.props.BoolProperty(
        name="In Place", description="No travel over the ground; the sway of the hips stays"
    )
    loop: bpy.props.BoolProperty(name="Loop", description="The end of the motion runs into its start")
    foot_lock: bpy.props.BoolProperty(
        name="Foot Lock", description="Feet do not slide while they stand on the ground", default=True
    )
    reduce: bpy.props.BoolProperty(
        name="Fewer Keys", description="Leave out keys that the motion does not need, within the error below"
    )
    reduce_degrees: bpy.props.FloatProperty(
        name="Error in Degrees",
        description="How far a bone may turn away",
        default=0.5,
        min=0.01,
        max=10.0,
        precision=2,
    )
    reduce_cm: bpy.props.FloatProperty(
        name="Error in cm", description="How far the hips may move away", default=0.5, min=0.01, max=10.0, precision=2
    )
    clear_hands: bpy.props.BoolProperty(
        name="Clear Hands", description="Hands that go into the trunk are pushed out of it", default=True
    )
    ik_legs: bpy.props.BoolProperty(
        name="IK Legs",
        description="On control rigs, key the IK controls of the legs instead of the FK ones",
    )
    ik_arms: bpy.props.BoolProperty(
        name="IK Arms", description="On control rigs, key the IK controls of the arms instead of the FK ones"
    )
    blend_in: bpy.props.IntProperty(
        name="Blend In",
        description="Over how many frames the motion starts from what is there",
        default=6,
        min=0,
        max=250,
    )
    blend_out: bpy.props.IntProperty(
        name="Blend Out", description="Over how many frames the motion ends in what is there", default=6, min=0, max=250
    )


def get(scene) -> MomugSettings:
    """The settings of a scene."""
    return scene.momug


OPTIONS = (
    "destination",
    "blend_in",
    "blend_out",
    "in_place",
    "loop",
    "foot_lock",
    "clear_hands",
    "ik_legs",
    "ik_arms",
    "reduce",
    "reduce_degrees",
    "reduce_cm",
)


def selected_bones(armature) -> list:
    """Names of the bones that are selected in pose mode."""
    return [bone.name for bone in armature.pose.bones if compat.is_selected(bone)]


def options(settings) -> takes.Options:
    """What the next motion becomes, as the settings say."""
    return takes.Options(**{name: getattr(settings, name) for name in OPTIONS})


def chosen_model(settings) -> str:
    """The model's name: the scene's, else that of the preferences; the default when a saved one does not exist here."""
    if not settings.is_property_set("model"):
        return preferences.value("default_model")
    return settings.model or DEFAULT_MODEL


def chosen_preset(settings) -> str:
    """The preset's name: the scene's, else that of the preferences when the chosen model has it."""
    if settings.is_property_set("preset"):
        return settings.preset
    preferred = preferences.value("default_preset")
    known = [preset["name"] for preset in service.model_info(chosen_model(settings)).get("presets", [])]
    return preferred if not known or preferred in known else MODEL_PRESET


def chosen_armatures(context) -> list:
    """The armatures that each get a motion of their own: the picked one, else all that are selected, the active one
    first."""
    first = chosen_armature(context)
    if first is None or get(context.scene).armature == first:
        return [first] if first is not None else []
    others = [thing for thing in context.selected_objects if thing.type == "ARMATURE" and thing != first]
    return [first, *others]


def chosen_armature(context):
    """The armature to work on, or None: the picked one, else the active one (or the one that moves the active mesh)."""
    picked = get(context.scene).armature
    if picked is not None and picked.users_scene:
        return picked
    active = context.view_layer.objects.active if context.view_layer else None
    if active is None:
        return None
    return active if active.type == "ARMATURE" else active.find_armature()


def register():
    for cls in (*items.CLASSES, MomugSettings):
        bpy.utils.register_class(cls)
    kept.register()
    bpy.types.Scene.momug = bpy.props.PointerProperty(type=MomugSettings)


def unregister():
    del bpy.types.Scene.momug
    kept.unregister()
    for cls in (MomugSettings, *reversed(items.CLASSES)):
        bpy.utils.unregister_class(cls)
    items.forget()

"""The artist's settings, saved with the scene. What runs right now lives in ``runtime`` and is never saved."""

import zlib

import bpy

from . import maps, results, service
from .rig import RigError, canonical
from .scene import compat, kept, takes

DEFAULT_MODEL = "momug"
OWN_STEPS = "CUSTOM"
MODEL_PRESET = "MODEL"

# Blender keeps no reference to the strings of a dynamic enum: they must live here
_items: "dict[str, list]" = {}


def _number(name: str) -> int:
    """A number for an enum item that stays the same when other items come and go."""
    return zlib.crc32(name.encode("utf-8")) & 0x7FFFFFFF


def _model_items(_self, _context):
    models = service.models() or [{"name": DEFAULT_MODEL, "label": "MoMug", "available": True}]
    items = []
    for model in models:
        name = model["name"]
        available = model.get("available", True)
        description = "Generates with this model" if available else model.get("reason") or "Not installed"
        items.append(
            (
                name,
                model.get("label") or name,
                description,
                "NONE" if available else "ERROR",
                0 if name == DEFAULT_MODEL else _number(name),
            )
        )
    _items["model"] = items
    return items


def _preset_items(self, _context):
    items = [(MODEL_PRESET, "Model's Choice", "As many steps as the model was tuned for", "NONE", 0)]
    for preset in service.model_info(chosen_model(self)).get("presets", []):
        name = preset["name"]
        steps = preset.get("steps")
        description = f"{steps} steps" if steps else "A preset of the model"
        items.append((name, name.replace("_", " ").title(), description, "NONE", _number(name)))
    items.append((OWN_STEPS, "Own Steps", "Set the number of steps yourself", "NONE", 1))
    _items["preset"] = items
    return items


def _is_armature(_self, candidate) -> bool:
    return candidate.type == "ARMATURE"


def _bone_getter(joint: str):
    def get_bone(_self) -> str:
        armature = chosen_armature(bpy.context)
        mapping = results.map_health(armature).mapping if armature is not None else None
        return (mapping.bone(joint) or "") if mapping is not None else ""

    return get_bone


def _bone_setter(joint: str):
    def set_bone(_self, name: str) -> None:
        armature = chosen_armature(bpy.context)
        try:
            maps.choose_first(armature, joint, name)
        except RigError as error:
            service.log.warning("%s", error)

    return set_bone


class MomugBones(bpy.types.PropertyGroup):
    """A field for the bone of each joint. They hold nothing: the map lies on the armature."""

    __annotations__ = {
        joint: bpy.props.StringProperty(
            name=canonical.words(joint).capitalize(),
            description=f"The bone that is the {canonical.words(joint)}",
            get=_bone_getter(joint),
            set=_bone_setter(joint),
        )
        for joint in canonical.JOINTS
    }


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
    )
    auto_seconds: bpy.props.BoolProperty(
        name="Let the Model Decide",
        description="The model chooses how long the motion is",
        default=False,
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
    model: bpy.props.EnumProperty(name="Model", description="Which model makes the motion", items=_model_items)
    preset: bpy.props.EnumProperty(name="Quality", description="More steps take longer", items=_preset_items)
    steps: bpy.props.IntProperty(
        name="Steps",
        description="How many times the model refines the motion",
        default=10,
        min=1,
        soft_max=50,
        max=100,
    )
    use_guidance: bpy.props.BoolProperty(
        name="Own Guidance", description="Set the guidance yourself instead of the model's own value", default=False
    )
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance",
        description="How closely the motion follows the prompt. Higher is more literal and less varied",
        default=2.5,
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
    bones: bpy.props.PointerProperty(name="Bones", description="The bone of each joint", type=MomugBones)
    destination: bpy.props.EnumProperty(
        name="Put It Into",
        description="Where the keys go. Keys of yours are never changed outside the frames that you name",
        items=[
            (takes.ACTION, "New Action", "A new action becomes the active one; the former action stays in the file"),
            (takes.NLA, "NLA Strip", "A strip on top of the NLA; the active action becomes a strip below"),
            (takes.SPLICE, "This Action", "Into the active action, where its ends run into your keys"),
        ],
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
    """The model's name; the default when the saved one does not exist here."""
    return settings.model or DEFAULT_MODEL


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
    bpy.utils.register_class(MomugBones)
    bpy.utils.register_class(MomugSettings)
    kept.register()
    bpy.types.Scene.momug = bpy.props.PointerProperty(type=MomugSettings)


def unregister():
    del bpy.types.Scene.momug
    kept.unregister()
    bpy.utils.unregister_class(MomugSettings)
    bpy.utils.unregister_class(MomugBones)
    _items.clear()

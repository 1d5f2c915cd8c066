"""What fills the fields of the settings: models and presets, the bone of each joint, lists of blocks and poses."""

import zlib

import bpy

from . import costs, maps, results, service
from .rig import RigError, canonical
from .translations import tr

DEFAULT_MODEL = "momug"
OWN_STEPS = "CUSTOM"
MODEL_PRESET = "MODEL"

# Blender keeps no reference to the strings of a dynamic enum: they must live here
_items: "dict[str, list]" = {}


def stable_number(name: str) -> int:
    """A number for an enum item that stays the same when other items come and go."""
    return zlib.crc32(name.encode("utf-8")) & 0x7FFFFFFF


def model_items(_settings, _context):
    """Enum items: what the backend says about its models."""
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
                0 if name == DEFAULT_MODEL else stable_number(name),
            )
        )
    _items["model"] = items
    return items


def preset_items(settings, _context):
    """Enum items: the presets of the model, each with what it costs on this computer."""
    model = settings.model or DEFAULT_MODEL

    pulled = bool(settings.loop or settings.path or settings.waypoints or any(pose.use for pose in settings.poses))

    def item(key: str, label: str, description: str, number: int, preset: "str | None"):
        fields = {"model": model, "preset": preset, "poses": pulled}
        seconds, measured = costs.estimate(fields, settings.seconds * settings.variations)
        source = "measured on this computer" if measured else "estimated; measured with the first motion"
        told = f"{tr(label)} ({tr(costs.words(seconds))})"
        about = tr(f"{description}. About {costs.words(seconds)} for this length, {source}")
        return key, told, about, "NONE", number

    items = [item(MODEL_PRESET, "Model's Choice", "As many steps as the model was tuned for", 0, None)]
    for preset in service.model_info(model).get("presets", []):
        name, steps = preset["name"], preset.get("steps")
        description = f"{steps} steps" if steps else "A preset of the model"
        if preset.get("language_every"):
            description += ", the language model looks at the motion in between: closer to the prompt"
        label = str(preset.get("label") or name.replace("_", " ").title())
        items.append(item(name, label, description, stable_number(name), name))
    items.append((OWN_STEPS, "Own Steps", "Set the number of steps yourself", "NONE", 1))
    _items["preset"] = items
    return items


def _chosen_armature():
    from .properties import chosen_armature  # which has these fields

    return chosen_armature(bpy.context)


def _bone_getter(joint: str):
    def get_bone(_self) -> str:
        armature = _chosen_armature()
        mapping = results.map_health(armature).mapping if armature is not None else None
        return (mapping.bone(joint) or "") if mapping is not None else ""

    return get_bone


def _bone_setter(joint: str):
    def set_bone(_self, name: str) -> None:
        armature = _chosen_armature()
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


class MomugBlock(bpy.types.PropertyGroup):
    """A sentence of the timeline and how long it takes."""

    prompt: bpy.props.StringProperty(
        name="Prompt", description="What the character does in this block, in plain English", default=""
    )
    seconds: bpy.props.FloatProperty(
        name="Seconds",
        description="How long this block takes",
        default=3.0,
        min=1.0,
        soft_max=10.0,
        max=60.0,
        step=50,
        precision=1,
    )
    auto: bpy.props.BoolProperty(
        name="Let the Model Decide", description="The model chooses how long this block is", default=False
    )


class MomugPose(bpy.types.PropertyGroup):
    """A pose that the next motion has to meet. ``data``: a pose that was taken (``scene.poses.Pose``); empty for the
    one that the animation shows at the frame."""

    frame: bpy.props.IntProperty(
        name="Frame", description="The frame at which the motion meets this pose", min=-1_000_000, max=1_000_000
    )
    use: bpy.props.BoolProperty(name="Use", description="The next motion meets this pose", default=True)
    data: bpy.props.StringProperty(options={"HIDDEN"})
    owner: bpy.props.StringProperty(name="Armature", description="The armature that this pose was taken from")


def forget() -> None:
    """Let go of the strings of the enums."""
    _items.clear()


CLASSES = (MomugBones, MomugBlock, MomugPose)

"""Settings that belong to the computer, not to a scene."""

import os
from pathlib import Path

import bpy

ROOT_PACKAGE = __package__

CACHE_VARIABLE = "MOMUG_CACHE"  # read by backend.paths, here and in the model's process
_cache_before: "str | None" = os.environ.get(CACHE_VARIABLE)

DEFAULTS = {
    "backend_python": "",
    "backend_command": "",
    "device": "auto",
    "precision": "auto",
    "prefetch": True,
    "idle_minutes": 15,
    "cache_folder": "",
    "log_folder": "",
    "wheel_folder": "",
    "default_model": "momug",
    "default_preset": "MODEL",
}

LICENCES = (
    "MoMug, its weights and its motion data: see LICENSE and the model card in the add-on's folder.",
    "What is installed keeps its own licences; the list stands in the Backend panel before anything is downloaded.",
    "PyTorch is BSD-3-Clause; its CUDA build brings NVIDIA's libraries under NVIDIA's own licence.",
    "The language model SmolLM2-135M-Instruct is Apache-2.0.",
    "Prompts and motions stay on this computer: the model runs without a network.",
)


def _cache_changed(_self, _context) -> None:
    from . import installation, runtime

    runtime.shutdown(wait=False)
    apply()
    installation.look_again()


def _log_changed(_self, _context) -> None:
    from . import service

    service.close_log()  # opened again, in the new place, with the next line


def _model_items(self, context):
    from . import property_items

    return property_items.model_items(self, context)


class MomugPreferences(bpy.types.AddonPreferences):
    """Where and how the model runs."""

    bl_idname = ROOT_PACKAGE

    page = None  # draws the page; the panels put it here

    device: bpy.props.EnumProperty(
        name="Device",
        description="What the model computes on. A change takes effect with the next motion",
        items=[
            ("auto", "Automatic", "The graphics card when it can be used, else the CPU"),
            ("cpu", "CPU", "Always works, needs no graphics memory"),
            ("cuda", "NVIDIA Card", "The graphics card, by CUDA"),
        ],
        default=DEFAULTS["device"],
    )
    precision: bpy.props.EnumProperty(
        name="Precision",
        description="How exactly the language model computes. A change takes effect with the next motion",
        items=[
            ("auto", "Automatic", "bfloat16 where this computer computes it fast, else float32"),
            ("float32", "Full (float32)", "The same on every computer; takes more memory"),
            ("bfloat16", "Half (bfloat16)", "Half the memory; fast on newer processors and cards"),
        ],
        default=DEFAULTS["precision"],
    )
    prefetch: bpy.props.BoolProperty(
        name="Load While I Type",
        description="Start the model as soon as a prompt is typed, so that it is ready when the button is pressed",
        default=DEFAULTS["prefetch"],
    )
    idle_minutes: bpy.props.IntProperty(
        name="Unload After (min)",
        description="End the model's process after so many minutes without use. It starts again when it is needed. "
        "0 keeps it until Blender ends",
        default=DEFAULTS["idle_minutes"],
        min=0,
        soft_max=120,
        max=1440,
    )
    default_model: bpy.props.EnumProperty(
        name="Model",
        description="The model of scenes where none was chosen",
        items=_model_items,
    )
    default_preset: bpy.props.EnumProperty(
        name="Quality",
        description="The quality in scenes where none was chosen, for models that have it",
        items=[
            ("MODEL", "Model's Choice", "As many steps as the model was tuned for"),
            ("fast", "Fast", "The quickest preset"),
            ("full", "Full", "The best preset"),
        ],
        default=DEFAULTS["default_preset"],
    )
    cache_folder: bpy.props.StringProperty(
        name="Cache Folder",
        description="Where the model's programs and the language model are kept. Empty: this system's usual cache. "
        "What was installed elsewhere stays there",
        subtype="DIR_PATH",
        update=_cache_changed,
    )
    log_folder: bpy.props.StringProperty(
        name="Log Folder",
        description="Where the logs are written. Empty: a folder beside Blender's own settings",
        subtype="DIR_PATH",
        update=_log_changed,
    )
    wheel_folder: bpy.props.StringProperty(
        name="Folder of Wheels",
        description="Install from this folder instead of the internet. It is made on another computer with "
        "'python3 build.py wheels --out FOLDER'",
        subtype="DIR_PATH",
    )
    backend_python: bpy.props.StringProperty(
        name="Python of the Model",
        description="The Python that runs the model. Leave empty to use the one that was installed",
        subtype="FILE_PATH",
    )
    backend_command: bpy.props.StringProperty(
        name="Backend Command",
        description=(
            "For developers: the complete command that starts the backend, arguments separated by spaces "
            "(quote what contains spaces). Leave empty for the normal one"
        ),
    )

    def draw(self, context):
        if MomugPreferences.page is not None:
            MomugPreferences.page(self, context)


def get() -> "MomugPreferences | None":
    """The preferences, or None when the package runs from a checkout without being enabled as an add-on."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon else None


def value(name: str):
    """A setting, or its default where there are no preferences."""
    chosen = get()
    found = getattr(chosen, name) if chosen is not None else DEFAULTS[name]
    return found if found != "" else DEFAULTS[name]  # a model that was chosen and is gone reads as ""


def _folder(name: str) -> "Path | None":
    text = value(name).strip()
    return Path(bpy.path.abspath(text)).expanduser() if text else None


def wheel_folder() -> "Path | None":
    """The folder of wheels to install from, or None for the internet."""
    return _folder("wheel_folder")


def log_folder() -> "Path | None":
    """The folder for logs that the user chose, or None."""
    return _folder("log_folder")


def apply() -> None:
    """Let the chosen cache folder be the one that this Blender and the processes it starts use."""
    folder = _folder("cache_folder")
    if folder is not None:
        os.environ[CACHE_VARIABLE] = str(folder)
    else:
        restore()


def restore() -> None:
    """The cache folder as it was before the add-on."""
    if _cache_before is None:
        os.environ.pop(CACHE_VARIABLE, None)
    else:
        os.environ[CACHE_VARIABLE] = _cache_before


def in_words() -> str:
    """All settings in one line."""
    return ", ".join(f"{name} {value(name) or '(empty)'}" for name in DEFAULTS)


def register():
    bpy.utils.register_class(MomugPreferences)


def unregister():
    bpy.utils.unregister_class(MomugPreferences)

"""What the captions, the library and style training are set to: saved with the scene, except what one searches for."""

import bpy

from . import captions, indexing, styles
from .library import rank
from .property_items import DEFAULT_MODEL, stable_number
from .scene import assets
from .translations import tr

MOST_FOUND = 50  # actions of other files that are listed


def _read_caption(action) -> str:
    return assets.caption_of(action)


def _write_caption(action, text: str) -> None:
    assets.set_caption(action, text)


# Blender keeps no reference to the strings of a dynamic enum: they must live here
_style_items: list = []


def style_items(settings, _context):
    """Enum items: no style, and the packs that are installed."""
    model = settings.model or DEFAULT_MODEL
    items = [(styles.NONE, tr("No Style"), tr("The motion as the model makes it"), "NONE", 0)]
    for pack in styles.packs(model):
        label, licence = pack.get("label") or pack["name"], pack.get("licence") or "?"
        if pack.get("commercial"):
            told = tr("Licence of the motions it learned from: {licence}").format(licence=licence)
        else:
            label = tr("{style} (non-commercial)").format(style=label)
            told = tr("Not for commercial work. Licence of the motions it learned from: {licence}").format(
                licence=licence
            )
        icon = "NONE" if pack.get("commercial") else "ERROR"
        items.append((pack["name"], label, told, icon, stable_number(pack["name"])))
    _style_items[:] = items
    return _style_items


class MomugFound(bpy.types.PropertyGroup):
    """An action in another file that fits the search. ``name`` is Blender's own: the name of the action."""

    file: bpy.props.StringProperty(name="File", description="The file that holds the action", subtype="FILE_PATH")
    caption: bpy.props.StringProperty(name="Caption", description="What the character does in it")


def search_again(library, _context=None) -> None:
    """Fill the list of what fits in other files, and pick the best of this file, whose list is sorted while drawn."""
    if library.search.strip():
        best = rank(library.search, [assets.entry(action) for action in bpy.data.actions])[:1]
        library.action_index = best[0][0] if best else -1
    library.found.clear()
    known = indexing.assets()
    for index, _score in rank(library.search, [asset.entry for asset in known])[:MOST_FOUND]:
        found = library.found.add()
        found.name, found.file, found.caption = known[index].name, known[index].file, known[index].caption
    library.found_index = 0


class MomugLibrary(bpy.types.PropertyGroup):
    """The search; it belongs to the window manager, so that undo leaves it alone."""

    search: bpy.props.StringProperty(
        name="Search",
        description=(
            "Words of what the character does. Other forms of a word and words of the same meaning fit too; "
            "the best come first"
        ),
        update=search_again,
        options={"TEXTEDIT_UPDATE", "SKIP_SAVE"},
    )
    action_index: bpy.props.IntProperty(
        name="Action", description="The action whose caption is shown below the list", options={"SKIP_SAVE"}
    )
    found: bpy.props.CollectionProperty(
        name="Found", description="Actions of other files that fit the search", type=MomugFound, options={"SKIP_SAVE"}
    )
    found_index: bpy.props.IntProperty(
        name="Found", description="The action of another file to use", options={"SKIP_SAVE"}
    )


class MomugCaptions(bpy.types.PropertyGroup):
    """What to caption, and what a trained style is called."""

    scope: bpy.props.EnumProperty(
        name="Caption",
        description="Which animations get a caption, one after the other",
        items=[
            (captions.ACTIVE, "Armature's Action", "The active action of the armature"),
            (captions.TICKED, "Ticked Actions", "The actions that are ticked in the library below"),
            (captions.STRIPS, "Selected NLA Strips", "The selected strips of the armature and of selected armatures"),
            (captions.OBJECTS, "Selected Objects", "Whatever moves the selected armatures"),
            (captions.RANGE, "Frame Range", "The frames below of the armature's animation"),
        ],
    )
    first: bpy.props.IntProperty(name="First Frame", description="First frame that is described", default=1)
    last: bpy.props.IntProperty(name="Last Frame", description="Last frame that is described", default=100)
    style_name: bpy.props.StringProperty(
        name="Name", description="What the style is called in the list of styles", default="My Style", maxlen=60
    )
    style_commercial: bpy.props.BoolProperty(
        name="For Commercial Work",
        description=(
            "Switch this off when the motion that the style learns from may not be used commercially; "
            "the style is then labelled so"
        ),
        default=True,
    )
    style_steps: bpy.props.IntProperty(
        name="Steps",
        description="How long the style learns. More steps follow your motion closer and take longer",
        default=300,
        min=1,
        soft_min=50,
        soft_max=1000,
        max=10_000,
    )


CLASSES = (MomugFound, MomugLibrary, MomugCaptions)


def library(context) -> MomugLibrary:
    """The search of this Blender."""
    return context.window_manager.momug_library


def settings(scene) -> MomugCaptions:
    """The settings of a scene."""
    return scene.momug_captions


def shown_action(context):
    """The action that is picked in the list, or None."""
    index = library(context).action_index
    return bpy.data.actions[index] if 0 <= index < len(bpy.data.actions) else None


def ticked() -> list:
    """The actions of this file that are ticked."""
    return [action for action in bpy.data.actions if action.momug_ticked and action.library is None]


def register():
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.WindowManager.momug_library = bpy.props.PointerProperty(type=MomugLibrary)
    bpy.types.Scene.momug_captions = bpy.props.PointerProperty(type=MomugCaptions)
    bpy.types.Action.momug_ticked = bpy.props.BoolProperty(
        name="Ticked", description="Captions, assets and styles are made of the ticked actions", default=False
    )
    bpy.types.Action.momug_words = bpy.props.StringProperty(
        name="Caption",
        description="What the character does, in words. It is kept with the action, and with the asset when it is one",
        get=_read_caption,
        set=_write_caption,
    )


def unregister():
    indexing.cancel()
    captions.forget()
    styles.forget()
    _style_items.clear()
    del bpy.types.Action.momug_words
    del bpy.types.Action.momug_ticked
    del bpy.types.Scene.momug_captions
    del bpy.types.WindowManager.momug_library
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)

"""Captions of actions, and actions as assets: description and tags, in this file and read from others.

The caption is a custom property of the action (of the armature, where its movement is in no single action), so it is
saved, undone and appended with it. What an artist wrote into the asset's description or tags is never overwritten.
"""

import json
import logging
from pathlib import Path

import bpy

from ..library import Entry, tags
from ..library.index import Asset
from ..rig import RigError
from . import capture, compat, keys, posing, takes

log = logging.getLogger(__name__)

CAPTION_KEY = "momug_caption"
_RANGES = "momug_caption_ranges"  # captions of parts, JSON [[first, last, text], ...]
_WRITTEN = "momug_asset_words"  # the description and tags that were written here, JSON {"text", "tags"}
_SOURCE = "momug_source"  # where an action was appended from
LONGEST = 2000  # characters of a caption


def caption_of(owner: "bpy.types.ID | None") -> str:
    """The caption of an action or armature; empty when there is none."""
    text = owner.get(CAPTION_KEY, "") if owner is not None else ""
    return text if isinstance(text, str) else ""


def set_caption(owner: bpy.types.ID, text: str) -> None:
    """Keep ``text`` as the caption, and bring the description and tags of an asset up to date; empty forgets."""
    text = " ".join(text.split())[:LONGEST]
    if text:
        owner[CAPTION_KEY] = text
    elif CAPTION_KEY in owner:
        del owner[CAPTION_KEY]
    if isinstance(owner, bpy.types.Action) and owner.asset_data is not None:
        describe_asset(owner)


def captions_of_parts(owner: "bpy.types.ID | None") -> list[tuple[int, int, str]]:
    """(first frame, last frame, text) of captions that are about a part of an animation, by frame."""
    stored = owner.get(_RANGES, "") if owner is not None else ""
    if not isinstance(stored, str) or not stored:
        return []
    try:
        return [(int(first), int(last), str(text)) for first, last, text in json.loads(stored)]
    except (ValueError, TypeError) as error:
        log.warning("the captions of parts of '%s' cannot be read: %r", owner.name, error)
        return []


def set_caption_of_part(owner: bpy.types.ID, first: int, last: int, text: str) -> None:
    """Keep a caption of frames ``first`` to ``last``; an empty one forgets. Without a caption of the whole it is that
    as well."""
    text = " ".join(text.split())[:LONGEST]
    kept = [part for part in captions_of_parts(owner) if part[:2] != (first, last)]
    if text:
        kept.append((first, last, text))
    if kept:
        owner[_RANGES] = json.dumps(sorted(kept), ensure_ascii=False)
    elif _RANGES in owner:
        del owner[_RANGES]
    if text and not caption_of(owner):
        set_caption(owner, text)


# --- assets


def is_asset(action: bpy.types.Action) -> bool:
    return action.asset_data is not None


def asset_tags(action: bpy.types.Action) -> tuple[str, ...]:
    """The tags of an asset; those that it would get when it is none."""
    if action.asset_data is not None:
        return tuple(tag.name for tag in action.asset_data.tags)
    return tuple(tags(caption_of(action)))


def mark(action: bpy.types.Action) -> None:
    """Make the action an asset, described by its caption. Raises RigError for an action of another file."""
    if action.library is not None:
        raise RigError(f"'{action.name}' is linked from another file; mark it there.")
    action.asset_mark()
    action.use_fake_user = True
    describe_asset(action)


def unmark(action: bpy.types.Action) -> None:
    """Make it an ordinary action again; keys and caption stay."""
    if action.library is not None:
        raise RigError(f"'{action.name}' is linked from another file; unmark it there.")
    action.asset_clear()
    if _WRITTEN in action:
        del action[_WRITTEN]


def describe_asset(action: bpy.types.Action) -> None:
    """Description and tags from the caption. Tags and descriptions that somebody else wrote stay; so does the author.

    The tags of the former caption go.
    """
    asset, text = action.asset_data, caption_of(action)
    former = _written(action)
    if not asset.description or asset.description == former["text"]:
        asset.description = text
        former["text"] = text
    wanted = tags(text)
    for tag in list(asset.tags):
        if tag.name in former["tags"] and tag.name not in wanted:
            asset.tags.remove(tag)
    own = []
    for name in wanted:
        if name in asset.tags:
            own += [name] if name in former["tags"] else []
        else:
            asset.tags.new(name, skip_if_exists=True)
            own.append(name)
    action[_WRITTEN] = json.dumps({"text": former["text"], "tags": own}, ensure_ascii=False)


def _written(action: bpy.types.Action) -> dict:
    try:
        stored = json.loads(action.get(_WRITTEN, "{}"))
        return {"text": str(stored.get("text", "")), "tags": [str(name) for name in stored.get("tags", [])]}
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("what was written on the asset '%s' cannot be read: %r", action.name, error)
        return {"text": "", "tags": []}


def entry(action: bpy.types.Action) -> Entry:
    """What a search looks at."""
    asset = action.asset_data
    names = tuple(tag.name for tag in asset.tags) if asset is not None else ()
    return Entry(action.name, caption_of(action) or (asset.description if asset is not None else ""), names)


def read_assets(file: Path) -> list[Asset]:
    """The actions that are assets in another .blend file. They are read beside the open file, which does not change.

    Raises OSError when it is no .blend file.
    """
    try:
        return _read_assets(file)
    except (OSError, RuntimeError) as error:
        told = str(error)
    # a new error: the traceback of that one keeps Blender's objects beyond the data that they speak of, and freeing
    # them late breaks Blender 4.5
    raise OSError(told)


def _read_assets(file: Path) -> list[Asset]:
    with bpy.data.temp_data() as aside:
        with aside.libraries.load(str(file), link=True, assets_only=True) as (inside, wanted):
            wanted.actions = list(inside.actions)
        found = [action for action in wanted.actions if action is not None]
        return [Asset(str(file), action.name, (told := entry(action)).caption, told.tags) for action in found]


# --- putting an action on an armature


def slot_of(action: bpy.types.Action, armature: bpy.types.Object):
    """The slot of ``action`` that moves most bones of ``armature``; of equals the bound one or the one of its name."""
    if not compat.SLOTTED:
        return None
    likely = compat.slot_for(action, armature)
    slots = [slot for slot in action.slots if slot.target_id_type in (armature.id_type, "UNSPECIFIED")]
    known = {bone.name for bone in armature.pose.bones}
    return max(slots, key=lambda slot: (len(_bones(action, slot) & known), slot == likely), default=None)


def _bones(action: bpy.types.Action, slot) -> set[str]:
    bag = compat.channels(action, slot)
    found = (posing.bone_of(curve.data_path) for curve in (bag.fcurves if bag is not None else ()))
    return {bone[0] for bone in found if bone}


def bones_of(action: bpy.types.Action, armature: bpy.types.Object) -> set[str]:
    """Names of the bones that ``action`` has keys for, as far as ``armature`` would play it."""
    return _bones(action, slot_of(action, armature))


def fits(action: bpy.types.Action, armature: bpy.types.Object) -> bool:
    """Does ``action`` move at least one bone of ``armature``?"""
    return any(bone in armature.pose.bones for bone in bones_of(action, armature))


def users(action: bpy.types.Action) -> list[bpy.types.Object]:
    """The armatures on which ``action`` is active, then those that have it on the NLA."""
    active, strips = [], []
    for candidate in bpy.data.objects:
        data = candidate.animation_data if candidate.type == "ARMATURE" and candidate.users_scene else None
        if data is None:
            continue
        if data.action == action:
            active.append(candidate)
        elif any(strip.action == action for track in data.nla_tracks for strip in track.strips):
            strips.append(candidate)
    return active + strips


def armature_of(action: bpy.types.Action, preferred: "bpy.types.Object | None" = None) -> "bpy.types.Object | None":
    """The armature that ``action`` is read with: one that uses it, else ``preferred`` when it has its bones, else the
    only armature that has them. None when there is no such armature."""
    using = users(action)
    if using:
        return preferred if preferred in using else using[0]
    if preferred is not None:
        return preferred if fits(action, preferred) else None
    fitting = [one for one in bpy.data.objects if one.type == "ARMATURE" and one.users_scene and fits(action, one)]
    return fitting[0] if len(fitting) == 1 else None


def assign(action: bpy.types.Action, armature: bpy.types.Object) -> str:
    """Make ``action`` the active one of ``armature``, its slot bound; a sentence about bones that are missing, or "".

    The action that was active stays in the file. Raises RigError when the action moves no bone of the armature.
    """
    wanted = bones_of(action, armature)
    there = {bone for bone in wanted if bone in armature.pose.bones}
    if not there:
        raise RigError(f"'{action.name}' moves no bone of '{armature.name}': it was made for another armature.")
    previous = capture.active_action(armature)
    if previous is not None and previous != action:
        if previous.library is None:
            previous.use_fake_user = True
        keys.clear_leftovers(armature, previous)
    compat.assign(armature, action, slot_of(action, armature))
    if len(there) < len(wanted):
        return (
            f"'{armature.name}' has only some of the bones that '{action.name}' moves: {len(there)} of {len(wanted)}."
        )
    return ""


def append(file: str, name: str) -> bpy.types.Action:
    """The action ``name`` of another file, copied into this one; the copy that is there already, when there is one.

    It is no asset here. Raises RigError when the file or the action is gone.
    """
    source = f"{file}\n{name}"
    for action in bpy.data.actions:
        if action.get(_SOURCE) == source:
            return action
    before = set(bpy.data.actions)
    try:
        with bpy.data.libraries.load(file, link=False) as (inside, wanted):
            wanted.actions = [one for one in inside.actions if one == name]
    except OSError as error:
        raise RigError(f"'{Path(file).name}' cannot be opened any more.") from error
    if not wanted.actions or wanted.actions[0] is None:
        raise RigError(f"'{Path(file).name}' no longer holds an action called '{name}'.")
    action = wanted.actions[0]
    if takes.FORMER in action:  # what it took the place of over there came along
        del action[takes.FORMER]
        for other in set(bpy.data.actions) - before - {action}:
            bpy.data.actions.remove(other)
    told = entry(action)
    if action.asset_data is not None:
        action.asset_clear()
    if told.caption and not caption_of(action):
        action[CAPTION_KEY] = told.caption
    action[_SOURCE] = source
    action.use_fake_user = True
    return action

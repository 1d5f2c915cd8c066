"""The bone map as the artist edits it: choosing, mirroring, checking, and JSON files in the user's own folder."""

from pathlib import Path

from . import service
from .rig import BoneMap, RigError, canonical, editing, match
from .rig.editing import EditedMap
from .scene import armature as armatures
from .scene import stored_map
from .scene.files import replacing

SURE = 0.75  # confidence from which on a joint gets a tick


def _editable(armature) -> tuple[EditedMap, BoneMap, list]:
    """(the stored map, or a fresh one; what the matcher says; the bones). Raises RigError."""
    problem = armatures.problem(armature)
    if problem:
        raise RigError(problem)
    bones = armatures.bones(armature)
    automatic = match(bones)
    return stored_map.read(armature) or editing.detected(automatic, None), automatic, bones


def detect(armature, forget_choices: bool = False) -> str:
    """Map the bones anew and store that. The artist's choices stay unless ``forget_choices``. One sentence."""
    stored, automatic, _ = _editable(armature)
    fresh = editing.detected(automatic, None if forget_choices else stored)
    stored_map.write(armature, fresh)
    found = sum(bool(names) for names in fresh.joints.values())
    told = f"Joints with a bone: {found} of {len(canonical.JOINTS)}."
    return f"{told} " + f"Your own choice: {len(fresh.edited)}." if fresh.edited else told


def clear(armature) -> None:
    """Forget the stored map with all choices: the matcher decides again."""
    stored_map.clear(armature)


def choose(armature, joint: str, names: list[str]) -> None:
    """The artist says which bones carry a joint; none for an empty list."""
    stored, _, bones = _editable(armature)
    there = {bone.name for bone in bones}
    gone = [name for name in names if name not in there]
    if gone:
        raise RigError(f"'{armature.name}' has no bone called '{gone[0]}'.")
    stored.choose(joint, names)
    stored_map.write(armature, stored)


def choose_first(armature, joint: str, name: str) -> None:
    """Another bone at the joint itself; further bones of a chain stay."""
    stored, _, _ = _editable(armature)
    others = [other for other in stored.joints[joint][1:] if other != name]
    choose(armature, joint, [name, *others] if name else [])


def automatic_again(armature, joint: str) -> None:
    """Give a joint back to the matcher."""
    stored, automatic, _ = _editable(armature)
    stored.edited.discard(joint)
    stored.joints[joint] = list(automatic.joints.get(joint, ()))
    stored_map.write(armature, stored)


def mirror(armature, source: str) -> str:
    """The bones of one side ("left" or "right") for the other side as well. One sentence."""
    stored, _, bones = _editable(armature)
    result, failed = editing.mirrored(stored, bones, source)
    changed = [joint for joint in canonical.JOINTS if result.joints[joint] != stored.joints[joint]]
    stored_map.write(armature, result)
    if failed:
        return f"No opposite bone was found for the {' and the '.join(canonical.words(joint) for joint in failed[:3])}."
    return f"Joints changed: {len(changed)}." if changed else "Both sides were the same already."


def validate(armature) -> list[str]:
    """Sentences about everything that is wrong with the map; empty when it can be used as it is."""
    _, _, bones = _editable(armature)
    mapping = stored_map.bone_map(armature, bones)
    found = [sentence for sentences in editing.problems(mapping, bones).values() for sentence in sentences]
    if mapping.note and mapping.note not in found:
        found.insert(0, mapping.note)
    return found


# --- files


def folder() -> Path:
    """Where saved maps lie: the extension's own user folder."""
    return service.user_folder("bone_maps")


def saved() -> list[str]:
    """Names of the maps in the user folder."""
    try:
        return sorted(path.stem for path in folder().glob("*.json"))
    except OSError:
        service.log.exception("the folder of bone maps cannot be read")
        return []


def path_of(name: str) -> Path:
    """The file of a saved map. Raises RigError for a name that cannot be one."""
    name = name.strip()
    if not name or name.startswith(".") or any(sign in name for sign in '/\\:*?"<>|\0') or len(name) > 100:
        raise RigError("A bone map needs a name that can be a file's name.")
    return folder() / f"{name}.json"


def save(armature, path: Path) -> None:
    """Write the map of ``armature``, stored or automatic, to a file. Raises RigError."""
    stored, _, _ = _editable(armature)
    try:
        with replacing(path) as part:
            part.write_text(stored.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise RigError(f"The bone map could not be saved: {error.strerror or error}.") from error


def load(armature, path: Path) -> str:
    """Store the map of a file on ``armature``: every joint it names becomes the artist's choice. One sentence.

    Raises RigError, with nothing changed, for a file that is no map or whose bones are mostly other ones.
    """
    _, _, bones = _editable(armature)
    try:
        if path.stat().st_size > 4 * editing.MAX_CHARACTERS:
            raise RigError("This is not a bone map of MoMug: it is much too long.")
        loaded = editing.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RigError(f"The bone map could not be read: {getattr(error, 'strerror', None) or error}.") from error
    there = {bone.name for bone in bones}
    named = {joint: names for joint, names in loaded.joints.items() if names}
    fits = [joint for joint, names in named.items() if all(name in there for name in names)]
    if len(fits) < max(1, len(named) // 2):
        raise RigError(
            f"This bone map is of another figure: '{armature.name}' has {len(fits)} of its {len(named)} bones."
        )
    stored = EditedMap(loaded.joints, set(fits) | {joint for joint in loaded.edited if not loaded.joints[joint]})
    for joint in named:
        if joint not in fits:
            stored.joints[joint] = []
    stored_map.write(armature, stored)
    if len(fits) < len(named):
        return f"Joints found: {len(fits)} of {len(named)}; the others are looked for."
    return "All joints of the map were found."

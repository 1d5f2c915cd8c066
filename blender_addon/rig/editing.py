"""A bone map that the artist has a say in: what was chosen by hand, kept as JSON, and checked.

Choices win over the matcher: a joint that was edited keeps its bones (or its emptiness) whatever is detected later.
"""

import json
import re
from dataclasses import dataclass, field, replace

import numpy as np

from . import canonical
from .bones import Bone, BoneMap, RigError
from .controls import logical
from .matcher import completed

FORMAT = "momug bone map"
VERSION = 1
MAX_CHARACTERS = 200_000
MAX_BONES = 64  # in one joint
# An L or R between other signs, as in "thigh.L", "l_arm" and "Bip01 R Thigh"
_SIDE_LETTER = re.compile(r"(?<![^\W\d_])[LlRr](?![^\W\d_])")
CHAINS = canonical.SPINE + ("neck",)  # joints that several bones may share


@dataclass
class EditedMap:
    """joints: canonical joint -> bone names (see ``BoneMap.joints``), all 22. edited: those that the artist chose."""

    joints: dict[str, list[str]]
    edited: set[str] = field(default_factory=set)
    family: str = ""

    def __post_init__(self):
        self.joints = {joint: list(self.joints.get(joint) or ()) for joint in canonical.JOINTS}
        self.edited = set(self.edited)

    def choose(self, joint: str, names: list[str]) -> None:
        """The artist's choice for one joint; an empty list means that there is no such bone."""
        self.joints[joint] = list(dict.fromkeys(names))
        self.edited.add(joint)

    def to_json(self) -> str:
        """One line of JSON for :func:`from_json`."""
        stored = {
            "format": FORMAT,
            "version": VERSION,
            "family": self.family,
            "joints": self.joints,
            "edited": [joint for joint in canonical.JOINTS if joint in self.edited],
        }
        return json.dumps(stored, ensure_ascii=False)


def from_json(text: str) -> EditedMap:
    """What :meth:`EditedMap.to_json` wrote. Raises RigError with one sentence for anything else."""
    if len(text) > MAX_CHARACTERS:
        raise RigError("This is not a bone map of MoMug: it is much too long.")
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RigError("This is not a bone map of MoMug: it cannot be read as JSON.") from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise RigError("This is not a bone map of MoMug.")
    version = stored.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise RigError("This bone map was made by a newer MoMug.")
    joints, edited, family = stored.get("joints"), stored.get("edited", []), stored.get("family", "")
    named = isinstance(joints, dict) and all(joint in canonical.INDEX for joint in joints)
    if not named or not all(_bone_names(names) for names in joints.values()):
        raise RigError("This bone map is damaged: its joints cannot be read.")
    if not isinstance(family, str) or not isinstance(edited, list):
        raise RigError("This bone map is damaged.")
    return EditedMap(joints, {joint for joint in edited if joint in canonical.INDEX}, family)


def _bone_names(names: object) -> bool:
    return isinstance(names, list) and len(names) <= MAX_BONES and all(isinstance(name, str) and name for name in names)


def detected(automatic: BoneMap, former: EditedMap | None) -> EditedMap:
    """The matcher's map with the artist's choices of ``former`` kept."""
    fresh = EditedMap(automatic.joints, family=automatic.family)
    if former is not None:
        for joint in former.edited:
            fresh.choose(joint, former.joints[joint])
    return fresh


def edited_map(automatic: BoneMap, stored: EditedMap, bones: list[Bone]) -> BoneMap:
    """``automatic`` with the joints of ``stored``: what the rest of the add-on works with.

    A joint that nobody edited falls back to the matcher when its bone is gone, and gives up a bone that the artist
    chose for another joint. Bones that were chosen and are gone make the map unusable, with a sentence that says so.
    """
    there = {bone.name for bone in bones}
    taken = {name for joint in stored.edited for name in stored.joints[joint]}
    joints: dict[str, list[str]] = {}
    gone = []
    for joint in canonical.JOINTS:
        names = stored.joints[joint]
        if joint in stored.edited:
            gone += [(joint, name) for name in names if name not in there]
            joints[joint] = [name for name in names if name in there]
            continue
        if not names or any(name not in there for name in names):
            names = automatic.joints.get(joint, [])
        joints[joint] = [name for name in names if name not in taken]
    missing = [joint for joint in canonical.REQUIRED if not joints[joint]]
    if not any(joints[joint] for joint in canonical.SPINE):
        missing.append("spine")
    note = ""
    if gone:
        joint, name = gone[0]
        note = f"There is no bone '{name}' any more, which was chosen as the {canonical.words(joint)}."
    elif missing and not automatic.note:
        note = _given_up(automatic, stored, missing)
    elif missing or joints == automatic.joints:
        note = automatic.note
    changed = {joint for joint in canonical.JOINTS if joints[joint] != automatic.joints.get(joint, [])}
    confidence = {joint: value for joint, value in automatic.confidence.items() if joint not in changed}
    confidence |= {joint: 1.0 for joint in stored.edited | changed if joints[joint]}
    edited = replace(
        automatic,
        joints=joints,
        missing=missing,
        note=note,
        confidence=confidence,
        candidates={joint: names for joint, names in automatic.candidates.items() if joint not in stored.edited},
    )
    return completed(edited, bones) if changed else edited


def _given_up(automatic: BoneMap, stored: EditedMap, missing: list[str]) -> str:
    """Why a joint that the matcher had found has no bone now; empty when a choice is not the reason."""
    for joint in missing:
        for owner in stored.edited:
            for name in automatic.joints.get(joint, ()):
                if owner != joint and name in stored.joints[owner]:
                    taken, lacking = canonical.words(owner), canonical.words(joint)
                    return f"'{name}' is chosen as the {taken}, so the {lacking} has no bone."
    return ""


def mirrored(stored: EditedMap, bones: list[Bone], source: str) -> tuple[EditedMap, list[str]]:
    """The bones of the ``source`` side ("left" or "right") chosen for the other side as well.

    The opposite bone has the opposite name (.L and .R, Left and Right), or else lies where the bone would be in a
    mirror. Returns the new map and the joints of the other side for which there is no such bone.
    """
    by_name = {bone.name: bone for bone in bones}
    result = EditedMap(stored.joints, stored.edited, stored.family)
    plane = _mirror_plane(stored, by_name)
    failed = []
    for joint in canonical.JOINTS:
        if not joint.startswith(source + "_") or not stored.joints[joint]:
            continue
        other = canonical.mirror(joint)
        found = [_opposite(name, by_name, plane) for name in stored.joints[joint]]
        if None in found:
            failed.append(other)
        elif result.joints[other] != found:
            result.choose(other, found)
    return result, failed


def _opposite(name: str, by_name: dict[str, Bone], plane: tuple[np.ndarray, np.ndarray] | None) -> str | None:
    flipped = flip_name(name)
    if flipped != name and flipped in by_name:
        return flipped
    if plane is None or name not in by_name:
        return None
    point, normal = plane
    ends = np.stack([by_name[name].head, by_name[name].tail])
    wanted = ends - 2 * ((ends - point) @ normal)[:, None] * normal
    apart = {
        other: np.linalg.norm(np.stack([bone.head, bone.tail]) - wanted, axis=-1).max()
        for other, bone in by_name.items()
        if other != name
    }
    if not apart:
        return None
    nearest = min(apart, key=apart.get)
    length = np.linalg.norm(ends[1] - ends[0])
    return nearest if apart[nearest] < 0.2 * max(length, 1e-9) else None


def flip_name(name: str) -> str:
    """The name of the bone on the other side (``thigh.L``: ``thigh.R``, ``RightArm``: ``LeftArm``) or itself."""
    for left, right in (("Left", "Right"), ("left", "right"), ("LEFT", "RIGHT"), ("左", "右")):
        if left in name:
            return name.replace(left, right, 1)
        if right in name:
            return name.replace(right, left, 1)
    alone = _SIDE_LETTER.search(name)
    if alone:
        letter = "LRlr"["RLrl".index(alone.group())]
        return name[: alone.start()] + letter + name[alone.end() :]
    # lShldr, rThigh: a small letter before a capital
    if len(name) > 1 and name[0] in "lr" and name[1].isupper():
        return ("r" if name[0] == "l" else "l") + name[1:]
    return name


def _mirror_plane(stored: EditedMap, by_name: dict[str, Bone]) -> tuple[np.ndarray, np.ndarray] | None:
    """(point, unit normal) of the figure's middle, from the pairs of limbs that are mapped on both sides."""
    pairs = []
    for joint in canonical.JOINTS:
        if joint.startswith("left_"):
            names = [stored.joints[joint][:1], stored.joints[canonical.mirror(joint)][:1]]
            if all(names) and all(name[0] in by_name for name in names):
                pairs.append([by_name[name[0]].head for name in names])
    middle = [stored.joints[joint][0] for joint in ("pelvis", *CHAINS) if stored.joints[joint]]
    if pairs:
        both = np.array(pairs)
        across = (both[:, 0] - both[:, 1]).sum(0)
        point = both.mean((0, 1))
    elif middle and middle[0] in by_name:  # nothing to go by: bones of most rigs are mirrored about X = 0
        across, point = np.array([1.0, 0.0, 0.0]), by_name[middle[0]].head
    else:
        return None
    length = np.linalg.norm(across)
    return (point, across / length) if length > 1e-9 else None


def problems(mapping: BoneMap, bones: list[Bone]) -> dict[str, list[str]]:
    """Joint -> sentences about what is wrong with its bone: absent, used twice, out of order, on the wrong side."""
    # Bones of a generated rig hang from each other as in its metarig
    by_name = {bone.name: bone for bone in logical(bones)[1]}
    found: dict[str, list[str]] = {}

    def say(joint: str, sentence: str) -> None:
        found.setdefault(joint, []).append(sentence)

    for joint in mapping.missing:
        say("spine1" if joint == "spine" else joint, f"The {canonical.words(joint)} has no bone, and it is needed.")
    owner: dict[str, str] = {}
    for joint in canonical.JOINTS:
        for name in mapping.joints.get(joint) or ():
            if name in owner:
                say(joint, f"'{name}' is already the {canonical.words(owner[name])}.")
            owner.setdefault(name, joint)
    for joint in canonical.JOINTS:
        name, parent = mapping.bone(joint), _mapped_parent(mapping, joint)
        if name is None or name not in by_name or parent is None:
            continue
        above = mapping.bone(parent)
        if above != name and above not in _ancestors(name, by_name):
            say(joint, f"'{name}' does not hang from '{above}', the {canonical.words(parent)}.")
    for joint in _wrong_sides(mapping, by_name):
        say(joint, f"The {canonical.words(joint)} lies on the other side of the figure.")
    return found


def _mapped_parent(mapping: BoneMap, joint: str) -> str | None:
    index = canonical.PARENTS[canonical.INDEX[joint]]
    while index >= 0 and not mapping.joints.get(canonical.JOINTS[index]):
        index = canonical.PARENTS[index]
    return canonical.JOINTS[index] if index >= 0 else None


def _ancestors(name: str, by_name: dict[str, Bone]) -> set[str]:
    above = set()
    current = by_name[name].parent
    while current is not None and current in by_name:
        above.add(current)
        current = by_name[current].parent
    return above


def _wrong_sides(mapping: BoneMap, by_name: dict[str, Bone]) -> list[str]:
    """Joints whose left bone lies right of their right one, judged against most other pairs."""
    pairs = {}
    for joint in canonical.JOINTS:
        left, right = mapping.bone(joint), mapping.bone(canonical.mirror(joint))
        if joint.startswith("left_") and left in by_name and right in by_name and left != right:
            pairs[joint] = by_name[left].head - by_name[right].head
    if len(pairs) < 3:
        return []
    units = {joint: across / max(np.linalg.norm(across), 1e-9) for joint, across in pairs.items()}
    usual = np.median(np.array(list(units.values())), axis=0)
    return [joint for joint, across in units.items() if across @ usual < -0.5]

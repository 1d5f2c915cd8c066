"""Which joint of a capture is which canonical joint: by the known skeletons, words in names, or structure."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import structure
from backend.protocol import JOINTS

TABLES = Path(__file__).parent / "formats"
# joints without which there is no body to carry over; the others may be absent and then follow their parent
REQUIRED = (
    "pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
)  # fmt: skip
LIMBS = (("hip", "knee", "ankle", "foot"), ("collar", "shoulder", "elbow", "wrist"))
SIDE_WORDS = {"left": "left", "l": "left", "lft": "left", "左": "left",
              "right": "right", "r": "right", "rgt": "right", "右": "right"}  # fmt: skip


@dataclass
class SourceMotion:
    """A capture on its own skeleton, in the file's axes and unit.

    names: joint names, each once, parents before children; parents: index of each parent, -1 for the root.
    offsets: (J,3) offset from the parent joint in the zero pose, world axes.
    rotations: (T,J,3,3) world rotation of each joint as a change from the zero pose.
    positions: (T,J,3) world joint positions.
    fps: frames per second; source: file name for messages; ends: joints that only mark where a bone ends.
    """

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    rotations: np.ndarray
    positions: np.ndarray
    fps: float
    source: str = ""
    ends: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Family:
    """How one kind of skeleton names the canonical joints; ``rest``: world rotations of its T-pose, if its own rest
    pose (all rotations zero) is not a standing person."""

    name: str
    joints: dict[str, str]
    rest: dict[str, tuple[float, ...]] = field(default_factory=dict)
    metric: bool = True


@cache
def families() -> tuple[Family, ...]:
    """The known skeletons, from ``formats/skeletons.json``."""
    table = json.loads((TABLES / "skeletons.json").read_text(encoding="utf-8"))
    result = []
    for entry in table["families"]:
        joints = {}
        for canonical, name in entry["joints"].items():
            if canonical.startswith("*_"):
                for side in ("left", "right"):
                    joints[canonical.replace("*", side)] = _sided(name, side)
            else:
                joints[canonical] = name
        rest = {name: tuple(quaternion) for name, quaternion in entry.get("rest", {}).items()}
        result.append(Family(entry["name"], joints, rest, entry.get("metric", True)))
    return tuple(result)


def _sided(name: str, side: str) -> str:
    initial = side[0]
    for token, value in (("{side}", side), ("{Side}", side.title()), ("{s}", initial), ("{S}", initial.upper())):
        name = name.replace(token, value)
    return name


def match(source: SourceMotion) -> Family:
    """The names of a capture's joints. Raises BackendError('bad_file') with the joints that were not found."""
    family = _known(source)
    if family is None:
        words = by_words(source.names)
        if not _in_order(words, source.parents):
            words = {}
        if any(joint not in words for joint in JOINTS):
            shape = structure.find(source.parents, source.positions, source.rotations, source.ends)
            found = words | {j: i for j, i in shape.items() if j not in words and i not in words.values()}
            words = found if _in_order(found, source.parents) else shape
        if "pelvis" not in words and "left_hip" in words and "right_hip" in words:
            words["pelvis"] = _common(source.parents, words["left_hip"], words["right_hip"])
        missing = [joint for joint in REQUIRED if words.get(joint, -1) < 0]
        if missing:
            raise BackendError(
                "bad_file",
                f"{source.source}: these joints were not found in the skeleton: {', '.join(missing)}.",
                "Joints are found by name (such as LeftUpLeg) or, on a whole human skeleton, by where they are.",
            )
        family = Family("found", {joint: source.names[i] for joint, i in words.items()})
    return family


def _common(parents: list[int], a: int, b: int) -> int:
    """The nearest joint that both hang off, or -1."""
    above = set()
    while a >= 0:
        above.add(a)
        a = parents[a]
    while b >= 0 and b not in above:
        b = parents[b]
    return b


def _known(source: SourceMotion) -> Family | None:
    """The family whose required joints are all there and hang off each other; the fullest match wins."""
    index = {name: i for i, name in enumerate(source.names)}
    best, best_found = None, -1
    for family in families():
        found = {joint: index[name] for joint, name in family.joints.items() if name in index}
        if len(found) > best_found and all(joint in found for joint in REQUIRED) and _in_order(found, source.parents):
            best, best_found = family, len(found)
    return best


def by_words(names: list[str]) -> dict[str, int]:
    """Canonical joint name to index, as far as the words of the names tell; several candidates: the first one.

    Case, separators, namespaces, a prefix that all names share, and numbers do not matter.
    """
    sides, plain = zip(*(_words(name) for name in _without_prefix(names)), strict=True)
    table = _word_table()
    found: dict[str, int] = {}
    spine: list[int] = []
    either: dict[str, dict[str, int]] = {}
    for i, (side, word) in enumerate(zip(sides, plain, strict=True)):
        if side and word in table["either"]:
            either.setdefault(word, {}).setdefault(side, i)
        elif side and word in table["sided"]:
            found.setdefault(f"{side}_{table['sided'][word]}", i)
        elif not side and table["centre"].get(word) == "spine":
            spine.append(i)
        elif not side and word in table["centre"]:
            found.setdefault(table["centre"][word], i)
    for word, indices in either.items():
        first, second = table["either"][word]
        for side, i in indices.items():
            # a shoulder is the collar bone beside an upper arm, and the upper arm beside a collar bone
            taken = f"{side}_{first}" in found or (first == "collar" and f"{side}_shoulder" not in found)
            found.setdefault(f"{side}_{second if taken else first}", i)
    for i, joint in enumerate(spine[-3:] if len(spine) > 3 else spine):
        found[f"spine{i + 1}"] = joint
    return found


@cache
def _word_table() -> dict[str, dict]:
    table = json.loads((TABLES / "joint_names.json").read_text(encoding="utf-8"))
    centre = {word: joint for joint, words in table["centre"].items() for word in words}
    sided = {word: joint for joint, words in table["sided"].items() for word in words}
    for word in table["either"]:
        sided.pop(word, None)
    return {"centre": centre, "sided": sided, "either": table["either"]}


def _without_prefix(names: list[str]) -> list[str]:
    """Names without namespace and without the words that most of them begin with (Bip01, CC_Base, DEF)."""
    names = [re.split(r"[:|]", name)[-1] for name in names]
    for _ in range(2):
        heads = [re.match(r"([A-Za-z]+\d*)[_ \-.]+(?=.)", name) for name in names]
        common = [h.group(0) for h in heads if h]
        if not common:
            break
        prefix = max(set(common), key=common.count)
        if prefix.strip("_ -.").lower() in SIDE_WORDS or common.count(prefix) < 0.6 * len(names):
            break
        names = [name[len(prefix) :] if name.startswith(prefix) else name for name in names]
    return names


def _words(name: str) -> tuple[str, str]:
    """('left', 'up leg') of 'LeftUpLeg', 'UpLeg.L' or 'l_up_leg'; numbers are taken off."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[左右])(?=.)", " ", name)
    words = [
        w for w in re.split(r"[\W\d_]+", text.lower()) if w and w not in ("joint", "jnt", "j", "bone", "def", "bip")
    ]
    side = ""
    for at in (0, -1):
        if len(words) > 1 and not side and words[at] in SIDE_WORDS:
            side = SIDE_WORDS[words.pop(at)]
    if words and not side:
        # 'lfemur', 'rhand' as in Acclaim files; 'Lthigh' of others
        head, rest = words[0][:1], words[0][1:]
        if head in "lr" and " ".join([rest, *words[1:]]) in _word_table()["sided"]:
            side, words[0] = SIDE_WORDS[head], rest
    return side, " ".join(words)


def _in_order(found: dict[str, int], parents: list[int]) -> bool:
    """Whether the joints of each limb hang off each other, the head is above the trunk, and no joint is used twice."""

    def under(joint: int, above: int) -> bool:
        while joint >= 0 and joint != above:
            joint = parents[joint]
        return joint == above

    if len(set(found.values())) != len(found):
        return False
    ways = [[f"{side}_{part}" for part in limb] for side in ("left", "right") for limb in LIMBS]
    ways.append(["pelvis", "spine1", "spine2", "spine3"])
    for way in ways:
        way = [found[joint] for joint in way if joint in found]
        if not all(under(b, a) for a, b in zip(way, way[1:], strict=False)):
            return False
    return "neck" not in found or "head" not in found or under(found["head"], found["neck"])

"""Bones to canonical joints: exact tables first, then names brought to a common form plus the parent order.

Limbs are found by name (thigh, shin, foot; upper arm, forearm, hand), each below the one before it. The trunk is read
from the hierarchy between them: the pelvis is where the legs and the chest meet, the chest is where the arms meet,
the spine runs between the two. So "spine05", "Abdomen" or "lowerback" need no table. A figure whose limbs cannot be
named is refused rather than guessed.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

from . import canonical
from .bones import Bone, BoneMap

_FOLDER = Path(__file__).parent / "bone_maps"
_TABLES = ("mannequin", "rigify_metarig", "mixamo")
# Joint chains from the body outwards: each bone must lie below the one before it
_LEG = ("hip", "knee", "ankle", "foot")
_ARM = ("shoulder", "elbow", "wrist")
# A word that this share of all bones has in common says nothing about a bone
_COMMON = 0.6


@cache
def _load(name: str) -> dict:
    with open(_FOLDER / f"{name}.json", encoding="utf-8") as file:
        return json.load(file)


def match(bones: list[Bone]) -> BoneMap:
    """Map ``bones`` (armature order, parents first) onto the canonical joints.

    Returns a :class:`BoneMap`; when required joints are missing its ``missing`` names them and ``error`` says so in one
    sentence (``require()`` raises it).
    """
    if not bones:
        return BoneMap({}, missing=["pelvis"], note="This armature has no bones.")
    names = {bone.name for bone in bones}
    if any(name.startswith("MCH-") for name in names) and any(name.startswith("ORG-") for name in names):
        return BoneMap(
            {},
            family="Rigify control rig",
            missing=list(canonical.REQUIRED),
            note="This is a generated Rigify control rig, whose bones are driven by its controls; "
            "use its metarig or a copy with plain deform bones.",
        )
    tree = _Tree(bones)
    exact = next(filter(None, (_exact(_load(table), tree) for table in _TABLES)), None)
    if exact is not None and all(exact.joints.values()):
        return _by_geometry(exact, tree)
    named = _by_names(tree)
    # A table that knows only part of the figure (Mixamo-like names with another spine) gives way to a fuller map
    if exact is not None and (named.missing or _mapped(named) <= _mapped(exact)):
        named = exact
    return _by_geometry(named, tree)


def _mapped(found: BoneMap) -> int:
    return sum(bool(names) for names in found.joints.values())


class _Tree:
    """The hierarchy of the bones and their names in a common form."""

    def __init__(self, bones: list[Bone]):
        self.bones = {bone.name: bone for bone in bones}
        self.order = [bone.name for bone in bones]
        self.parent = {bone.name: bone.parent for bone in bones}
        self.children: dict[str | None, list[str]] = {}
        for bone in bones:
            self.children.setdefault(bone.parent, []).append(bone.name)
        words = {name: split_words(name) for name in self.order}
        counts = Counter(word for tokens in words.values() for word in set(tokens))
        sides = {word for side in _load("synonyms")["side_words"].values() for word in side}
        common = {w for w, n in counts.items() if n > _COMMON * len(bones) and w not in sides and len(bones) > 4}
        self.key = {name: canonical_name(tokens, common) for name, tokens in words.items()}

    def path(self, name: str) -> list[str]:
        """``name`` and its ancestors, from the root down to ``name``."""
        chain = []
        current: str | None = name
        while current is not None:
            chain.append(current)
            current = self.parent[current]
        return chain[::-1]

    def below(self, name: str, ancestor: str) -> bool:
        return name != ancestor and ancestor in self.path(name)

    def meeting(self, *names: str) -> str | None:
        """The lowest bone that all ``names`` hang from (or are)."""
        paths = [self.path(name) for name in names]
        last = None
        for level in zip(*paths, strict=False):
            if len(set(level)) > 1:
                break
            last = level[0]
        return last

    def between(self, upper: str, lower: str) -> list[str]:
        """Bones strictly between an ancestor and its descendant, from the top down."""
        path = self.path(lower)
        return path[path.index(upper) + 1 : -1]


def split_words(name: str) -> list[str]:
    """Lower-case words and numbers of a bone name, namespaces dropped.

    ``mixamorig:LeftUpLeg`` -> left, up, leg; ``upperarm01.L`` -> upperarm, 01, l; ``lShldr`` -> l, shldr.
    """
    name = re.split(r"[:|]", name)[-1]
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    name = re.sub(r"([A-Z])([A-Z][a-z])", r"\1 \2", name)
    return [word.lower() for word in re.findall(r"[A-Za-z]+|\d+", name)]


def canonical_name(tokens: list[str], common: set[str] = frozenset()) -> tuple[str, str]:
    """(side, word): side is ``left``, ``right`` or empty; the word has no numbers, sides or empty words in it."""
    table = _load("synonyms")
    side = ""
    rest = []
    for token in tokens:
        named = next((s for s, forms in table["side_words"].items() if token in forms), None)
        if named and not side:
            side = named
        elif not token.isdigit():
            rest.append(token)
    kept = [token for token in rest if token not in table["noise"] and token not in common]
    word = "".join(kept or rest)
    if not side:
        for prefix in ("left", "right"):
            if word.startswith(prefix) and len(word) > len(prefix):
                side, word = prefix, word[len(prefix) :]
            elif word.endswith(prefix) and len(word) > len(prefix):
                side, word = prefix, word[: -len(prefix)]
    return side, word


def _exact(table: dict, tree: _Tree) -> BoneMap | None:
    """The map of a table when every required name is there (behind its prefix), in the right parent order."""
    pattern = re.compile(table["prefix"] + r"(.+)")
    plain = {}
    for name in tree.order:
        found = pattern.fullmatch(name)
        plain.setdefault(found.group(1) if found else name, name)
    joints = {joint: [plain[n] for n in wanted if n in plain] for joint, wanted in table["joints"].items()}
    if any(not joints[joint] for joint in canonical.REQUIRED) or not any(joints[s] for s in canonical.SPINE):
        return None
    return BoneMap(joints, table["family"]) if _in_order(joints, tree) else None


def _in_order(joints: dict[str, list[str]], tree: _Tree) -> bool:
    """Whether each mapped bone lies below the nearest mapped bone towards the pelvis."""
    for joint, names in joints.items():
        if not names:
            continue
        parent = canonical.PARENTS[canonical.INDEX[joint]]
        while parent >= 0 and not joints.get(canonical.JOINTS[parent]):
            parent = canonical.PARENTS[parent]
        if parent >= 0 and not tree.below(names[0], joints[canonical.JOINTS[parent]][0]):
            return False
    return True


def _by_names(tree: _Tree) -> BoneMap:
    joints: dict[str, list[str]] = {joint: [] for joint in canonical.JOINTS}
    for side in canonical.SIDES:
        _limb(tree, joints, side, _LEG)
        _limb(tree, joints, side, _ARM)
    _trunk(tree, joints)
    missing = [joint for joint in canonical.REQUIRED if not joints[joint]]
    if not missing and not any(joints[joint] for joint in canonical.SPINE):
        missing.append("spine")
    return BoneMap(joints, _family(tree), missing)


def _limb(tree: _Tree, joints: dict[str, list[str]], side: str, chain: tuple[str, ...]) -> None:
    """Find the bones of one limb from its middle: the knee or elbow is never mistaken for a neighbour."""
    synonyms = _load("synonyms")["limbs"]

    def named(role: str) -> list[tuple[str, int]]:
        words = synonyms[role]
        keys = ((name, *tree.key[name]) for name in tree.order)
        found = [(name, words.index(word)) for name, its_side, word in keys if its_side == side and word in words]
        return sorted(found, key=lambda item: (item[1], len(tree.path(item[0])), tree.order.index(item[0])))

    upper, middle = chain[0], chain[1]
    best: tuple[tuple, list[str]] | None = None
    for first, first_rank in named(upper):
        for second, second_rank in named(middle):
            if not tree.below(second, first):
                continue
            picked = [first, second]
            score = first_rank + second_rank
            for role in chain[2:]:
                below = [(n, rank) for n, rank in named(role) if tree.below(n, picked[-1])]
                if not below:
                    break
                # The bone nearest to the body carries the joint ("wrist" before "hand", "01" before "02")
                nearest = min(below, key=lambda item: (len(tree.path(item[0])), item[1], tree.order.index(item[0])))
                level = [n for n, _ in below if tree.parent[n] == tree.parent[nearest[0]]]
                if role == "foot" and len(level) > 2:
                    # Five separate toes: none of them is the ball of the foot
                    break
                picked.append(nearest[0])
            deform = -sum(tree.bones[n].deform for n in picked)
            rank = (-len(picked), score, deform, len(tree.path(first)), len(tree.path(second)))
            if best is None or rank < best[0]:
                best = (rank, picked)
    if best is not None:
        for role, name in zip(chain, best[1], strict=False):
            joints[f"{side}_{role}"] = [name]
        return
    # No such limb: what can be named still counts, so that the refusal names only what is really missing
    for role in chain:
        for name, _ in named(role)[:1]:
            above = joints[f"{side}_{upper}"]
            if role != middle or not above or tree.below(name, above[0]):
                joints[f"{side}_{role}"] = [name]


def _trunk(tree: _Tree, joints: dict[str, list[str]]) -> None:
    """Pelvis, spine, neck, head and collars from the hierarchy between the limbs."""
    limbs = [joints[f"{side}_{role}"] for role in ("hip", "shoulder") for side in canonical.SIDES]
    if not all(limbs):
        words = _load("synonyms")["pelvis"]
        joints["pelvis"] = [name for name in tree.order if tree.key[name][1] in words and not tree.key[name][0]][:1]
        return
    left_leg, right_leg, left_arm, right_arm = (names[0] for names in limbs)
    pelvis = tree.meeting(left_leg, right_leg, left_arm, right_arm)
    top = tree.meeting(left_arm, right_arm)
    if pelvis is None or top is None or pelvis in (left_leg, right_leg, left_arm, right_arm):
        return
    joints["pelvis"] = [pelvis]
    necks = _load("synonyms")["neck"]
    spine = [] if top == pelvis else tree.between(pelvis, top) + [top]
    # Biped hangs the collar bones from the neck
    while spine and tree.key[spine[-1]][1] in necks:
        spine.pop()
    for joint, part in zip(canonical.SPINE, share_spine(spine), strict=True):
        joints[joint] = part
    chest = spine[-1] if spine else pelvis
    heads = [
        (rank, len(tree.path(name)), name)
        for rank, word in enumerate(_load("synonyms")["head"])
        for name in tree.order
        if tree.key[name] == ("", word) and tree.below(name, chest)
    ]
    if heads:
        head = min(heads)[2]
        joints["head"] = [head]
        joints["neck"] = tree.between(chest, head)
    else:
        joints["neck"] = [n for n in tree.order if tree.key[n][1] in necks and tree.below(n, chest)][:1]
    for side, arm in (("left", left_arm), ("right", right_arm)):
        between = [name for name in tree.between(chest, arm) if name not in joints["neck"]]
        joints[f"{side}_collar"] = between[:1]


def share_spine(spine: list[str]) -> list[list[str]]:
    """Spine bones, from the pelvis upwards, dealt to spine1, spine2 and spine3.

    Two bones are the lower and the upper spine; one bone alone is the lower; more than three are dealt evenly.
    """
    if len(spine) == 2:
        return [[spine[0]], [], [spine[1]]]
    cuts = [round(len(spine) * i / 3 + 0.001) for i in range(4)]
    if len(spine) == 1:
        cuts = [0, 1, 1, 1]
    return [spine[a:b] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


def _family(tree: _Tree) -> str:
    for entry in _load("synonyms")["families"]:
        if all(name in tree.bones for name in entry["bones"]):
            return entry["family"]
    return "bone names"


def _by_geometry(found: BoneMap, tree: _Tree) -> BoneMap:
    """Exchange the sides of a complete map when the feet point the other way than left and up say they must."""
    if found.missing:
        return found

    def head(joint: str) -> np.ndarray | None:
        names = found.joints.get(joint)
        return tree.bones[names[0]].head if names else None

    left, right = head("left_hip"), head("right_hip")
    top = (head("left_shoulder") + head("right_shoulder")) / 2
    up = top - (left + right) / 2
    forward = np.cross(left - right, up)
    length = np.linalg.norm(forward)
    size = np.linalg.norm(up)
    if length < 1e-3 * size * size:
        return found
    forward /= length
    signs = []
    for side in canonical.SIDES:
        ankle, ball = head(f"{side}_ankle"), head(f"{side}_foot")
        if ball is not None:
            signs.append((ball - ankle) @ forward / size)
    if len(signs) == 2 and max(signs) < -0.05:
        joints = {joint: found.joints.get(canonical.mirror(joint), []) for joint in canonical.JOINTS}
        return BoneMap(joints, found.family, found.missing, swapped=True)
    return found

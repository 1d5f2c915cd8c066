"""What a bone map says beyond the joints: shares along chains, twist bones, fingers and toes."""

import re
from functools import cache

import numpy as np

from . import canonical
from .bones import BoneMap
from .names import is_end, load, plain, split_words
from .tree import Tree

_SEGMENTS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
FINGERS = ("thumb", "index", "middle", "ring", "little")


def fill(found: BoneMap, tree: Tree) -> None:
    """Complete ``found`` with chains, twist, fingers and toes of its joints."""
    found.chains = chains(found)
    found.twist = twist(found, tree)
    found.fingers = {}
    found.toes = {}
    for side in canonical.SIDES:
        found.fingers |= fingers(found, tree, side)
        toes = toe_chains(found, tree, side)
        if toes:
            found.toes[side] = toes


def chains(found: BoneMap) -> dict[str, list[tuple[str, float]]]:
    """Equal weights along spine, neck and collars; see ``BoneMap.chains``."""
    parts = {"spine": found.spine} | {
        joint: found.joints.get(joint) or [] for joint in ("neck", "left_collar", "right_collar")
    }
    return {part: [(name, 1.0 / len(names)) for name in names] for part, names in parts.items() if names}


@cache
def _says(name: str, kind: str) -> bool:
    """Whether the name holds one of the table's words of this kind ("twist", "palm", "helper")."""
    words = split_words(name)
    joined = "".join(word for word in words if not word.isdigit())
    known = [plain(word) for word in load("words")[kind]]
    return any(k in words or (len(k) > 3 or not k.isascii()) and k in joined for k in known)


def twist(found: BoneMap, tree: Tree) -> dict[str, list[tuple[str, float]]]:
    """Joint -> (bone, place along its segment) of halves in line and of twist bones beside it."""
    mapped = {name for names in found.joints.values() for name in names}
    listed: dict[str, list[tuple[str, float]]] = {}
    for side in canonical.SIDES:
        for start, end in _SEGMENTS:
            first, last = found.bone(f"{side}_{start}"), found.bone(f"{side}_{end}")
            if not first or not last or not tree.below(last, first):
                continue
            line = tree.between(first, last)
            own = set(line)
            helpers = []
            # Beside the line: bones of the segment itself, or of the collar or pelvis it hangs from
            parents = {first, *line, tree.parent[first]}
            for parent in parents - {None}:
                for name in tree.children.get(parent, ()):
                    if name not in own and name not in mapped and _beside(tree, name, first, last, parent):
                        helpers.append(name)
            names = line + sorted(helpers, key=lambda name: tree.place[name])
            if names:
                listed[f"{side}_{start}"] = _places(tree, names, first, last)
    return listed


def _beside(tree: Tree, name: str, first: str, last: str, parent: str) -> bool:
    """A twist bone by its name, on the segment; or, nameless, a leaf well inside the segment."""
    start, along = tree.head[first], tree.head[last] - tree.head[first]
    length = float(np.linalg.norm(along))
    if length < 1e-9:
        return _says(name, "twist") and parent == first
    offset = tree.head[name] - start
    share = float(offset @ along) / length**2
    aside = float(np.linalg.norm(offset - share * along)) / length
    if _says(name, "helper"):
        return False
    if _says(name, "twist"):
        return -0.05 < share < 1.02 and aside < 0.15
    return parent == first and not tree.children.get(name) and 0.15 < share < 0.9 and aside < 0.03 and not is_end(name)


def _places(tree: Tree, names: list[str], first: str, last: str) -> list[tuple[str, float]]:
    start, along = tree.head[first], tree.head[last] - tree.head[first]
    square = float(along @ along)
    if square < 1e-18:
        return [(name, (k + 1) / (len(names) + 1)) for k, name in enumerate(names)]
    places = [(name, float(np.clip((tree.head[name] - start) @ along / square, 0.0, 1.0))) for name in names]
    return sorted(places, key=lambda item: item[1])


def fingers(found: BoneMap, tree: Tree, side: str) -> dict[str, list[str]]:
    """``BoneMap.fingers`` of one hand: by names, else by their order across the hand."""
    hand = found.bone(f"{side}_wrist")
    if hand is None:
        return {}
    hand_words = set(split_words(hand))
    mapped = {name for names in found.joints.values() for name in names}
    by_type: dict[str, list[str]] = {}
    numbered: dict[str, list[str]] = {}
    for name in tree.subtree(hand)[1:]:
        if is_end(name) or _says(name, "palm") or _says(name, "helper") or name in mapped:
            continue
        kind = finger_type(tree, name, hand_words)
        if kind:
            by_type.setdefault(kind, []).append(name)
        else:
            number = _finger_number(name)
            if number is not None:
                numbered.setdefault(number, []).append(name)
    if len(by_type) >= 2:
        # A fourth bone beyond the knuckle marks the tip
        return {f"{side}_{kind}": _line(tree, by_type[kind])[:3] for kind in FINGERS if kind in by_type}
    if 3 <= len(numbered) <= 5:
        kinds = FINGERS if len(numbered) == 5 else [f"finger{k + 1}" for k in range(len(numbered))]
        return {f"{side}_{kind}": _line(tree, numbered[n])
                for kind, n in zip(kinds, sorted(numbered), strict=True)}  # fmt: skip
    return _fingers_by_shape(found, tree, side, hand)


def finger_type(tree: Tree, name: str, ignored: set[str] = frozenset()) -> str | None:
    """Which finger a bone's words name, or None."""
    words = [w for w in split_words(name) if w not in ignored and not w.isdigit() and w not in tree.names.common]
    joined = re.sub(r"^(?:left|right)", "", "".join(w for w in words if tree.names.side_words.get(w) is None))
    for kind, known in _finger_words().items():
        for each in known:
            if each in words or ((len(each) > 3 or not each.isascii()) and each in joined):
                # "forearm" is no finger
                if each != "fore" or "arm" not in joined:
                    return kind
    return None


@cache
def _finger_words() -> dict[str, list[str]]:
    return {kind: [plain(word) for word in known] for kind, known in load("words")["fingers"].items()}


def _finger_number(name: str) -> str | None:
    """ "Finger01" and "finger2-1" name the finger by their first digit."""
    found = re.search(r"finger\W*_*(\d)", plain(name))
    return found[1] if found else None


def _line(tree: Tree, names: list[str]) -> list[str]:
    """The bones that follow each other from the first one."""
    names = sorted(names, key=lambda name: (tree.depth[name], tree.place[name]))
    line = [names[0]]
    for name in names[1:]:
        if tree.below(name, line[-1]):
            line.append(name)
    return line


def _ends_in(tree: Tree, root: str) -> list[list[str]]:
    """Chains from each child of ``root`` to its farthest leaf, end markers left out."""
    chains = []
    for child in tree.children.get(root, ()):
        chain, node = [child], child
        while tree.children.get(node):
            node = max(tree.children[node], key=lambda c: (len(tree.subtree(c)), -tree.place[c]))
            chain.append(node)
        chain = [n for n in chain if not is_end(n)]
        if chain:
            chains.append(chain)
    return chains


def _fingers_by_shape(found: BoneMap, tree: Tree, side: str, hand: str) -> dict[str, list[str]]:
    """Nameless fingers: chains that spread from the hand; the one that starts nearest to the wrist is the thumb."""
    root = hand
    while len(tree.children.get(root, ())) == 1:
        root = tree.children[root][0]
    chains = [c for c in _ends_in(tree, root) if len(c) >= 2 and not _says(c[0], "helper")]
    if len(chains) < 3 or len(chains) > 6:
        return {}
    elbow = found.bone(f"{side}_elbow")
    along = tree.head[hand] - tree.head[elbow] if elbow else tree.head[chains[0][0]] - tree.head[hand]
    along = along / max(float(np.linalg.norm(along)), 1e-12)
    places = np.array([np.mean([tree.head[n] for n in c], axis=0) for c in chains])
    thumb = int(np.argmin((places - tree.head[hand]) @ along))
    others = np.delete(np.arange(len(chains)), thumb)
    across = places[others] - places[others].mean(0)
    axis = np.linalg.svd(across - np.outer(across @ along, along))[2][0]
    if (places[thumb] - places[others].mean(0)) @ axis > 0:
        axis = -axis
    order = [thumb, *others[np.argsort(places[others] @ axis)]]
    kinds = FINGERS if len(chains) == 5 else [f"finger{k + 1}" for k in range(len(chains))]
    named = {}
    for kind, k in zip(kinds, order, strict=True):
        chain = chains[k]
        if len(chain) > 3:
            # Beside a thumb of three bones the fourth is one of the palm; where all have four it marks the tip
            chain = chain[1:] if len(chains[thumb]) == 3 else chain[:-1]
        named[f"{side}_{kind}"] = chain
    return named


def toe_chains(found: BoneMap, tree: Tree, side: str) -> list[list[str]]:
    """Separate toes of one foot: chains beyond the ball, or beyond the ankle where there is no ball."""
    root = found.bone(f"{side}_foot") or found.bone(f"{side}_ankle")
    if root is None:
        return []
    chains = [c for c in _ends_in(tree, root) if not _says(c[0], "helper") and not _says(c[0], "twist")]
    return chains if len(chains) >= 2 else []

"""Maps of known families: one JSON table a family in ``bone_maps/families``.

A table holds one or more ``variants``. In a variant ``joints`` gives the bones of "pelvis", "spine", "neck", "head"
and, for both sides at once, "collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot": ``{side}`` stands
for each of ``sides`` (left, right). Lists run from the root outwards; bones that an armature lacks are left out. A list
inside a list holds spellings of one bone. ``markers`` are bones that must be there besides, to tell a family from
another with the same names; ``without`` must not be.
"""

from functools import cache

from . import canonical
from .names import FOLDER, key, load
from .tree import Tree

_MIDDLE = ("pelvis", "neck", "head")
_SIDED = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")


@cache
def variants() -> list[dict]:
    """All variants of all families, tables in alphabetical order; each with its ``family``."""
    files = sorted((FOLDER / "families").glob("*.json"))
    return [{"family": table["family"]} | variant for path in files for table in [load(f"families/{path.stem}")]
            for variant in table["variants"]]  # fmt: skip


def expected(variant: dict) -> dict[str, list[list[str]]]:
    """Joint or "spine" -> bones in order, each as a list of spellings, with the sides filled in."""
    joints = variant["joints"]

    def spelled(entry: str | list[str], side: str = "") -> list[str]:
        return [name.replace("{side}", side) for name in ([entry] if isinstance(entry, str) else entry)]

    found = {joint: [spelled(name) for name in joints.get(joint, [])] for joint in (*_MIDDLE, "spine")}
    for joint in _SIDED:
        for side, letter in zip(canonical.SIDES, variant["sides"], strict=True):
            found[f"{side}_{joint}"] = [spelled(name, letter) for name in joints.get(joint, [])]
    return found


@cache
def _compiled() -> list[tuple[dict, dict[str, list[list[str]]], list[str], list[str]]]:
    return [
        (
            variant,
            {
                joint: [list(dict.fromkeys(map(key, names))) for names in bones]
                for joint, bones in expected(variant).items()
            },
            [key(name) for name in variant.get("markers", [])],
            [key(name) for name in variant.get("without", [])],
        )
        for variant in variants()
    ]


def best(tree: Tree) -> tuple[dict[str, list[str]], str] | None:
    """The table that names most bones of the armature: its joints (and "spine") with their bones, and the family.

    None when no table knows every required joint in the right parent order.
    """
    found: list[tuple[tuple, dict, str]] = []
    by_full: dict[str, str] = {}
    by_stripped: dict[str, str] = {}
    for name in tree.order:
        by_full.setdefault(key(name), name)
        by_stripped.setdefault(tree.names.stripped[name], name)
    for known in (by_full, by_stripped):
        for number, (variant, table, markers, without) in enumerate(_compiled()):
            if any(m not in known for m in markers) or any(w in known for w in without):
                continue
            if any(not any(n in known for names in table[joint] for n in names) for joint in canonical.REQUIRED):
                continue
            joints = {joint: [known[n] for names in bones for n in names if n in known]
                      for joint, bones in table.items()}  # fmt: skip
            if joints["spine"] and in_order(joints, tree):
                rank = (-sum(map(len, joints.values())), -len(markers), number)
                found.append((rank, joints, variant["family"]))
    if not found:
        return None
    _, joints, family = min(found, key=lambda item: item[0])
    return joints, family


def in_order(joints: dict[str, list[str]], tree: Tree) -> bool:
    """Whether limbs hang below each other as they must, arms from the spine, and the spine runs upwards."""
    for side in canonical.SIDES:
        for chain in (("hip", "knee", "ankle", "foot"), ("collar", "shoulder", "elbow", "wrist")):
            bones = [joints[f"{side}_{joint}"][0] for joint in chain if joints.get(f"{side}_{joint}")]
            if any(not tree.below(low, high) for high, low in zip(bones[:-1], bones[1:], strict=True)):
                return False
    spine = joints.get("spine") or []
    if any(not tree.below(low, high) for high, low in zip(spine[:-1], spine[1:], strict=True)):
        return False
    chest = spine[:1]
    return all(tree.below(joints[joint][0], chest[0]) for joint in ("left_shoulder", "right_shoulder", "head")
               if chest and joints.get(joint))  # fmt: skip

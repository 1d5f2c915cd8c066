"""Bones to canonical joints: known families first, then words and hierarchy, then the shape of the skeleton.

What one way finds is checked against the others: the confidence of a joint says how far they agree. What cannot be a
person is refused with the reason; what could be one of several bones is said and left to the artist.
"""

import numpy as np

from . import canonical, details, tables, words
from .bones import Bone, BoneMap
from .controls import control_rig, logical
from .names import roles
from .structure import Found, search
from .tree import Tree

# Fewer bones are no character
_FEWEST = 10
# Confidence of a bone that a table knows, that a clear word names, that a vague word names, that the shape suggests
_TABLE, _CLEAR, _VAGUE, _SHAPE = 1.0, 0.9, 0.7, 0.6
# A lead of the chosen reading of a limb over the next best one that is too small to be sure
_DOUBT = 0.06
_OPTIONAL = {
    "foot": "No toe bones: the feet turn as one piece.",
    "collar": "No collar bones: the arms turn at the shoulders only.",
    "wrist": "No hand bones: the forearms end the arms.",
    "neck": "No neck bone: the head turns at the chest.",
    "head": "No head bone was found.",
}

_FOUR_LEGS = (
    "This armature is not a humanoid: it stands on four legs, so there is no pelvis (hips) with two legs below an "
    "upright spine."
)


def match(bones: list[Bone]) -> BoneMap:
    """Map ``bones`` (armature order, parents first) onto the canonical joints.

    Returns a :class:`BoneMap`; when required joints are missing its ``missing`` names them and ``error`` says so in one
    sentence (``require()`` raises it).
    """
    if not bones:
        return BoneMap({}, missing=["pelvis"], note="This armature has no bones.")
    family, body = logical(bones)
    found, tree = _match(body)
    if family is None and found.error and 2 * _FEWEST < sum(bone.deform for bone in bones) < len(bones):
        # Deforming bones alone, where controls and mechanism stand in the way
        deforming, smaller = _match(_deforming(bones))
        if deforming.error is None:
            found, tree = deforming, smaller
    if found.error is None:
        other = _second_figure(tree, found)
        if other:
            return _refused(
                f"This armature holds two characters, one with the pelvis (hips) '{found.bone('pelvis')}' and one "
                f"with '{other}'; separate them into two armatures."
            )
        control_rig(found, bones, family)
    return found


def _match(bones: list[Bone]) -> tuple[BoneMap, Tree]:
    tree = Tree(bones)
    few = "it has only one bone" if len(bones) == 1 else f"it has only {len(bones)} bones"
    shape = search(tree) if len(bones) >= _FEWEST else Found(reason=few)
    joints, candidates, certain = words.find(tree)
    how, family = "words", "bone names"
    table = tables.best(tree)
    if table is not None:
        named = _with_hierarchy(table[0], tree)
        if _missing(joints, candidates) or _count(joints) <= _count(named):
            joints, candidates, how, family = named, {}, "table", table[1]
    joints = _once(joints)
    missing = _missing(joints, candidates)
    if missing and shape.quadruped:
        return _refused(_FOUR_LEGS), tree
    shape.joints = _once(shape.joints) if shape.joints else {}
    if missing and not _missing(shape.joints, {}) and not _contradicted(shape, joints):
        return _by_shape(tree, shape, joints), tree
    found = BoneMap(_dealt(joints), family, missing, candidates=candidates)
    if missing:
        found.note = _explain(tree, joints, found, shape)
        return found, tree
    if _on_four_legs(tree, found):
        return _refused(_FOUR_LEGS), tree
    _sides_by_feet(found, tree)
    found.confidence = _confidence(found, how, certain, shape)
    _finish(found, tree)
    return found, tree


def _with_hierarchy(named: dict[str, list[str]], tree: Tree) -> dict[str, list[str]]:
    """The joints of a table with what the hierarchy knows besides: the bone where legs and trunk meet, collars, spine
    and neck bones between those of the table."""
    full = dict(named)
    words.trunk(tree, full)
    joints = dict(named)
    joints["pelvis"] = full["pelvis"] or named["pelvis"]
    joints["spine"] = [n for n in named["spine"] if n not in joints["pelvis"]] or full["spine"]
    for part in ("spine", "neck"):
        taken = {name for joint, names in joints.items() if joint != part for name in names}
        if set(full[part]) > set(joints[part]) and not taken & set(full[part]):
            joints[part] = full[part]
    for joint in ("left_collar", "right_collar"):
        taken = {name for names in joints.values() for name in names}
        joints[joint] = named[joint] or [name for name in full[joint] if name not in taken]
    return joints


def completed(found: BoneMap, bones: list[Bone]) -> BoneMap:
    """``found`` with chains, twist, fingers, toes and controls made for its joints as they are now, after an edit."""
    if found.missing or found.note:
        return found
    family, body = logical(bones)
    there = {bone.name for bone in body}
    mapped = {name for names in found.joints.values() for name in names}
    family = family if mapped <= there else None
    details.fill(found, Tree(body if mapped <= there else bones))
    control_rig(found, bones, family)
    return found


def _refused(note: str) -> BoneMap:
    return BoneMap({joint: [] for joint in canonical.JOINTS}, missing=list(canonical.REQUIRED), note=note)


def _missing(joints: dict[str, list[str]], candidates: dict[str, list[str]]) -> list[str]:
    missing = [joint for joint in canonical.REQUIRED if not joints.get(joint) or joint in candidates]
    if not missing and not joints.get("spine"):
        missing.append("spine")
    return missing


def _count(joints: dict[str, list[str]]) -> int:
    return sum(bool(joints.get(joint)) for joint in canonical.JOINTS) + len(joints.get("spine", ()))


def _once(joints: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same joints (and "spine") with no bone in two of them: limbs come first."""
    taken: set[str] = set()
    kept: dict[str, list[str]] = {}
    for joint in dict.fromkeys((*canonical.REQUIRED, "spine", *canonical.JOINTS)):
        kept[joint] = [name for name in dict.fromkeys(joints.get(joint, ())) if name not in taken]
        taken |= set(kept[joint])
    return kept


def _dealt(joints: dict[str, list[str]]) -> dict[str, list[str]]:
    """The joints of a ``BoneMap`` from joints with one list of spine bones."""
    dealt = {joint: list(joints.get(joint, ())) for joint in canonical.JOINTS}
    return dealt | dict(zip(canonical.SPINE, share_spine(list(joints.get("spine", ()))), strict=True))


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


def _by_shape(tree: Tree, shape: Found, named: dict[str, list[str]]) -> BoneMap:
    """The map that the shape gives, with sides from the names where the shape does not tell them."""
    found = BoneMap(_dealt(shape.joints), "shape of the skeleton")
    sides = [tree.key[found.bone(f"{side}_{role}")][0] for role in ("hip", "shoulder") for side in canonical.SIDES]
    by_names = sides in (["left", "right"] * 2, ["right", "left"] * 2)
    if not shape.sided and not by_names:
        found.candidates = {
            joint: [names[0], found.bone(canonical.mirror(joint))]
            for joint, names in found.joints.items()
            if names and joint != canonical.mirror(joint)
        }
    elif not shape.sided and sides[0] == "right":
        found.joints = _swapped(found.joints)
    for joint, rivals in shape.rivals.items():
        found.candidates[joint] = [found.bone(joint), *rivals]
    for joint in found.candidates:
        found.joints[joint] = []
    found.missing = _missing(found.joints | {"spine": shape.joints["spine"]}, {})
    if found.missing:
        found.note = _ambiguous(found, sided=shape.sided or by_names)
        return found
    agree = sum(bool(names) and names[:1] == named.get(joint, [])[:1] for joint, names in found.joints.items())
    base = _SHAPE * shape.score + 0.02 * min(agree, 10)
    found.confidence = {joint: round(base, 2) for joint, names in found.joints.items() if names}
    if shape.sided and by_names and sides[0] == "right":
        found.swapped = True
    _finish(found, tree)
    for margin, limb, chain in zip(shape.margins, ("legs", "arms"), (words.LEG[:3], words.ARM), strict=True):
        if margin < _DOUBT:
            found.notes.append(f"Where the joints of the {limb} lie is in doubt: another reading fits nearly as well.")
            for joint in (f"{side}_{role}" for side in canonical.SIDES for role in chain):
                found.confidence[joint] = min(found.confidence[joint], 0.35)
    found.notes.insert(0, "The bone names do not say who is who; the shape of the skeleton decided. Check the map.")
    return found


def _contradicted(shape: Found, named: dict[str, list[str]]) -> bool:
    """Whether names that fit the shape in some places deny it in others: then one of the limbs is not what it seems."""
    limbs = [joint for joint in canonical.REQUIRED if joint != "pelvis" and named.get(joint)]
    sides = [shape.joints, shape.joints if shape.sided else _swapped(shape.joints)]
    agree = max(sum(named[joint][0] in seen[joint] for joint in limbs) for seen in sides)
    return 3 <= agree < len(limbs)


def _ambiguous(found: BoneMap, sided: bool) -> str:
    if not sided:
        return "Left and right cannot be told apart: neither the bone names nor the feet and knees show which is which."
    joint, bones = next(iter(found.candidates.items()))
    shown = " or ".join(f"'{name}'" for name in bones[:3])
    return f"More than one bone could be the {canonical.words(joint)}: {shown}; choose it in the bone map."


def _explain(tree: Tree, joints: dict[str, list[str]], found: BoneMap, shape: Found) -> str:
    """Why required joints are missing, one sentence; empty leaves it to the plain list of what is missing."""
    if found.candidates:
        return _ambiguous(found, sided=True)
    for side in canonical.SIDES:
        for chain in (words.LEG, words.ARM):
            for upper, lower in zip(chain[:2], chain[1:3], strict=True):
                high, low = found.bone(f"{side}_{upper}"), _named(tree, side, lower)
                if high and low and f"{side}_{lower}" in found.missing and not tree.below(low, high):
                    return (
                        f"Cannot tell which bone is the {canonical.words(f'{side}_{lower}')}: '{low}' does not hang "
                        f"from '{high}'."
                    )
    if len(found.missing) < len(canonical.REQUIRED) - 1:
        return ""
    return (
        f"This armature is not a humanoid: {shape.reason}, so no pelvis (hips), left thigh and right thigh were found."
    )


def _named(tree: Tree, side: str, role: str) -> str | None:
    return next((n for n in tree.order if tree.key[n][0] == side and roles()[role].get(tree.key[n][1]) == 0), None)


def _swapped(joints: dict[str, list[str]]) -> dict[str, list[str]]:
    return {joint: joints.get(canonical.mirror(joint), []) for joint in canonical.JOINTS}


def _points(tree: Tree, found: BoneMap, *roles: str) -> list[np.ndarray]:
    return [(tree.head[found.bone(f"left_{r}")] + tree.head[found.bone(f"right_{r}")]) / 2 for r in roles]


def _on_four_legs(tree: Tree, found: BoneMap) -> bool:
    """A level trunk on hind legs and arms that point the same way: an animal."""
    hand = "wrist" if found.bone("left_wrist") and found.bone("right_wrist") else "elbow"
    hips, ankles, shoulders, hands = _points(tree, found, "hip", "ankle", "shoulder", hand)
    trunk, legs, arms = shoulders - hips, ankles - hips, hands - shoulders
    sizes = [float(np.linalg.norm(v)) for v in (trunk, legs, arms)]
    across = tree.head[found.bone("left_hip")] - tree.head[found.bone("right_hip")]
    width = float(np.linalg.norm(across))
    if min(sizes) < 1e-6 * tree.size or width < 0.02 * sizes[1] or abs(float(across @ trunk)) > 0.5 * width * sizes[0]:
        # No human shape at rest at all (some BVH files): the names decide
        return False
    upright = -float(trunk @ legs) / (sizes[0] * sizes[1])
    same = float(legs @ arms) / (sizes[1] * sizes[2])
    return abs(upright) < 0.5 and same > 0.5


def _sides_by_feet(found: BoneMap, tree: Tree) -> None:
    """Exchange the sides of a map when the feet point the other way than left and up say they must."""
    (top,) = _points(tree, found, "shoulder")
    left, right = tree.head[found.bone("left_hip")], tree.head[found.bone("right_hip")]
    up = top - (left + right) / 2
    forward = np.cross(left - right, up)
    length, size = float(np.linalg.norm(forward)), float(np.linalg.norm(up))
    if length < 1e-3 * size * size:
        return
    forward /= length
    signs = [
        float((tree.head[ball] - tree.head[found.bone(f"{side}_ankle")]) @ forward) / size
        for side in canonical.SIDES
        for ball in [found.bone(f"{side}_foot")]
        if ball
    ]
    if len(signs) == 2 and max(signs) < -0.05:
        found.joints = _swapped(found.joints)
        found.swapped = True
        found.notes.append("The names' left is the figure's right, as its feet show; the sides were exchanged.")


def _confidence(found: BoneMap, how: str, certain: set[str], shape: Found) -> dict[str, float]:
    """How sure each joint is: by how it was named, and less where the shape of the skeleton says something else."""
    seen = _dealt(shape.joints) if shape.joints else {}
    if seen and found.joints["left_hip"] == seen["right_hip"]:
        seen = _swapped(seen) if not shape.sided else seen
    result = {}
    for joint, names in found.joints.items():
        if not names:
            continue
        clear = how == "table" or joint in certain or joint == canonical.mirror(joint) or joint.endswith("collar")
        value = _TABLE if how == "table" else _CLEAR if clear else _VAGUE
        if how == "words" and names[:1] == seen.get(joint, [])[:1]:
            value += 0.05
        elif seen.get(joint) and names[0] != seen[joint][0]:
            value -= 0.05 if how == "table" else 0.15
        result[joint] = round(value, 2)
    return result


def _finish(found: BoneMap, tree: Tree) -> None:
    details.fill(found, tree)
    for role, note in _OPTIONAL.items():
        if not any(found.joints.get(j) for j in (role, f"left_{role}", f"right_{role}")):
            separate = role == "foot" and found.toes
            found.notes.append("Separate toes without a ball of the foot: they follow the feet." if separate else note)
    if len(found.spine) == 1:
        found.notes.append("One spine bone: it bends for the whole back.")


def _deforming(bones: list[Bone]) -> list[Bone]:
    """The deforming bones as an armature of their own, each hanging from the nearest deforming bone above it."""
    by_name = {bone.name: bone for bone in bones}
    kept = []
    for bone in bones:
        if bone.deform:
            parent = by_name.get(bone.parent)
            while parent is not None and not parent.deform:
                parent = by_name.get(parent.parent)
            kept.append(Bone(bone.name, parent.name if parent else None, bone.head, bone.tail, bone.matrix))
    return kept


def _second_figure(tree: Tree, found: BoneMap) -> str | None:
    """The pelvis of another character in the same armature: a second complete figure that stands elsewhere."""
    own = set(tree.subtree(found.bone("pelvis")))
    rest = [tree.bones[name] for name in tree.order if name not in own]
    if len(rest) < 2 * _FEWEST:
        return None
    names = {bone.name for bone in rest}
    rest = [bone if bone.parent in names else Bone(bone.name, None, bone.head, bone.tail, bone.matrix) for bone in rest]
    other, _ = _match(rest)
    if other.error is not None:
        return None
    here, there = (_points(tree, each, "hip", "knee") for each in (found, other))
    leg = float(np.linalg.norm(here[1] - here[0]))
    apart = float(np.linalg.norm(here[0] - there[0]))
    return other.bone("pelvis") if apart > 0.4 * leg else None

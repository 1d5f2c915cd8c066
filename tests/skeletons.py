"""Skeletons for tests of the matcher: people of any naming with chosen spines, fingers, twist bones and ends, and
things that are no people."""

import numpy as np
from figures import bone_matrix, figure

from blender_addon.rig import Bone, canonical

FINGERS = ("thumb", "index", "middle", "ring", "little")


def bone(name, parent, head, tail) -> Bone:
    head, tail = np.asarray(head, dtype=float), np.asarray(tail, dtype=float)
    if np.linalg.norm(tail - head) < 1e-9:
        tail = head + [0.0, 0.0, 0.01]
    return Bone(name, parent, head, tail, bone_matrix(head, tail, 0.0))


def plain_names(spines: int = 3, necks: int = 1, collars: int = 1, toes: bool = True) -> dict[str, list[str]]:
    """Joint or "spine" -> bones, called after the joints."""
    names = {joint: [joint] for joint in canonical.JOINTS if joint not in canonical.SPINE}
    names["spine"] = [f"spine{k + 1}" for k in range(spines)]
    names["neck"] = [f"neck{k + 1}" for k in range(necks)]
    for side in canonical.SIDES:
        names[f"{side}_collar"] = [f"{side}_collar{k + 1}" for k in range(collars)]
        names[f"{side}_foot"] = [f"{side}_foot"] if toes else []
    return names


def person(
    names: dict[str, list[str]] | None = None,
    *,
    fingers: int = 0,
    finger_bones: int = 3,
    ends: bool = False,
    root: str | None = None,
    halves: dict[str, str] | None = None,
    twists: dict[str, list[tuple[str, float]]] | None = None,
    face: bool = False,
    **pose,
) -> list[Bone]:
    """A person in armature space.

    names: joint or "spine" -> bones from the root outwards (see :func:`plain_names`); an empty list leaves the joint
    out. fingers: how many on each hand, called "<side>_<finger><k>". ends: bones that only mark where chains end.
    root: a bone at the floor above the pelvis. halves: joint -> name of a second half of its segment, in line.
    twists: joint -> (bone, place) of leaves beside the segment. pose: arguments of ``figures.figure``.
    """
    names = plain_names() if names is None else names
    rig = figure(**pose)
    at = {bone.name: bone.head for bone in rig.bones}
    size = np.linalg.norm(at["head"] - at["pelvis"])
    placed: list[Bone] = []
    top: dict[str, str | None] = {}

    def chain(joint: str, start: np.ndarray, end: np.ndarray, parent: str | None) -> str | None:
        """The bones of one joint, spread evenly from start to end; returns what hangs below them."""
        bones = names.get(joint) or []
        points = np.linspace(start, end, len(bones) + 1) if bones else []
        for k, name in enumerate(bones):
            placed.append(bone(name, parent, points[k], points[k + 1]))
            parent = name
        top[joint] = parent
        return parent

    if root:
        floor = np.mean([at["left_foot"], at["right_foot"]], axis=0)
        placed.append(bone(root, None, floor, floor + (at["pelvis"] - floor) * 0.2))
    pelvis = chain("pelvis", at["pelvis"], at["pelvis"] + (at["spine1"] - at["pelvis"]) * 0.5, root)
    chest = chain("spine", at["spine1"], at["neck"], pelvis)
    neck = chain("neck", at["neck"], at["head"], chest)
    up = at["head"] - at["neck"]
    head = chain("head", at["head"], at["head"] + up * 1.5, neck)
    if face and names.get("head"):
        across = at["left_hip"] - at["right_hip"]
        forward = np.cross(across, up) * (np.linalg.norm(up) / np.linalg.norm(np.cross(across, up)))
        for k, sign in enumerate((1.0, -1.0)):
            eye = at["head"] + up * 0.5 + forward * 0.6 + across * 0.15 * sign
            placed.append(bone(f"face{k}", head, eye, eye + forward * 0.1))
    if ends and names.get("head"):
        placed.append(bone("head_end", head, at["head"] + up * 1.5, at["head"] + up * 1.7))
    for side in canonical.SIDES:
        parent = pelvis
        for chains in (("hip", "knee", "ankle", "foot"), ("collar", "shoulder", "elbow", "wrist")):
            parent = pelvis if chains[0] == "hip" else chest
            for k, role in enumerate(chains):
                joint = f"{side}_{role}"
                start = at[joint]
                if k + 1 < len(chains):
                    end = at[f"{side}_{chains[k + 1]}"]
                else:
                    end = start + (start - at[f"{side}_{chains[k - 1]}"]) * 0.4
                if halves and joint in halves:
                    middle = (start + end) / 2
                    placed.append(bone(names[joint][0], parent, start, middle))
                    placed.append(bone(halves[joint], names[joint][0], middle, end))
                    parent = top[joint] = halves[joint]
                else:
                    parent = chain(joint, start, end, parent)
                for name, place in (twists or {}).get(joint, ()):
                    point = start + (end - start) * place
                    placed.append(bone(name, names[joint][0], point, point + (end - start) * 0.1))
                if ends and names.get(joint) and k + 1 == len(chains) and not (fingers and role == "wrist"):
                    placed.append(bone(f"{joint}_end", parent, end, end + (end - start) * 0.2))
        if fingers and names.get(f"{side}_wrist"):
            _hand(placed, at, side, parent, fingers, finger_bones, size, ends)
    return placed


def _hand(placed, at, side, parent, fingers, count, size, ends) -> None:
    wrist, elbow = at[f"{side}_wrist"], at[f"{side}_elbow"]
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    forward = at["left_foot"] - at["left_ankle"]
    forward = forward - along * (forward @ along)
    forward /= np.linalg.norm(forward)
    for k in range(fingers):
        thumb = k == 0
        start = wrist + along * size * (0.04 if thumb else 0.14) + forward * size * (0.07 if thumb else 0.09 - 0.04 * k)
        direction = along + forward if thumb else along
        direction = direction / np.linalg.norm(direction)
        above = parent
        for joint in range(count + (1 if ends else 0)):
            point = start + direction * size * 0.04 * joint
            name = f"{side}_{FINGERS[k]}{joint + 1}" + ("_end" if joint == count else "")
            placed.append(bone(name, above, point, point + direction * size * 0.04))
            above = name


def renamed(bones: list[Bone], names: dict[str, str]) -> list[Bone]:
    """The same skeleton under other names."""
    return [bone(names[b.name], names.get(b.parent), b.head, b.tail) for b in bones]


def anonymous(bones: list[Bone], seed: int = 0) -> tuple[list[Bone], dict[str, str]]:
    """The bones under names without meaning and in another order (parents before children), and old -> new names."""
    random = np.random.default_rng(seed)
    waiting = list(bones)
    done: set[str | None] = {None}
    order: list[Bone] = []
    while waiting:
        ready = [b for b in waiting if b.parent in done]
        chosen = ready[random.integers(len(ready))]
        order.append(chosen)
        done.add(chosen.name)
        waiting.remove(chosen)
    new = {b.name: f"Bone.{k:03d}" if k else "Bone" for k, b in enumerate(order)}
    return renamed(order, new), new


def quadruped() -> list[Bone]:
    """A dog: a level trunk on four legs."""
    trunk = (("spine", 0.4), ("back", 0.1), ("chest", -0.2), ("neck", -0.45), ("head", -0.65), ("", -0.85))
    bones: list[Bone] = []
    for (name, y), (_, following) in zip(trunk[:-1], trunk[1:], strict=True):
        bones.append(bone(name, bones[-1].name if bones else None, [0, y, 0.7], [0, following, 0.7]))
    for side, x in (("L", 0.1), ("R", -0.1)):
        for kind, parent, y in (("hind", "spine", 0.4), ("front", "chest", -0.35)):
            points = [[x, y, 0.65], [x, y - 0.05, 0.4], [x, y + 0.05, 0.2], [x, y, 0.05], [x, y - 0.1, 0.0]]
            above = parent
            for k, part in enumerate(("upper", "lower", "foot", "toe")):
                name = f"{kind}_{part}.{side}"
                bones.append(bone(name, above, points[k], points[k + 1]))
                above = name
    return bones


def chair() -> list[Bone]:
    """A chair: a seat with four legs, a back and two arm rests."""
    bones = [bone("seat", None, [0, 0, 0.5], [0, 0.2, 0.5]), bone("back", "seat", [0, 0.25, 0.5], [0, 0.3, 1.0])]
    for side, x in (("L", 0.25), ("R", -0.25)):
        for end, y in (("front", -0.25), ("rear", 0.25)):
            bones.append(bone(f"leg_{end}.{side}", "seat", [x, y, 0.5], [x, y, 0.25]))
            bones.append(bone(f"leg_{end}_low.{side}", f"leg_{end}.{side}", [x, y, 0.25], [x, y, 0.0]))
            bones.append(bone(f"leg_{end}_cap.{side}", f"leg_{end}_low.{side}", [x, y, 0.0], [x, y, -0.02]))
        bones.append(bone(f"rest.{side}", "back", [x, 0.25, 0.7], [x, -0.2, 0.7]))
    return bones


def tail(count: int = 14) -> list[Bone]:
    """A single chain."""
    return [bone(f"tail.{k:03d}", f"tail.{k - 1:03d}" if k else None, [0, k, 0], [0, k + 1, 0]) for k in range(count)]


def together(first: list[Bone], second: list[Bone], apart, root: str | None = None) -> list[Bone]:
    """Two skeletons in one armature, the second one moved; its names get ".001"."""
    apart = np.asarray(apart, dtype=float)
    new = {b.name: b.name + ".001" for b in second}
    moved = [bone(new[b.name], new.get(b.parent), b.head + apart, b.tail + apart) for b in second]
    if root is None:
        return [*first, *moved]
    held = [bone(b.name, b.parent or root, b.head, b.tail) for b in (*first, *moved)]
    return [bone(root, None, [0, 0, 0], [0, 0, 0.2]), *held]

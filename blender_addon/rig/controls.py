"""Control rigs: which bones deform, which ones an animator keys instead.

Generated Rigify rigs are known by the prefixes of their bones; ``bone_maps/controls/rigify.json`` names their controls.
Of other rigs the constraints tell: a deforming bone that copies another is posed by that one, and a bone under inverse
kinematics by its target and pole.
"""

from . import canonical
from .bones import Bone, BoneMap, Controls, Limb, Switch
from .names import load

_COPIES = ("COPY_TRANSFORMS", "COPY_ROTATION")
_LIMBS = {"leg": ("hip", "knee", "ankle", "foot"), "arm": ("shoulder", "elbow", "wrist")}


def is_rigify(names: set[str]) -> bool:
    """Whether these are the bones of a rig that Rigify generated."""
    counts = [sum(name.startswith(prefix) for name in names) for prefix in ("DEF-", "ORG-", "MCH-")]
    return all(counts) and counts[0] > 8


def logical(bones: list[Bone]) -> tuple[bool, list[Bone]]:
    """Whether ``bones`` are a generated Rigify rig, and the bones to match: of such a rig the deforming ones, hung from
    each other as in the metarig; of any other all bones."""
    names = {bone.name: bone for bone in bones}
    if not is_rigify(set(names)):
        return False, bones
    parents: dict[str, str | None] = {}
    for bone in bones:
        if not bone.name.startswith("DEF-"):
            continue
        current = bone.parent
        while current is not None:
            deforming = "DEF-" + current[4:] if current.startswith(("ORG-", "DEF-")) else current
            if deforming != bone.name and deforming.startswith("DEF-") and deforming in names:
                current = deforming
                break
            current = names[current].parent
        parents[bone.name] = current
    listed: list[Bone] = []
    placed: set[str | None] = {None}
    waiting = list(parents)
    while waiting:
        ready = [name for name in waiting if parents[name] in placed]
        if not ready:
            # Two bones that name each other: hang the first from nothing
            parents[waiting[0]] = None
            continue
        for name in ready:
            bone = names[name]
            listed.append(Bone(name, parents[name], bone.head, bone.tail, bone.matrix, deform=bone.deform))
        placed |= set(ready)
        waiting = [name for name in waiting if name not in placed]
    return True, listed


def control_rig(found: BoneMap, bones: list[Bone], rigify: bool) -> None:
    """Fill in ``found.controls`` when what is keyed are not the bones of ``found.joints``."""
    names = {bone.name: bone for bone in bones}
    if rigify:
        found.controls = _rigify(found, names)
        found.family = load("controls/rigify")["family"]
    else:
        found.controls = _constrained(found, names)


def _rigify(found: BoneMap, names: dict[str, Bone]) -> Controls | None:
    table = load("controls/rigify")
    if table["travel"] not in names:
        return None

    def control(bone: str) -> str | None:
        base = bone[len("DEF-") :]
        stem, dot, rest = base.partition(".")
        spellings = (f"{stem}{table['fk_insert']}{dot}{rest}", f"{stem}.fk{dot}{rest}", base)
        return next((name for name in spellings if name in names), None)

    fk = {}
    for joint, listed in found.joints.items():
        known = [name for name in table["fk"].get(joint, ()) if name in names]
        fk[joint] = known or [name for name in map(control, listed) if name]
    made = Controls(
        fk,
        table["travel"],
        root=table["root"] if table["root"] in names else None,
        masters={kind: name for kind, name in table["masters"].items() if name in names},
        settings=[(bone, name, value) for bone, name, value in table["settings"] if bone in names],
        fingers={finger: [n for n in map(control, listed) if n] for finger, listed in found.fingers.items()},
    )
    for side, letter in zip(canonical.SIDES, "RL" if found.swapped else "LR", strict=True):
        for kind, entry in table["limbs"].items():
            named = {part: value.replace("{side}", letter) for part, value in entry.items() if part != "chain"}
            if named["target"] not in names:
                continue
            parent, limb = named["parent"], f"{side}_{kind}"
            pole = named["pole"] if named["pole"] in names else None
            chain = {f"{side}_{role}": [n for n in (b.replace("{side}", letter) for b in controls) if n in names]
                     for role, controls in entry["chain"].items()}  # fmt: skip
            switch = table["pole_switch"]
            made.ik[limb] = Limb(
                named["target"],
                pole,
                (parent, switch["name"], switch["value"]) if pole and parent in names else None,
                chain,
                named.get("roll") if named.get("roll") in names else None,
            )
            if parent in names:
                made.switches[limb] = Switch(parent, table["switch"]["name"], table["switch"]["fk"],
                                             table["switch"]["ik"])  # fmt: skip
                made.settings.append((parent, table["follow"]["name"], table["follow"]["value"]))
    return made


def _constrained(found: BoneMap, names: dict[str, Bone]) -> Controls | None:
    def keyed(name: str) -> str:
        """The bone that poses ``name``: what it copies, and what that copies."""
        seen = {name}
        while True:
            copied = next((c.target for c in names[name].constraints
                           if c.kind in _COPIES and c.influence > 0.5 and c.target in names), None)  # fmt: skip
            if copied is None or copied in seen:
                return name
            seen.add(copied)
            name = copied

    fk = {joint: [keyed(name) for name in listed] for joint, listed in found.joints.items()}
    limbs = {}
    for side in canonical.SIDES:
        for kind, chain in _LIMBS.items():
            limb = _ik(names, [fk[f"{side}_{role}"][0] for role in chain if fk[f"{side}_{role}"]])
            if limb:
                limbs[f"{side}_{kind}"] = limb
    if fk == found.joints and not limbs:
        return None
    travel = fk["pelvis"][0]
    root = travel
    while names[root].parent is not None:
        root = names[root].parent
    fingers = {finger: [keyed(name) for name in listed] for finger, listed in found.fingers.items()}
    return Controls(fk, travel, root=root if root != travel else None, ik=limbs, fingers=fingers)


def _ik(names: dict[str, Bone], chain: list[str]) -> Limb | None:
    """Target and pole of the inverse kinematics on a limb: on its lower bone, or on the hand or foot it ends in."""
    for name in chain[1:3]:
        for constraint in names[name].constraints:
            long = constraint.chain == 0 or constraint.chain >= 2
            if constraint.kind == "IK" and constraint.influence > 0.01 and long and constraint.target in names:
                return Limb(constraint.target, constraint.pole if constraint.pole in names else None)
    return None

"""Control rigs: which bones deform, which ones an animator keys instead.

Generated Rigify rigs are known by the prefixes of their bones, Auto-Rig Pro's by the names of their controls; the
tables in ``bone_maps/controls`` name what is keyed. Of other rigs the constraints tell: a deforming bone that copies
another is posed by that one, and a bone under inverse kinematics by its target and pole.
"""

from . import canonical
from .bones import Bone, BoneMap, Controls, Limb, Switch
from .names import load

_COPIES = ("COPY_TRANSFORMS", "COPY_ROTATION")
_HANGING = {"spine": ("collar", "shoulder", "elbow", "wrist"), "pelvis": ("hip", "knee", "ankle", "foot")}
_LIMBS = {"leg": ("hip", "knee", "ankle", "foot"), "arm": ("shoulder", "elbow", "wrist")}


def is_rigify(names: set[str]) -> bool:
    """Whether these are the bones of a rig that Rigify generated."""
    counts = [sum(name.startswith(prefix) for name in names) for prefix in ("DEF-", "ORG-", "MCH-")]
    return all(counts) and counts[0] > 8


def logical(bones: list[Bone]) -> tuple[str | None, list[Bone]]:
    """The table of controls that ``bones`` have ("rigify", "auto_rig_pro"), and the bones to match: of such a rig the
    deforming ones, hung from each other as the body is; of any other None and all bones."""
    names = {bone.name: bone for bone in bones}
    if is_rigify(set(names)):
        return "rigify", _hung(names, _rigify_parents(names))
    if all(name in names for name in load("controls/auto_rig_pro")["known_by"]):
        return "auto_rig_pro", _hung(names, _auto_rig_pro_parents(names))
    return None, bones


def _rigify_parents(names: dict[str, Bone]) -> dict[str, str | None]:
    """Deforming bone -> the deforming bone that it hangs from in the metarig."""
    parents: dict[str, str | None] = {}
    for name, bone in names.items():
        if not name.startswith("DEF-"):
            continue
        current = bone.parent
        while current is not None:
            deforming = "DEF-" + current[4:] if current.startswith(("ORG-", "DEF-")) else current
            if deforming != name and deforming.startswith("DEF-") and deforming in names:
                current = deforming
                break
            current = names[current].parent
        parents[name] = current
    return parents


def _auto_rig_pro_parents(names: dict[str, Bone]) -> dict[str, str | None]:
    """Deforming bone -> the deforming bone that it hangs from when the rig is exported: limbs as the body has them
    (in the rig every piece hangs from a mechanism bone), the rest from the next deforming bone above."""
    joints = load("families/auto_rig_pro")["variants"][0]["joints"]
    halves = load("families/auto_rig_pro")["variants"][1]["joints"]
    whole = load("controls/auto_rig_pro")["whole"]

    def known(joint: str, letter: str = "") -> list[str]:
        spelled = [[e] if isinstance(e, str) else e for table in (joints, halves) for e in table[joint]]
        listed = [name.replace("{side}", letter) for entry in spelled for name in entry]
        return [name for name in dict.fromkeys(listed) if name in names]

    parents: dict[str, str | None] = {}
    above = None
    for joint in ("pelvis", "spine", "neck", "head"):
        for name in known(joint):
            parents[name] = above
            above = name
    stands_for: dict[str, str] = {}
    for letter in load("controls/auto_rig_pro")["sides"]:
        for start, chain in _HANGING.items():
            above = (known(start) or [None])[-1]
            for joint in chain:
                found = known(joint, letter)[:1]
                for name in found:
                    parents[name] = above
                    above = name
                if found and joint in whole:
                    stands_for[whole[joint].replace("{side}", letter)] = found[0]
    others: dict[str, str | None] = {}
    for name, bone in names.items():
        if name in parents or not bone.deform:
            continue
        current = bone.parent
        while current is not None and current not in stands_for and not names[current].deform:
            current = names[current].parent
        others[name] = stands_for.get(current or "", current)
    return others | parents


def _hung(names: dict[str, Bone], parents: dict[str, str | None]) -> list[Bone]:
    """The bones of ``parents`` alone, each below the one that is named for it, parents first."""
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
    return listed


def control_rig(found: BoneMap, bones: list[Bone], family: str | None) -> None:
    """Fill in ``found.controls`` when what is keyed are not the bones of ``found.joints``. family: see
    :func:`logical`."""
    names = {bone.name: bone for bone in bones}
    if family is None:
        found.controls = _constrained(found, names)
    else:
        table = load(f"controls/{family}")
        found.controls = _named(found, names, table)
        found.family = table["family"]


def _named(found: BoneMap, names: dict[str, Bone], table: dict) -> Controls | None:
    """The controls of a family of rigs whose bones have names that are known."""
    if table["travel"] not in names:
        return None
    letters = dict(zip(canonical.SIDES, reversed(table["sides"]) if found.swapped else table["sides"], strict=True))

    def listed(joint: str, entries: dict[str, list[str]]) -> list[str] | None:
        """What ``entries`` say of a joint, by its whole name or that of either side."""
        side, _, role = joint.partition("_")
        if side not in letters:
            return entries.get(joint)
        found_names = entries.get(role)
        return None if found_names is None else [name.replace("{side}", letters[side]) for name in found_names]

    def control(bone: str) -> str | None:
        base = bone.removeprefix("DEF-")
        stem, dot, rest = base.partition(".")
        insert, prefix = table.get("fk_insert"), table.get("fk_prefix")
        spellings = (f"{stem}{insert}{dot}{rest}", f"{stem}.fk{dot}{rest}", base) if insert else (f"{prefix}{base}",)
        return next((name for name in spellings if name in names), None)

    fk, whole = {}, {}
    for joint, own in found.joints.items():
        entry = listed(joint, table["fk"])
        known = [name for name in entry or () if name in names]
        fk[joint] = known if known or entry == [] else [name for name in map(control, own) if name]
        turning = listed(joint, {role: [name] for role, name in table.get("whole", {}).items()})
        if turning and turning[0] in names:
            whole[joint] = turning
    made = Controls(
        fk,
        table["travel"],
        root=table["root"] if table["root"] in names else None,
        masters={kind: name for kind, name in table["masters"].items() if name in names},
        settings=[(bone, name, value) for bone, name, value in table["settings"] if bone in names],
        fingers={finger: [n for n in map(control, own) if n] for finger, own in found.fingers.items()},
        whole=whole,
    )
    for side, letter in letters.items():
        for kind, entry in table["limbs"].items():
            _limb(made, names, table, f"{side}_{kind}", entry, letter)
    return made


def _limb(made: Controls, names: dict[str, Bone], table: dict, limb: str, entry: dict, letter: str) -> None:
    """Target, pole and switches of one limb."""
    named = {part: value.replace("{side}", letter) for part, value in entry.items() if part != "chain"}
    if named["target"] not in names:
        return
    parent, side = named["parent"], limb.partition("_")[0]
    pole = named["pole"] if named["pole"] in names else None
    chain = {f"{side}_{role}": [n for n in (b.replace("{side}", letter) for b in controls) if n in names]
             for role, controls in entry["chain"].items()}  # fmt: skip
    pole_switch, follow = table.get("pole_switch"), table.get("follow")
    made.ik[limb] = Limb(
        named["target"],
        pole,
        (parent, pole_switch["name"], pole_switch["value"]) if pole_switch and pole and parent in names else None,
        chain,
        named.get("roll") if named.get("roll") in names else None,
    )
    if parent in names:
        switch = table["switch"]
        made.switches[limb] = Switch(parent, switch["name"], switch["fk"], switch["ik"])
        if follow:
            made.settings.append((parent, follow["name"], follow["value"]))


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

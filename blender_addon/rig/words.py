"""Bones to joints by the words of their names and the order of the hierarchy.

Limbs are found by name (thigh, shin, foot; upper arm, forearm, hand), each below the one before it. The trunk is read
from the hierarchy between them: the pelvis is where the legs and the chest meet, the chest is where the arms meet,
the spine runs between the two. So "spine05", "Abdomen" or "lowerback" need no table.
"""

from . import canonical
from .names import roles
from .tree import Tree

# Joint chains from the body outwards: each bone must lie below the one before it
LEG = ("hip", "knee", "ankle", "foot")
ARM = ("shoulder", "elbow", "wrist")
# Bones nearer to each other than this share of the figure are copies of one joint, not two candidates
_SAME_PLACE = 0.02


def find(tree: Tree) -> tuple[dict[str, list[str]], dict[str, list[str]], set[str]]:
    """Joints (and "spine") with their bones, candidates of joints that are in doubt, joints named for certain."""
    joints: dict[str, list[str]] = {joint: [] for joint in canonical.JOINTS} | {"spine": []}
    candidates: dict[str, list[str]] = {}
    certain: set[str] = set()
    by_role: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for role in LEG + ARM:
        words = roles()[role]
        for name in tree.order:
            side, word = tree.key[name]
            if side and word in words and not tree.is_leaf_end(name):
                by_role.setdefault((side, role), []).append((name, words[word]))
    for side in canonical.SIDES:
        for chain in (LEG, ARM):
            _limb(tree, joints, candidates, certain, side, chain, by_role)
    trunk(tree, joints)
    return joints, candidates, certain


def _limb(
    tree: Tree,
    joints: dict[str, list[str]],
    candidates: dict[str, list[str]],
    certain: set[str],
    side: str,
    chain: tuple[str, ...],
    by_role: dict[tuple[str, str], list[tuple[str, int]]],
) -> None:
    """Find the bones of one limb from its middle: the knee or elbow is never mistaken for a neighbour."""

    def named(role: str) -> list[tuple[str, int]]:
        found = by_role.get((side, role), [])
        return sorted(found, key=lambda item: (item[1], tree.depth[item[0]], tree.place[item[0]]))

    upper, middle = chain[0], chain[1]
    picks: list[tuple[tuple, tuple, list[str]]] = []
    for first, first_rank in named(upper):
        for second, second_rank in named(middle):
            if not tree.below(second, first):
                continue
            picked, ranks = [first, second], [first_rank, second_rank]
            for role in chain[2:]:
                below = [(n, rank) for n, rank in named(role) if tree.below(n, picked[-1])]
                if not below:
                    break
                # The bone nearest to the body carries the joint ("wrist" before "hand", "01" before "02")
                nearest = min(below, key=lambda item: (tree.depth[item[0]], item[1], tree.place[item[0]]))
                level = [n for n, _ in below if tree.parent[n] == tree.parent[nearest[0]]]
                if role == "foot" and len(level) > 2:
                    # Five separate toes: none of them is the ball of the foot
                    break
                picked.append(nearest[0])
                ranks.append(nearest[1])
            deform = -sum(tree.bones[n].deform for n in picked)
            worth = (-len(picked), first_rank + second_rank, deform)
            order = (tree.depth[first], tree.depth[second])
            picks.append((worth, order, picked))
            if not any(ranks[:2]):
                certain.update(f"{side}_{role}" for role in chain)
    if not picks:
        # No such limb: what can be named still counts, so that the refusal names only what is really missing
        for role in chain:
            for name, _ in named(role)[:1]:
                above = joints[f"{side}_{upper}"]
                if role != middle or not above or tree.below(name, above[0]):
                    joints[f"{side}_{role}"] = [name]
        return
    worth, _, best = min(picks, key=lambda pick: pick[:2])
    rivals = [
        other
        for value, _, other in picks
        if value == worth
        and not tree.below(other[0], best[0])
        and not tree.below(best[0], other[0])
        and other[0] != best[0]
        and tree.distance(other[1], best[1]) > _SAME_PLACE * tree.size
    ]
    for role, name in zip(chain, best, strict=False):
        joint = f"{side}_{role}"
        if rivals:
            candidates[joint] = [name, *dict.fromkeys(r[chain.index(role)] for r in rivals)]
        else:
            joints[joint] = [name]


def trunk(tree: Tree, joints: dict[str, list[str]]) -> None:
    """Fill in pelvis, spine, neck, head and collars from the hierarchy between the limbs of ``joints``."""
    limbs = [joints[f"{side}_{role}"] for role in ("hip", "shoulder") for side in canonical.SIDES]
    words = roles()
    if not all(limbs):
        joints["pelvis"] = [n for n in tree.order if tree.key[n][1] in words["pelvis"] and not tree.key[n][0]][:1]
        return
    left_leg, right_leg, left_arm, right_arm = (names[0] for names in limbs)
    pelvis = tree.meeting(left_leg, right_leg, left_arm, right_arm)
    top = tree.meeting(left_arm, right_arm)
    if pelvis is None or top is None or pelvis in (left_leg, right_leg, left_arm, right_arm):
        return
    necks = words["neck"]
    joints["pelvis"] = pelvis_bones(tree, pelvis)
    spine = [] if top == pelvis else [*tree.between(pelvis, top), top]
    # Biped hangs the collar bones from the neck
    while spine and tree.key[spine[-1]][1] in necks:
        spine.pop()
    joints["spine"] = spine
    chest = spine[-1] if spine else pelvis
    heads = [
        (rank, tree.depth[name], tree.place[name], name)
        for name in tree.order
        for rank in [words["head"].get(tree.key[name][1])]
        if rank is not None and not tree.key[name][0] and tree.below(name, chest)
    ]
    if heads:
        head = min(heads)[-1]
        joints["head"] = [head]
        joints["neck"] = tree.between(chest, head)
    else:
        joints["neck"] = [n for n in tree.order if tree.key[n][1] in necks and tree.below(n, chest)][:1]
    for side, arm in (("left", left_arm), ("right", right_arm)):
        joints[f"{side}_collar"] = [n for n in tree.between(chest, arm) if n not in joints["neck"]]


def pelvis_bones(tree: Tree, meeting: str) -> list[str]:
    """The bone where legs and trunk meet, and the bones above it that are the pelvis by name: Biped hangs the legs
    from its first spine bone, so that both turn with the pelvis."""
    words = roles()["pelvis"]
    above = tree.parent[meeting]
    if tree.key[meeting][1] not in words and above is not None and tree.key[above][1] in words:
        return [above, meeting]
    return [meeting]

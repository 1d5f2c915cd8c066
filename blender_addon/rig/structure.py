"""Bones to joints by shape alone, for armatures whose names say nothing.

A person at rest is two pairs of mirrored chains on one trunk: legs that point away from the trunk, arms where the trunk
ends, and beyond them a head on the midline. Every pair of similar chains of the armature is tried as legs and as arms;
lengths, bends and distances from the midline say where thigh, shin and foot begin. Feet, knees and elbows tell the
front, and the front tells left from right. Only rest heads are used (importers invent tails), in any units and any
orientation.
"""

from dataclasses import dataclass, field

import numpy as np

from . import canonical
from .limbs import Limbs, Pair, branches, find_pairs, fit, marked_ends, toe
from .tree import Tree

# Sum of front evidence (shares of limb lengths) below which the facing is not known
_FRONT = 0.012
# Another pair of limbs this close in score to the best one leaves the choice open
_RIVAL = 0.85
# Bones above a neck that are enough to see that something is there
_FEW = 8


@dataclass
class Found:
    """What the shape of an armature says.

    joints: as ``BoneMap.joints`` with "spine" besides; empty when it is no person. score: 0..1 how human it looks.
    reason: why not, one clause for the artist. sided: whether left and right are known; when not, "left" is arbitrary.
    margins: how far the reading of the legs and that of the arms lead over the next best one; small is doubtful.
    rivals: joint -> further bones that fit as well. quadruped: the reason is that it stands on four legs.
    """

    joints: dict[str, list[str]] = field(default_factory=dict)
    score: float = 0.0
    reason: str = ""
    sided: bool = True
    margins: tuple[float, float] = (1.0, 1.0)
    rivals: dict[str, list[str]] = field(default_factory=dict)
    quadruped: bool = False


def search(tree: Tree) -> Found:
    """Read the armature's joints from its shape; see :class:`Found`."""
    if not any(len(children) > 1 for parent, children in tree.children.items() if parent is not None):
        return Found(reason="its bones form a single chain")
    pairs = find_pairs(tree)
    if len(pairs) < 2:
        return Found(reason="it does not have two pairs of limbs that are alike")
    legs = [limbs for pair in pairs if (limbs := fit(tree, pair, arms=False))]
    marked = any(marked_ends(tree, leg) for leg in legs[:2])
    arms = [limbs for pair in pairs if (limbs := fit(tree, pair, arms=True, marked=marked))]
    ranked = []
    four_legged = 0.0
    for leg in legs:
        for arm in arms:
            if leg.pair is arm.pair:
                continue
            score, on_four = _score(tree, leg, arm)
            if on_four:
                four_legged = max(four_legged, leg.length + arm.length)
            if score > 0:
                ranked.append((score, leg, arm))
    ranked.sort(key=lambda item: -item[0])
    if four_legged and (not ranked or four_legged > 0.9 * (ranked[0][1].length + ranked[0][2].length)):
        return Found(reason="it stands on four legs", quadruped=True)
    if not ranked:
        return Found(reason="it has no trunk with two legs below and two arms above")
    score, leg, arm = ranked[0]
    found = _assemble(tree, leg, arm)
    found.score = min(1.0, score)
    found.margins = leg.margin, arm.margin
    if found.joints:
        _add_rivals(tree, found, ranked)
    return found


def _score(tree: Tree, leg: Limbs, arm: Limbs) -> tuple[float, bool]:
    """How human the two pairs look together (0: not at all), and whether they are four legs of an animal."""
    used = {name for limbs in (leg, arm) for side in limbs.picked for name in side}
    if len(used) < 12:
        return 0.0, False
    leg_bones = {name for chain in leg.pair.chains for name in chain}
    arm_bones = {name for chain in arm.pair.chains for name in chain}
    if leg_bones & arm_bones or arm.pair.node in leg_bones or leg.pair.node in arm_bones:
        return 0.0, False
    if tree.meeting(leg.pair.node, arm.pair.node) in (arm.pair.node, None):
        # No spine between them
        return 0.0, False
    hips, knees, ankles = (_middle(tree, leg, k) for k in range(3))
    shoulders, _, wrists = (_middle(tree, arm, k) for k in range(3))
    trunk = shoulders - hips
    size = float(np.linalg.norm(trunk))
    if size < 0.1 * leg.length:
        return 0.0, False
    up = trunk / size
    down = (ankles - hips) / max(float(np.linalg.norm(ankles - hips)), 1e-12)
    reach = (wrists - shoulders) / max(float(np.linalg.norm(wrists - shoulders)), 1e-12)
    parallel = abs(float(leg.pair.axis @ arm.pair.axis))
    if parallel < 0.8 or abs(float(leg.pair.axis @ up)) > 0.35 or abs(float(arm.pair.axis @ up)) > 0.35:
        return 0.0, False
    ratio, arm_ratio = leg.length / size, arm.length / size
    if not (0.3 < ratio < 5.0 and 0.3 < arm_ratio < 4.0):
        return 0.0, False
    upright = -float(down @ up)
    on_four = abs(upright) < 0.6 and float(down @ reach) > 0.75
    if on_four or upright < 0.6:
        return 0.0, on_four
    head = _head_side(tree, leg, arm, up, shoulders)
    score = 0.35 * upright + 0.15 * parallel + 0.2 * head
    score += 0.1 * np.exp(-(np.log(ratio / 1.7) ** 2)) + 0.1 * np.exp(-(np.log(arm_ratio / 1.1) ** 2))
    score += 0.1 * np.clip((leg.fit + arm.fit) / 0.9, -1.0, 1.0)
    # Fingers
    score += 0.1 * all(len(branches(tree, side[2])) >= 3 for side in arm.picked)
    longest = max(leg.length, arm.length)
    score *= min(1.0, 0.5 + 0.5 * (leg.length + arm.length) / (2.0 * longest))
    return float(score), False


def _middle(tree: Tree, limbs: Limbs, k: int) -> np.ndarray:
    return (tree.head[limbs.picked[0][k]] + tree.head[limbs.picked[1][k]]) / 2


def _head_side(tree: Tree, leg: Limbs, arm: Limbs, up: np.ndarray, shoulders: np.ndarray) -> float:
    """1 when something on the midline reaches beyond the shoulders, 0.5 when the chest ends there."""
    limit = 0.02 * tree.size
    chain = {name for chain in arm.pair.chains for name in chain}
    below = [name for name in tree.children.get(arm.pair.node, ()) if name not in chain]
    offsets = tree.heads[[tree.place[name] for name in below]] - shoulders
    central = [name for name, aside in zip(below, offsets @ arm.pair.axis, strict=True) if abs(aside) < limit]
    near = [tree.place[n] for name in central for n in (name, *tree.children.get(name, ())[:_FEW])]
    return 1.0 if ((tree.heads[near] - shoulders) @ up > limit).any() else 0.5


def _assemble(tree: Tree, leg: Limbs, arm: Limbs) -> Found:
    hips, shoulders = _middle(tree, leg, 0), _middle(tree, arm, 0)
    trunk = float(np.linalg.norm(shoulders - hips))
    up = (shoulders - hips) / trunk
    across = leg.pair.axis - up * (leg.pair.axis @ up)
    across /= np.linalg.norm(across)
    if arm.pair.axis @ across < 0:
        arm = Limbs(
            Pair(arm.pair.node, arm.pair.chains[::-1], arm.pair.length, -arm.pair.axis), arm.picked[::-1],
            arm.fit, arm.length, arm.margin)  # fmt: skip
    joints: dict[str, list[str]] = {joint: [] for joint in canonical.JOINTS} | {"spine": []}
    pelvis = tree.meeting(leg.picked[0][0], leg.picked[1][0], arm.picked[0][0], arm.picked[1][0])
    top = arm.pair.node
    if pelvis is None or pelvis in (leg.picked[0][0], leg.picked[1][0]):
        return Found(reason="its legs and arms do not hang from one trunk")
    joints["pelvis"] = [pelvis]
    spine = [] if top == pelvis else [*tree.between(pelvis, top), top]
    neck, head = _neck_and_head(tree, arm, top, up, across, shoulders, trunk, marked_ends(tree, leg))
    # The neck itself where the collar bones hang from it
    lifted = float((tree.head[top] - shoulders) @ up) if spine else 0.0
    if len(spine) > 1 and head and not neck and lifted > 0.08 * trunk:
        neck = [spine.pop()]
    if not spine:
        return Found(reason="it has no spine between the legs and the arms")
    joints["spine"], joints["neck"], joints["head"] = spine, neck, head
    forward = _forward(tree, leg, arm, up, across, head)
    flip = forward < 0
    front = np.cross(across, up) * (-1.0 if flip else 1.0)
    feet = [toe(tree, limb[2], limb[1], front) for limb in leg.picked]
    for k, side in enumerate(canonical.SIDES):
        which = 1 - k if flip else k
        for joint, name in zip(("hip", "knee", "ankle"), leg.picked[which], strict=True):
            joints[f"{side}_{joint}"] = [name]
        for joint, name in zip(("shoulder", "elbow", "wrist"), arm.picked[which], strict=True):
            joints[f"{side}_{joint}"] = [name]
        joints[f"{side}_foot"] = [feet[which]] if feet[0] and feet[1] else []
        joints[f"{side}_collar"] = tree.between(top, arm.picked[which][0])
    return Found(joints, sided=abs(forward) > _FRONT)


def _neck_and_head(
    tree: Tree,
    arm: Limbs,
    top: str,
    up: np.ndarray,
    across: np.ndarray,
    shoulders: np.ndarray,
    trunk: float,
    marked: bool,
) -> tuple[list[str], list[str]]:
    """Bones of the neck and the head bone, from the chain on the midline above the chest ``top``.

    up, across: unit vectors. shoulders: (3,) between them. trunk: its length. marked: as in ``limbs.fit``.
    """
    arms = {name for chain in arm.pair.chains for name in chain}

    heights_of = (tree.heads - shoulders) @ up / trunk
    aside_of = (tree.heads - shoulders) @ across / trunk
    tops = tree.highest(heights_of)

    def height(name: str) -> float:
        return float(heights_of[tree.place[name]])

    def climb(name: str) -> float:
        return float(tops[tree.place[name]])

    def central(node: str) -> list[str]:
        """Bones below ``node`` on the midline that are not one of a pair beside it (eyes)."""
        below = tree.children.get(node, [])
        places = aside_of[[tree.place[c] for c in below]]
        offsets = places - aside_of[tree.place[node]]
        paired = (np.abs(offsets[:, None] + offsets[None]) < 0.4 * np.abs(offsets[:, None])).any(1)
        keep = (np.abs(places) < 0.06) & ~(paired & (np.abs(offsets) > 0.005))
        return [c for c, wanted in zip(below, keep, strict=True) if wanted and c not in arms]

    chain: list[str] = []
    node = top
    while True:
        # Face bones in a head are many and near: the head is the last bone with one way up
        middle = central(node)
        above = [c for c in middle if climb(c) > height(node) and height(c) > (height(node) + 0.02 if chain else -0.25)]
        if not above:
            break
        following = max(above, key=lambda c: (climb(c), -tree.place[c]))
        if chain and len(tree.children[node]) - len(middle) >= 2:
            break
        chain.append(following)
        node = following
    if not chain:
        return [], []
    heights = [height(name) for name in chain]
    # The last one is the top of the skull when it lies a head's length above the one before
    while len(chain) > 1 and not tree.children.get(chain[-1]):
        gap = heights[-1] - heights[-2]
        below = heights[-2] - (heights[-3] if len(chain) > 2 else 0.0)
        neck_first = len(chain) == 2 and heights[0] < 0.2
        if not marked and gap < (0.5 if neck_first else 0.27) and (neck_first or gap < 1.6 * max(below, 0.08)):
            break
        chain.pop()
        heights.pop()
        if marked:
            break
    return chain[:-1], chain[-1:]


def _forward(tree: Tree, leg: Limbs, arm: Limbs, up: np.ndarray, across: np.ndarray, head: list[str]) -> float:
    """Evidence for the front: positive when side 0 of the limbs is the figure's left, negative when it is the right."""
    forward = np.cross(across, up)
    total = 0.0
    for k in range(2):
        hip, knee, ankle = (tree.head[name] for name in leg.picked[k])
        points = [tree.head[n] for n in tree.subtree(leg.picked[k][2])[1:]]
        if points:
            total += 1.5 * float(np.mean([(p - ankle) @ forward for p in points])) / leg.length
        total += 1.0 * float((knee - (hip + ankle) / 2) @ forward) / leg.length
        shoulder, elbow, wrist = (tree.head[name] for name in arm.picked[k])
        total -= 0.4 * float((elbow - (shoulder + wrist) / 2) @ forward) / arm.length
    if head:
        face = [tree.head[n] for n in tree.subtree(head[0])[1:]]
        if len(face) >= 2:
            total += 0.3 * float(np.mean([(p - tree.head[head[0]]) @ forward for p in face])) / arm.length
    return total


def _add_rivals(tree: Tree, found: Found, ranked: list[tuple[float, Limbs, Limbs]]) -> None:
    """Further arms or legs that fit nearly as well, so that the choice is the artist's."""
    score, leg, arm = ranked[0]
    for mine, which, roles in (
        (arm, 2, ("shoulder", "elbow", "wrist")),
        (leg, 1, ("hip", "knee", "ankle")),
    ):
        bones = {n for chain in mine.pair.chains for n in chain}
        for item in ranked[1:]:
            other = item[which]
            same_rest = item[3 - which].pair is (leg if which == 2 else arm).pair
            theirs = {n for side in other.picked for n in side}
            if other.pair.node not in (*found.joints["pelvis"], *found.joints["spine"]):
                continue
            if not same_rest or item[0] < _RIVAL * score or theirs & bones or other.length < 0.5 * mine.length:
                continue
            for side, chain in zip(canonical.SIDES, other.picked, strict=True):
                for role, bone in zip(roles, chain, strict=True):
                    joint = f"{side}_{role}"
                    if tree.distance(bone, found.joints[joint][0]) > 0.02 * tree.size:
                        found.rivals.setdefault(joint, []).append(bone)

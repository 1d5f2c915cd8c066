"""Bones to joints by shape alone, for armatures whose names say nothing.

A person at rest is two pairs of mirrored chains on one trunk: legs that point away from the trunk, arms where the trunk
ends, and beyond them a head on the midline. Every pair of similar chains of the armature is tried as legs and as arms;
lengths, bends and distances from the midline say where thigh, shin and foot begin. Feet, knees and elbows tell the
front, and the front tells left from right. Only rest heads are used (importers invent tails), in any units and any
orientation.
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

import numpy as np

from . import canonical
from .tree import Tree

# Chains of a pair differ by no more than this in length (shorter to longer)
_ALIKE = 0.75
# Chains shorter than this share of the longest pair are no limbs
_SHORTEST_LIMB = 0.3
_MOST_PAIRS = 24
# Bones of a chain that are looked at; limbs with more are unheard of
_LONGEST_CHAIN = 16
# Sum of front evidence (shares of limb lengths) below which the facing is not known
_FRONT = 0.012
# Another pair of limbs this close in score to the best one leaves the choice open
_RIVAL = 0.85


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


@dataclass
class _Pair:
    """Two chains that hang from ``node`` like mirror images; chains[0][k] answers to chains[1][k]."""

    node: str
    chains: tuple[list[str], list[str]]
    length: float
    axis: np.ndarray


@dataclass
class _Limbs:
    """One pair of chains read as legs or arms: bones of its joints, side 0 and side 1, and how well they fit.

    margin: by how much the next best reading of the same chains fits less.
    """

    pair: _Pair
    picked: tuple[list[str], list[str]]
    fit: float
    length: float
    margin: float


def search(tree: Tree) -> Found:
    """Read the armature's joints from its shape; see :class:`Found`."""
    if not any(len(children) > 1 for parent, children in tree.children.items() if parent is not None):
        return Found(reason="its bones form a single chain")
    pairs = _pairs(tree)
    if len(pairs) < 2:
        return Found(reason="it does not have two pairs of limbs that are alike")
    legs = [limbs for pair in pairs if (limbs := _fit(tree, pair, arms=False))]
    marked = any(_marked(tree, leg) for leg in legs[:2])
    arms = [limbs for pair in pairs if (limbs := _fit(tree, pair, arms=True, marked=marked))]
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
    _add_rivals(tree, found, ranked)
    return found


def _pairs(tree: Tree) -> list[_Pair]:
    """Pairs of chains below one bone with similar length and shape, the longest first."""
    length: dict[str, float] = {}
    main: dict[str, str | None] = {}
    for name in reversed(tree.order):
        best, following = 0.0, None
        for child in tree.children.get(name, ()):
            reach = tree.distance(name, child) + length[child]
            if reach > best:
                best, following = reach, child
        length[name], main[name] = best, following
    longest = max(length.values(), default=0.0)

    def chain(name: str | None) -> list[str]:
        found = []
        while name is not None:
            found.append(name)
            name = main[name]
        return found

    pairs = []
    for node, children in tree.children.items():
        if node is None:
            continue
        reach = {c: tree.distance(node, c) + length[c] for c in children}
        worthy = sorted((c for c in children if reach[c] > 0.1 * longest and length[c] > 0), key=lambda c: -reach[c])
        for a, b in combinations(worthy[:8], 2):
            if min(reach[a], reach[b]) < _ALIKE * max(reach[a], reach[b]):
                continue
            left, right = chain(a), chain(b)
            if abs(len(left) - len(right)) > 2 or min(len(left), len(right)) < 3:
                continue
            steps = min(len(left), len(right))
            across = sum(tree.head[p] - tree.head[q] for p, q in zip(left[:steps], right[:steps], strict=True))
            size = float(np.linalg.norm(across))
            if size > 1e-3 * longest:
                pairs.append(_Pair(node, (left, right), (reach[a] + reach[b]) / 2, across / size))
    pairs.sort(key=lambda pair: -pair.length)
    limit = _SHORTEST_LIMB * pairs[0].length if pairs else 0.0
    return [pair for pair in pairs if pair.length > limit][:_MOST_PAIRS]


def _fit(tree: Tree, pair: _Pair, arms: bool, marked: bool = False) -> _Limbs | None:
    """The bones of the joints in both chains of ``pair``, read as legs (hip, knee, ankle) or arms (shoulder, elbow,
    wrist). marked: chains end in bones that only mark their ends."""
    middle = (tree.head[pair.chains[0][0]] + tree.head[pair.chains[1][0]]) / 2
    sides = [_fit_chain(tree, chain, middle, pair.axis, arms, marked) for chain in pair.chains]
    if None in sides:
        return None
    (picked_a, fit_a, length_a, margin_a), (picked_b, fit_b, length_b, margin_b) = sides
    if len(pair.chains[0]) == len(pair.chains[1]):
        # Mirror images carry their joints in the same places: the better reading holds for both
        places = [pair.chains[0].index(n) for n in picked_a] if fit_a >= fit_b else [
            pair.chains[1].index(n) for n in picked_b]  # fmt: skip
        picked_a, picked_b = ([chain[k] for k in places] for chain in pair.chains)
    if min(length_a, length_b) < _ALIKE * max(length_a, length_b):
        return None
    return _Limbs(pair, (picked_a, picked_b), (fit_a + fit_b) / 2, (length_a + length_b) / 2, min(margin_a, margin_b))


@cache
def _choices(count: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All places i < j < k of three joints on a chain of ``count`` bones, none beyond ``last``."""
    places = [(i, j, k) for i in range(min(last - 1, 5)) for j in range(i + 1, last) for k in range(j + 1, last + 1)]
    i, j, k = np.array(places).T
    return i, j, k


def _fit_chain(
    tree: Tree, chain: list[str], middle: np.ndarray, axis: np.ndarray, arms: bool, marked: bool
) -> tuple[list[str], float, float, float] | None:
    """The three joints that fit one chain best, how well, the limb's length, and the lead over another reading."""
    chain = chain[:_LONGEST_CHAIN]
    heads = np.array([tree.head[name] for name in chain])
    last = len(chain) - 1
    hand = 0
    if arms:
        # A hand branches into fingers; nothing beyond it is a joint
        hand = next((k for k, n in enumerate(chain) if k >= 2 and len(_branches(tree, n)) >= 3), 0)
        last = hand or (last - 1 if marked else last)
        if last < 2:
            return None
    i, j, k = _choices(len(chain), last)
    apart = np.linalg.norm(heads[:, None] - heads[None], axis=-1)
    along = np.concatenate([[0.0], np.cumsum(np.diagonal(apart, 1))])
    whole = max(float(along[last]), 1e-12)
    upper, lower = apart[i, j], apart[j, k]
    total = np.maximum(upper + lower, 1e-12)
    aside = np.abs((heads - middle) @ axis)
    fit = 0.5 * total / whole - 3.0 * np.abs(upper / total - 0.5) - 2.0 * (along[k] - along[i] - total) / total
    fit -= 3.0 * np.maximum(0.0, (0.15 if arms else 0.05) - aside[i] / total)
    # Of bones at one place, or nearly, the last one carries the joint
    fit += 0.001 * (i + j + k) - 0.05 * (apart[i, i + 1] < 0.1 * total)
    if hand == 3:
        # Collar bone, upper arm, forearm and hand: the most common arm of all
        fit += 0.25 * ((i == 1) & (j == 2))
    if not arms:
        # A foot follows the ankle, at an angle to the shin
        after = np.minimum(k + 1, len(chain) - 1)
        ahead, shin = heads[after] - heads[k], heads[k] - heads[j]
        cosine = (ahead * shin).sum(-1) / np.maximum(apart[k, after] * lower, 1e-12)
        fit += np.where(after > k, 0.15 + 0.4 * (1.0 - np.maximum(0.0, cosine)), 0.0)
    fit = np.where((total < 0.3 * whole) | (np.minimum(upper, lower) < 0.15 * total), -np.inf, fit)
    best = int(fit.argmax())
    if not np.isfinite(fit[best]):
        return None
    near = np.maximum(np.maximum(apart[i, i[best]], apart[j, j[best]]), apart[k, k[best]]) < 0.05 * total[best]
    second = float(np.where(near, -np.inf, fit).max())
    picked = [chain[i[best]], chain[j[best]], chain[k[best]]]
    return picked, float(fit[best]), float(total[best]), float(fit[best]) - second


def _branches(tree: Tree, name: str) -> list[str]:
    """Children that are more than marks: not at the same place as their parent."""
    return [c for c in tree.children.get(name, ()) if tree.distance(c, name) > 0.002 * tree.size]


def _score(tree: Tree, leg: _Limbs, arm: _Limbs) -> tuple[float, bool]:
    """How human the two pairs look together (0: not at all), and whether they are four legs of an animal."""
    used = {name for limbs in (leg, arm) for side in limbs.picked for name in side}
    if len(used) < 12:
        return 0.0, False
    leg_bones = {name for chain in leg.pair.chains for name in chain}
    arm_bones = {name for chain in arm.pair.chains for name in chain}
    if leg_bones & arm_bones or arm.pair.node in leg_bones or leg.pair.node in arm_bones:
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
    longest = max(leg.length, arm.length)
    score *= min(1.0, 0.5 + 0.5 * (leg.length + arm.length) / (2.0 * longest))
    return float(score), False


def _middle(tree: Tree, limbs: _Limbs, k: int) -> np.ndarray:
    return (tree.head[limbs.picked[0][k]] + tree.head[limbs.picked[1][k]]) / 2


def _head_side(tree: Tree, leg: _Limbs, arm: _Limbs, up: np.ndarray, shoulders: np.ndarray) -> float:
    """1 when something on the midline reaches beyond the shoulders, 0.5 when the chest ends there."""
    limit = 0.02 * tree.size
    chain = {name for chain in arm.pair.chains for name in chain}
    for child in tree.children.get(arm.pair.node, ()):
        if child in chain:
            continue
        offset = tree.head[child] - shoulders
        if (
            abs(float(offset @ arm.pair.axis)) < limit
            and max(float((tree.head[n] - shoulders) @ up) for n in tree.subtree(child)) > limit
        ):
            return 1.0
    return 0.5


def _assemble(tree: Tree, leg: _Limbs, arm: _Limbs) -> Found:
    hips, shoulders = _middle(tree, leg, 0), _middle(tree, arm, 0)
    trunk = float(np.linalg.norm(shoulders - hips))
    up = (shoulders - hips) / trunk
    across = leg.pair.axis - up * (leg.pair.axis @ up)
    across /= np.linalg.norm(across)
    if arm.pair.axis @ across < 0:
        arm = _Limbs(
            _Pair(arm.pair.node, arm.pair.chains[::-1], arm.pair.length, -arm.pair.axis), arm.picked[::-1],
            arm.fit, arm.length, arm.margin)  # fmt: skip
    joints: dict[str, list[str]] = {joint: [] for joint in canonical.JOINTS} | {"spine": []}
    pelvis = tree.meeting(leg.picked[0][0], leg.picked[1][0], arm.picked[0][0], arm.picked[1][0])
    top = arm.pair.node
    if pelvis is None or pelvis in (leg.picked[0][0], leg.picked[1][0]):
        return Found(reason="its legs and arms do not hang from one trunk")
    joints["pelvis"] = [pelvis]
    spine = [] if top == pelvis else [*tree.between(pelvis, top), top]
    neck, head = _neck_and_head(tree, arm, top, up, across, shoulders, trunk, _marked(tree, leg))
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
    feet = [_toe(tree, limb[2], limb[1], front) for limb in leg.picked]
    for k, side in enumerate(canonical.SIDES):
        which = 1 - k if flip else k
        for joint, name in zip(("hip", "knee", "ankle"), leg.picked[which], strict=True):
            joints[f"{side}_{joint}"] = [name]
        for joint, name in zip(("shoulder", "elbow", "wrist"), arm.picked[which], strict=True):
            joints[f"{side}_{joint}"] = [name]
        joints[f"{side}_foot"] = [feet[which]] if feet[0] and feet[1] else []
        joints[f"{side}_collar"] = tree.between(top, arm.picked[which][0])
    return Found(joints, sided=abs(forward) > _FRONT)


def _marked(tree: Tree, leg: _Limbs) -> bool:
    """Whether chains end in bones that only mark their ends: each ball of the foot carries just one bone more."""
    feet = [_toe(tree, limb[2], limb[1]) for limb in leg.picked]
    return all(foot and [len(tree.subtree(c)) for c in tree.children.get(foot, ())] == [1] for foot in feet)


def _toe(tree: Tree, ankle: str, knee: str, front: np.ndarray | None = None) -> str | None:
    """The ball of the foot: the one bone after the ankle, not as far as the tip of the toes would be.

    front: unit vector; with it a heel beside the toes does not matter.
    """
    shin = tree.distance(knee, ankle)
    foot, down = tree.head[ankle], tree.head[ankle] - tree.head[knee]
    after = [c for c in _branches(tree, ankle) if (tree.head[c] - foot) @ down > -0.1 * shin * shin]
    long = [c for c in after if tree.children.get(c)]
    after = long or after
    if front is not None and len(after) > 1:
        ahead = {c: float((tree.head[c] - foot) @ front) for c in after}
        after = [c for c in after if ahead[c] > 0.5 * max(ahead.values())]
    if len(after) != 1:
        return None
    distance = tree.distance(ankle, after[0])
    return after[0] if distance < (0.75 if long else 0.6) * shin else None


def _neck_and_head(tree, arm, top, up, across, shoulders, trunk, marked) -> tuple[list[str], list[str]]:
    """Bones of the neck and the head bone, from the chain on the midline above the chest."""
    arms = {name for chain in arm.pair.chains for name in chain}

    def height(name: str) -> float:
        return float((tree.head[name] - shoulders) @ up) / trunk

    def central(name: str) -> bool:
        """On the midline, and not one of a pair beside it (eyes)."""
        middle = aside(tree.parent[name])
        offset = aside(name) - middle
        others = (aside(c) - middle for c in tree.children[tree.parent[name]] if c != name)
        mirrored = any(abs(other + offset) < 0.4 * abs(offset) for other in others)
        return abs(aside(name)) < 0.06 and not (abs(offset) > 0.005 and mirrored)

    def aside(name: str) -> float:
        return float((tree.head[name] - shoulders) @ across) / trunk

    def climb(name: str) -> float:
        return max(height(each) for each in tree.subtree(name))

    chain: list[str] = []
    node = top
    while True:
        # Face bones in a head are many and near: the head is the last bone with one way up
        upward = [c for c in tree.children.get(node, ()) if c not in arms and central(c) and climb(c) > height(node)]
        above = [c for c in upward if height(c) > (height(node) + 0.02 if chain else -0.25)]
        if not above:
            break
        following = max(above, key=lambda c: (climb(c), -tree.place[c]))
        paired = [c for c in tree.children.get(node, ()) if c not in arms and not central(c)]
        if chain and len(paired) >= 2:
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


def _forward(tree, leg, arm, up, across, head) -> float:
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


def _add_rivals(tree: Tree, found: Found, ranked: list) -> None:
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
            if not same_rest or item[0] < _RIVAL * score or theirs & bones or other.length < 0.8 * mine.length:
                continue
            for side, chain in zip(canonical.SIDES, other.picked, strict=True):
                for role, bone in zip(roles, chain, strict=True):
                    joint = f"{side}_{role}"
                    if tree.distance(bone, found.joints[joint][0]) > 0.02 * tree.size if found.joints else True:
                        found.rivals.setdefault(joint, []).append(bone)

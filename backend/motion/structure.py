"""Which joint is which, from the skeleton alone: chains, symmetry, lengths, and how the joints move.

Names are not looked at. Two limbs are a pair when they branch off the same joint with bones of the same lengths; the
legs are the pair nearer the root, the arms hang further up, the head is the branch between the arms. Left and right
follow from where the feet point, or from which way the knees bend.
"""

from dataclasses import dataclass

import numpy as np

SAMPLES = 40  # frames that are looked at
COINCIDENT = 0.004  # of the longest chain: joints nearer than this are in the same place
LIMB_TRIES = 12  # longest branches of a joint that are compared with each other
ALIKE = 0.72  # ratio of two lengths that may be the same bone on both sides
FORWARD_SURE = 0.3  # how clearly feet or knees must point to one side


@dataclass
class _Limb:
    """joints: chain indices of thigh, shin, foot (or upper arm, forearm, hand); score in units of body size."""

    chain: list[list[int]]
    at: tuple[int, int, int]
    score: float

    def joint(self, part: int) -> int | None:
        """The joint that moves the bone after ``part``: the last of those in the same place."""
        return self.chain[part][-1] if part < len(self.chain) else None


@dataclass
class _Pair:
    """Two limbs that branch off the joint ``parent``."""

    parent: int
    limbs: tuple[_Limb, _Limb]
    score: float


class _Skeleton:
    def __init__(self, parents: list[int], positions: np.ndarray, rotations: np.ndarray, ends: frozenset[int]):
        self.ends = ends
        picked = np.unique(np.linspace(0, len(positions) - 1, SAMPLES).astype(int))
        self.parents, self.positions, rotations = parents, positions[picked], rotations[picked]
        count = len(parents)
        self.children: list[list[int]] = [[] for _ in range(count)]
        self.length = np.zeros(count)
        # a joint that never turns against its parent; with only such ones below, it marks where a bone ends
        self.still, self.marker = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        for j, parent in enumerate(parents):
            if parent >= 0:
                self.children[parent].append(j)
                self.length[j] = np.median(np.linalg.norm(self.positions[:, j] - self.positions[:, parent], axis=-1))
        for j in range(count - 1, 0, -1):
            if parents[j] >= 0:
                self.still[j] = np.abs(rotations[:, j] - rotations[:, parents[j]]).max() < 1e-4
                self.marker[j] = self.still[j] and all(self.marker[c] for c in self.children[j])
        self.reach = np.zeros(count)  # length of the longest way down from a joint
        self.down = [-1] * count  # the child on that way
        for j in range(count - 1, -1, -1):
            for child in self.children[j]:
                reach = self.length[child] + self.reach[child]
                if self.down[j] < 0 or reach > self.reach[j]:
                    self.reach[j], self.down[j] = reach, child
        self.size = max(float(self.reach.max()), 1e-12)

    def chain(self, start: int) -> list[list[int]]:
        """The longest way down from ``start``; joints in the same place are one entry, topmost first."""
        result, j = [[start]], start
        while self.down[j] >= 0:
            j = self.down[j]
            if self.length[j] < COINCIDENT * self.size:
                if not self.marker[j]:
                    result[-1].append(j)
            else:
                result.append([j])
        return result

    def ancestors(self, j: int) -> list[int]:
        """The joint itself, its parent, and so on to the root."""
        result = []
        while j >= 0:
            result.append(j)
            j = self.parents[j]
        return result

    def span(self, a: int, b: int) -> float:
        return float(np.median(np.linalg.norm(self.positions[:, a] - self.positions[:, b], axis=-1)))

    def bend(self, a: int, b: int, c: int) -> np.ndarray:
        """Angle (T,) in radians by which the way a, b, c is not straight."""
        u, v = self.positions[:, b] - self.positions[:, a], self.positions[:, c] - self.positions[:, b]
        return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))


def find(
    parents: list[int], positions: np.ndarray, rotations: np.ndarray, ends: frozenset[int] = frozenset()
) -> dict[str, int]:
    """Canonical joint name to joint index for what can be told; nothing is guessed.

    parents: index of each joint's parent, parents first, -1 for a root; positions: (T,J,3) world positions of a motion,
    any axes and unit; rotations: (T,J,3,3) world rotations; ends: joints that the file says are ends of bones. Joints
    that could not be told are absent: all of them when no two pairs of limbs were found, sides when neither feet nor
    knees say where the front is.
    """
    body = _Skeleton(list(parents), positions, rotations, ends)
    pairs = sorted(_pairs(body), key=lambda p: -p.score)
    chosen = _legs_and_arms(body, pairs[:24])
    if chosen is None:
        return {}
    legs, arms = chosen
    above = body.ancestors(arms.parent)
    parting = next(j for j in body.ancestors(legs.parent) if j in above)
    # legs and trunk part at the pelvis, unless that is a root on the ground
    near = body.span(parting, legs.parent) < 0.5 * body.span(legs.parent, arms.parent)
    pelvis = parting if near else legs.parent
    found = {"pelvis": pelvis}
    spine = above[: above.index(parting)][::-1]
    found |= name_spine(spine, body.positions.mean(0), pelvis)
    found |= _neck_and_head(body, legs, arms)
    found |= _sides(body, legs, arms, found)
    return found


def name_spine(spine: list[int], places: np.ndarray, pelvis: int) -> dict[str, int]:
    """Names for the joints (indices, from the pelvis up) between pelvis and arms: the chest last, others by distance.

    places: (J,3) joint positions of some pose.
    """
    if len(spine) <= 3:
        return {f"spine{i + 1}": j for i, j in enumerate(spine)}
    along = np.cumsum([np.linalg.norm(places[j] - places[i]) for i, j in zip([pelvis, *spine], spine, strict=False)])
    along = along / max(along[-1], 1e-12)
    # spine1 and spine2 of the canonical skeleton sit at these shares of the way to the chest
    low = int(np.argmin(np.abs(along[:-2] - 0.37)))
    middle = low + 1 + int(np.argmin(np.abs(along[low + 1 : -1] - 0.80)))
    return {"spine1": spine[low], "spine2": spine[middle], "spine3": spine[-1]}


def _pairs(body: _Skeleton) -> list[_Pair]:
    result = []
    for parent, children in enumerate(body.children):
        reach = {c: body.length[c] + body.reach[c] for c in children}
        longest = sorted((c for c in children if reach[c] > 0.1 * body.size), key=lambda c: -reach[c])[:LIMB_TRIES]
        chains = {c: body.chain(c) for c in longest} if len(longest) > 1 else {}
        for i, a in enumerate(longest):
            for b in longest[i + 1 :]:
                if min(reach[a], reach[b]) > 0.6 * max(reach[a], reach[b]):
                    limbs = _limbs(body, parent, chains[a], chains[b])
                    if limbs:
                        result.append(_Pair(parent, limbs, limbs[0].score))
    return result


def _limbs(body: _Skeleton, parent: int, a: list[list[int]], b: list[list[int]]) -> tuple[_Limb, _Limb] | None:
    """The best upper and lower bone that both chains have at the same places."""
    best = None
    for joined in (False, True):
        # in the second try joints that never bend while others do (twist bones in line) are left out
        x, y = (_without_straight(body, a), _without_straight(body, b)) if joined else (a, b)
        if joined and len(x) == len(a) and len(y) == len(b):
            continue
        for top in range(min(len(x), len(y), 6) - 2):
            one, two = _score(body, x, top), _score(body, y, top)
            spread = body.span(x[top][-1], y[top][-1])
            if min(one, two) <= 0 or spread < 0.03 * body.size:
                continue
            alike = min(_ratio(_bone(body, x, top + k), _bone(body, y, top + k)) for k in (0, 1))
            score = (one + two) / 2 * alike
            if alike > ALIKE and (best is None or score > best[0].score):
                at = (top, top + 1, top + 2)
                best = _Limb(x, at, score), _Limb(y, at, score)
    return best


def _bone(body: _Skeleton, chain: list[list[int]], i: int) -> float:
    return body.span(chain[i][-1], chain[i + 1][-1])


def _ratio(a: float, b: float) -> float:
    return min(a, b) / max(a, b, 1e-12)


def _score(body: _Skeleton, chain: list[list[int]], top: int) -> float:
    """Long upper and lower bones of the same length score best (thigh and shin, upper arm and forearm)."""
    upper, lower = _bone(body, chain, top), _bone(body, chain, top + 1)
    ratio = _ratio(upper, lower)
    return (upper + lower) / body.size * ratio**2 if ratio > 0.5 else 0.0


def _without_straight(body: _Skeleton, chain: list[list[int]]) -> list[list[int]]:
    bends = [0.0] * len(chain)
    for i in range(1, len(chain) - 1):
        bends[i] = float(body.bend(chain[i - 1][-1], chain[i][-1], chain[i + 1][-1]).max())
    if max(bends) < np.radians(12):
        return chain
    keep = [0] + [i for i in range(1, len(chain) - 1) if bends[i] > np.radians(4)] + [len(chain) - 1]
    return [chain[i] for i in keep]


def _legs_and_arms(body: _Skeleton, pairs: list[_Pair]) -> tuple[_Pair, _Pair] | None:
    """The two best pairs of limbs with the arms further up; arms that hang off the legs are fingers or toes."""
    best, best_score = None, 0.0
    for legs in pairs:
        used = {j for limb in legs.limbs for group in limb.chain for j in group}
        for arms in pairs:
            up = body.ancestors(arms.parent)
            if arms is legs or used & set(up) or used & {j for x in arms.limbs for g in x.chain for j in g}:
                continue
            common = next((j for j in up if j in body.ancestors(legs.parent)), None)
            if common is None or common == arms.parent and arms.parent != legs.parent:
                continue
            # the trunk is as long as a thigh or so; a pair of arms at the hips is none
            trunk = body.span(legs.parent, arms.parent) / body.size
            if trunk < 0.04:
                continue
            score = legs.score + arms.score + min(trunk, 0.3)
            # the head has to be beyond the arms, away from the feet
            ankles = np.mean([body.positions[:, limb.joint(limb.at[2])] for limb in legs.limbs], axis=0)
            chest, hips = body.positions[:, arms.parent], body.positions[:, legs.parent]
            if np.median(((chest - hips) * (hips - ankles)).sum(-1)) <= 0:
                continue
            if score > best_score:
                best, best_score = (legs, arms), score
    return best


def _neck_and_head(body: _Skeleton, legs: _Pair, arms: _Pair) -> dict[str, int]:
    axis = body.positions[:, arms.parent] - body.positions[:, legs.parent]
    axis /= np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-12)
    limbs = {limb.chain[0][0] for limb in arms.limbs}
    best, best_up = -1, 0.02 * body.size
    for child in body.children[arms.parent]:
        if child in limbs:
            continue
        # how far the branch goes on in the direction of the trunk
        tip = body.chain(child)[-1][-1]
        up = float(np.median(((body.positions[:, tip] - body.positions[:, arms.parent]) * axis).sum(-1)))
        up = max(up, float(np.median(((body.positions[:, child] - body.positions[:, arms.parent]) * axis).sum(-1))))
        if up > best_up:
            best, best_up = child, up
    if best < 0:
        return {}
    way = [[best]]  # joints in the same place are one entry
    while True:
        forks = [c for c in body.children[way[-1][-1]] if c not in body.ends]
        near = len(forks) == 1 and body.length[forks[0]] < COINCIDENT * body.size
        # the head is where the face branches off
        if len(forks) != 1 or (near and len(body.children[forks[0]]) > 1):
            break
        if near:
            way[-1].append(forks[0])
        else:
            way.append(forks)
    # a joint at the chest that never turns is no neck, and neither are those after the head joints
    if len(way) > 2 and body.length[best] < COINCIDENT * body.size and all(body.still[j] for j in way[0]):
        way.pop(0)
    while len(way) > 2 and body.marker[way[-1][0]]:
        way.pop()
    return {"neck": way[0][-1], "head": way[-1][0]} if len(way) > 1 else {"head": way[0][0]}


def _sides(body: _Skeleton, legs: _Pair, arms: _Pair, found: dict[str, int]) -> dict[str, int]:
    """Limb joints with their sides, or nothing when the front cannot be told."""
    place = body.positions
    a, b = legs.limbs
    up = place[:, arms.parent] - place[:, legs.parent]
    lateral = place[:, a.joint(a.at[0])] - place[:, b.joint(b.at[0])]
    front = np.zeros_like(up)
    for limb in legs.limbs:
        hip, knee, ankle = (limb.joint(part) for part in limb.at)
        toe = limb.joint(limb.at[2] + 1)
        # toes point to the front, and so do bent knees
        front += 2 * (place[:, knee] - (place[:, hip] + place[:, ankle]) / 2)
        if toe is not None:
            front += place[:, toe] - place[:, ankle]
    scale = np.linalg.norm(lateral, axis=-1) * np.linalg.norm(up, axis=-1) * body.size * 0.1
    sure = np.mean((lateral * np.cross(up, front)).sum(-1) / np.maximum(scale, 1e-12))
    if abs(sure) < FORWARD_SURE:
        return {}
    result: dict[str, int] = {}
    left, right = (a, b) if sure > 0 else (b, a)
    one, two = arms.limbs
    across = place[:, left.joint(left.at[0])] - place[:, right.joint(right.at[0])]
    apart = place[:, one.joint(one.at[0])] - place[:, two.joint(two.at[0])]
    left_arm, right_arm = (one, two) if np.median((across * apart).sum(-1)) > 0 else (two, one)
    for side, leg, arm in (("left", left, left_arm), ("right", right, right_arm)):
        for joint, part in zip(("hip", "knee", "ankle"), leg.at, strict=True):
            result[f"{side}_{joint}"] = leg.joint(part)
        toe = leg.joint(leg.at[2] + 1)
        if toe is not None:
            result[f"{side}_foot"] = toe
        for joint, part in zip(("shoulder", "elbow", "wrist"), arm.at, strict=True):
            result[f"{side}_{joint}"] = arm.joint(part)
        before = [j for j in body.ancestors(result[f"{side}_shoulder"])[1:] if j != arms.parent]
        before = before[: len(body.ancestors(result[f"{side}_shoulder"])) - len(body.ancestors(arms.parent)) - 1]
        # the collar is the nearest joint above that is not in the same place
        apart = [j for j in before if body.span(j, result[f"{side}_shoulder"]) > COINCIDENT * body.size]
        if apart:
            result[f"{side}_collar"] = apart[0]
    return result

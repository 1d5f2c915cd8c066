"""Pairs of similar chains in an armature, and where the joints of a leg or an arm lie on them.

Lengths, bends and distances from the midline decide; names play no part. See ``structure``.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from .tree import Tree

# Chains of a pair differ by no more than this in length (shorter to longer)
ALIKE = 0.75
# Chains shorter than this share of the longest pair are no limbs
_SHORTEST_LIMB = 0.3
_MOST_PAIRS = 24
# Bones of a chain that are looked at; limbs with more are unheard of
_LONGEST_CHAIN = 16


@dataclass
class Pair:
    """Two chains that hang from ``node`` like mirror images; chains[0][k] answers to chains[1][k]."""

    node: str
    chains: tuple[list[str], list[str]]
    length: float
    axis: np.ndarray


@dataclass
class Limbs:
    """One pair of chains read as legs or arms: bones of its joints, side 0 and side 1, and how well they fit.

    margin: by how much the next best reading of the same chains fits less.
    """

    pair: Pair
    picked: tuple[list[str], list[str]]
    fit: float
    length: float
    margin: float


def find_pairs(tree: Tree) -> list[Pair]:
    """Pairs of chains below one bone with similar length and shape, the longest first."""
    length: dict[str, float] = {}
    main: dict[str, str | None] = {}
    for name in reversed(tree.order):
        best, following = 0.0, None
        for child in tree.children.get(name, ()):
            reach = tree.span[child] + length[child]
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
        reach = {c: tree.span[c] + length[c] for c in children}
        worthy = sorted((c for c in children if reach[c] > 0.1 * longest and length[c] > 0), key=lambda c: -reach[c])
        for a, b in combinations(worthy[:8], 2):
            if min(reach[a], reach[b]) < ALIKE * max(reach[a], reach[b]):
                continue
            left, right = chain(a), chain(b)
            if abs(len(left) - len(right)) > 2 or min(len(left), len(right)) < 3:
                continue
            steps = min(len(left), len(right))
            across = sum(tree.head[p] - tree.head[q] for p, q in zip(left[:steps], right[:steps], strict=True))
            size = float(np.linalg.norm(across))
            if size > 1e-3 * longest:
                pairs.append(Pair(node, (left, right), (reach[a] + reach[b]) / 2, across / size))
    pairs.sort(key=lambda pair: -pair.length)
    limit = _SHORTEST_LIMB * pairs[0].length if pairs else 0.0
    return [pair for pair in pairs if pair.length > limit][:_MOST_PAIRS]


def fit(tree: Tree, pair: Pair, arms: bool, marked: bool = False) -> Limbs | None:
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
    if min(length_a, length_b) < ALIKE * max(length_a, length_b):
        return None
    return Limbs(pair, (picked_a, picked_b), (fit_a + fit_b) / 2, (length_a + length_b) / 2, min(margin_a, margin_b))


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
        hand = next((k for k, n in enumerate(chain) if k >= 2 and len(branches(tree, n)) >= 3), 0)
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


def branches(tree: Tree, name: str) -> list[str]:
    """Children that are more than marks: not at the same place as their parent."""
    return [c for c in tree.children.get(name, ()) if tree.span[c] > 0.002 * tree.size]


def marked_ends(tree: Tree, leg: Limbs) -> bool:
    """Whether chains end in bones that only mark their ends: each ball of the foot carries just one bone more."""
    feet = [toe(tree, limb[2], limb[1]) for limb in leg.picked]
    return all(foot and [len(tree.subtree(c)) for c in tree.children.get(foot, ())] == [1] for foot in feet)


def toe(tree: Tree, ankle: str, knee: str, front: np.ndarray | None = None) -> str | None:
    """The ball of the foot: the one bone after the ankle, not as far as the tip of the toes would be.

    front: unit vector; with it a heel beside the toes does not matter.
    """
    shin = tree.distance(knee, ankle)
    foot, down = tree.head[ankle], tree.head[ankle] - tree.head[knee]
    after = [c for c in branches(tree, ankle) if (tree.head[c] - foot) @ down > -0.1 * shin * shin]
    long = [c for c in after if tree.children.get(c)]
    after = long or after
    if front is not None and len(after) > 1:
        ahead = {c: float((tree.head[c] - foot) @ front) for c in after}
        after = [c for c in after if ahead[c] > 0.5 * max(ahead.values())]
    if len(after) != 1:
        return None
    distance = tree.distance(ankle, after[0])
    return after[0] if distance < (0.75 if long else 0.6) * shin else None

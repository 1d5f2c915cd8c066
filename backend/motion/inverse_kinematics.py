"""From joint positions alone to rotations, for files that hold nothing else.

What positions tell exactly: the direction of every bone, and the whole orientation of pelvis and chest, which carry
three bones each. Twist about a bone is told by the next joint: the elbow's plane turns the upper arm, the knee's plane
(and the foot, when the leg is straight) turns the thigh. Limits: the twist of forearms, shins and of the neck, and the
rotations of hands, toes and of the head against the neck, leave no trace in the positions; they are zero here (the
head: half the neck's tilt). Where a limb is straight its twist is carried over from the frames around, or is that of
the smallest rotation.

Measured on captures whose elbows and knees are hinges, mean error against their own rotations: trunk 0.1 to 3 degrees,
thighs and shins 1 to 3, upper arms 2 to 8; toes 6 to 24, head 17 to 28, hands 16 to 46. Positions come back exactly.
"""

import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from backend.motion.skeleton import JOINT_INDEX
from backend.protocol import PARENTS

# Twist, in units of sin^2 of the bend: elbows and knees below STRAIGHT (a sine) tell nothing, above SURE all
STRAIGHT, SURE = 0.2, 0.5
FOOT = 0.02  # weight of a foot at right angles to a straight leg
PRIOR = 0.005  # weight of no twist; these values were the best of a dozen on six sets of capture
SMOOTH_SECONDS = 0.3  # from how far away the twist of a straight limb is taken
TINY = 1e-9
FITS = 5  # rounds in which the shape of pelvis and chest is found; it stands still after two or three


def world_rotations(joints: np.ndarray, rest_offsets: np.ndarray, fps: float) -> np.ndarray:
    """World rotations (T,22,3,3) that pose a skeleton like joint positions (T,22,3), any unit, Y up.

    rest_offsets: (22,3) the skeleton's offsets in its T-pose, Y up, facing +Z; only their directions count. With them
    as bones, forward kinematics gives every bone the direction that it has in ``joints``; the three bones at pelvis
    and chest as nearly as a rigid body allows.
    """
    at = JOINT_INDEX
    joints, rest = np.asarray(joints, dtype=np.float64), np.asarray(rest_offsets, dtype=np.float64)
    world = np.empty((len(joints), 22, 3, 3))
    bone = {j: _unit(joints[:, j] - joints[:, p]) for j, p in enumerate(PARENTS) if p >= 0}
    rest_bone = {j: _unit(rest[j]) for j in range(1, 22)}

    def rigid(*children: str) -> np.ndarray:
        indices = [at[c] for c in children]
        return _fit(
            np.stack([rest[i] for i in indices]), np.stack([joints[:, i] - joints[:, PARENTS[i]] for i in indices], 1)
        )

    world[:, 0] = rigid("left_hip", "right_hip", "spine1")
    world[:, at["spine3"]] = rigid("neck", "left_collar", "right_collar")
    # the trunk's twist is shared along the spine, then each joint is tilted onto its bone
    turn = Rotation.from_matrix(np.swapaxes(world[:, 0], -1, -2) @ world[:, at["spine3"]]).as_rotvec()
    for name, child, share in (("spine1", "spine2", 1 / 3), ("spine2", "spine3", 2 / 3)):
        guess = world[:, 0] @ Rotation.from_rotvec(turn * share).as_matrix()
        world[:, at[name]] = _aim(guess, rest_bone[at[child]], bone[at[child]])
    for name, child in (("neck", "head"), ("left_collar", "left_shoulder"), ("right_collar", "right_shoulder")):
        world[:, at[name]] = _aim(world[:, at["spine3"]], rest_bone[at[child]], bone[at[child]])
    # nothing tells how the head sits on the neck; half of the neck's tilt is nearest to real capture
    tilt = Rotation.from_matrix(np.swapaxes(world[:, at["spine3"]], -1, -2) @ world[:, at["neck"]]).as_rotvec()
    world[:, at["head"]] = world[:, at["spine3"]] @ Rotation.from_rotvec(tilt / 2).as_matrix()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        shoulder, elbow, wrist = (at[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist"))
        # forearms bend forward: about -Y on the left, +Y on the right
        hinge = np.array([0.0, -sign, 0.0])
        world[:, shoulder] = _limb(world[:, PARENTS[shoulder]], rest_bone[elbow], hinge, bone[elbow], bone[wrist], fps)
        world[:, elbow] = _aim(world[:, shoulder], rest_bone[wrist], bone[wrist])
        world[:, wrist] = world[:, elbow]
        hip, knee, ankle, foot = (at[f"{side}_{part}"] for part in ("hip", "knee", "ankle", "foot"))
        # shins bend backward: about +X on both sides
        hinge = np.array([1.0, 0.0, 0.0])
        world[:, hip] = _limb(
            world[:, 0], rest_bone[knee], hinge, bone[knee], bone[ankle], fps, rest_bone[foot], bone[foot]
        )
        world[:, knee] = _aim(world[:, hip], rest_bone[ankle], bone[ankle])
        world[:, ankle] = _aim(world[:, knee], rest_bone[foot], bone[foot])
        world[:, foot] = world[:, ankle]
    return world


def own_offsets(joints: np.ndarray, rest_offsets: np.ndarray) -> np.ndarray:
    """The rest offsets (22,3) of the skeleton that joint positions (T,22,3) belong to, in their unit.

    Lengths are those seen (their medians). Directions are those of ``rest_offsets`` (22,3), but at pelvis and chest the
    three bones stand to each other as they are seen to: bodies differ there, and only with their own shape can a rigid
    pelvis and chest meet all joints.
    """
    seen = np.stack([joints[:, j] - joints[:, max(p, 0)] for j, p in enumerate(PARENTS)], 1).astype(np.float64)
    own = _unit(np.asarray(rest_offsets, dtype=np.float64)) * np.median(np.linalg.norm(seen, axis=-1), 0)[:, None]
    own[0] = 0.0
    for children in (["left_hip", "right_hip", "spine1"], ["neck", "left_collar", "right_collar"]):
        bones = [JOINT_INDEX[child] for child in children]
        for _ in range(FITS):
            turn = _fit(own[bones], seen[:, bones])
            own[bones] = np.einsum("tji,tnj->tni", turn, seen[:, bones]).mean(0)
    return own


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), TINY)


def _fit(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The rotations (T,3,3) that turn rest vectors (n,3) nearest to the seen ones (T,n,3): Kabsch (1976)."""
    u, _, v = np.linalg.svd(np.einsum("tni,nj->tij", _unit(seen), _unit(rest)))
    flip = np.linalg.det(u @ v)
    u[..., :, 2] *= flip[:, None]
    return u @ v


def _swing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotations (T,3,3) that turn unit vectors a (T,3) onto b (T,3)."""
    axis, cosine = np.cross(a, b), (a * b).sum(-1)
    # opposite: any perpendicular axis does
    other = np.cross(a, np.where(np.abs(a[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    axis = np.where((cosine < -1 + 1e-9)[:, None], other, axis)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), cosine)
    return Rotation.from_rotvec(_unit(axis) * angle[:, None]).as_matrix()


def _aim(guess: np.ndarray, rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rotations (T,3,3) tilted by the least that makes the rest direction (3,) point in the seen one (T,3)."""
    return _swing(guess @ rest, seen) @ guess


def _limb(
    parent: np.ndarray,
    rest_bone: np.ndarray,
    hinge: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    fps: float,
    rest_foot: np.ndarray | None = None,
    foot: np.ndarray | None = None,
) -> np.ndarray:
    """World rotations (T,3,3) of an upper arm or thigh: its bone's direction and the plane of the joint below.

    hinge: axis (3,) about which the lower bone bends in the T-pose; the foot's direction counts where the leg is
    straight. The twist is a unit complex number a frame, smoothed where it is not sure.
    """
    hinge = _unit(hinge - rest_bone * (hinge @ rest_bone))
    base = _aim(parent, rest_bone, upper)
    x = base @ hinge  # where the hinge is without twist
    y = np.cross(upper, x)
    axis = np.cross(upper, lower)
    seen = (axis * x).sum(-1) + 1j * (axis * y).sum(-1)
    size = np.abs(seen)
    weight = size**2 * np.clip((size - STRAIGHT) / (SURE - STRAIGHT), 0, 1)
    total = weight * seen / np.maximum(size, TINY)
    if foot is not None:
        rest_side, side = np.cross(rest_foot, rest_bone), np.cross(foot, lower)
        told = (side * x).sum(-1) + 1j * (side * y).sum(-1)
        angle = np.arctan2(*(np.array([np.cross(rest_bone, hinge), hinge]) @ _unit(rest_side)))
        size = np.abs(told)
        # a foot that points along the shin says nothing
        extra = FOOT * np.clip(1 - np.linalg.norm(axis, axis=-1) / SURE, 0, 1) * size**2
        total = total + extra * told / np.maximum(size, TINY) * np.exp(-1j * angle)
        weight = weight + extra
    twist = _smooth(total + PRIOR, weight + PRIOR, fps)
    return Rotation.from_rotvec(upper * np.angle(twist)[:, None]).as_matrix() @ base


def _smooth(total: np.ndarray, weight: np.ndarray, fps: float) -> np.ndarray:
    """z (T,) complex that minimises sum weight |z - total / weight|^2 + stiffness sum |z[t+1] - z[t]|^2."""
    if len(total) < 2:
        return total / weight
    stiffness = PRIOR * (SMOOTH_SECONDS * fps) ** 2
    diagonal = weight + stiffness * 2
    diagonal[[0, -1]] -= stiffness
    bands = np.stack([np.concatenate([[0.0], np.full(len(total) - 1, -stiffness)]), diagonal])
    return solveh_banded(bands, np.stack([total.real, total.imag], -1)) @ np.array([1, 1j])

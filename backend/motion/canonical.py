"""From any capture skeleton to the canonical one, twist kept.

A reader gives a :class:`SourceMotion`. The canonical rotation of a joint is the capture's world rotation (as a change
from the capture's rest pose) times a constant that poses the canonical T-pose like that rest pose. Rotations are never
rebuilt from positions.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import rotations as rot
from backend.motion.contacts import REST_HEIGHTS, foot_contacts
from backend.motion.skeleton import CANONICAL_OFFSETS, CONTACT_JOINTS, JOINT_INDEX, Motion, forward_kinematics
from backend.protocol import FPS, JOINTS, PARENTS

MAX_FRAMES = 200_000
MAX_JOINTS = 1_000
# joints without which there is no body to carry over; the others may be absent and then follow their parent
REQUIRED = (
    "pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
)  # fmt: skip


@dataclass
class SourceMotion:
    """A capture on its own skeleton, in the file's axes and unit.

    names: joint names, parents before children; parents: index of each parent, -1 for the root.
    offsets: (J,3) offset from the parent joint in the rest pose, world axes.
    rotations: (T,J,3,3) world rotation of each joint as a change from the rest pose.
    positions: (T,J,3) world joint positions.
    fps: frames per second; source: file name for messages.
    """

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    rotations: np.ndarray
    positions: np.ndarray
    fps: float
    source: str = ""


@dataclass(frozen=True)
class Family:
    """How one kind of skeleton names the canonical joints; ``rest``: world rotations of its T-pose, if its own rest
    pose (all rotations zero) is not a standing person."""

    name: str
    joints: dict[str, str]
    rest: dict[str, tuple[float, ...]] = field(default_factory=dict)
    metric: bool = True


@cache
def families() -> tuple[Family, ...]:
    """The known skeletons, from ``formats/skeletons.json``."""
    table = json.loads((Path(__file__).parent / "formats" / "skeletons.json").read_text(encoding="utf-8"))
    result = []
    for entry in table["families"]:
        joints = {}
        for canonical, name in entry["joints"].items():
            if canonical.startswith("*_"):
                for side in ("left", "right"):
                    joints[canonical.replace("*", side)] = _sided(name, side)
            else:
                joints[canonical] = name
        rest = {}
        for name, quaternion in entry.get("rest", {}).items():
            rest[name] = tuple(quaternion)
        result.append(Family(entry["name"], joints, rest, entry.get("metric", True)))
    return tuple(result)


def _sided(name: str, side: str) -> str:
    initial = side[0]
    for token, value in (("{side}", side), ("{Side}", side.title()), ("{s}", initial), ("{S}", initial.upper())):
        name = name.replace(token, value)
    return name


def match(source: SourceMotion) -> Family:
    """The family whose required joints are all there (the fullest match wins), or BackendError('bad_file')."""
    have = set(source.names)
    best, best_found, closest = None, -1, None
    for family in families():
        missing = [f"{j} ({family.joints.get(j, '-')})" for j in REQUIRED if family.joints.get(j) not in have]
        found = sum(name in have for name in family.joints.values())
        if not missing and found > best_found:
            best, best_found = family, found
        if closest is None or len(missing) < len(closest[1]):
            closest = (family, missing)
    if best is None:
        if len(closest[1]) > len(REQUIRED) // 2:
            text = f"{source.source}: the skeleton is not one this program knows (joints such as {source.names[:4]})."
        else:
            text = f"{source.source}: joints are missing for a {closest[0].name} skeleton: {', '.join(closest[1])}."
        raise BackendError("bad_file", text, "Rename the joints to a known naming, for example Mixamo's.")
    return best


def to_canonical(source: SourceMotion, fps: float = FPS, floor: bool = True) -> Motion:
    """The capture on the canonical skeleton: metres, Y up, feet on the floor, ``fps`` frames per second.

    The translation is scaled by the ratio of leg lengths (thigh + shin), so files need no unit. Raises
    BackendError('bad_file') when joints are missing or the rest pose is not a standing person.
    """
    frames = len(source.rotations)
    if not 1 <= frames <= MAX_FRAMES:
        raise BackendError("bad_file", f"{source.source}: {frames} frames; between 1 and {MAX_FRAMES} can be read.")
    if len(source.names) > MAX_JOINTS:
        raise BackendError("bad_file", f"{source.source}: {len(source.names)} joints; at most {MAX_JOINTS}.")
    if not (np.isfinite(source.rotations).all() and np.isfinite(source.positions).all()):
        raise BackendError("bad_file", f"{source.source}: the motion holds numbers that are not finite.")
    family = match(source)
    index = {name: i for i, name in enumerate(source.names)}
    mapped = {joint: index[name] for joint, name in family.joints.items() if name in index}
    world, rest = _rest_pose(source, family)
    axes = _body_axes(rest, mapped, source.source)
    rest = rest @ axes.T
    world = axes @ world[:, [mapped[j] for j in JOINTS if j in mapped]] @ axes.T
    world = dict(zip([j for j in JOINTS if j in mapped], np.moveaxis(world, 1, 0), strict=True))
    pose = _rest_correction(rest, mapped)

    canonical = np.empty((frames, 22, 3, 3))
    local = np.empty_like(canonical)
    for j, (joint, parent) in enumerate(zip(JOINTS, PARENTS, strict=True)):
        canonical[:, j] = world[joint] @ pose[joint] if joint in mapped else canonical[:, parent]
        local[:, j] = canonical[:, j] if parent < 0 else np.swapaxes(canonical[:, parent], -1, -2) @ canonical[:, j]
    quaternions = rot.continuous(rot.matrix_to_quaternion(local))

    # hang the canonical pelvis from the middle of the capture's hip joints, so that the legs start in the same place
    scale = _leg_length(CANONICAL_OFFSETS, JOINT_INDEX, None) / _leg_length(None, mapped, rest)
    hips = source.positions[:, [mapped["left_hip"], mapped["right_hip"]]].mean(1) @ axes.T * scale
    between = CANONICAL_OFFSETS[[JOINT_INDEX["left_hip"], JOINT_INDEX["right_hip"]]].mean(0)
    translation = hips - canonical[:, 0] @ between
    if abs(source.fps - fps) > 1e-3:
        quaternions = rot.resample_quaternions(quaternions, source.fps, fps)
        translation = rot.resample_vectors(translation, source.fps, fps)
    motion = Motion(quaternions, translation, fps=float(fps))
    if floor:
        put_on_floor(motion)
    motion.contacts = foot_contacts(motion.joints(), motion.fps)
    return motion


def floor_height(joints: np.ndarray) -> float:
    """Height of the ground under joints (T,22,3): a low percentile of what the feet would stand on."""
    lowest = (joints[:, list(CONTACT_JOINTS), 1] - REST_HEIGHTS).min(1)
    return float(np.percentile(lowest, 3))


def put_on_floor(motion: Motion) -> None:
    """Move the motion up or down, in place, so that its feet stand on y = 0."""
    joints = forward_kinematics(motion.rotations, motion.translation, motion.rest_offsets)
    motion.translation[:, 1] -= floor_height(joints)


def _rest_pose(source: SourceMotion, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """World rotations relative to the family's T-pose (T,J,3,3), and joint positions of that pose (J,3)."""
    count = len(source.names)
    bind = np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    if family.rest:
        for i, name in enumerate(source.names):
            if name in family.rest:
                bind[i] = rot.quaternion_to_matrix(np.asarray(family.rest[name]))
            elif source.parents[i] >= 0:
                bind[i] = bind[source.parents[i]]
    positions = np.zeros((count, 3))
    for i, parent in enumerate(source.parents):
        if parent >= 0:
            positions[i] = positions[parent] + bind[parent] @ source.offsets[i]
    world = source.rotations @ np.swapaxes(bind, -1, -2) if family.rest else source.rotations
    return world, positions


def _body_axes(rest: np.ndarray, mapped: dict[str, int], name: str) -> np.ndarray:
    """Rotation (3,3) from the file's axes to left = +X, up = +Y, forward = +Z, read off the rest pose."""
    hips = rest[[mapped["left_hip"], mapped["right_hip"]]].mean(0)
    ankles = rest[[mapped["left_ankle"], mapped["right_ankle"]]].mean(0)
    knees = rest[[mapped["left_knee"], mapped["right_knee"]]].mean(0)
    up = rest[mapped["head"]] - ankles
    left = rest[mapped["left_hip"]] - rest[mapped["right_hip"]]
    length = np.linalg.norm(up)
    if length < 1e-9 or np.linalg.norm(left) < 1e-9:
        raise BackendError("bad_file", f"{name}: the rest pose has no size, so left and up cannot be told.")
    up = up / length
    standing = (hips - knees) @ up > 0.1 * length and (knees - ankles) @ up > 0.1 * length
    if not standing or (rest[mapped["head"]] - hips) @ up < 0.15 * length:
        raise BackendError("bad_file", f"{name}: the skeleton's rest pose is not a standing person.")
    # captures are level: snap to the file's axes where the rest pose nearly follows them
    up = _snap(up)
    left = left - up * (left @ up)
    left = _snap(left / np.linalg.norm(left))
    left = left - up * (left @ up)
    left /= np.linalg.norm(left)
    return np.stack([left, up, np.cross(left, up)])


def _snap(v: np.ndarray) -> np.ndarray:
    axis = int(np.argmax(np.abs(v)))
    if abs(v[axis]) > np.cos(np.radians(20)):
        return np.eye(3)[axis] * np.sign(v[axis])
    return v


def _rest_correction(rest: np.ndarray, mapped: dict[str, int]) -> dict[str, np.ndarray]:
    """For each joint the rotation (3,3) that poses the canonical T-pose like the capture's rest pose.

    Only limbs are turned, by the smallest rotation of the bone; trunk, neck, head and collars mean the same neutral
    pose in both. Feet follow the shin and keep their own pitch (only yaw is matched), so a flat foot stays flat; hands
    follow the forearm.
    """
    pose = {joint: np.eye(3) for joint in JOINTS}
    for side in ("left", "right"):
        for chain in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            joint, child = (f"{side}_{part}" for part in chain)
            if joint in mapped and child in mapped:
                bone = rest[mapped[child]] - rest[mapped[joint]]
                if np.linalg.norm(bone) > 1e-6:
                    pose[joint] = rot.minimal_rotation(CANONICAL_OFFSETS[JOINT_INDEX[child]].astype(float), bone)
            elif joint in mapped:
                pose[joint] = pose[JOINTS[PARENTS[JOINT_INDEX[joint]]]]
        pose[f"{side}_ankle"] = pose[f"{side}_knee"]
        if f"{side}_foot" in mapped:
            foot = rest[mapped[f"{side}_foot"]] - rest[mapped[f"{side}_ankle"]]
            foot = pose[f"{side}_knee"].T @ foot
            if np.hypot(foot[0], foot[2]) > 1e-6:
                pose[f"{side}_ankle"] = pose[f"{side}_knee"] @ rot.yaw_matrix(np.arctan2(foot[0], foot[2]))
        pose[f"{side}_foot"] = pose[f"{side}_ankle"]
        pose[f"{side}_wrist"] = pose[f"{side}_elbow"]
    return pose


def _leg_length(offsets: np.ndarray | None, index: dict[str, int], rest: np.ndarray | None) -> float:
    total = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (index[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        if rest is None:
            total += np.linalg.norm(offsets[knee]) + np.linalg.norm(offsets[ankle])
        else:
            total += np.linalg.norm(rest[knee] - rest[hip]) + np.linalg.norm(rest[ankle] - rest[knee])
    return float(total / 2)

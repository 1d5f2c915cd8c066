"""The pose from which a capture's rotations are counted, and what turns it into the canonical T-pose.

A known skeleton's T-pose, or the file's zero pose, when a person stands in it. When none does (all bones along one
axis, as some exporters leave them), each joint's constant is the mean over the clip of what inverse kinematics says.
"""

from dataclasses import dataclass

import numpy as np

from backend.errors import BackendError
from backend.motion import inverse_kinematics
from backend.motion import rotations as rot
from backend.motion.joint_matching import Family, SourceMotion
from backend.motion.skeleton import CANONICAL_OFFSETS, JOINT_INDEX
from backend.protocol import JOINTS, PARENTS

POSES_TRIED = 500  # frames among which a standing one is looked for
ELBOW_BEND = 0.35  # sine of the angle from which an elbow shows its axis
HINGE = 0.985  # how much the axes of an elbow must agree for a hinge (1: fully)


@dataclass
class Rest:
    """What :func:`find` knows.

    axes: rotation (3,3) from the file's axes to those of the canonical world, Y up.
    rest_axes: the same for the rest pose, so that its left is +X, its up +Y and its front +Z.
    bind: (J,3,3) world rotations of the rest pose, file axes.
    correction: per canonical joint the rotation (3,3) that poses the canonical T-pose like it.
    """

    axes: np.ndarray
    rest_axes: np.ndarray
    bind: np.ndarray
    correction: dict[str, np.ndarray]


def find(source: SourceMotion, family: Family, mapped: dict[str, int], up: str | None = None) -> Rest:
    """The rest of a capture whose joints are ``mapped`` (canonical name to index).

    up: the axis of the file that points up; unless told, the way the person stands. Raises BackendError('bad_file')
    when nobody stands in the file.
    """
    told = None if up is None else _axis(up)
    same = np.broadcast_to(np.eye(3), (len(source.names), 3, 3))
    for bind in ([_listed(source, family)] if family.rest else []) + [same]:
        rest = _places(source, bind)
        if stands(rest, mapped):
            axes = _body_axes(rest, mapped)
            poses = correction(rest @ axes.T, mapped)
            level = axes if told is None else rot.minimal_rotation(axes @ told, np.array([0.0, 1.0, 0.0])) @ axes
            _level_elbows(poses, source, bind, axes, mapped)
            return Rest(level, axes, bind, poses)
    return _from_clip(source, mapped, same, told)


def stands(rest: np.ndarray, mapped: dict[str, int]) -> bool:
    """Whether joint positions (J,3) are a person who stands: each leg straight down, the head above the hips."""
    hips = rest[[mapped["left_hip"], mapped["right_hip"]]]
    knees = rest[[mapped["left_knee"], mapped["right_knee"]]]
    ankles = rest[[mapped["left_ankle"], mapped["right_ankle"]]]
    up = rest[mapped["head"]] - ankles.mean(0)
    length = np.linalg.norm(up)
    if length < 1e-9 or np.linalg.norm(hips[0] - hips[1]) < 1e-3 * length:
        return False
    up = up / length
    legs = ((hips - knees) @ up > 0.1 * length).all() and ((knees - ankles) @ up > 0.1 * length).all()
    return bool(legs and (rest[mapped["head"]] - hips.mean(0)) @ up > 0.15 * length)


def leg_length(places: np.ndarray, index: dict[str, int]) -> float:
    """Mean length of thigh + shin in joint positions (J,3)."""
    total = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (places[index[f"{side}_{part}"]] for part in ("hip", "knee", "ankle"))
        total += np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee)
    return float(total / 2)


def _listed(source: SourceMotion, family: Family) -> np.ndarray:
    bind = np.broadcast_to(np.eye(3), (len(source.names), 3, 3)).copy()
    for i, name in enumerate(source.names):
        if name in family.rest:
            bind[i] = rot.quaternion_to_matrix(np.asarray(family.rest[name]))
        elif source.parents[i] >= 0:
            bind[i] = bind[source.parents[i]]
    return bind


def _places(source: SourceMotion, bind: np.ndarray) -> np.ndarray:
    places = np.zeros((len(source.names), 3))
    for i, parent in enumerate(source.parents):
        if parent >= 0:
            places[i] = places[parent] + bind[parent] @ source.offsets[i]
    return places


def _axis(name: str) -> np.ndarray:
    letter = name[-1:].upper()
    if letter not in tuple("XYZ") or name[:-1] not in ("", "+", "-"):
        raise BackendError("bad_request", f"{name!r} is no axis; the one that points up can be X, Y, Z, -X, -Y or -Z.")
    return np.eye(3)["XYZ".index(letter)] * (-1.0 if name[0] == "-" else 1.0)


def _body_axes(rest: np.ndarray, mapped: dict[str, int]) -> np.ndarray:
    """Rotation (3,3) from the file's axes to left = +X, up = +Y, forward = +Z, read off a standing rest pose."""
    up = rest[mapped["head"]] - rest[[mapped["left_ankle"], mapped["right_ankle"]]].mean(0)
    left = rest[mapped["left_hip"]] - rest[mapped["right_hip"]]
    # captures are level: snap to the file's axes where the rest pose nearly follows them
    up = _snap(up / np.linalg.norm(up))
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


def correction(rest: np.ndarray, mapped: dict[str, int]) -> dict[str, np.ndarray]:
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


def _level_elbows(
    correction: dict[str, np.ndarray], source: SourceMotion, bind: np.ndarray, axes: np.ndarray, mapped: dict[str, int]
) -> None:
    """Turn arms about their length so that in the T-pose elbows bend forward, as they do on characters; in place.

    Skeletons disagree by up to 45 degrees (CMU's elbows bend forward and 30 degrees up): the same gesture would have
    another twist in each. Only elbows that are hinges are measured. Hands stay as they are.
    """
    for side, sign in (("left", 1.0), ("right", -1.0)):
        if f"{side}_wrist" not in mapped:
            continue
        shoulder, elbow, wrist = (mapped[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist"))
        upper = source.positions[:, elbow] - source.positions[:, shoulder]
        lower = source.positions[:, wrist] - source.positions[:, elbow]
        size = np.linalg.norm(upper, axis=-1) * np.linalg.norm(lower, axis=-1)
        axis = np.cross(upper, lower) / np.maximum(size, 1e-12)[:, None]
        length = np.linalg.norm(axis, axis=-1)
        bent = length > ELBOW_BEND
        if bent.sum() < 10:
            continue
        # the axis in the frame of the canonical upper arm
        world = axes @ (source.rotations[bent, shoulder] @ bind[shoulder].T) @ axes.T @ correction[f"{side}_shoulder"]
        axis = (np.swapaxes(world, -1, -2) @ (axis[bent] @ axes.T / length[bent, None])[..., None])[..., 0].mean(0)
        if np.linalg.norm(axis) > HINGE:
            roll = np.arctan2(-sign * axis[2], -sign * axis[1])
            turn = rot.euler_to_matrix(np.degrees([roll]), "X")
            for joint in (f"{side}_shoulder", f"{side}_elbow"):
                correction[joint] = correction[joint] @ turn


def _from_clip(source: SourceMotion, mapped: dict[str, int], bind: np.ndarray, told: np.ndarray | None) -> Rest:
    picked = np.unique(np.linspace(0, len(source.positions) - 1, POSES_TRIED).astype(int))
    places = source.positions[picked]
    standing = [p for p in places if stands(p, mapped)]
    if not standing:
        raise BackendError(
            "bad_file",
            f"{source.source}: neither the skeleton's rest pose nor any frame is a standing person.",
            "Add a frame in which the person stands upright, or export the file with a T-pose as its rest pose.",
        )
    if told is None:
        body = np.median(
            [p[mapped["head"]] - p[[mapped["left_ankle"], mapped["right_ankle"]]].mean(0) for p in standing], 0
        )
        told = np.eye(3)[np.argmax(np.abs(body))] * np.sign(body[np.argmax(np.abs(body))])
    axes = rot.minimal_rotation(told, np.array([0.0, 1.0, 0.0]))
    world = inverse_kinematics.world_rotations(_canonical_bones(places @ axes.T, mapped), CANONICAL_OFFSETS, source.fps)
    upright = _uprightness(world)
    correction = {}
    for j, joint in enumerate(JOINTS):
        if joint in mapped:
            turned = axes @ source.rotations[picked, mapped[joint]] @ axes.T
            # trunk, head, hands and feet are neutral where the person stands; limbs are known in every frame
            limb = joint.split("_")[-1] in ("hip", "knee", "shoulder", "elbow")
            correction[joint] = _mean_rotation(np.swapaxes(turned, -1, -2) @ world[:, j], None if limb else upright)
        else:
            correction[joint] = correction[JOINTS[PARENTS[j]]]
    return Rest(axes, axes, bind, correction)


def _canonical_bones(places: np.ndarray, mapped: dict[str, int]) -> np.ndarray:
    """Joint positions (T,22,3) with canonical bone lengths: limbs as in the capture (T,J,3), the trunk straight.

    Skeletons put the joints of the trunk in different places, so pelvis and chest are turned by hips and shoulders and
    by the line between the two.
    """
    at = {joint: places[:, i] for joint, i in mapped.items()}
    hips, shoulders = ((at[f"left_{part}"] + at[f"right_{part}"]) / 2 for part in ("hip", "shoulder"))
    frames = {}
    for part in ("hip", "shoulder"):
        left = at[f"left_{part}"] - at[f"right_{part}"]
        up = shoulders - hips
        forward = np.cross(left, up)
        left, up, forward = (
            v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (left, np.cross(forward, left), forward)
        )
        frames[part] = np.stack([left, up, forward], -1)
    result = np.zeros((len(places), 22, 3))
    for j, (joint, parent) in enumerate(zip(JOINTS, PARENTS, strict=True)):
        if parent < 0:
            continue
        above = JOINTS[parent]
        offset = CANONICAL_OFFSETS[j].astype(float)
        limb = above.split("_")[-1] in ("hip", "knee", "ankle", "shoulder", "elbow")
        bone = at[joint] - at[above] if limb and joint in at and above in at else None
        if bone is None and limb:
            # no hand or toe: straight on from the forearm, or as in the T-pose
            bone = result[:, parent] - result[:, PARENTS[parent]] if joint.endswith("wrist") else frames["hip"] @ offset
        elif bone is None:
            bone = frames["hip" if joint in ("left_hip", "right_hip", "spine1") else "shoulder"] @ offset
        result[:, j] = result[:, parent] + bone / np.linalg.norm(bone, axis=-1, keepdims=True) * np.linalg.norm(offset)
    return result


def _uprightness(world: np.ndarray) -> np.ndarray:
    """Weights (T,) of frames by how straight the trunk and the legs of canonical rotations (T,22,3,3) stand."""
    joints = [JOINT_INDEX[j] for j in ("pelvis", "spine3", "left_hip", "right_hip", "left_knee", "right_knee")]
    straight = world[:, joints, 1, 1].sum(1)
    return np.exp((straight - straight.max()) / 0.05)


def _mean_rotation(m: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The rotation (3,3) nearest to the weighted mean of rotations (T,3,3)."""
    u, _, v = np.linalg.svd(np.average(m, axis=0, weights=weights))
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v

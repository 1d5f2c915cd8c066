"""Figures for tests: a procedural walk on the canonical skeleton, and armatures as plain data.

Nothing here is learned or captured, so that tests know exactly what they ask for.
"""

import numpy as np

from blender_addon.retarget import CanonicalMotion
from blender_addon.retarget import rotations as rot
from blender_addon.rig import Bone, Rig, canonical

# Blender's Z up, figure facing -Y, from canonical Y up facing +Z
TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def turn(axis: str, degrees) -> np.ndarray:
    """Quaternions about a canonical axis; ``degrees`` may be an array."""
    return rot.from_axis_angle(np.eye(3)["xyz".index(axis)], np.radians(degrees))


def walk(seconds: float = 4.0, fps: float = 30.0, speed: float = 1.2, steps_per_second: float = 1.8) -> CanonicalMotion:
    """A walk along +Z with swinging arms, bent knees and some twist of the trunk; contacts from heights."""
    time = np.arange(int(round(seconds * fps))) / fps
    phase = np.pi * steps_per_second * time
    rotations = np.zeros((len(time), 22, 4))
    rotations[..., 0] = 1.0

    def put(joint, *turns):
        total = turns[0]
        for one in turns[1:]:
            total = rot.multiply(total, one)
        rotations[:, canonical.INDEX[joint]] = total

    put("pelvis", turn("y", 6 * np.sin(phase)), turn("x", np.full_like(time, 3.0)))
    put("spine1", turn("y", -4 * np.sin(phase)))
    put("spine2", turn("y", -4 * np.sin(phase)), turn("x", np.full_like(time, 2.0)))
    put("spine3", turn("y", -4 * np.sin(phase)))
    put("head", turn("y", 4 * np.sin(phase)))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * np.sin(phase)
        lift = np.maximum(0.0, sign * np.cos(phase))
        put(f"{side}_hip", turn("x", -24 * swing - 4 - 16 * lift))
        put(f"{side}_knee", turn("x", 8 + 45 * lift))
        put(f"{side}_ankle", turn("x", 12 * swing - 5))
        put(f"{side}_collar", turn("z", np.full_like(time, -4.0 * sign)))
        put(f"{side}_shoulder", turn("x", 20 * swing), turn("z", np.full_like(time, -66.0 * sign)))
        put(f"{side}_elbow", turn("y", np.full_like(time, -25.0 * sign) - 8 * sign * swing))
        put(f"{side}_wrist", turn("x", np.full_like(time, 10.0)))
    translation = np.stack([0.02 * np.sin(phase), np.full_like(time, 0.96), speed * time], -1)
    motion = CanonicalMotion(rotations, translation, fps=fps)
    positions = motion.joints()
    feet = positions[:, [canonical.INDEX[name] for name in canonical.CONTACT_JOINTS], 1] - np.array([0.06, 0, 0.06, 0])
    motion.translation[:, 1] -= feet.min(-1)
    speed = np.linalg.norm(np.gradient(positions[:, :, [0, 2]], axis=0), axis=-1) * fps
    slow = speed[:, [canonical.INDEX[name] for name in canonical.CONTACT_JOINTS]] < 0.8
    motion.contacts = ((feet - feet.min(-1, keepdims=True) < 0.03) & slow).astype(np.float32)
    return motion


def wild(frames: int = 90, seed: int = 0, size: float = 60.0) -> CanonicalMotion:
    """Smooth, large, unrelated turns of every joint, twist included, and a wandering pelvis."""
    random = np.random.default_rng(seed)
    time = np.linspace(0.0, 2 * np.pi, frames)
    vectors = sum(
        random.normal(size=(22, 3))[None] * np.sin(k * time[:, None, None] + random.uniform(0, 6, (22, 3))[None]) / k
        for k in (1, 2)
    )
    vectors *= np.radians(size) / 2
    angle = np.linalg.norm(vectors, axis=-1)
    rotations = rot.from_axis_angle(vectors / np.maximum(angle, 1e-9)[..., None], angle)
    translation = np.stack([np.sin(time), 1.1 + 0.1 * np.cos(time), time / 3], -1)
    return CanonicalMotion(rotations, translation)


def mixamo_names(prefix: str = "mixamorig:") -> dict[str, str]:
    """Canonical joint -> Mixamo bone name."""
    names = {"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2"}
    names |= {"neck": "Neck", "head": "Head"}
    parts = {
        "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand",
        "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase",
    }  # fmt: skip
    for side in ("left", "right"):
        names.update({f"{side}_{joint}": side.capitalize() + part for joint, part in parts.items()})
    return {joint: prefix + name for joint, name in names.items()}


def bone_matrix(head: np.ndarray, tail: np.ndarray, roll: float) -> np.ndarray:
    """A rest matrix (4,4) whose Y axis runs from head to tail, turned by ``roll`` radians about it."""
    y = (tail - head) / np.linalg.norm(tail - head)
    base = rot.to_matrix(rot.between(np.array([0.0, 1.0, 0.0]), y))
    matrix = np.eye(4)
    matrix[:3, :3] = rot.to_matrix(rot.from_axis_angle(y, np.asarray(roll))) @ base
    matrix[:3, 3] = head
    return matrix


def figure(
    names: dict[str, str] | None = None,
    arms_down: float = 0.0,
    elbows: float = 0.0,
    toes_out: float = 0.0,
    scale: float = 1.0,
    legs: float = 1.0,
    facing_y: bool = False,
    seed: int = 1,
    object_matrix: np.ndarray | None = None,
    root: str | None = None,
) -> Rig:
    """A humanoid in armature space, standing in the world when ``object_matrix`` is applied, rolls at random.

    arms_down, elbows, toes_out: degrees away from the T-pose (A-pose, elbows bent forward, feet turned out).
    scale: world size against the canonical body; legs: extra factor on thighs and shins.
    facing_y: faces +Y (left is -X). object_matrix: the armature object's world matrix; bones are laid out so that the
    figure stands upright in the world whatever it is. root: name of a bone at the floor above the pelvis.
    """
    names = names or {joint: joint for joint in canonical.JOINTS}
    random = np.random.default_rng(seed)
    pose = np.zeros((1, 22, 4))
    pose[..., 0] = 1.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[:, canonical.INDEX[f"{side}_shoulder"]] = turn("z", -arms_down * sign)
        pose[:, canonical.INDEX[f"{side}_elbow"]] = turn("y", -elbows * sign)
        pose[:, canonical.INDEX[f"{side}_ankle"]] = turn("y", toes_out * sign)
    offsets = canonical.REST_OFFSETS.copy()
    for joint in ("left_knee", "right_knee", "left_ankle", "right_ankle"):
        offsets[canonical.INDEX[joint]] *= legs
    stand = -(offsets[[canonical.INDEX[j] for j in ("left_hip", "left_knee", "left_ankle", "left_foot")], 1].sum())
    motion = CanonicalMotion(pose, np.array([[0.0, stand, 0.0]]), offsets)
    axes = TO_BLENDER * (np.array([[-1.0], [-1.0], [1.0]]) if facing_y else 1.0)
    world = motion.joints()[0] @ axes.T * scale
    matrix = np.eye(4) if object_matrix is None else np.asarray(object_matrix, dtype=float)
    inverse = np.linalg.inv(matrix)
    local = world @ inverse[:3, :3].T + inverse[:3, 3]
    size = np.linalg.norm(local[canonical.INDEX["head"]] - local[0])
    bones = []
    if root:
        foot = (np.array([0.0, 0.0, 0.0]) @ inverse[:3, :3].T) + inverse[:3, 3]
        tail = foot + (local[0] - foot) * 0.2
        bones.append(Bone(root, None, foot, tail, bone_matrix(foot, tail, 0.3)))
    for joint, parent in enumerate(canonical.PARENTS):
        name = canonical.JOINTS[joint]
        if name not in names:
            continue
        above = parent
        while above >= 0 and canonical.JOINTS[above] not in names:
            above = canonical.PARENTS[above]
        children = [c for c, p in enumerate(canonical.PARENTS) if p == joint]
        if children and joint not in (0, canonical.INDEX["spine3"]):
            tail = local[children[0]]
        elif children:
            tail = local[children[-1 if joint == 0 else 0]]
        else:
            tail = local[joint] + (local[joint] - local[parent]) * 0.5
        if np.linalg.norm(tail - local[joint]) < 1e-6 * size:
            tail = local[joint] + np.array([0.0, 0.0, 0.1]) * size
        parent_name = names[canonical.JOINTS[above]] if above >= 0 else root
        bones.append(
            Bone(names[name], parent_name, local[joint], tail, bone_matrix(local[joint], tail, random.uniform(-3, 3)))
        )
    return Rig("figure", bones, matrix)


def pose_matrices(rig: Rig, animation) -> np.ndarray:
    """Armature-space matrices (T,n,4,4) as Blender evaluates them from basis rotations and the root location."""
    frames = animation.frames
    rest = rig.rest
    basis = np.tile(np.eye(4), (frames, len(rig.bones), 1, 1))
    for k, name in enumerate(animation.bones):
        basis[:, rig.index[name], :3, :3] = rot.to_matrix(animation.rotations[:, k])
    for name, location in {**animation.locations, animation.root: animation.root_location}.items():
        basis[:, rig.index[name], :3, 3] = location
    pose = np.empty_like(basis)
    for i, parent in enumerate(rig.parents):
        if parent < 0:
            pose[:, i] = rest[i] @ basis[:, i]
        else:
            pose[:, i] = pose[:, parent] @ (np.linalg.inv(rest[parent]) @ rest[i]) @ basis[:, i]
    return pose


def world_heads(rig: Rig, pose: np.ndarray) -> dict[str, np.ndarray]:
    """Bone name -> world path (T,3) of its head."""
    matrix = rig.object_matrix
    return {bone.name: pose[:, i, :3, 3] @ matrix[:3, :3].T + matrix[:3, 3] for i, bone in enumerate(rig.bones)}

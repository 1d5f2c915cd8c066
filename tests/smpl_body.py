"""An SMPL-X armature and motion for it, made up: 55 joints in the zero pose, bones of any roll."""

import numpy as np
from figures import TO_BLENDER, bone_matrix

from backend.motion.skeleton import SMPL_REST
from blender_addon.retarget import BodyMotion, smpl
from blender_addon.retarget import rotations as rot
from blender_addon.rig import Bone, Rig, canonical


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def places() -> dict[str, np.ndarray]:
    """Joint -> position (3,) in the zero pose, metres, the body's axes."""
    found: dict[str, np.ndarray] = {}
    for joint in smpl.JOINTS:
        above = smpl.parent(joint)
        if joint in canonical.INDEX:
            offset = SMPL_REST[canonical.INDEX[joint]]
        elif "eye" in joint or joint == "jaw":
            offset = np.array([{"l": 0.03, "r": -0.03}.get(joint[0], 0.0), 0.0 if joint == "jaw" else 0.06, 0.07])
        else:
            finger = ("thumb", "index", "middle", "ring", "pinky").index(joint.split("_")[1][:-1])
            sign = 1.0 if joint.startswith("left") else -1.0
            reach, spread = (0.03, 0.0) if joint[-1] in "23" else (0.08 - 0.015 * (finger == 0), 0.04 - 0.02 * finger)
            offset = np.array([sign * reach, 0.0, spread])
        found[joint] = offset + (found[above] if above is not None else smpl.PELVIS)
    return found


def rig(on_floor: bool = False, names=lambda joint: joint, seed: int = 5, object_matrix=None) -> Rig:
    """The armature. on_floor: its origin lies under the feet, not where the body has its own."""
    random = np.random.default_rng(seed)
    at = places()
    lift = -min(place[1] for place in at.values()) if on_floor else 0.0
    matrix = np.eye(4) if object_matrix is None else np.asarray(object_matrix, dtype=float)
    inverse = np.linalg.inv(matrix)
    local = {joint: inverse[:3, :3] @ (TO_BLENDER @ (place + [0, lift, 0])) for joint, place in at.items()}
    bones = []
    for joint in smpl.JOINTS:
        child = next((other for other in smpl.JOINTS if smpl.parent(other) == joint), None)
        above = smpl.parent(joint)
        tail = local[child] if child else local[joint] + (local[joint] - local[above]) * 0.5
        frame = bone_matrix(local[joint], tail, random.uniform(-3, 3))
        bones.append(Bone(names(joint), names(above) if above else None, local[joint], tail, frame))
    return Rig("SMPLX", bones, matrix)


def motion(frames: int = 40, seed: int = 2, joints: tuple[str, ...] = smpl.JOINTS) -> BodyMotion:
    """Smooth unrelated turns of every joint and a path, as a file holds them."""
    random = np.random.default_rng(seed)
    time = np.linspace(0.0, 2 * np.pi, frames)[:, None, None]
    vectors = 0.5 * random.normal(size=(1, len(joints), 3)) * np.sin(time + random.uniform(0, 6, (1, len(joints), 3)))
    angle = np.linalg.norm(vectors, axis=-1)
    rotations = rot.from_axis_angle(vectors / np.maximum(angle, 1e-9)[..., None], angle)
    path = np.concatenate([0.3 * np.sin(time[:, 0]), 0.35 + 0.05 * np.cos(time[:, 0]), 0.2 * time[:, 0]], -1)
    return BodyMotion(joints, rotations, path + 1.0 * np.array([0.0, 0.9, 0.0]))


def save(path, body: BodyMotion, fps: float = 30.0, up: str = "Z") -> None:
    """A file as AMASS has it (Z up) or with Y up."""
    vectors = rot.to_axis_angle(body.rotations)
    path_ = np.array(body.translation)
    extra = {"up_axis": np.array("Y")}
    if up == "Z":
        turn = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])
        vectors[:, 0] = rot.to_axis_angle(rot.multiply(turn, body.rotations[:, 0]))
        path_, extra = rot.rotate(turn, path_), {}
    np.savez(
        path, poses=vectors.reshape(len(vectors), -1), trans=path_, betas=np.zeros(16), gender="neutral",
        mocap_frame_rate=fps, **extra,
    )  # fmt: skip


def like(joints: np.ndarray) -> Rig:
    """An SMPL armature with the bones of a person given by joint positions (T,22,3), metres, Y up: its lengths, and the
    shape of its pelvis and chest, in the zero pose."""
    parents = canonical.PARENTS
    seen = np.stack([joints[:, j] - joints[:, max(parent, 0)] for j, parent in enumerate(parents)], 1).astype(float)
    rest = np.zeros((22, 3))
    for j in range(1, 22):
        rest[j] = SMPL_REST[j] / np.linalg.norm(SMPL_REST[j]) * np.median(np.linalg.norm(seen[:, j], axis=-1))
    for bones in ([1, 2, 3], [12, 13, 14]):
        for _ in range(5):  # Kabsch, and the mean of what is seen from there
            u, _s, v = np.linalg.svd(np.einsum("tni,nj->tij", unit(seen[:, bones]), unit(rest[bones])))
            u[..., :, 2] *= np.linalg.det(u @ v)[:, None]
            rest[bones] = np.einsum("tji,tnj->tni", u @ v, seen[:, bones]).mean(0)
    at = np.zeros((22, 3))
    for j, parent in enumerate(parents[1:], 1):
        at[j] = at[parent] + rest[j]
    at = (at + smpl.PELVIS) @ TO_BLENDER.T
    bones = []
    for j, parent in enumerate(parents):
        child = next((c for c, p in enumerate(parents) if p == j), None)
        tail = at[child] if child else at[j] + (at[j] - at[parent]) * 0.5
        above = canonical.JOINTS[parent] if parent >= 0 else None
        bones.append(Bone(canonical.JOINTS[j], above, at[j], tail, bone_matrix(at[j], tail, 0.2 * j)))
    for side in canonical.SIDES:  # SMPL's own hands
        wrist = at[canonical.INDEX[f"{side}_wrist"]]
        head = wrist + (wrist - at[canonical.INDEX[f"{side}_elbow"]]) * 0.3
        tail = head + (head - wrist)
        bones.append(Bone(f"{side}_hand", f"{side}_wrist", head, tail, bone_matrix(head, tail, 0.0)))
    return Rig("SMPL", bones)

"""BVH files for tests, written from canonical motions by rules of their own: other names, units, axes, extra joints."""

from pathlib import Path

import numpy as np
from motions import turn, walk

from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, Motion, global_rotations
from backend.protocol import JOINTS, PARENTS

MIXAMO = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
    "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase", "collar": "Shoulder", "shoulder": "Arm",
    "elbow": "ForeArm", "wrist": "Hand",
}  # fmt: skip
ENDS = {"head": (0, 0.2, 0), "left_foot": (0, 0, 0.08), "right_foot": (0, 0, 0.08), "left_wrist": (0.16, 0, 0),
        "right_wrist": (-0.16, 0, 0)}  # fmt: skip
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])


def lively(seconds: float = 3.0, yaw_rate: float = 30.0) -> Motion:
    """A walk with bending elbows, a turning trunk and feet that roll; twist about every bone that has a next one."""
    motion = walk(seconds, 1.1, yaw_rate)
    time = np.arange(motion.frames) / 30
    phase = 2 * np.pi * 0.9 * time

    def put(joint: str, *turns: np.ndarray) -> None:
        total = turns[0]
        for one in turns[1:]:
            total = rot.quaternion_multiply(total, one)
        motion.rotations[:, JOINT_INDEX[joint]] = total

    for joint in ("spine1", "spine2", "spine3"):
        put(joint, turn(1, 0.08 * np.sin(phase)), turn(0, 0.03 + 0.02 * np.cos(phase)))
    put("neck", turn(0, 0.15 * np.sin(0.5 * phase)))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * np.sin(phase)
        put(f"{side}_shoulder", turn(0, 0.5 * swing), turn(2, -sign * (1.2 + 0.1 * swing)), turn(0, 0.3 + 0.2 * swing))
        put(f"{side}_elbow", turn(1, -sign * (0.9 + 0.5 * np.sin(phase))))
        put(f"{side}_hip", turn(0, -0.4 * swing), turn(1, 0.1 * sign + 0.1 * swing))
        put(f"{side}_knee", turn(0, 0.45 + 0.4 * sign * np.cos(phase)))
        put(f"{side}_ankle", turn(0, 0.2 * swing))
    return motion


def names_of(table: dict[str, str], left: str = "Left", right: str = "Right") -> dict[str, str]:
    """Canonical joint to a file's name, from the words of one side."""
    result = {}
    for joint in JOINTS:
        side, _, part = joint.rpartition("_")
        result[joint] = {"left": left, "right": right, "": ""}[side] + table[part]
    return result


def write(
    path: Path,
    motion: Motion,
    names: dict[str, str] | None = None,
    scale: float = 100.0,
    world: np.ndarray | None = None,
    order: str = "ZXY",
    bind: np.ndarray | None = None,
    root: bool = False,
    zero_joints: bool = False,
    without: tuple[str, ...] = (),
    place: bool = False,
) -> None:
    """Save a canonical motion as a BVH.

    names: canonical joint to the file's name; scale: units in a metre; world: (3,3) from canonical to the file's axes;
    order: of the rotation channels; bind: (22,3,3) axes of the bones in the T-pose, so that zero rotations are another
    pose; root: one more joint above the pelvis; zero_joints: joints without length above hips and neck; without:
    joints (with all below them) that are left out; place: position channels in every joint.
    """
    names = names or {joint: joint for joint in JOINTS}
    world = np.eye(3) if world is None else world
    bind = np.broadcast_to(np.eye(3), (22, 3, 3)) if bind is None else bind
    turned = world @ global_rotations(motion.rotations.astype(float)) @ bind @ world.T
    offsets = np.stack([bind[max(p, 0)].T @ motion.rest_offsets[j] for j, p in enumerate(PARENTS)]) @ world.T * scale
    local = turned.copy()
    for j, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, j] = np.swapaxes(turned[:, parent], -1, -2) @ turned[:, j]
    translation = motion.translation.astype(float) @ world.T * scale
    lines, columns = ["HIERARCHY"], []
    channels = " ".join(f"{axis}rotation" for axis in order)
    still = np.zeros((motion.frames, 3))

    def joint(name: str, depth: int, offset: np.ndarray, positions: np.ndarray | None, angles: np.ndarray) -> None:
        tab = "\t" * depth
        lines.extend([f"{tab}{'JOINT' if depth else 'ROOT'} {name}", tab + "{"])
        lines.append(f"{tab}\tOFFSET {offset[0]:.6f} {offset[1]:.6f} {offset[2]:.6f}")
        count, words = (3, "") if positions is None else (6, "Xposition Yposition Zposition ")
        lines.append(f"{tab}\tCHANNELS {count} {words}{channels}")
        columns.extend(([] if positions is None else [positions]) + [angles])

    def emit(j: int, depth: int) -> None:
        if JOINTS[j] in without:
            return
        extra = zero_joints and JOINTS[j] in ("left_hip", "right_hip", "neck")
        if extra:
            joint(f"{names[JOINTS[j]]}Zero", depth, np.zeros(3), None, still)
            depth += 1
        angles = rot.matrix_to_euler(local[:, j], order)
        positions = translation if j == 0 else np.broadcast_to(offsets[j], (motion.frames, 3)) if place else None
        joint(names[JOINTS[j]], depth, np.zeros(3) if j == 0 or place else offsets[j], positions, angles)
        for child, parent in enumerate(PARENTS):
            if parent == j:
                emit(child, depth + 1)
        if JOINTS[j] in ENDS:
            end = world @ bind[j].T @ np.array(ENDS[JOINTS[j]]) * scale
            tab = "\t" * depth
            lines.extend([f"{tab}\tEnd Site", tab + "\t{", f"{tab}\t\tOFFSET {end[0]:.6f} {end[1]:.6f} {end[2]:.6f}"])
            lines.append(tab + "\t}")
        lines.append("\t" * depth + "}")
        if extra:
            lines.append("\t" * (depth - 1) + "}")

    if root:
        joint("scene", 0, np.zeros(3), still, still)
        emit(0, 1)
        lines.append("}")
    else:
        emit(0, 0)
    lines += ["MOTION", f"Frames: {motion.frames}", f"Frame Time: {1 / motion.fps:.8f}"]
    lines += [" ".join(f"{x:.6f}" for x in row) for row in np.concatenate(columns, axis=1)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

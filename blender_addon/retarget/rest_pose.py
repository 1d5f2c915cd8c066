"""How an armature stands at rest, and what turns it into the canonical T-pose.

Everything is computed in world space (Blender's, Z up), so that object scale, rotation and parents need no special
case. The figure's own left-right axis and the world's up give its facing: a VRM 0.x figure that faces +Y is as good as
one that faces -Y. ``frame`` takes canonical vectors (Y up, facing +Z, left +X) into the world around the figure.
"""

from dataclasses import dataclass

import numpy as np

from ..rig import canonical
from ..rig.bones import BoneMap, Rig, RigError
from . import rotations as rot

# A trunk within this angle of the T-pose is taken as it stands: natural curves of the spine are not straightened
_TRUNK_TOLERANCE = np.radians(25.0)
# A foot that points further aside than this at rest has no readable direction
_FOOT_TOLERANCE = np.radians(60.0)


@dataclass
class RestPose:
    """The measures of a rig that retargeting needs; positions in world units.

    frame: (3,3) canonical axes as world columns.
    scale: world units of the rig per canonical metre (leg length ratio).
    object_rotation: (3,3) and object_scale: the armature object's world rotation and uniform scale.
    tpose: joint name -> (4,) quaternion M: turns the mapped bone, in world space, from the reference pose to the
        T-pose. Only mapped joints.
    anchor: (3,) where the canonical pelvis joint sits, world, in the reference pose.
    ground: world height (along ``frame``'s up) of the floor the figure stands on.
    origin: (3,) world point on the floor below the anchor: canonical (0,0,0).
    foot_heights: joint name -> height above the floor at rest of ankles and balls.
    virtual_balls: for feet without a ball bone, where it would be: joint name -> (3,) world vector from the ankle in
        the T-pose.
    """

    frame: np.ndarray
    scale: float
    object_rotation: np.ndarray
    object_scale: float
    tpose: dict[str, np.ndarray]
    anchor: np.ndarray
    ground: float
    origin: np.ndarray
    foot_heights: dict[str, float]
    virtual_balls: dict[str, np.ndarray]

    @property
    def frame_quaternion(self) -> np.ndarray:
        return rot.from_matrix(self.frame)


def unit(v: np.ndarray) -> np.ndarray:
    return v / max(float(np.linalg.norm(v)), 1e-12)


def object_frame(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Rotation (3,3) and uniform scale of an object's world matrix (polar decomposition).

    Raises RigError for an object that is flattened or mirrored.
    """
    linear = np.asarray(matrix, dtype=np.float64)[:3, :3]
    determinant = np.linalg.det(linear)
    if not np.isfinite(determinant) or abs(determinant) < 1e-18:
        raise RigError("The armature object is scaled to zero; give it a size and try again.")
    if determinant < 0:
        raise RigError("The armature object is mirrored (negative scale); apply its scale and try again.")
    u, _, vt = np.linalg.svd(linear)
    return u @ vt, float(np.cbrt(determinant))


def is_human(rig: Rig, bone_map: BoneMap) -> bool:
    """Whether the reference pose (the rest pose, unless the rig carries another) looks like a person at all.

    Some BVH files lay every bone along one axis at rest: hips across the trunk and legs away from it are asked for.
    """
    pose = rig.rest if rig.reference is None else np.asarray(rig.reference, dtype=np.float64)

    def at(joint: str) -> np.ndarray:
        return pose[rig.index[bone_map.bone(joint)], :3, 3]

    hips = (at("left_hip") + at("right_hip")) / 2
    trunk = unit((at("left_shoulder") + at("right_shoulder")) / 2 - hips)
    legs = unit((at("left_ankle") + at("right_ankle")) / 2 - hips)
    across = at("left_hip") - at("right_hip")
    return bool(abs(unit(across) @ trunk) < 0.7 and legs @ trunk < 0.3)


def describe(rig: Rig, bone_map: BoneMap) -> str:
    """The pose that is matched with the T-pose, in words: "T-pose", "A-pose, arms 41 degrees below horizontal" ..."""
    if rig.tpose:
        return "the T-pose that was set"
    if rig.reference is not None:
        return "the first frame of its animation (its rest pose is not a human pose)"
    heads = rig.rest[:, :3, 3] @ rig.object_matrix[:3, :3].T

    def at(joint: str) -> np.ndarray:
        return heads[rig.index[bone_map.bone(joint)]]

    hips, shoulders = ((at(f"left_{role}") + at(f"right_{role}")) / 2 for role in ("hip", "shoulder"))
    up = _facing(at("left_hip") - at("right_hip"), shoulders - hips)[:, 1]
    arms, bends, legs = [], [], []
    for side in canonical.SIDES:
        upper = unit(at(f"{side}_elbow") - at(f"{side}_shoulder"))
        arms.append(np.degrees(np.arcsin(np.clip(-upper @ up, -1, 1))))
        legs.append(np.degrees(np.arccos(np.clip(-unit(at(f"{side}_knee") - at(f"{side}_hip")) @ up, -1, 1))))
        if bone_map.bone(f"{side}_wrist"):
            lower = unit(at(f"{side}_wrist") - at(f"{side}_elbow"))
            bends.append(np.degrees(np.arccos(np.clip(upper @ lower, -1, 1))))
    down = float(np.mean(arms))
    if max(legs) > 30.0 or abs(arms[0] - arms[1]) > 25.0 or max(bends, default=0.0) > 60.0 or down < -20.0:
        return f"a posed figure, arms {abs(down):.0f} degrees {'below' if down > 0 else 'above'} horizontal"
    if down < 12.0:
        return "T-pose"
    if down < 65.0:
        return f"A-pose, arms {down:.0f} degrees below horizontal"
    return "arms along the body"


def analyse(rig: Rig, bone_map: BoneMap) -> RestPose:
    """Measure ``rig`` under ``bone_map``. Raises RigError when the map or the figure cannot be used."""
    bone_map.require()
    if not is_human(rig, bone_map):
        raise RigError(f"The rest pose of '{rig.name}' is not a human pose, and it has no animation to read one from.")
    rotation, size = object_frame(rig.object_matrix)
    pose = rig.rest if rig.reference is None else np.asarray(rig.reference, dtype=np.float64)
    heads = pose[:, :3, 3] @ rig.object_matrix[:3, :3].T + rig.object_matrix[:3, 3]

    def at(joint: str) -> np.ndarray | None:
        name = bone_map.bone(joint)
        return None if name is None else heads[rig.index[name]]

    hips = (at("left_hip") + at("right_hip")) / 2
    shoulders = (at("left_shoulder") + at("right_shoulder")) / 2
    segments = [
        at(f"{side}_{end}") - at(f"{side}_{start}")
        for side in canonical.SIDES
        for start, end in (("hip", "knee"), ("knee", "ankle"))
    ]
    leg = float(np.linalg.norm(segments, axis=-1).sum()) / 2
    if leg < 1e-9:
        raise RigError("The legs of this armature have no length.")
    frame = _facing(at("left_hip") - at("right_hip"), shoulders - hips)
    offsets = canonical.REST_OFFSETS
    canonical_leg = float(np.linalg.norm(offsets[canonical.INDEX["left_knee"]])) + float(
        np.linalg.norm(offsets[canonical.INDEX["left_ankle"]])
    )
    scale = leg / canonical_leg
    tpose = _tpose(rig, bone_map, heads, frame, at)
    up = frame[:, 1]
    hip_below = -offsets[canonical.INDEX["left_hip"]][1] * scale
    pelvis_turn = tpose["pelvis"]
    anchor = hips + rot.rotate(rot.conjugate(pelvis_turn), up * hip_below)
    ground, heights = _ground(rig, bone_map, heads, up, leg)
    origin = anchor - up * (float(anchor @ up) - ground)
    balls = {}
    ahead = canonical.REST_OFFSETS[canonical.INDEX["left_foot"]] * scale
    for side in canonical.SIDES:
        if f"{side}_foot" not in heights:
            height = max(heights[f"{side}_ankle"] + ahead[1], 0.0)
            heights[f"{side}_foot"] = height
            balls[f"{side}_foot"] = frame[:, 2] * ahead[2] + up * (height - heights[f"{side}_ankle"])
    return RestPose(frame, scale, rotation, size, tpose, anchor, ground, origin, heights, balls)


def _facing(left: np.ndarray, trunk: np.ndarray) -> np.ndarray:
    """World columns of left, up and forward. Up is the world's, unless the figure lies or hangs at rest."""
    up = np.array([0.0, 0.0, 1.0])
    if unit(trunk) @ up < np.cos(np.radians(50.0)) or abs(unit(left) @ up) > 0.7:
        up = unit(trunk)
    left = left - up * (left @ up)
    left = unit(left)
    return np.stack([left, up, np.cross(left, up)], -1)


def _tpose(rig: Rig, bone_map: BoneMap, heads: np.ndarray, frame: np.ndarray, at) -> dict[str, np.ndarray]:
    identity = np.array([1.0, 0.0, 0.0, 0.0])
    if rig.tpose:
        return {joint: identity for joint in canonical.JOINTS if bone_map.bone(joint) or joint in canonical.SPINE}
    target = canonical.rest_positions() @ frame.T
    left, up, forward = frame.T
    turns: dict[str, np.ndarray] = {}

    def direction(a: str, b: str) -> np.ndarray:
        return target[canonical.INDEX[b]] - target[canonical.INDEX[a]]

    hips = (at("left_hip") + at("right_hip")) / 2
    shoulders = (at("left_shoulder") + at("right_shoulder")) / 2
    spine = bone_map.spine
    first = heads[rig.index[spine[0]]]
    # The pelvis from the hips' axis and the start of the spine; short pelvises have no readable lean
    lean = first - hips if np.linalg.norm(first - hips) > 0.05 * np.linalg.norm(shoulders - hips) else shoulders - hips
    turns["pelvis"] = _near(_frame_turn(at("left_hip") - at("right_hip"), lean, frame), identity)
    chest = _near(_frame_turn(at("left_shoulder") - at("right_shoulder"), shoulders - hips, frame), identity)
    for i, joint in enumerate(canonical.SPINE):
        turns[joint] = rot.slerp(turns["pelvis"], chest, np.asarray((i + 1) / 3))
    turns["neck"] = chest
    head_at, neck_at = at("head"), at("neck")
    if head_at is not None and neck_at is not None and np.linalg.norm(head_at - neck_at) > 1e-6:
        lift = rot.multiply(
            rot.between(rot.rotate(chest, head_at - neck_at), direction("neck", "head")),
            chest,
        )
        turns["neck"] = _near(lift, chest, np.radians(40.0))
    turns["head"] = turns["neck"]
    for side in canonical.SIDES:
        turns[f"{side}_collar"] = chest
        _straighten(turns, side, ("shoulder", "elbow", "wrist"), chest, at, direction, rig, bone_map, heads)
        _straighten(turns, side, ("hip", "knee", "ankle"), turns["pelvis"], at, direction, rig, bone_map, heads)
        turns[f"{side}_ankle"] = _foot_turn(rig, bone_map, heads, side, up, forward, turns[f"{side}_knee"])
        turns[f"{side}_foot"] = turns[f"{side}_ankle"]
    return {joint: turn for joint, turn in turns.items() if bone_map.bone(joint) or joint in canonical.SPINE}


def _straighten(turns, side, chain, base, at, direction, rig, bone_map, heads) -> None:
    """Turn the bones of a limb from the body outwards so that each points where the T-pose has it."""
    turn = base
    for role, following in zip(chain[:-1], chain[1:], strict=True):
        start, end = at(f"{side}_{role}"), at(f"{side}_{following}")
        if end is None:
            end = _tip(rig, bone_map.bone(f"{side}_{role}"), heads)
        wanted = direction(f"{side}_{role}", f"{side}_{following}")
        if np.linalg.norm(end - start) > 1e-9:
            turn = rot.multiply(rot.between(rot.rotate(turn, end - start), wanted), turn)
        turns[f"{side}_{role}"] = turn
    turns[f"{side}_{chain[-1]}"] = turn


def _tip(rig: Rig, name: str, heads: np.ndarray) -> np.ndarray:
    """Where a bone ends, world: its only child's head, or its tail."""
    children = [i for i, parent in enumerate(rig.parents) if parent == rig.index[name]]
    index = rig.index[name]
    if len(children) == 1 and np.linalg.norm(heads[children[0]] - heads[index]) > 1e-9:
        return heads[children[0]]
    bone = rig.bones[index]
    linear = rig.object_matrix[:3, :3]
    if rig.reference is not None:
        local = bone.matrix[:3, :3].T @ (bone.tail - bone.head)
        return heads[index] + linear @ rig.reference[index, :3, :3] @ local
    return heads[index] + linear @ (bone.tail - bone.head)


def _frame_turn(left: np.ndarray, along: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The turn (4,) that takes the frame of a left axis and a trunk direction to ``frame``."""
    left = unit(left)
    along = along - left * (along @ left)
    if np.linalg.norm(along) < 1e-9:
        return np.array([1.0, 0.0, 0.0, 0.0])
    along = unit(along)
    now = np.stack([left, along, np.cross(left, along)], -1)
    return rot.from_matrix(frame @ now.T)


def _near(turn: np.ndarray, default: np.ndarray, tolerance: float = _TRUNK_TOLERANCE) -> np.ndarray:
    """``default`` when ``turn`` hardly differs from it."""
    return default if float(rot.angle(turn, default)) < tolerance else turn


def _foot_turn(rig, bone_map, heads, side, up, forward, shin) -> np.ndarray:
    """The foot keeps its pitch at rest (it stands on the floor) and turns about the vertical to point forward.

    A reference pose that is not a rest pose may have a lifted foot: that one follows the shin.
    """
    ankle = bone_map.bone(f"{side}_ankle")
    ball = bone_map.bone(f"{side}_foot")
    start = heads[rig.index[ankle]]
    if ball:
        end = heads[rig.index[ball]]
    else:
        children = [i for i, parent in enumerate(rig.parents) if parent == rig.index[ankle]]
        end = heads[children].mean(0) if children else _tip(rig, ankle, heads)
    flat = (end - start) - up * ((end - start) @ up)
    if rig.reference is not None:
        balls = [bone_map.bone(f"{each}_foot") or bone_map.bone(f"{each}_ankle") for each in canonical.SIDES]
        lowest = min(float(heads[rig.index[name]] @ up) for name in balls)
        if end @ up > start @ up or end @ up - lowest > 0.3 * np.linalg.norm(end - start):
            return shin
    turn = rot.between(flat, forward)
    unreadable = np.linalg.norm(flat) < 0.3 * np.linalg.norm(end - start)
    if unreadable or 2 * np.arccos(min(abs(float(turn[0])), 1.0)) > _FOOT_TOLERANCE:
        return np.array([1.0, 0.0, 0.0, 0.0])
    return turn


def _ground(rig: Rig, bone_map: BoneMap, heads: np.ndarray, up: np.ndarray, leg: float) -> tuple[float, dict]:
    """Height of the floor along ``up`` and the heights of the foot joints above it at rest.

    The floor is the object's origin when the feet stand on it (a mesh's soles lie a little below the joints), else
    the lowest point of the feet.
    """
    points = {}
    for side in canonical.SIDES:
        for role in ("ankle", "foot"):
            name = bone_map.bone(f"{side}_{role}")
            if name:
                points[f"{side}_{role}"] = float(heads[rig.index[name]] @ up)
    tips = []
    for side in canonical.SIDES:
        ankle = rig.index[bone_map.bone(f"{side}_ankle")]
        below = {ankle}
        for i, parent in enumerate(rig.parents):
            if parent in below:
                below.add(i)
        tips += [float(heads[i] @ up) for i in below]
        tips.append(float(_tip(rig, bone_map.bone(f"{side}_ankle"), heads) @ up))
    origin = float(rig.object_matrix[:3, 3] @ up)
    # Tails of imported end bones may point anywhere: no lower than a foot can reach below its ankle
    lowest = max(min(tips), min(points.values()) - 0.15 * leg)
    ground = origin if -0.04 * leg < lowest - origin < 0.12 * leg else lowest
    return ground, {joint: height - ground for joint, height in points.items()}

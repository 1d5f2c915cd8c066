"""A posed rig back to canonical motion: the inverse of retargeting (without foot lock)."""

from dataclasses import replace

import numpy as np

from ..rig import canonical
from ..rig.bones import BoneMap, Rig
from . import controls
from . import rotations as rot
from .motion import CanonicalMotion
from .rest_pose import analyse
from .retarget import Chain, clearance, rig_clearance

# A foot joint touches when it is this low (metres above standing) and this slow (metres a second)
_TOUCH_HEIGHT = 0.05
_TOUCH_SPEED = 0.35
# No motion keeps its feet as far (metres) from the floor all the time: most of a leg
_AFLOAT = 0.65


def capture(rig: Rig, bone_map: BoneMap, pose: np.ndarray, fps: float) -> CanonicalMotion:
    """Canonical motion (T frames at ``fps``) of posed bones.

    pose: (T,n,4,4) armature-space matrices of all bones of ``rig`` in its order (``pose_bone.matrix``). Joints the rig
    lacks follow their parent. Raises RigError when the rig cannot be used.
    """
    pose = np.asarray(pose, dtype=np.float64)
    plan = controls.find(rig, bone_map)
    if plan is not None:
        figure = controls.figure(rig, plan.figure)
        free = replace(plan.figure, controls=None, twist={})
        return capture(figure, free, controls.figure_pose(rig, plan, figure, pose), fps)
    rest = analyse(rig, bone_map)
    skeleton = Chain(rig, bone_map, rest)
    object_quaternion = rot.from_matrix(rest.object_rotation)
    turns = {}
    for name in skeleton.drivers:
        index = rig.index[name]
        axes = pose[:, index, :3, :3]
        axes = axes / np.maximum(np.linalg.norm(axes, axis=-2, keepdims=True), 1e-12)
        now = rot.multiply(object_quaternion, rot.from_matrix(axes))
        turns[name] = rot.multiply(now, rot.conjugate(skeleton.rest_rotation[index]))
    world = _world_rotations(skeleton, turns)
    local = world.copy()
    for joint, parent in enumerate(canonical.PARENTS):
        if parent >= 0:
            local[:, joint] = rot.multiply(rot.conjugate(world[:, parent]), world[:, joint])

    linear, moved = rig.object_matrix[:3, :3], rig.object_matrix[:3, 3]

    def head(name: str) -> np.ndarray:
        return pose[:, rig.index[name], :3, 3] @ linear.T + moved

    anchor = head(skeleton.root) + rot.rotate(turns[skeleton.root], skeleton.anchor_offset())
    translation = (anchor - rest.origin) @ rest.frame / rest.scale
    positions = {joint: head(names[0]) for joint, names in bone_map.joints.items() if names}
    skeleton.add_virtual_balls(positions, turns)
    motion = CanonicalMotion(rot.continuous(rot.normalise(local)), translation, fps=fps)
    height = rig_clearance(positions, rest) / rest.scale
    # Many BVH files rest with the hips at the origin and move with the floor there: then the feet never come near the
    # floor of the rest pose, and the lowest that they come to is the floor
    if abs(height).min() > _AFLOAT:
        height = height - height.min()
    lift = height - clearance(motion.joints(world), motion.rest_offsets)
    motion.translation[:, 1] += lift
    motion.contacts = contacts(motion.joints(world), fps)
    return motion


def bones_read(rig: Rig, bone_map: BoneMap) -> set[str]:
    """The bones whose poses :func:`capture` uses."""
    plan = controls.find(rig, bone_map)
    joints = (bone_map if plan is None else plan.figure).joints
    return {name for names in joints.values() for name in names} | set(plan.turned_by.values() if plan else ())


def _world_rotations(skeleton: Chain, turns: dict[str, np.ndarray]) -> np.ndarray:
    """Canonical world rotations (T,22,4) from the rig's bone turns; gaps are filled from neighbours."""
    found = {name: skeleton.canonical_rotation(name, turn) for name, turn in turns.items()}
    frames = len(next(iter(found.values())))
    world = np.empty((frames, len(canonical.JOINTS), 4))
    known: dict[str, np.ndarray] = {}
    for name, driver in skeleton.drivers.items():
        if driver.share >= 1.0:
            known[driver.high] = found[name]
    spine = ("pelvis",) + canonical.SPINE
    for place, joint in enumerate(spine):
        if joint not in known:
            # The topmost spine bone is spine3, so there is always one above
            low, high = place - 1, next(i for i in range(place, len(spine)) if spine[i] in known)
            known[joint] = rot.slerp(known[spine[low]], known[spine[high]], np.asarray(1.0 / (high - low)))
    if "neck" not in known:
        known["neck"] = rot.slerp(known["spine3"], known.get("head", known["spine3"]), np.asarray(0.5))
    for joint, parent in enumerate(canonical.PARENTS):
        name = canonical.JOINTS[joint]
        world[:, joint] = known[name] if name in known else world[:, parent]
    return world


def contacts(joints: np.ndarray, fps: float) -> np.ndarray:
    """Which foot joints touch the ground: (T,4) of 0 and 1 from canonical positions (T,22,3), metres."""
    points = joints[:, [canonical.INDEX[name] for name in canonical.CONTACT_JOINTS]]
    standing = -canonical.REST_OFFSETS[canonical.INDEX["left_foot"]][1]
    heights = points[..., 1] - np.array([standing, 0.0, standing, 0.0])
    if len(points) > 1:
        speed = np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps
    else:
        speed = np.zeros(points.shape[:2])
    return ((heights < _TOUCH_HEIGHT) & (speed < _TOUCH_SPEED)).astype(np.float32)

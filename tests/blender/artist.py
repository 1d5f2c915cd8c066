"""An armature with an artist's own keys, a motion put on it, and everything that must be the same afterwards."""

import struct

import bpy
import numpy as np
from figures import walk

from blender_addon import results
from blender_addon.scene import compat
from blender_addon.scene.takes import ACTION, NLA, SPLICE, Options

MODES = ["QUATERNION", "XYZ", "ZXY", "AXIS_ANGLE"]
PROPERTIES = ["interpolation", "easing", "type", "back", "amplitude", "period", "handle_left_type", "handle_right_type",
              "select_control_point", "select_left_handle", "select_right_handle"]  # fmt: skip


def bits(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def keys_of(action, armature, outside: "tuple[int, int] | None" = None) -> dict:
    """Everything that Python can see of every key, to the bit; ``outside``: leave out the keys in these frames."""
    found = {}
    for curve in compat.fcurves(action, armature):
        points = []
        for point in curve.keyframe_points:
            if outside and outside[0] <= point.co[0] <= outside[1]:
                continue
            told = [getattr(point, name) for name in PROPERTIES]
            points.append((bits(*point.co, *point.handle_left, *point.handle_right), *told))
        if points:
            group = curve.group.name if curve.group else None
            found[curve.data_path, curve.array_index] = (curve.extrapolation, curve.mute, curve.lock, group, points)
    return found


def keyed(curve):
    return {point.co[0]: point for point in curve.keyframe_points}


def own_keys(armature, frames=(1, 12, 33, 60, 90)):
    """What an artist may have: automatic, free and vector handles, easing, odd frames, holds, several modes."""
    random = np.random.default_rng(1)
    for number, name in enumerate(["pelvis", "spine2", "left_shoulder", "left_elbow", "head", "right_hip"]):
        bone = armature.pose.bones[name]
        bone.rotation_mode = MODES[number % 4]
        path = posing_path(bone.rotation_mode)
        for frame in frames:
            values = np.array(getattr(bone, path))
            setattr(bone, path, values + random.normal(size=len(values)) * 0.15)
            bone.keyframe_insert(path, frame=frame + 0.25 * (number == 3))
    pelvis = armature.pose.bones["pelvis"]
    for frame in frames:
        pelvis.location = (0.02 * frame, 0.01 * frame, 0.3 * np.sin(frame / 9))
        pelvis.keyframe_insert("location", frame=frame)
    armature.pose.bones["head"].keyframe_insert("scale", frame=5)
    armature.keyframe_insert("location", frame=3)
    action = armature.animation_data.action
    for number, curve in enumerate(compat.fcurves(action, armature)):
        for point in curve.keyframe_points:
            point.handle_left_type = point.handle_right_type = ("AUTO", "AUTO_CLAMPED", "FREE", "VECTOR")[number % 4]
            point.interpolation = ("BEZIER", "BEZIER", "BEZIER", "LINEAR", "SINE", "CONSTANT")[number % 6]
            point.type = ("KEYFRAME", "EXTREME", "BREAKDOWN")[number % 3]
        curve.update()
        curve.keyframe_points[0].select_control_point = False
    action.name = "Mine"
    bpy.context.scene.frame_set(20)
    return action


def posing_path(mode: str) -> str:
    return {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(mode, "rotation_euler")


def pose_of(armature) -> dict:
    return {
        bone.name: [
            bits(*getattr(bone, name))
            for name in ("location", "rotation_quaternion", "rotation_euler", "rotation_axis_angle", "scale")
        ]
        for bone in armature.pose.bones
    }


def state(armature) -> dict:
    """What must be the same after Reject."""
    bpy.context.view_layer.update()
    data = armature.animation_data
    return {
        "keys": {
            action.name: (keys_of(action, armature), action.use_fake_user, sorted(action.keys()))
            for action in bpy.data.actions
        },
        "active": data.action.name if data and data.action else None,
        "slot": compat.slot_name(armature) if data else None,
        "tracks": [(t.name, [(s.name, s.action.name) for s in t.strips]) for t in data.nla_tracks] if data else None,
        "pose": pose_of(armature),
    }


def make(armature, options=None, motions=None, start=30, **more):
    motions = motions or [walk(1.5)]
    recipes = [{"prompt": "a person walks", "seed": 5 + k, "model": "momug"} for k in range(len(motions))]
    return results.apply_motions(
        armature,
        bpy.context.scene,
        motions,
        recipes,
        frame_start=start,
        extend_timeline=False,
        options=options or Options(),
        **more,
    )


EVERYWHERE = [ACTION, NLA, SPLICE]


def bend(armature, seed: int, amount: float = 0.4) -> None:
    """Pose every bone of the mannequin a little, hips moved."""
    chance = np.random.default_rng(seed)
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION" if seed % 2 else bone.rotation_mode
        angles = chance.uniform(-amount, amount, 3)
        if bone.rotation_mode == "QUATERNION":
            half = angles / 2
            q = np.array([1.0, *half])
            bone.rotation_quaternion = q / np.linalg.norm(q)
        else:
            bone.rotation_euler = angles
    root = armature.pose.bones[results.require_map(armature).bone("pelvis")]
    root.location = chance.uniform(-0.3, 0.3, 3)
    bpy.context.view_layer.update()

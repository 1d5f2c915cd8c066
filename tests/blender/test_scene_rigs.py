"""Characters of other people, where the sample data lies beside the repository: mapping and motion on each."""

import json

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import angle_between, empty, rigify, world_heads  # noqa: E402
from figures import walk  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.retarget.rest_pose import analyse  # noqa: E402
from blender_addon.rig import RigError, canonical, match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import keys  # noqa: E402
from blender_addon.scene.import_rig import import_rig  # noqa: E402

RIGS = ("anonymous_bones", "cesium_man", "cmu_131_01", "daz_cmu_91_48", "kaykit_medium", "kenney_medium",
        "mesh2motion_control", "mesh2motion_human", "mpfb_default", "mpfb_mixamo", "quaternius_modular_man",
        "reactidle_freemocap", "rigify_metarig", "rokoko_dance", "vrm_addon_example")  # fmt: skip
LIMBS = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in
         (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))]  # fmt: skip


def load(shared, name):
    folder = shared / "rigs" / name
    if not (folder / "map.json").is_file():
        pytest.skip(f"no rig {name} in the sample data")
    wanted = json.loads((folder / "map.json").read_text())
    empty()
    if wanted["file"] is None:
        bpy.ops.preferences.addon_enable(module="rigify")
        bpy.ops.object.armature_human_metarig_add()
        return bpy.context.object, wanted
    return import_rig(folder / wanted["file"]), wanted


@pytest.mark.parametrize("name", RIGS)
def test_rigs_are_mapped_right(shared, name):
    armature, wanted = load(shared, name)
    found = armatures.bone_map(armature).require()
    for joint, bones in wanted["joints"].items():
        allowed = [None] if bones is None else bones
        assert found.bone(joint) in allowed, joint
    spine = [armature.data.bones[bone] for bone in found.spine]
    assert spine and all(upper in lower.children_recursive for lower, upper in zip(spine[:-1], spine[1:], strict=True))
    for joint, bones in wanted.get("control_joints", {}).items():
        assert found.controls.fk[joint] == bones
    if name == "mesh2motion_control":
        assert armatures.warnings(armature, found) == [], "its controls are keyed, and nothing drives those"
        return
    motion = walk(1.0)
    rig = armatures.read_rig(armature)
    keys.write_action(armature, retarget(motion, rig, match(rig.bones), 30.0, foot_lock=False), "walk", 1)
    bpy.context.scene.render.fps = 30
    heads = world_heads(armature, range(1, 31, 4))
    joints = (motion.joints() @ analyse(rig, found).frame.T)[::4]
    for start, end in LIMBS:
        if found.bone(end):
            want = joints[:, canonical.INDEX[end]] - joints[:, canonical.INDEX[start]]
            assert angle_between(want, heads[found.bone(end)] - heads[found.bone(start)]).max() < 1.0, (start, end)
    lowest = min(heads[found.bone(f"{side}_ankle")][:, 2].min() for side in ("left", "right"))
    assert np.isfinite(lowest)


def test_generated_rigify_rig_has_its_deforming_bones_mapped_and_its_controls_named():
    armature = rigify()
    found = armatures.bone_map(armature).require()
    assert found.family == "Rigify control rig"
    assert all(found.bone(joint).startswith("DEF-") and armature.data.bones[found.bone(joint)].use_deform
               for joint in canonical.JOINTS)  # fmt: skip
    assert found.bone("left_knee") == "DEF-shin.L" and found.bone("pelvis") == "DEF-spine"
    assert found.twist["left_shoulder"] == [("DEF-upper_arm.L.001", pytest.approx(0.5, abs=0.05))]
    controls, pose = found.controls, armature.pose.bones
    assert controls.fk["left_shoulder"] == ["upper_arm_fk.L"] and controls.fk["head"] == ["head"]
    assert controls.travel == "torso" and controls.root == "root"
    leg = controls.ik["left_leg"]
    assert (leg.target, leg.pole, leg.roll) == ("foot_ik.L", "thigh_ik_target.L", "foot_heel_ik.L")
    named = [controls.travel, controls.root, *sum(controls.fk.values(), []), *controls.masters.values()]
    for limb in controls.ik.values():
        named += [limb.target, limb.pole, *sum(limb.chain.values(), [])] + ([limb.roll] if limb.roll else [])
        bone, name, _ = limb.pole_switch
        assert name in pose[bone]
    assert all(name in pose for name in named)
    assert set(controls.switches) == {"left_arm", "right_arm", "left_leg", "right_leg"}
    assert all(switch.name in pose[switch.bone] for switch in controls.switches.values())
    assert all(name in pose[bone] for bone, name, _ in controls.settings)


@pytest.mark.parametrize("kind", ["basic_quadruped", "horse", "cat", "wolf", "shark", "bird"])
def test_animals_are_refused_with_a_reason(kind):
    empty()
    bpy.ops.preferences.addon_enable(module="rigify")
    getattr(bpy.ops.object, f"armature_{kind}_metarig_add")()
    with pytest.raises(RigError, match="four legs" if kind not in ("shark", "bird") else "Cannot tell|not a humanoid"):
        armatures.bone_map(bpy.context.object).require()

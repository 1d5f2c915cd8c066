"""Characters of other people, where the sample data lies beside the repository: mapping and motion on each."""

import json

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import angle_between, empty, world_heads  # noqa: E402
from figures import walk  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.retarget.rest_pose import analyse  # noqa: E402
from blender_addon.rig import RigError, canonical, match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import keys  # noqa: E402
from blender_addon.scene.import_rig import import_rig  # noqa: E402

NAMED = ("cmu_131_01", "daz_cmu_91_48", "kaykit_medium", "kenney_medium", "mesh2motion_control", "mesh2motion_human",
         "mpfb_default", "mpfb_mixamo", "quaternius_modular_man", "reactidle_freemocap", "rigify_metarig",
         "rokoko_dance", "vrm_addon_example")  # fmt: skip
UNNAMED = ("anonymous_bones", "cesium_man")
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
        return bpy.context.object, wanted["joints"]
    return import_rig(folder / wanted["file"]), wanted["joints"]


@pytest.mark.parametrize("name", NAMED)
def test_rigs_are_mapped_right(shared, name):
    armature, wanted = load(shared, name)
    found = armatures.bone_map(armature).require()
    for joint, bones in wanted.items():
        allowed = [None] if bones is None else bones
        assert found.bone(joint) in allowed, joint
    if name == "mesh2motion_control":
        assert armatures.warnings(armature, found), "keys on its deform bones are overridden by constraints"
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


@pytest.mark.parametrize("name", UNNAMED)
def test_rigs_whose_names_say_nothing_are_refused(shared, name):
    armature, _ = load(shared, name)
    with pytest.raises(RigError, match="Cannot tell which bone"):
        armatures.bone_map(armature).require()

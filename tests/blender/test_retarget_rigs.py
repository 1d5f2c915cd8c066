"""Motion on rigs as Blender evaluates them, and back: object transforms, rotation modes, inheritance, rest poses."""

import json
from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.round_trips import animate, differences, motion, round_trip  # noqa: E402
from blender.scenes import build, empty, world_heads  # noqa: E402
from figures import bone_matrix, figure, mixamo_names, turn, walk, wild  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.retarget.rest_pose import describe  # noqa: E402
from blender_addon.rig import Bone, Rig, RigError  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import kept, keys, mannequin  # noqa: E402
from blender_addon.scene.import_rig import import_rig  # noqa: E402


def matrix(scale=1.0, x=0.0, z=0.0, at=(0.0, 0.0, 0.0)) -> np.ndarray:
    made = np.eye(4)
    turned = rot.multiply(rot.from_axis_angle(np.array([0, 0, 1.0]), np.radians(z)), turn("x", x))
    made[:3, :3] = rot.to_matrix(turned) * scale
    made[:3, 3] = at
    return made


@pytest.mark.parametrize("scale, x, at", [(0.01, -90, (3, 1, 0)), (100.0, 0, (0, 0, 0)), (1.0, 90, (0, -2, 0))])
def test_objects_that_are_scaled_and_turned(scale, x, at):
    empty()
    round_trip(build(figure(mixamo_names(), arms_down=40, elbows=15, object_matrix=matrix(scale, x, 0, at))))


def test_objects_below_a_parent():
    empty()
    armature = build(figure(mixamo_names(), arms_down=40))
    parent = bpy.data.objects.new("parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.matrix_world = matrix(0.5, 0, 40, (1, 2, 0)).T
    armature.parent = parent
    bpy.context.view_layer.update()
    round_trip(armature)


@pytest.mark.parametrize("mode", ["AXIS_ANGLE", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_rotation_modes(mode):
    empty()
    armature = build(figure(mixamo_names(), arms_down=40))
    for bone in armature.pose.bones:
        bone.rotation_mode = mode
    wanted = wild(40, size=140.0)
    round_trip(armature, wanted)
    # continuous: half way between two frames stands between them
    scene = bpy.context.scene
    bone = armature.pose.bones["mixamorig:LeftArm"]
    for frame in range(1, 40, 3):
        turns = []
        for part in (0.0, 0.5, 1.0):
            scene.frame_set(frame, subframe=0.0) if part == 0 else scene.frame_set(
                frame + int(part), subframe=part % 1.0
            )
            turns.append(rot.from_matrix(np.array(bone.matrix_basis)[:3, :3]))
        step = rot.angle(turns[0], turns[2])
        assert rot.angle(turns[0], turns[1]) < 0.8 * step + 0.02


@pytest.mark.parametrize("names", [("Head", "LeftHand"), ("LeftArm", "LeftForeArm"), ("Hips",), ("Spine1", "LeftLeg")])
@pytest.mark.parametrize("setting", ["rotation", "location", "scale"])
def test_inheritance_settings(names, setting):
    empty()
    armature = build(figure(mixamo_names(""), arms_down=30, root="Root"))
    for name in names:
        bone = armature.data.bones[name]
        if setting == "rotation":
            bone.use_inherit_rotation = False
        elif setting == "location":
            bone.use_local_location = False
        else:
            bone.inherit_scale = "NONE"
    round_trip(armature)


@pytest.mark.parametrize("local", [True, False])
def test_mesh_on_the_root_bone_is_not_left_behind(local):
    empty()
    armature = build(figure(mixamo_names(""), root="Root"))
    for name in ("Root", "Hips"):
        armature.data.bones[name].use_local_location = local
    assert armatures.read_rig(armature).carrier is None
    mesh = bpy.data.meshes.new("trousers")
    mesh.from_pydata([(0.1, 0.0, 0.1), (0.1, 0.0, 0.9), (0.2, 0.0, 0.9)], [], [(0, 1, 2)])
    trousers = bpy.data.objects.new("trousers", mesh)
    bpy.context.scene.collection.objects.link(trousers)
    trousers.modifiers.new("Armature", "ARMATURE").object = armature
    trousers.vertex_groups.new(name="Hips").add([1, 2], 1.0, "REPLACE")
    trousers.vertex_groups.new(name="LeftFoot").add([0], 0.8, "REPLACE")
    assert armatures.read_rig(armature).carrier is None, "nothing hangs on the root"
    trousers.vertex_groups.new(name="Root").add([0], 0.2, "REPLACE")
    assert armatures.read_rig(armature).carrier == "Root"
    wanted = walk(3.0)
    round_trip(armature, wanted)
    scene = bpy.context.scene
    for frame in (1, 45, 90):
        scene.frame_set(frame)
        graph = bpy.context.evaluated_depsgraph_get()
        corner = trousers.evaluated_get(graph).matrix_world @ trousers.evaluated_get(graph).data.vertices[0].co
        foot = armature.matrix_world @ armature.pose.bones["LeftFoot"].head
        assert (corner - foot).length < 0.35, "a fifth of three metres would be more"


def test_a_bone_between_that_inherits_nothing():
    """An unmapped bone between chest and arm that keeps its own rotation: what hangs from it still turns right."""
    rig = figure(mixamo_names(""))
    arm = rig.bones[rig.index["LeftArm"]]
    collar = rig.bones[rig.index["LeftShoulder"]]
    middle = Bone("Pad", collar.name, collar.head, arm.head, bone_matrix(collar.head, arm.head, 0.5))
    at = rig.index["LeftArm"]
    bones = [*rig.bones[:at], middle, replace(arm, parent="Pad"), *rig.bones[at + 1 :]]
    empty()
    armature = build(replace(rig, bones=bones))
    armature.data.bones["Pad"].use_inherit_rotation = False
    wanted = motion()
    animate(armature, wanted)
    assert differences(armature, wanted)[0] < 0.5


def test_negative_scale_is_refused():
    empty()
    armature = build(figure(mixamo_names()))
    armature.scale = (-1, 1, 1)
    bpy.context.view_layer.update()
    with pytest.raises(RigError, match="mirrored"):
        animate(armature)


def test_the_artists_own_t_pose():
    """A rest pose that nobody would read right: hands turned over. The pose that the artist keeps is matched."""
    empty()
    armature = mannequin.add()
    plain = animate(armature, walk(0.5)).rotations
    assert describe(armatures.read_rig(armature), armatures.bone_map(armature)) == "T-pose"
    bone = armature.pose.bones["left_elbow"]
    armature.animation_data_clear()
    for each in armature.pose.bones:
        each.rotation_mode = "QUATERNION"
        each.matrix_basis.identity()
    bone.rotation_quaternion = rot.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.radians(30.0))
    bpy.context.view_layer.update()
    armatures.keep_tpose(armature)
    assert armatures.has_tpose(armature)
    rig = armatures.read_rig(armature)
    assert rig.tpose and "was set" in describe(rig, armatures.bone_map(armature))
    animation = animate(armature, walk(0.5))
    elbow = animation.bones.index("left_elbow")
    assert np.allclose(np.degrees(rot.angle(animation.rotations[:, elbow], plain[:, elbow])), 30.0, atol=0.1)
    same = [k for k, name in enumerate(animation.bones) if name not in ("left_elbow", "left_wrist")]
    assert np.degrees(rot.angle(animation.rotations[:, same], plain[:, same])).max() < 0.1
    round_trip(armature)
    armatures.keep_tpose(armature, forget=True)
    assert np.allclose(animate(armature, walk(0.5)).rotations, plain)


def test_linked_armatures_are_told_about_overrides(tmp_path):
    empty()
    figure_object = mannequin.add()
    collection = bpy.data.collections.new("Figure")
    for item in (figure_object, *figure_object.children):
        collection.objects.link(item)
    bpy.context.scene.collection.children.link(collection)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "figure.blend"))
    empty()
    with bpy.data.libraries.load(str(tmp_path / "figure.blend"), link=True) as (_, target):
        target.collections = ["Figure"]
    linked = target.collections[0]
    bpy.context.scene.collection.children.link(linked)
    armature = next(item for item in linked.objects if item.type == "ARMATURE")
    with pytest.raises(RigError, match="library override"):
        armatures.read_rig(armature)
    made = linked.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer, do_fully_editable=True)
    armature = next(item for item in made.all_objects if item.type == "ARMATURE")
    round_trip(armature)


@pytest.mark.parametrize("overridden", [False, True])
def test_the_reference_pose_of_a_degenerate_rest_pose_survives(tmp_path, overridden):
    """A file whose rest pose is no human shape: the pose that was read from its first frame stays with the armature,
    when its action is gone and the file was saved and opened again, on a library override as well."""
    empty()
    armature = build(figure(mixamo_names()))
    reference = np.array([bone.matrix for bone in armatures.bones(armature)]) + 0.25
    kept.register()
    try:
        if overridden:
            bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
            empty()
            with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (source, target):
                target.objects = list(source.objects)
            bpy.context.scene.collection.objects.link(target.objects[0])
            armature = target.objects[0].override_create(remap_local_usages=True)
            armature.override_library.is_system_override = False
        armatures.keep_reference(armature, reference)
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
        armature = next(item for item in bpy.data.objects if bool(item.override_library) == overridden)
        rig = Rig(armature.name, armatures.bones(armature))
        assert np.allclose(armatures._kept_reference(armature, rig), reference, atol=1e-6)
        kept.write(armature, kept.REFERENCE, "{broken")
        assert armatures._kept_reference(armature, rig) is None
    finally:
        kept.unregister()


@pytest.mark.parametrize("name", [
    "anonymous_bones", "cesium_man", "cmu_131_01", "daz_cmu_91_48", "kaykit_medium", "kenney_medium",
    "mesh2motion_control", "mesh2motion_human", "mpfb_default", "mpfb_mixamo", "quaternius_modular_man",
    "reactidle_freemocap", "rigify_metarig", "rokoko_dance", "vrm_addon_example",
])  # fmt: skip
def test_round_trip_on_characters_of_other_people(shared, name):
    folder = shared / "rigs" / name
    if not (folder / "map.json").is_file():
        pytest.skip(f"no rig {name} in the sample data")
    file = json.loads((folder / "map.json").read_text())["file"]
    empty()
    if file is None:
        bpy.ops.preferences.addon_enable(module="rigify")
        bpy.ops.object.armature_human_metarig_add()
        armature = bpy.context.object
    else:
        armature = import_rig(folder / file)
    bpy.context.scene.render.fps = 30
    wanted = walk(0.7)
    round_trip(armature, wanted)
    # The foot that stands, stands: on the target's own legs
    animation = retarget(walk(2.0), armatures.read_rig(armature), armatures.bone_map(armature), 30.0)
    keys.write_action(armature, animation, "locked", 1)
    heads = world_heads(armature, range(1, 61, 2))
    mapping = armatures.bone_map(armature)
    leg = np.linalg.norm(heads[mapping.bone("left_hip")][0] - heads[mapping.bone("left_knee")][0])
    ankle = heads[mapping.bone("left_foot") or mapping.bone("left_ankle")]
    steps = np.linalg.norm(np.diff(ankle, axis=0), axis=-1)
    assert steps.min() < 0.01 * leg and steps.max() > 0.1 * leg

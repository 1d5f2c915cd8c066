"""The bone map that the artist edits: it wins over the matcher, survives everything, and never loses a choice."""

import json

import bpy
import pytest
from blender.scenes import build
from figures import figure, mixamo_names

from blender_addon import api, maps, properties, results
from blender_addon.rig import RigError, canonical
from blender_addon.scene import armature as armatures
from blender_addon.scene import stored_map


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(maps.service, "user_folder", lambda name: tmp_path / name)
    return tmp_path / "bone_maps"


@pytest.fixture
def rig(addon):
    armature = build(figure(mixamo_names()))
    bpy.context.view_layer.objects.active = armature
    return armature


def bone(armature, joint):
    found = api.bone_map(armature)[joint]
    return found[0] if isinstance(found, list) else found


def test_a_stored_map_comes_first(rig):
    before = api.bone_map(rig)
    assert not stored_map.text(rig)
    bpy.ops.momug.choose_bone(joint="left_wrist", bone="", how="NONE")
    assert api.bone_map(rig)["left_wrist"] is None
    assert {joint: bones for joint, bones in api.bone_map(rig).items() if joint != "left_wrist"} == {
        joint: bones for joint, bones in before.items() if joint != "left_wrist"
    }
    bpy.ops.momug.choose_bone(joint="left_wrist", how="AUTOMATIC")
    assert api.bone_map(rig) == before


def test_the_artists_choice_moves_the_figure(fake, rig):
    rig.data.bones["mixamorig:LeftForeArm"].name = "x17"
    bpy.ops.momug.choose_bone(joint="left_elbow", bone="x17", how="USE")
    assert bone(rig, "left_elbow") == "x17"
    action = api.animate(rig, "a walk", seconds=1.0)
    assert "x17" in {name for name, *_ in results.authorship(action)}


def test_the_fields_of_the_panel_show_and_set(rig):
    fields = properties.get(bpy.context.scene).bones
    assert fields.left_knee == bone(rig, "left_knee") != ""
    fields.left_wrist = "mixamorig:LeftToeBase"
    assert bone(rig, "left_wrist") == "mixamorig:LeftToeBase" == fields.left_wrist
    assert api.bone_map(rig)["left_foot"] is None, "a bone has one joint"
    fields.left_wrist = ""
    assert api.bone_map(rig)["left_wrist"] is None and bone(rig, "left_foot")
    fields.left_wrist = "nobody"
    assert api.bone_map(rig)["left_wrist"] is None, "a bone that is not there is no choice"
    assert stored_map.read(rig).edited == {"left_wrist"}
    fields.left_knee = "mixamorig:LeftFoot"
    assert "is chosen as the left shin, so the left foot has no bone" in results.map_health(rig).problem


def test_detect_never_loses_a_choice(rig):
    maps.choose(rig, "left_wrist", [])
    maps.choose(rig, "right_foot", ["mixamorig:RightHand"])
    bpy.ops.momug.detect_bones()
    assert api.bone_map(rig)["left_wrist"] is None and bone(rig, "right_foot") == "mixamorig:RightHand"
    assert stored_map.read(rig).edited == {"left_wrist", "right_foot"}
    bpy.ops.momug.detect_bones(forget=True)
    assert bone(rig, "left_wrist") and not stored_map.read(rig).edited


def test_clear(rig):
    with pytest.raises(RuntimeError, match="No map is kept"):
        bpy.ops.momug.clear_bones()
    maps.choose(rig, "left_wrist", [])
    assert bpy.ops.momug.clear_bones() == {"FINISHED"}
    assert bone(rig, "left_wrist") and stored_map.read(rig) is None and not list(rig.keys())


def test_chains(rig):
    rig.data.bones["mixamorig:Neck"].name = "neck 1"
    maps.choose(rig, "neck", ["neck 1"])
    maps.choose(rig, "spine2", ["mixamorig:Spine1"])
    bpy.ops.momug.choose_bone(joint="spine2", bone="mixamorig:Spine2", how="ADD")
    assert api.bone_map(rig)["spine2"] == ["mixamorig:Spine1", "mixamorig:Spine2"]
    assert api.bone_map(rig)["spine3"] is None, "a bone has one joint"
    bpy.ops.momug.choose_bone(joint="spine2", bone="mixamorig:Spine2", how="REMOVE")
    assert api.bone_map(rig)["spine2"] == "mixamorig:Spine1"


def test_mirror(rig):
    maps.choose(rig, "left_foot", ["mixamorig:LeftHand"])
    bpy.ops.momug.mirror_bones(source="left")
    assert bone(rig, "right_foot") == "mixamorig:RightHand"
    assert "right_foot" in stored_map.read(rig).edited


def test_mirror_without_names(addon):
    names = {joint: f"b{number}" for number, joint in enumerate(mixamo_names())}
    armature = build(figure(names))
    bpy.context.view_layer.objects.active = armature
    for joint, name in names.items():
        if not joint.startswith("right_") or joint == "right_hip":
            maps.choose(armature, joint, [name])
        else:
            maps.choose(armature, joint, [])
    assert maps.validate(armature)
    maps.mirror(armature, "left")
    assert {joint: bone(armature, joint) for joint in names} == names
    assert maps.validate(armature) == []


def test_validate_says_what_is_wrong(rig):
    assert maps.validate(rig) == []
    maps.choose(rig, "left_knee", ["mixamorig:RightLeg"])
    maps.choose(rig, "right_knee", ["mixamorig:LeftLeg"])
    told = " ".join(maps.validate(rig))
    assert "does not hang from" in told
    maps.choose(rig, "right_knee", [])
    told = " ".join(maps.validate(rig))
    assert "right shin has no bone" in told
    assert bpy.ops.momug.validate_bones() == {"FINISHED"}
    maps.choose(rig, "left_elbow", ["mixamorig:Head"])
    maps.choose(rig, "head", ["mixamorig:Head"])
    assert "already the" in " ".join(maps.validate(rig))


def test_the_health_in_the_panel_follows(rig):
    assert not results.map_health(rig).problem
    maps.choose(rig, "left_hip", [])
    assert "thigh" in results.map_health(rig).problem
    with pytest.raises(api.Error, match="thigh"):
        api.bone_map(rig)
    maps.clear(rig)
    assert not results.map_health(rig).problem


def test_a_bone_that_was_renamed_is_said(rig):
    maps.choose(rig, "left_wrist", ["mixamorig:LeftHand"])
    rig.data.bones["mixamorig:LeftHand"].name = "paw"
    assert "no bone 'mixamorig:LeftHand' any more" in results.map_health(rig).problem
    assert stored_map.read(rig).joints["left_wrist"] == ["mixamorig:LeftHand"], "the choice is not thrown away"
    rig.data.bones["paw"].name = "mixamorig:LeftHand"
    assert not results.map_health(rig).problem


def test_joints_that_nobody_chose_are_found_again(rig):
    maps.detect(rig)
    rig.data.bones["mixamorig:LeftHand"].name = "mixamorig1:LeftHand"
    assert bone(rig, "left_wrist") in ("mixamorig1:LeftHand", None) and not results.map_health(rig).problem


def test_saved_with_the_file_and_undone(rig, tmp_path):
    bpy.ops.ed.undo_push(message="before")
    maps.choose(rig, "left_wrist", [])
    maps.choose(rig, "head", ["mixamorig:Neck"])
    bpy.ops.ed.undo_push(message="chosen")
    stored = stored_map.text(rig)
    bpy.ops.ed.undo()
    assert stored_map.read(bpy.data.objects["figure"]) is None
    bpy.ops.ed.redo()
    assert stored_map.text(bpy.data.objects["figure"]) == stored
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    rig = bpy.data.objects["figure"]
    assert stored_map.text(rig) == stored and api.bone_map(rig)["left_wrist"] is None
    assert bone(rig, "head") == "mixamorig:Neck"


def test_it_stays_on_a_library_override(rig, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (source, target):
        target.objects = list(source.objects)
    linked = target.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    with pytest.raises(RigError, match="library override"):
        maps.detect(linked)
    override = linked.override_create(remap_local_usages=True)
    override.override_library.is_system_override = False
    maps.choose(override, "left_wrist", [])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    override = next(thing for thing in bpy.data.objects if thing.override_library)
    assert api.bone_map(override)["left_wrist"] is None and stored_map.read(override).edited == {"left_wrist"}
    maps.clear(override)
    assert stored_map.read(override) is None


def test_files(rig, user_folder, tmp_path):
    maps.choose(rig, "left_wrist", [])
    assert maps.saved() == []
    assert bpy.ops.momug.save_bone_map(name="my figure") == {"FINISHED"}
    assert maps.saved() == ["my figure"] and (user_folder / "my figure.json").is_file()
    other = build(figure(mixamo_names()), "other")
    bpy.context.view_layer.objects.active = other
    assert api.bone_map(other)["left_wrist"] == "mixamorig:LeftHand"
    assert bpy.ops.momug.load_bone_map(name="my figure") == {"FINISHED"}
    assert api.bone_map(other)["left_wrist"] is None
    shared = tmp_path / "shared map"
    assert bpy.ops.momug.export_bone_map(filepath=str(shared)) == {"FINISHED"}
    maps.clear(other)
    assert bpy.ops.momug.import_bone_map(filepath=f"{shared}.json") == {"FINISHED"}
    assert api.bone_map(other)["left_wrist"] is None and bone(other, "head") == "mixamorig:Head"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[]", "not a bone map"),
        ('{"format": "else"}', "not a bone map"),
        ("[" * 100_000, "cannot be read"),
        ('{"format": "momug bone map", "version": 99}', "newer"),
        ('{"format": "momug bone map", "version": 1, "joints": {"tail": []}}', "damaged"),
        ('{"format": "momug bone map", "version": 1, "joints": {"head": "Head"}}', "damaged"),
        ('{"format": "momug bone map", "version": 1, "joints": {"head": ["Dog head"]}}', "another figure"),
        ("x" * 900_000, "too long"),
    ],
)
def test_files_that_are_no_map(rig, tmp_path, text, words):
    before = stored_map.text(rig)
    path = tmp_path / "map.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RigError, match=words):
        maps.load(rig, path)
    assert stored_map.text(rig) == before
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RigError, match="could not be read"):
        maps.load(rig, path)


@pytest.mark.parametrize("name", ["", " ", "../up", "a/b", "a\\b", ".hidden", "x" * 200, "a:b"])
def test_names_that_are_no_files(rig, user_folder, name):
    with pytest.raises(RuntimeError, match="needs a name"):
        bpy.ops.momug.save_bone_map(name=name)
    assert not user_folder.exists() or not list(user_folder.iterdir())


def test_a_damaged_map_on_the_armature_is_not_used(rig, caplog):
    rig["momug_bone_map"] = json.dumps({"format": "momug bone map", "version": 1, "joints": 7})
    assert bone(rig, "left_knee") == "mixamorig:LeftLeg" and "not used" in caplog.text
    rig["momug_bone_map"] = 12
    assert bone(rig, "left_knee") == "mixamorig:LeftLeg"


def test_every_joint_has_a_field_and_a_menu(rig):
    fields = properties.get(bpy.context.scene).bones
    for joint in canonical.JOINTS:
        assert getattr(fields, joint) in rig.data.bones
    assert set(armatures.bone_map(rig).joints) == set(canonical.JOINTS)


def test_the_words_about_a_joint(rig):
    from blender_addon.operators import bone_map as buttons

    health = results.map_health(rig)
    assert "LeftLeg" in " ".join(buttons._about(health, "left_knee"))
    maps.choose(rig, "left_knee", [])
    told = " ".join(buttons._about(results.map_health(rig), "left_knee"))
    assert "needed" in told and "You said" in told


def test_the_pose_that_motion_is_matched_with(rig):
    """Said in words, corrected by a pose of the artist's, and taken back."""
    assert results.map_health(rig).pose == "T-pose"
    assert bpy.ops.momug.keep_tpose() == {"FINISHED"}
    assert armatures.has_tpose(rig) and results.map_health(rig).pose == "the T-pose that was set"
    assert bpy.ops.momug.forget_tpose() == {"FINISHED"}
    assert not armatures.has_tpose(rig) and results.map_health(rig).pose == "T-pose"


def test_a_lowered_arm_is_an_a_pose_until_a_t_pose_is_set(addon):
    """Arms that hang in rest and are raised in pose: the raised ones are the T-pose, and motion changes with it."""
    armature = build(figure(mixamo_names(), arms_down=45.0))
    bpy.context.view_layer.objects.active = armature
    assert results.map_health(armature).pose.startswith("A-pose, arms 4")
    before = armatures.read_rig(armature)
    bpy.ops.momug.keep_tpose()
    after = armatures.read_rig(armature)
    assert not before.tpose and after.tpose and after.reference is not None

"""The artist's bone map as plain data: kept as JSON, mirrored, checked, laid over what the matcher says."""

import pytest
from figures import figure, mixamo_names

from blender_addon.rig import RigError, canonical, editing, match
from blender_addon.rig.editing import EditedMap


@pytest.fixture
def bones():
    return figure(mixamo_names()).bones


def test_json_brings_everything_back(bones):
    stored = editing.detected(match(bones), None)
    stored.choose("left_wrist", [])
    stored.choose("neck", ["Hals ä", "首"])
    again = editing.from_json(stored.to_json())
    assert (again.joints, again.edited, again.family) == (stored.joints, stored.edited, stored.family)
    assert again.edited == {"left_wrist", "neck"} and set(again.joints) == set(canonical.JOINTS)


@pytest.mark.parametrize("text", ["", "null", "{}", '{"format": "momug bone map"}', "\x00", '{"a": NaN}', "[1"])
def test_what_is_no_map_is_refused(text):
    with pytest.raises(RigError, match="bone map"):
        editing.from_json(text)


def test_nothing_edited_is_what_the_matcher_says(bones):
    automatic = match(bones)
    found = editing.edited_map(automatic, editing.detected(automatic, None), bones)
    assert found.joints == automatic.joints and found.error is None and found.confidence == automatic.confidence
    assert found.chains == automatic.chains and found.twist == automatic.twist


def test_choices_win_and_are_sure(bones):
    automatic = match(bones)
    stored = editing.detected(automatic, None)
    stored.choose("left_foot", ["mixamorig:LeftHand"])
    found = editing.edited_map(automatic, stored, bones)
    assert found.bone("left_foot") == "mixamorig:LeftHand" and found.confidence["left_foot"] == 1.0
    assert found.bone("left_wrist") is None and found.error is None
    assert editing.detected(match(bones), stored).joints["left_foot"] == ["mixamorig:LeftHand"]


def test_a_figure_that_the_matcher_refuses_can_be_mapped_by_hand():
    names = {joint: f"q{number}" for number, joint in enumerate(mixamo_names())}
    bones = figure(names).bones[::1]
    wheels = [bone for bone in bones if bone.name in ("q0", "q1")]
    assert match(wheels).error
    stored = EditedMap({})
    for joint, name in names.items():
        stored.choose(joint, [name])
    found = editing.edited_map(match(bones), stored, bones)
    assert found.error is None and {joint: found.bone(joint) for joint in names} == names
    assert editing.problems(found, bones) == {}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("thigh.L", "thigh.R"),
        ("LeftArm", "RightArm"),
        ("mixamorig:RightArm", "mixamorig:LeftArm"),
        ("upperarm_l", "upperarm_r"),
        ("Bip01 R Thigh", "Bip01 L Thigh"),
        ("J_Bip_L_UpperArm", "J_Bip_R_UpperArm"),
        ("DEF-thigh.L.001", "DEF-thigh.R.001"),
        ("lShldr", "rShldr"),
        ("左腕", "右腕"),
        ("spine", "spine"),
        ("Leg", "Leg"),
        ("roll", "roll"),
        ("", ""),
    ],
)
def test_names_of_the_other_side(name, other):
    assert editing.flip_name(name) == other and editing.flip_name(other) == name


@pytest.mark.parametrize("source", ["left", "right"])
@pytest.mark.parametrize("named", [True, False])
def test_mirror(source, named):
    names = mixamo_names() if named else {joint: f"b{number}" for number, joint in enumerate(mixamo_names())}
    bones = figure(names).bones
    stored = EditedMap({joint: [name] for joint, name in names.items() if not joint.startswith(("left", "right"))})
    for joint, name in names.items():
        if joint.startswith(source):
            stored.choose(joint, [name])
    other = "right" if source == "left" else "left"
    if not named:
        stored.choose(f"{other}_hip", [names[f"{other}_hip"]])
    found, failed = editing.mirrored(stored, bones, source)
    assert not failed and found.joints == {joint: [names[joint]] for joint in canonical.JOINTS}
    assert stored.joints[f"{other}_knee"] == [], "the map that was given stays"


def test_mirror_says_what_has_no_other_side(bones):
    stored = editing.detected(match(bones), None)
    lonely = [bone for bone in bones if bone.name != "mixamorig:RightToeBase"]
    found, failed = editing.mirrored(stored, lonely, "left")
    assert failed == ["right_foot"] and found.edited == set()


def test_problems(bones):
    automatic = match(bones)
    stored = editing.detected(automatic, None)
    for joint in ("hip", "knee", "ankle"):  # legs crossed: each chain is in order, but on the wrong side
        left, right = stored.joints[f"left_{joint}"], stored.joints[f"right_{joint}"]
        stored.choose(f"left_{joint}", right)
        stored.choose(f"right_{joint}", left)
    told = editing.problems(editing.edited_map(automatic, stored, bones), bones)
    assert "other side" in " ".join(told["left_knee"])
    stored = editing.detected(automatic, None)
    stored.choose("left_elbow", stored.joints["left_shoulder"])
    told = editing.problems(editing.edited_map(automatic, stored, bones), bones)
    assert "needed" in " ".join(told["left_shoulder"])

"""Which bone is the left knee: exact tables, families of names, and refusals in words."""

import numpy as np
import pytest
from figures import bone_matrix, figure, mixamo_names

from blender_addon.rig import Bone, RigError, canonical, match
from blender_addon.rig.matcher import share_spine
from blender_addon.rig.names import Names, split_words


def sided(left: dict[str, str], middle: dict[str, str], swap) -> dict[str, str]:
    names = dict(middle)
    for joint, name in left.items():
        names[f"left_{joint}"] = name
        names[f"right_{joint}"] = swap(name)
    return names


def ends(a: str, b: str):
    return lambda name: name[: -len(a)] + b if name.endswith(a) else name.replace(a, b, 1)


SPINES = {"spine1": "spine_01", "spine2": "spine_02", "spine3": "spine_03"}
FAMILIES = {
    "Unreal Engine": sided(
        {"collar": "clavicle_l", "shoulder": "upperarm_l", "elbow": "lowerarm_l", "wrist": "hand_l", "hip": "thigh_l",
         "knee": "calf_l", "ankle": "foot_l", "foot": "ball_l"},
        {"pelvis": "pelvis", **SPINES, "neck": "neck_01", "head": "head"}, ends("_l", "_r")),
    "VRoid": sided(
        {"collar": "J_Bip_L_Shoulder", "shoulder": "J_Bip_L_UpperArm", "elbow": "J_Bip_L_LowerArm",
         "wrist": "J_Bip_L_Hand", "hip": "J_Bip_L_UpperLeg", "knee": "J_Bip_L_LowerLeg", "ankle": "J_Bip_L_Foot",
         "foot": "J_Bip_L_ToeBase"},
        {"pelvis": "J_Bip_C_Hips", "spine1": "J_Bip_C_Spine", "spine2": "J_Bip_C_Chest",
         "spine3": "J_Bip_C_UpperChest", "neck": "J_Bip_C_Neck", "head": "J_Bip_C_Head"}, ends("_L_", "_R_")),
    "3ds Max Biped": sided(
        {"collar": "Bip01 L Clavicle", "shoulder": "Bip01 L UpperArm", "elbow": "Bip01 L Forearm",
         "wrist": "Bip01 L Hand", "hip": "Bip01 L Thigh", "knee": "Bip01 L Calf", "ankle": "Bip01 L Foot",
         "foot": "Bip01 L Toe0"},
        {"pelvis": "Bip01 Pelvis", "spine1": "Bip01 Spine", "spine2": "Bip01 Spine1", "spine3": "Bip01 Spine2",
         "neck": "Bip01 Neck", "head": "Bip01 Head"}, ends(" L ", " R ")),
    "Character Creator": sided(
        {"collar": "CC_Base_L_Clavicle", "shoulder": "CC_Base_L_Upperarm", "elbow": "CC_Base_L_Forearm",
         "wrist": "CC_Base_L_Hand", "hip": "CC_Base_L_Thigh", "knee": "CC_Base_L_Calf", "ankle": "CC_Base_L_Foot",
         "foot": "CC_Base_L_ToeBase"},
        {"pelvis": "CC_Base_Hip", "spine1": "CC_Base_Waist", "spine2": "CC_Base_Spine01",
         "spine3": "CC_Base_Spine02", "neck": "CC_Base_NeckTwist01", "head": "CC_Base_Head"}, ends("_L_", "_R_")),
    "Daz Genesis": sided(
        {"collar": "lCollar", "shoulder": "lShldrBend", "elbow": "lForearmBend", "wrist": "lHand", "hip": "lThighBend",
         "knee": "lShin", "ankle": "lFoot", "foot": "lToe"},
        {"pelvis": "hip", "spine1": "abdomenLower", "spine2": "abdomenUpper", "spine3": "chestLower",
         "neck": "neckLower", "head": "head"}, lambda name: "r" + name[1:]),
    "words in the middle": sided(
        {"collar": "Char_LeftShoulder_jnt", "shoulder": "Char_LeftArm_jnt", "elbow": "Char_LeftForeArm_jnt",
         "wrist": "Char_LeftHand_jnt", "hip": "Char_LeftUpLeg_jnt", "knee": "Char_LeftLeg_jnt",
         "ankle": "Char_LeftFoot_jnt", "foot": "Char_LeftToes_jnt"},
        {"pelvis": "Char_Hips_jnt", "spine1": "Char_Spine_jnt", "spine2": "Char_Spine1_jnt",
         "spine3": "Char_Spine2_jnt", "neck": "Char_Neck_jnt", "head": "Char_Head_jnt"}, ends("Left", "Right")),
    "Xsens": sided(
        {"collar": "LeftCollar", "shoulder": "LeftShoulder", "elbow": "LeftElbow", "wrist": "LeftWrist",
         "hip": "LeftHip", "knee": "LeftKnee", "ankle": "LeftAnkle", "foot": "LeftToe"},
        {"pelvis": "Hips", "spine1": "Chest", "spine2": "Chest2", "spine3": "Chest4", "neck": "Neck", "head": "Head"},
        ends("Left", "Right")),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "mixamorig:", "mixamorig12:", "mixamorig_"])
def test_mixamo_behind_any_prefix(prefix):
    names = mixamo_names(prefix)
    found = match(figure(names).bones)
    assert found.family == "Mixamo" and found.error is None
    assert {joint: found.bone(joint) for joint in canonical.JOINTS} == names


def test_our_own_mannequin():
    found = match(figure().bones)
    assert found.family == "MoMug mannequin"
    assert all(found.joints[joint] == [joint] for joint in canonical.JOINTS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("root", [None, "Armature_Root"])
def test_families_by_their_names(family, root):
    names = FAMILIES[family]
    found = match(figure(names, root=root).bones).require()
    assert {joint: found.bone(joint) for joint in canonical.JOINTS} == names


def test_mixamo_names_with_another_spine():
    names = mixamo_names("")
    names |= {"spine2": "Chest", "spine3": "UpperChest", "left_foot": "LeftToes", "right_foot": "RightToes"}
    found = match(figure(names).bones).require()
    assert {joint: found.bone(joint) for joint in canonical.JOINTS} == names


def test_optional_joints_may_be_absent():
    names = mixamo_names("")
    for joint in ("left_wrist", "right_wrist", "left_foot", "right_foot", "neck", "left_collar", "right_collar"):
        del names[joint]
    found = match(figure(names).bones).require()
    assert found.bone("head") == "Head" and found.bone("left_wrist") is None and found.bone("neck") is None


def test_halves_of_a_limb_the_upper_one_carries_the_joint():
    rig = figure(FAMILIES["Unreal Engine"])
    bones = []
    for bone in rig.bones:
        bones.append(bone)
        if bone.name == "upperarm_l":
            middle = (bone.head + bone.tail) / 2
            bones.append(Bone("upperarm_twist_01_l", bone.name, middle, bone.tail, bone_matrix(middle, bone.tail, 0.0)))
    assert match(bones).require().bone("left_shoulder") == "upperarm_l"


@pytest.mark.parametrize(
    "lost, words",
    [
        (["left_knee"], "left shin"),
        (["left_knee", "right_knee"], "left shin and right shin"),
        (["left_elbow"], "left forearm"),
        (["right_hip", "right_knee", "right_ankle", "right_foot"], "right thigh, right shin and right foot"),
    ],
)
def test_missing_joints_are_named_in_animators_words(lost, words):
    names = {joint: name for joint, name in mixamo_names("").items() if joint not in lost}
    found = match(figure(names).bones)
    assert found.missing == [joint for joint in canonical.REQUIRED if joint in lost]
    assert words in found.error
    with pytest.raises(RigError, match="Cannot tell which bone"):
        found.require()


def test_no_bones_and_too_few_are_refused_in_a_sentence():
    assert "no bones" in match([]).error
    rig = [Bone(n, None, [0, 0, 0], [0, 0, 1], np.eye(4)) for n in ("root", "wheel", "axle")]
    assert "only 3 bones" in match(rig).error and len(match(rig).error) < 200


def test_wrong_parent_order_is_not_believed():
    """A forearm that does not hang from the upper arm is no forearm."""
    bones = figure(mixamo_names("")).bones
    forearm = next(bone for bone in bones if bone.name == "LeftForeArm")
    forearm.parent = "Hips"
    assert "left_elbow" in match(bones).missing


def test_sides_follow_the_feet_when_names_are_swapped():
    right_way = mixamo_names("")
    wrong_way = {canonical.mirror(joint): name for joint, name in right_way.items()}
    found = match(figure(wrong_way).bones)
    assert found.swapped
    assert found.bone("left_knee") == "RightLeg"


def test_a_figure_that_faces_the_other_way_keeps_its_sides():
    found = match(figure(mixamo_names(""), facing_y=True).bones)
    assert not found.swapped and found.bone("left_knee") == "LeftLeg"


@pytest.mark.parametrize(
    "name, words",
    [
        ("mixamorig:LeftUpLeg", ["left", "up", "leg"]),
        ("upperarm01.L", ["upperarm", "01", "l"]),
        ("lShldr", ["l", "shldr"]),
        ("LHipJoint", ["l", "hip", "joint"]),
        ("Bip01 L Thigh", ["bip", "01", "l", "thigh"]),
        ("rig|thigh_l", ["thigh", "l"]),
    ],
)
def test_split_words(name, words):
    assert list(split_words(name)) == words


@pytest.mark.parametrize(
    "name, key",
    [
        ("LeftForeArm", ("left", "forearm")),
        ("forearm.R", ("right", "forearm")),
        ("lowerarm_l", ("left", "lowerarm")),
        ("leftfoot", ("left", "foot")),
        ("CC_Base_L_ToeBase", ("left", "toe")),
        ("Leg", ("", "leg")),
    ],
)
def test_canonical_names(name, key):
    assert Names([name]).key[name] == key


@pytest.mark.parametrize("count", range(1, 8))
def test_spines_are_dealt_in_order(count):
    spine = [f"s{i}" for i in range(count)]
    parts = share_spine(spine)
    assert sum(parts, []) == spine
    assert parts[0] and (count < 2 or parts[2])

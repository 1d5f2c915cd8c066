"""Skeletons whose names say nothing, say the wrong thing, or say too much: shape, doubt and refusals."""

import numpy as np
import pytest
from figures import figure, mixamo_names
from skeletons import anonymous, bone, chair, person, plain_names, quadruped, renamed, tail, together

from blender_addon.rig import Bone, Constraint, canonical, match
from blender_addon.rig.editing import EditedMap, edited_map, problems
from blender_addon.rig.matcher import share_spine


def wanted(names: dict[str, list[str]], new: dict[str, str]) -> dict[str, list[str]]:
    joints = {joint: names.get(joint, []) for joint in canonical.JOINTS}
    joints |= dict(zip(canonical.SPINE, share_spine(names["spine"]), strict=True))
    return {joint: [new[name] for name in listed] for joint, listed in joints.items()}


def turned(seed: int, scale: float) -> np.ndarray:
    """An object matrix with any rotation and some scale."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = q * np.sign(np.linalg.det(q)) * scale
    matrix[:3, 3] = [3.0, -2.0, 1.0]
    return matrix


POSES = {
    "T-pose": {},
    "A-pose": {"arms_down": 45.0},
    "arms down": {"arms_down": 85.0, "elbows": 10.0},
    "facing the other way": {"facing_y": True, "arms_down": 40.0, "elbows": 30.0},
    "turned object": {"object_matrix": turned(1, 1.0), "arms_down": 10.0},
    "small object, toes out, short legs": {"object_matrix": turned(2, 0.01), "toes_out": 20.0, "legs": 0.7,
                                           "arms_down": 60.0, "scale": 3.0},
}  # fmt: skip


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize(
    "spines, necks, collars, fingers, ends",
    [(1, 0, 0, 0, False), (2, 1, 1, 0, True), (3, 1, 1, 5, False), (3, 1, 1, 5, True), (5, 2, 2, 3, False),
     (7, 1, 1, 0, False), (3, 2, 1, 5, True)],
)  # fmt: skip
def test_nameless_people_are_mapped_by_their_shape(pose, spines, necks, collars, fingers, ends):
    names = plain_names(spines, necks, collars)
    bones = person(names, fingers=fingers, ends=ends, face=pose != "T-pose", root="root", **POSES[pose])
    made, new = anonymous(bones, seed=spines + fingers)
    found = match(made).require()
    assert found.joints == wanted(names, new)
    assert found.family == "shape of the skeleton" and not found.swapped
    assert all(0.2 < value < 0.85 for value in found.confidence.values())
    assert any("shape of the skeleton" in note for note in found.notes)


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_names_are_not_believed(seed):
    """Mixamo names dealt to the wrong bones: the shape decides."""
    names = mixamo_names("")
    bones = figure(names, arms_down=30.0).bones
    given = [b.name for b in bones]
    random = np.random.default_rng(seed)
    shuffled = dict(zip(given, random.permutation(given).tolist(), strict=True))
    found = match(renamed(bones, shuffled))
    assert found.error is None
    assert {joint: found.bone(joint) for joint in canonical.JOINTS} == {j: shuffled[n] for j, n in names.items()}


def test_sides_by_names_where_the_shape_does_not_tell():
    names = plain_names(toes=False)
    bones = person(names, arms_down=20.0)
    plane = next(b for b in bones if b.name == "pelvis").head[1]
    flat = [bone(b.name, b.parent, [b.head[0], plane, b.head[2]], [b.tail[0], plane, b.tail[2]]) for b in bones]
    made, _ = anonymous(flat)
    found = match(made)
    assert "Left and right cannot be told apart" in found.error
    assert set(found.candidates["left_knee"]) == set(found.candidates["right_knee"])
    assert not found.joints["left_knee"] and found.joints["pelvis"]
    # The same bones with nothing but sides in their names
    sided = {b.name: f"{k:02d}_{ {'l': 'L', 'r': 'R'}.get(b.name[0] if '_' in b.name else '', 'M') }"
             for k, b in enumerate(flat)}  # fmt: skip
    found = match(renamed(flat, sided)).require()
    assert found.joints == wanted(names, sided)


def test_four_arms_are_said_and_not_guessed():
    names = plain_names()
    bones = person(names)
    second = [b for b in bones if b.name.split("_")[-1] in ("collar1", "shoulder", "elbow", "wrist")]
    down = np.array([0.0, 0.0, -0.15])
    lower = {b.name: b.name + "_too" for b in second}
    bones += [bone(lower[b.name], lower.get(b.parent, b.parent), b.head + down, b.tail + down) for b in second]
    made, new = anonymous(bones)
    found = match(made)
    assert "More than one bone could be the left upper arm" in found.error
    assert {new["left_shoulder"], new["left_shoulder_too"]} <= set(found.candidates["left_shoulder"])
    assert "left_shoulder" in found.missing and "left_knee" not in found.missing
    # Named alike, too
    alike = {b.name: b.name.replace("_too", "2") if b.name.endswith("_too") else b.name + "1" for b in bones}
    found = match(renamed(bones, alike))
    assert set(found.candidates["left_elbow"]) == {"left_elbow1", "left_elbow2"}
    assert "'left_shoulder1' or 'left_shoulder2'" in found.error


@pytest.mark.parametrize(
    "bones, reason",
    [
        (quadruped(), "four legs"),
        (anonymous(quadruped())[0], "four legs"),
        (chair(), "not a humanoid"),
        (anonymous(chair())[0], "not a humanoid"),
        (tail(), "single chain"),
        (tail(4), "only 4 bones"),
        (together(person(), person(), [2.0, 0.0, 0.0]), "two characters"),
        (together(person(), person(), [2.0, 0.0, 0.0], root="scene"), "two characters"),
        (anonymous(together(person(), person(), [2.0, 0.0, 0.0]))[0], "two characters"),
    ],
    ids=["dog", "nameless dog", "chair", "nameless chair", "tail", "short tail", "two people", "two under one root",
         "two nameless people"],
)  # fmt: skip
def test_what_is_no_person_is_refused_with_the_reason(bones, reason):
    found = match(bones)
    assert reason in found.error and found.error.endswith(".") and len(found.error) < 220
    assert found.missing


def test_names_of_a_person_on_four_legs_are_not_enough():
    parts = {
        "upper": ("thigh", "upperarm"),
        "lower": ("shin", "forearm"),
        "foot": ("foot", "hand"),
        "toe": ("toe", "fingers"),
    }
    names = {}
    for b in quadruped():
        kind, _, rest = b.name.partition("_")
        part, _, side = rest.partition(".")
        names[b.name] = f"{parts[part][kind == 'front']}.{side}" if part in parts else b.name
    assert "four legs" in match(renamed(quadruped(), names)).error


def test_a_foot_that_hangs_from_elsewhere_is_named():
    """Feet under the root, pulled along by constraints, cannot follow a shin."""
    bones = figure(mixamo_names(""), root="Root").bones
    for each in bones:
        if each.name in ("LeftFoot", "RightFoot"):
            each.parent = "Root"
    found = match(bones)
    assert found.missing == ["left_ankle", "right_ankle"]
    assert "'LeftFoot' does not hang from 'LeftLeg'" in found.error


@pytest.mark.parametrize(
    "lost, note",
    [
        (("left_foot", "right_foot"), "No toe bones"),
        (("left_collar", "right_collar"), "No collar bones"),
        (("left_wrist", "right_wrist"), "No hand bones"),
        (("neck",), "No neck bone"),
        (("head", "neck"), "No head bone"),
        (("spine2", "spine3"), "One spine bone"),
    ],
)
def test_absent_joints_are_noted(lost, note):
    names = {joint: name for joint, name in mixamo_names("").items() if joint not in lost}
    found = match(figure(names).bones).require()
    assert any(note in each for each in found.notes)
    assert all(not found.joints[joint] and joint not in found.confidence for joint in lost)
    assert len(match(figure(mixamo_names("")).bones).notes) == 0


def test_deforming_bones_are_found_among_controls():
    """A mechanism with the same names at the same places: the deforming bones are mapped, the controls are named."""
    body = person(plain_names(), fingers=5)
    controls = []
    for b in body:
        made = bone(f"CTL_{b.name}", f"CTL_{b.parent}" if b.parent else None, b.head, b.tail)
        made.deform = False
        controls.append(made)
        b.constraints = (Constraint("COPY_TRANSFORMS", f"CTL_{b.name}"),)
    found = match([*controls, *body]).require()
    assert found.bone("left_elbow") == "left_elbow" and found.bone("pelvis") == "pelvis"
    assert found.controls.fk["left_elbow"] == ["CTL_left_elbow"] and found.controls.travel == "CTL_pelvis"
    assert found.controls.fingers["left_thumb"][0] == "CTL_left_thumb1"
    assert not found.controls.ik


def test_plain_bones_under_inverse_kinematics():
    bones = person(plain_names(), root="root")
    at = {b.name: b for b in bones}
    for side in canonical.SIDES:
        ankle, knee = at[f"{side}_ankle"].head, at[f"{side}_knee"].head
        for name, place in ((f"IK_leg_{side}", ankle), (f"POLE_leg_{side}", knee + [0, -0.5, 0])):
            bones.append(Bone(name, "root", place, place + [0, 0, 0.1], np.eye(4), deform=False))
        at[f"{side}_knee"].constraints = (Constraint("IK", f"IK_leg_{side}", f"POLE_leg_{side}", 2),)
    found = match(bones).require()
    assert found.controls.fk == found.joints
    assert found.controls.ik["left_leg"].target == "IK_leg_left" and found.controls.root == "root"
    assert found.controls.ik["right_leg"].pole == "POLE_leg_right" and "left_arm" not in found.controls.ik
    at["left_knee"].constraints = (Constraint("IK", "IK_leg_left", None, 2, 0.0),)
    assert "left_leg" not in match(bones).controls.ik


def test_halves_and_twist_bones_are_listed_by_their_place():
    names = plain_names()
    bones = person(
        names,
        halves={"left_shoulder": "left_upperarm_half"},
        twists={
            "left_elbow": [("left_forearm_twist", 0.6)],
            "right_elbow": [("Bone_on_the_way", 0.5)],
            "right_shoulder": [("right_corrective_helper", 0.5)],
            "left_hip": [("left_thigh_twist_01", 0.0), ("left_thigh_twist_02", 0.5)],
        },
        fingers=5,
    )
    found = match(bones).require()
    assert found.twist["left_shoulder"] == [("left_upperarm_half", pytest.approx(0.5))]
    assert found.twist["left_elbow"] == [("left_forearm_twist", pytest.approx(0.6))]
    assert found.twist["right_elbow"] == [("Bone_on_the_way", pytest.approx(0.5))]
    assert found.twist["left_hip"] == [("left_thigh_twist_01", 0.0), ("left_thigh_twist_02", pytest.approx(0.5))]
    assert set(found.twist) == {"left_shoulder", "left_elbow", "right_elbow", "left_hip"}


@pytest.mark.parametrize("ends", [False, True])
def test_fingers_by_name_and_by_shape(ends):
    bones = person(plain_names(), fingers=5, ends=ends, arms_down=40.0)
    kinds = ("thumb", "index", "middle", "ring", "little")
    named = {f"{side}_{kind}": [f"{side}_{kind}{k}" for k in (1, 2, 3)] for side in canonical.SIDES for kind in kinds}
    assert match(bones).fingers == named
    made, new = anonymous(bones)
    assert match(made).fingers == {finger: [new[n] for n in listed] for finger, listed in named.items()}


@pytest.mark.parametrize(
    "pattern, first",
    [("finger{n}-{k}.{s}", 1), ("Bip01 {s} Finger{n}{j}", 0)],
)
def test_numbered_fingers(pattern, first):
    """MakeHuman counts from one, Biped from nothing and leaves out the first joint's digit."""
    kinds = ("thumb", "index", "middle", "ring", "little")
    bones = person(plain_names(), fingers=5)
    new = {
        f"{side}_{kind}{k}": pattern.format(n=n + first, k=k, j=("", "1", "2")[k - 1], s=side[0].upper())
        for side in canonical.SIDES
        for n, kind in enumerate(kinds)
        for k in (1, 2, 3)
    }
    found = match(renamed(bones, {b.name: new.get(b.name, b.name) for b in bones}))
    assert found.fingers["left_thumb"] == [new[f"left_thumb{k}"] for k in (1, 2, 3)]
    assert found.fingers["right_little"] == [new[f"right_little{k}"] for k in (1, 2, 3)]


def test_bones_of_the_palm_do_not_curl():
    bones = person(plain_names(), fingers=5, finger_bones=4)
    new = {f"left_index{k}": ("left_index_metacarpal", "left_index_a", "left_index_b", "left_index_c")[k - 1]
           for k in (1, 2, 3, 4)}  # fmt: skip
    found = match(renamed(bones, {b.name: new.get(b.name, b.name) for b in bones}))
    assert found.fingers["left_index"] == ["left_index_a", "left_index_b", "left_index_c"]


def test_separate_toes_are_listed():
    names = plain_names(toes=False)
    bones = person(names)
    at = {b.name: b for b in bones}
    for side in canonical.SIDES:
        ankle = at[f"{side}_ankle"]
        for toe in range(5):
            start = ankle.head + [0.02 * (toe - 2), -0.12, -0.06]
            bones.append(bone(f"{side}_toe{toe + 1}-1", ankle.name, start, start + [0, -0.02, 0]))
            bones.append(bone(f"{side}_toe{toe + 1}-2", f"{side}_toe{toe + 1}-1", start + [0, -0.02, 0],
                              start + [0, -0.04, 0]))  # fmt: skip
    found = match(bones).require()
    assert found.bone("left_foot") is None and len(found.toes["left"]) == 5
    assert found.toes["right"][0] == ["right_toe1-1", "right_toe1-2"]
    assert any("Separate toes" in note for note in found.notes)


def test_an_edited_map_is_completed_again():
    """After the artist's choice shares, fingers and twist bones are those of the bones as chosen."""
    bones = person(plain_names(necks=2), fingers=5, halves={"left_shoulder": "left_upperarm_half"})
    automatic = match(bones)
    stored = EditedMap(automatic.joints)
    stored.choose("neck", ["neck1"])
    stored.choose("left_wrist", [])
    found = edited_map(automatic, stored, bones).require()
    assert found.chains["neck"] == [("neck1", 1.0)] and automatic.chains["neck"] != found.chains["neck"]
    assert "left_thumb" not in found.fingers and "right_thumb" in found.fingers
    assert found.twist == automatic.twist
    # Chosen by hand where nothing was found
    made, new = anonymous(quadruped())
    refused = match(made)
    stored = EditedMap(refused.joints)
    stored.choose("pelvis", [new["spine"]])
    assert edited_map(refused, stored, made).error


def test_the_bones_of_a_generated_rig_hang_from_each_other_as_in_the_metarig():
    plain = person(plain_names(necks=1))
    made = [bone("root", None, [0, 0, 0], [0, 0, 0.1])]
    for b in plain:
        limb = b.name.endswith(("hip", "shoulder"))
        above = f"DEF-{b.parent}" if b.parent else "root"
        made.append(bone(f"ORG-{b.name}", above if limb else "root", b.head, b.tail))
        # Limbs of a generated rig hang from bones of the mechanism
        made.append(bone(f"DEF-{b.name}", f"ORG-{b.parent}" if limb else above, b.head, b.tail))
        made[-2].deform = False
    made.append(bone("MCH-nothing", "root", [0, 0, 0], [0, 0, 1]))
    made.append(bone("torso", "root", [0, 0, 1], [0, 0.3, 1]))
    made += [bone(name, "root", b.head, b.tail) for b in plain for name in (b.name.replace("knee", "knee_fk"),)]
    found = match(made).require()
    assert found.bone("left_hip") == "DEF-left_hip" and found.family == "Rigify control rig"
    assert found.controls.travel == "torso" and found.controls.fk["left_knee"] == ["left_knee_fk"]
    assert not problems(found, made)


def test_wings_beside_arms_and_a_tail():
    """With names nothing is in doubt; without them wings might be arms, which is said."""
    names = plain_names()
    bones = person(names, fingers=5, arms_down=40.0)
    chest = next(b for b in bones if b.name == "spine3")
    for side, sign in (("left", 1.0), ("right", -1.0)):
        parent = chest.name
        for k in range(5):
            start = chest.head + np.array([sign * (0.1 + 0.2 * k), 0.1, 0.1])
            bones.append(bone(f"{side}_wing{k}", parent, start, start + [0.2 * sign, 0.0, 0.0]))
            parent = f"{side}_wing{k}"
    parent, start = "pelvis", bones[0].head
    for k in range(8):
        bones.append(bone(f"tail{k}", parent, start + [0, 0.1 + 0.1 * k, 0], start + [0, 0.2 + 0.1 * k, 0]))
        parent = f"tail{k}"
    assert match(bones).require().joints == wanted(names, {b.name: b.name for b in bones})
    made, new = anonymous(bones)
    found = match(made)
    assert new["left_shoulder"] in found.candidates["left_shoulder"] and len(found.candidates["left_shoulder"]) > 1
    assert "More than one bone" in found.error and found.bone("left_knee") == new["left_knee"]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_bones_the_answer_is_a_map_or_a_sentence(seed):
    """Random hierarchies, bones at one place, a person with bones torn off and moved: never an exception."""
    random = np.random.default_rng(seed)
    if seed % 4 == 0:
        count = int(random.integers(1, 60))
        heads = random.normal(size=(count, 3)) * (0.0 if seed % 8 == 0 else 1.0)
        bones = [bone(f"b{k}", f"b{random.integers(k)}" if k and random.random() < 0.95 else None, h, h + [0, 0, 0.1])
                 for k, h in enumerate(heads)]  # fmt: skip
    else:
        bones = person(fingers=5, ends=True)
        names = [b.name for b in bones]
        for k, each in enumerate(bones[1:], start=1):
            if random.random() < 0.1:
                each.parent = names[random.integers(k)]
            if random.random() < 0.1:
                each.head = each.head + random.normal(size=3)
        if seed % 2:
            bones, _ = anonymous(bones, seed)
    found = match(bones)
    if found.error is None:
        used = [name for names in found.joints.values() for name in names]
        assert len(used) == len(set(used)) and all(found.joints[joint] for joint in canonical.REQUIRED)
        assert all(0.0 <= value <= 1.0 for value in found.confidence.values())
    else:
        assert found.missing and len(found.error) < 250 and found.error.endswith(".")

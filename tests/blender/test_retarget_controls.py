"""Motion on control rigs, by IK and FK, and back: limbs with pole targets, and what Rigify generates."""

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender import scenes  # noqa: E402
from blender.round_trips import animate, differences, motion  # noqa: E402
from blender.scenes import bone_matrices, build, empty, world_heads  # noqa: E402
from figures import figure, mixamo_names, walk  # noqa: E402

from blender_addon import api  # noqa: E402
from blender_addon.retarget import bones_read, controls, retarget  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.retarget.mechanism import Mechanism  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, export, posing  # noqa: E402
from blender_addon.scene.import_rig import import_rig  # noqa: E402
from blender_addon.scene.stand_in import stand_in  # noqa: E402


def ik_legs(rolls: float) -> bpy.types.Object:
    """A figure whose legs and arms stand under IK with pole targets; hands and feet turn with the targets."""
    rig = figure(mixamo_names(""), root="Root", arms_down=50, elbows=20)
    armature = build(rig)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    edit = armature.data.edit_bones
    limbs = (("Leg", "Foot", -1.0), ("ForeArm", "Hand", 1.0))
    for side in ("Left", "Right"):
        for lower, end, ahead in limbs:
            target = edit.new(f"IK_{side}{end}")
            target.head, target.tail, target.roll = edit[side + end].head, edit[side + end].tail, edit[side + end].roll
            target.parent = edit["Root"]
            pole = edit.new(f"POLE_{side}{lower}")
            pole.head = edit[side + lower].head + type(edit[side + lower].head)((0.0, 0.5 * ahead, 0.0))
            pole.tail = pole.head + type(pole.head)((0.0, 0.0, 0.1))
            pole.parent = edit["Root"]
            edit[side + lower].tail = edit[side + end].head
    bpy.ops.object.mode_set(mode="OBJECT")
    for side in ("Left", "Right"):
        for lower, end, _ in limbs:
            constraint = armature.pose.bones[side + lower].constraints.new("IK")
            constraint.target = constraint.pole_target = armature
            constraint.subtarget, constraint.pole_subtarget = f"IK_{side}{end}", f"POLE_{side}{lower}"
            constraint.chain_count, constraint.pole_angle = 2, rolls
            follow = armature.pose.bones[side + end].constraints.new("COPY_ROTATION")
            follow.target, follow.subtarget = armature, f"IK_{side}{end}"
    bpy.context.view_layer.update()
    return armature


@pytest.mark.parametrize("angle", [0.0, -1.2])
def test_ik_limbs_with_poles(angle):
    """Whatever the pole angle: the keyed chain and its pole agree, and the bones come out as asked for."""
    empty()
    armature = ik_legs(angle)
    wanted = walk(0.7)
    animation = animate(armature, wanted)
    assert {"IK_LeftFoot", "POLE_LeftLeg", "IK_RightHand", "POLE_RightForeArm"} <= animation.locations.keys()
    assert not animation.warnings
    degrees, joints, root = differences(armature, wanted)
    assert degrees < 0.5 and joints < 2.0 and root < 2.0, (degrees, joints, root)


@pytest.fixture(scope="module")
def rigify(tmp_path_factory):
    """A file with Rigify's basic human, generated."""
    scenes.rigify().name = "generated"
    path = tmp_path_factory.mktemp("rigify") / "rigify.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


def generated(path) -> bpy.types.Object:
    bpy.ops.wm.open_mainfile(filepath=str(path))
    bpy.context.scene.render.fps = 30
    return bpy.data.objects["generated"]


def off(armature, wanted, names) -> dict[str, tuple[float, float]]:
    """Bone of the figure -> degrees and millimetres from where the motion asks it to be, at worst."""
    rig, mapping = armatures.read_rig(armature), armatures.bone_map(armature)
    plan = controls.find(rig, mapping)
    body = controls.figure(rig, plan.figure)
    animation = retarget(wanted, body, replace(plan.figure, controls=None, twist={}), 30.0, foot_lock=False)
    asked = Mechanism(body, animation.frames)
    for k, name in enumerate(animation.bones):
        asked.put(name, animation.rotations[:, k], animation.root_location if name == animation.root else None)
    _, _, pose = capture.poses(armature)
    seen = controls.figure_pose(rig, plan, body, pose)
    found = {}
    for name in body.names:
        if not name.endswith(names):
            continue
        here = seen[:, body.index[name]]
        place = asked.place(name)
        degrees = np.degrees(rot.angle(rot.from_matrix(here[:, :3, :3]), place.turn)).max()
        found[name] = float(degrees), 1000 * float(np.linalg.norm(here[:, :3, 3] - place.head, axis=-1).max())
    return found


def test_generated_rigify_by_fk(rigify):
    armature = generated(rigify)
    wanted = motion()
    animation = animate(armature, wanted)
    assert animation.root == "torso" and "upper_arm_fk.L" in animation.bones and "foot_ik.L" in animation.locations
    assert not any("DEF-" in name or "ORG-" in name or "MCH-" in name for name in animation.bones)
    assert not animation.warnings
    bpy.context.scene.frame_set(2)
    assert armature.pose.bones["thigh_parent.L"]["IK_FK"] == 1.0
    worst = off(armature, wanted, "")
    assert max(degrees for degrees, _ in worst.values()) < 0.05
    assert max(apart for _, apart in worst.values()) < 0.1
    degrees, joints, root = differences(armature, wanted)
    assert degrees < 0.5 and joints < 2.0 and root < 2.0, (degrees, joints, root)


def test_generated_rigify_as_bvh_is_its_deform_bones(rigify, tmp_path):
    armature = generated(rigify)
    wanted = walk(0.5)
    animate(armature, wanted)
    assert armatures.warnings(armature, armatures.bone_map(armature)) == []
    path = export.bvh(armature, tmp_path / "rigify.bvh")
    joints = [line.split()[1] for line in path.read_text().splitlines() if "JOINT" in line or "ROOT" in line]
    assert 18 <= len(joints) <= 24 and joints[0] == "DEF-spine"
    empty()
    back = import_rig(path)
    degrees, apart, root = differences(back, wanted)
    # The file does not say how far the soles are below the toes
    assert degrees < 0.1 and max(apart, root) < 60.0, (degrees, apart, root)


def test_generated_rigify_by_ik(rigify):
    armature = generated(rigify)
    wanted = walk(0.7)
    animation = animate(armature, wanted, ik_legs=True, ik_arms=True)
    assert animation.properties["thigh_parent.L", "pole_vector"] == 1.0 and "foot_heel_ik.L" in animation.rested
    bpy.context.scene.frame_set(2)
    assert armature.pose.bones["thigh_parent.L"]["IK_FK"] == 0.0
    # Hands and feet come out as asked for; how far the knee is off is Rigify's own solver, whose bones may stretch
    ends = off(armature, wanted, ("foot.L", "foot.R", "hand.L", "hand.R", "toe.L"))
    assert len(ends) == 5 and max(apart for _, apart in ends.values()) < 1.0
    assert max(degrees for degrees, _ in ends.values()) < 0.1
    knees = off(armature, wanted, ("shin.L", "shin.R"))
    assert max(apart for _, apart in knees.values()) < 40.0


@pytest.mark.parametrize("made_by", ["FK", "IK", "IK without pole targets"])
def test_a_given_pose_of_a_control_rig_is_met_whatever_made_it(fake, rigify, made_by):
    """By the controls that it was made with; by the other ones as far as Rigify's stretching limbs allow."""
    armature = generated(rigify)
    bones = armature.pose.bones
    for limb in ("thigh_parent.L", "thigh_parent.R", "upper_arm_parent.L", "upper_arm_parent.R"):
        bones[limb]["IK_FK"] = 1.0 if made_by == "FK" else 0.0
        bones[limb]["pole_vector"] = made_by == "IK"
    bones["torso"].location = (0.1, 0.05, -0.15)
    for name, moved in (("foot_ik.L", (0.05, -0.25, 0.1)), ("foot_ik.R", (-0.1, 0.2, 0.0)),
                        ("hand_ik.L", (-0.2, -0.2, 0.0)), ("hand_ik.R", (0.15, -0.1, -0.1))):  # fmt: skip
        bones[name].location = moved
    for name in ("thigh_ik.L", "upper_arm_fk.L", "shin_fk.R", "hand_ik.L"):
        bones[name].rotation_mode = "XYZ"
        bones[name].rotation_euler = (0.4, 0.2, 0.3)
    armature.update_tag()
    bpy.context.view_layer.update()
    wanted = bone_matrices(armature)
    api.animate(armature, "a walk", frame_start=1, poses={1: "current", 20: "current"}, seed=1)

    def furthest() -> float:
        worst = 0.0
        for frame in (1, 20):
            bpy.context.scene.frame_set(frame)
            now = bone_matrices(armature)
            apart = [np.linalg.norm((now[name] - wanted[name])[:3, 3]) for name in now if name.startswith("DEF-")]
            worst = max(worst, 1000 * max(apart))
        return worst

    assert bones["thigh_parent.L"]["IK_FK"] == (1.0 if made_by == "FK" else 0.0)
    assert furthest() < 2.0  # 1.5 mm were measured without pole targets, whose part switched ones have to play
    api.change(armature, ik_legs=made_by == "FK", ik_arms=made_by == "FK")
    by_the_others = furthest()
    assert bones["thigh_parent.L"]["IK_FK"] == (0.0 if made_by == "FK" else 1.0)
    assert by_the_others < 30.0  # 23 and 25 mm were measured where FK has to follow a limb that IK has stretched


def test_capture_of_a_control_rig_is_what_blender_shows(rigify, monkeypatch):
    """Worked out from the keys where they tell the pose, and stepped through the timeline where they do not: by IK, and
    where a switch is thrown on the way. Both are what Blender evaluates in the artist's own scene."""
    armature = generated(rigify)
    told = []
    plain = posing.following.poses

    def listen(*arguments):
        told.append(plain(*arguments))
        return told[-1]

    monkeypatch.setattr(posing.following, "poses", listen)

    def compare() -> None:
        before = {kind: len(getattr(bpy.data, kind)) for kind in ("scenes", "objects", "armatures")}
        bpy.context.scene.frame_set(3)
        rig, frames, pose = capture.poses(armature, mapped=True)
        assert {kind: len(getattr(bpy.data, kind)) for kind in before} == before
        assert bpy.context.scene.frame_current == 3 and bpy.context.object == armature
        shown = world_heads(armature, frames)
        for name in bones_read(rig, armatures.bone_map(armature)):
            at = pose[:, rig.index[name], :3, 3]
            assert np.abs(at - shown[name]).max() < 1e-4, name

    animate(armature, walk(1.0))
    compare()
    assert len(told) == 2 and len(told[0]) == 5 and len(told[1]) == 30, "five frames to compare, then all"
    armature.pose.bones["tweak_spine.002"].location = (0.0, 0.0, 0.05)
    compare()
    armature.pose.bones["shin_tweak.L"].scale = (1.5, 1.5, 1.5)
    compare()
    armature.pose.bones["shin_tweak.L"].scale = (1.0, 1.0, 1.0)
    switch = armature.pose.bones["upper_arm_parent.L"]
    for frame, value in ((10, 1.0), (20, 0.0)):
        switch["IK_FK"] = value
        switch.keyframe_insert('["IK_FK"]', frame=frame)
    compare()
    animate(armature, walk(1.0), ik_legs=True, ik_arms=True)
    told.clear()
    compare()
    assert len(told) <= 1, "what five frames refute is not worked out for all"
    seen = capture.poses(armature, mapped=True)[2]
    armature.hide_viewport = True
    assert np.array_equal(capture.poses(armature, mapped=True)[2], seen), "one that is hidden everywhere, too"


@pytest.mark.parametrize("driver", ["switch", "frame", "moving", "driven"])
def test_switches_that_stand_are_evaluated_once_and_the_pose_is_the_same(rigify, monkeypatch, driver):
    """Bit for bit, and drivers that may say something else on another frame stay: what they read is the frame, a bone
    that moves, or a property that another driver sets."""
    armature = generated(rigify)
    animate(armature, walk(1.0), ik_legs=True, ik_arms=True)
    rig = armatures.read_rig(armature)
    names = bones_read(rig, armatures.bone_map(armature))
    read_there = [rig.index[name] for name in names]
    follow = armature.pose.bones["ORG-shoulder.L"].constraints.new("COPY_ROTATION")
    follow.target, follow.subtarget = armature, "head"
    if driver != "switch":
        curve = follow.driver_add("influence")
        read = curve.driver.variables.new()
        read.name, read.type = "var", "TRANSFORMS" if driver == "moving" else "SINGLE_PROP"
        curve.driver.expression = "frame / 90" if driver == "frame" else "var"
        read.targets[0].id = armature
        read.targets[0].bone_target, read.targets[0].transform_type = "torso", "ROT_X"
        if driver == "driven":
            armature["wave"] = 0.5
            read.targets[0].data_path = '["wave"]'
            armature.driver_add('["wave"]').driver.expression = "0.5 + 0.5 * sin(frame)"
        elif driver == "frame":
            read.targets[0].data_path = 'pose.bones["torso"]["neck_follow"]'
    found = {}
    for stands in (True, False):
        with stand_in(armature, names, stands) as (copied, _):
            constraints = sum(len(bone.constraints) for bone in copied.pose.bones)
            left = len(copied.animation_data.drivers), constraints, len(copied.pose.bones)
        monkeypatch.setattr(posing, "_switches_stand", lambda _, stands=stands: stands)
        found[stands] = (capture.poses(armature, mapped=True)[2][:, read_there], left)
    (fast, few), (slow, many) = found[True], found[False]
    assert np.array_equal(fast, slow)
    assert np.ptp(fast, axis=0).max() > 0.1
    assert few[0] == {"switch": 0, "frame": 1, "moving": 1, "driven": 2}[driver]
    assert few[0] < many[0] and few[1] < many[1] and few[2] < many[2]


@pytest.mark.parametrize("ik", [False, True])
def test_a_library_override_of_a_control_rig(rigify, ik):
    empty()
    with bpy.data.libraries.load(str(rigify), link=True) as (_, target):
        target.objects = ["generated"]
    bpy.context.scene.collection.objects.link(target.objects[0])
    armature = target.objects[0].override_create(remap_local_usages=True)
    armature.override_library.is_system_override = False
    wanted = walk(1.0)
    animate(armature, wanted, ik_legs=ik)
    degrees, joints, root = differences(armature, wanted)
    limit = (3.0, 30.0) if ik else (0.5, 2.0)
    assert degrees < limit[0] and max(joints, root) < limit[1], (degrees, joints, root)

"""A rig with the bones and switches of Auto-Rig Pro, as far as its users name them in public: motion shows whichever
way its limbs are switched, and comes back the same."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import build, empty  # noqa: E402
from figures import figure, walk, wild  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import canonical  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, keys  # noqa: E402

TRUNK = {"spine1": "spine_01.x", "spine2": "spine_02.x", "spine3": "spine_03.x", "neck": "neck.x", "head": "head.x"}
ARM = {"shoulder": "arm", "elbow": "forearm", "wrist": "hand"}
LEG = {"hip": "thigh", "knee": "leg", "ankle": "foot", "foot": "toes"}
DEFORM = {
    "shoulder": "c_arm_twist_offset", "elbow": "forearm_stretch", "wrist": "hand",
    "hip": "thigh_twist", "knee": "leg_stretch", "ankle": "foot", "foot": "toes_01",
}  # fmt: skip


def follow(armature, bone: str, target: str, switch: str = "", by_fk: bool = True) -> None:
    """Bone copies target; where a switch is named, as far as its control is switched."""
    constraint = armature.pose.bones[bone].constraints.new("COPY_TRANSFORMS")
    constraint.target, constraint.subtarget = armature, target
    if switch:
        driver = constraint.driver_add("influence").driver
        driver.type = "SCRIPTED"
        variable = driver.variables.new()
        variable.name = "v"
        variable.targets[0].id = armature
        variable.targets[0].data_path = f'pose.bones["{switch}"]["ik_fk_switch"]'
        driver.expression = "v" if by_fk else "1 - v"


def auto_rig_pro(switched: float) -> bpy.types.Object:
    """Deforming bones that follow mechanism bones that follow FK or IK controls; limbs are switched to ``switched``."""
    names = {"pelvis": "root.x", **TRUNK}
    for side in canonical.SIDES:
        names[f"{side}_collar"] = f"shoulder.{side[0]}"
        names |= {f"{side}_{joint}": f"{bone}.{side[0]}" for joint, bone in (ARM | LEG).items()}
    empty()
    armature = build(figure(names, arms_down=45, elbows=20, root="c_traj"))
    bpy.ops.object.mode_set(mode="EDIT")
    edit = armature.data.edit_bones
    for s in "lr":
        # Inverse kinematics has no way to bend a leg that is straight at rest
        edit[f"leg.{s}"].head.y -= 0.03
        edit[f"thigh.{s}"].tail = edit[f"leg.{s}"].head

    def copy(name: str, like: str, parent: str | None) -> None:
        made = edit.new(name)
        made.head, made.tail, made.roll = edit[like].head, edit[like].tail, edit[like].roll
        made.parent = edit[parent] if parent else None

    copy("c_root_master.x", "root.x", "c_traj")
    copy("c_root.x", "root.x", "c_root_master.x")
    above = "c_root_master.x"
    for name in TRUNK.values():
        copy(f"c_{name}", name, above)
        above = f"c_{name}"
    links = [("root.x", "c_root.x", "", True)] + [(name, f"c_{name}", "", True) for name in TRUNK.values()]
    solved = []
    for s in "lr":
        copy(f"c_shoulder.{s}", f"shoulder.{s}", "spine_03.x")
        links.append((f"shoulder.{s}", f"c_shoulder.{s}", "", True))
        for bones, above, pole, ahead in (
            (ARM, f"shoulder.{s}", "c_arms_pole", 0.5),
            (LEG, "root.x", "c_leg_pole", -0.5),
        ):
            upper, lower, end = list(bones.values())[:3]
            target, switch = f"c_{end}_ik.{s}", f"c_{end}_ik.{s}"
            edit[f"{lower}.{s}"].tail = edit[f"{end}.{s}"].head
            parent = above
            for bone in bones.values():
                copy(f"c_{bone}_fk.{s}", f"{bone}.{s}", parent)
                parent = f"c_{bone}_fk.{s}"
                links.append((f"{bone}.{s}", parent, switch, True))
            copy(target, f"{end}.{s}", "c_traj")
            copy(f"{upper}_ik.{s}", f"{upper}.{s}", above)
            copy(f"{lower}_ik.{s}", f"{lower}.{s}", f"{upper}_ik.{s}")
            copy(f"{pole}.{s}", f"{lower}.{s}", "c_traj")
            edit[f"{pole}.{s}"].head += type(edit[f"{pole}.{s}"].head)((0.0, ahead, 0.0))
            edit[f"{pole}.{s}"].tail = edit[f"{pole}.{s}"].head + type(edit[f"{pole}.{s}"].head)((0.0, 0.0, 0.1))
            solved.append((f"{upper}_ik.{s}", f"{lower}_ik.{s}", target, f"{pole}.{s}"))
            links += [(f"{bone}.{s}", f"{bone}_ik.{s}", switch, False) for bone in (upper, lower)]
            links.append((f"{end}.{s}", target, switch, False))
            if bones is LEG:
                copy(f"c_toes_ik.{s}", f"toes.{s}", target)
                links.append((f"toes.{s}", f"c_toes_ik.{s}", switch, False))
        for joint, bone in DEFORM.items():
            mechanism = f"{(ARM | LEG)[joint]}.{s}"
            if f"{bone}.{s}" != mechanism:
                copy(f"{bone}.{s}", mechanism, f"{mechanism}")
                links.append((f"{bone}.{s}", mechanism, "", True))
    bpy.ops.object.mode_set(mode="OBJECT")
    for name in [f"c_{end}_ik.{s}" for s in "lr" for end in ("hand", "foot")]:
        armature.pose.bones[name]["ik_fk_switch"] = switched
    for bone, target, switch, by_fk in links:
        follow(armature, bone, target, switch, by_fk)
    for _, lower, target, pole in solved:
        constraint = armature.pose.bones[lower].constraints.new("IK")
        constraint.target = constraint.pole_target = armature
        constraint.subtarget, constraint.pole_subtarget, constraint.chain_count = target, pole, 2
    _set_pole_angles(armature, solved)
    deforming = {"root.x", *TRUNK.values(), *(f"shoulder.{s}" for s in "lr")}
    deforming |= {f"{bone}.{s}" for bone in DEFORM.values() for s in "lr"}
    for bone in armature.data.bones:
        bone.use_deform = bone.name in deforming
    bpy.context.view_layer.update()
    return armature


def _set_pole_angles(armature, solved) -> None:
    """The angle at which the chain stands as it rests, as the rig's own generator works it out."""
    bones = armature.data.bones
    for upper, lower, target, pole in solved:
        first = bones[upper]
        along = bones[target].head_local - first.head_local
        way = bones[pole].head_local - first.head_local
        normal = along.cross(way)
        side = normal.cross(first.tail_local - first.head_local)
        x = first.matrix_local.to_3x3().col[0]
        angle = x.angle(side)
        if x.cross(side).angle(first.tail_local - first.head_local) < np.pi / 2:
            angle = -angle
        armature.pose.bones[lower].constraints["IK"].pole_angle = angle


@pytest.mark.parametrize("switched", [0.0, 1.0], ids=["rig stands on IK", "rig stands on FK"])
@pytest.mark.parametrize("ik", [False, True], ids=["by FK", "by IK"])
def test_motion_shows_however_the_rig_was_switched(switched, ik):
    armature = auto_rig_pro(switched)
    found = armatures.bone_map(armature).require()
    assert found.family == "Auto-Rig Pro control rig"
    assert found.bone("left_hip") == "thigh_twist.l" and found.bone("right_shoulder") == "c_arm_twist_offset.r"
    assert found.controls.fk["left_knee"] == ["c_leg_fk.l"] and found.controls.ik["right_arm"].target == "c_hand_ik.r"
    wanted = walk(0.7) if ik else wild(20, size=60.0)
    rig = armatures.read_rig(armature)
    animation = retarget(wanted, rig, found, 30.0, foot_lock=False, ik_legs=ik, ik_arms=ik)
    assert not animation.warnings
    assert {"c_root_master.x", "c_spine_02.x", "c_thigh_fk.l", "c_hand_fk.r", "c_foot_ik.l"} <= set(animation.bones)
    assert "c_leg_pole.l" in animation.locations
    assert animation.properties["c_foot_ik.l", "ik_fk_switch"] == (0.0 if ik else 1.0)
    assert not any(name.startswith(("thigh", "leg", "arm", "forearm", "spine", "root")) for name in animation.bones)
    keys.write_action(armature, animation, "motion", 1)
    back = capture.capture(armature, fps=None)
    degrees = np.degrees(rot.angle(back.global_rotations(), wanted.global_rotations())).max()
    apart = 1000 * np.linalg.norm(back.joints() - wanted.joints(), axis=-1).max()
    assert degrees < 0.5 and apart < 2.0, (degrees, apart)
    bpy.context.scene.frame_set(10)
    assert armature.pose.bones["c_foot_ik.l"]["ik_fk_switch"] == (0.0 if ik else 1.0)

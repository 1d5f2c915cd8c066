"""Generate, look, decide: the buttons of the result and what they say when they cannot."""

import bpy
import numpy as np
import pytest
from blender.artist import keys_of, own_keys, state
from blender.scenes import tick_until_done
from figures import walk

from blender_addon import api, commit, properties, results, runtime
from blender_addon.retarget import retarget
from blender_addon.scene import armature as armatures
from blender_addon.scene import compat, keys, splice, takes
from blender_addon.scene.takes import NLA, PENDING, SPLICE


@pytest.fixture
def settings(fake, mannequin):
    bpy.context.scene.render.fps = 30
    chosen = bpy.context.scene.momug
    chosen.prompt, chosen.seconds = "a person walks", 1.5
    return chosen


def generate():
    assert bpy.ops.momug.generate() == {"FINISHED"}
    tick_until_done()
    assert not runtime.status().failed, runtime.status().message


def refused(operator, **given) -> str:
    with pytest.raises(RuntimeError) as caught:
        operator(**given)
    return str(caught.value)


@pytest.mark.parametrize("destination", takes.DESTINATIONS)
@pytest.mark.parametrize("variations", [1, 2])
def test_generate_and_reject(settings, mannequin, destination, variations):
    own_keys(mannequin)
    before = state(mannequin)
    settings.destination, settings.variations = destination, variations
    generate()
    assert commit.current(mannequin).take.options.destination == destination
    assert commit.variations(commit.current(mannequin)) == (0, variations)
    bpy.context.scene.frame_set(20)
    assert bpy.ops.momug.reject() == {"FINISHED"}
    assert state(mannequin) == before


def test_one_undo_step_for_each_button(settings, mannequin):
    mine = own_keys(mannequin).name
    settings.destination = SPLICE
    bpy.ops.ed.undo_push(message="before")

    def now():
        armature = bpy.data.objects["Mannequin"]
        return state(armature), keys_of(bpy.data.actions[mine], armature)

    before = now()
    generate()
    made = now()
    assert made != before
    bpy.ops.ed.undo()
    assert now() == before
    bpy.ops.ed.redo()
    assert now() == made
    bpy.ops.momug.accept("EXEC_DEFAULT", True)
    accepted = now()
    assert commit.pending(bpy.data.objects["Mannequin"]) is None and accepted[1] == made[1]
    bpy.ops.ed.undo()
    assert now() == made and commit.pending(bpy.data.objects["Mannequin"])


def test_a_splice_fills_the_range_that_was_set(settings, mannequin):
    action = own_keys(mannequin)
    outside = keys_of(action, mannequin, (40, 70))
    settings.destination, settings.use_range = SPLICE, True
    settings.range_start, settings.range_end = 40, 70
    generate()
    take = commit.current(mannequin).take
    assert (take.first, take.last) == (40, 70) and results.recipe(action)["prompt"] == "a person walks"
    assert {k: v for k, v in keys_of(action, mannequin, (40, 70)).items() if k in outside} == outside
    frames = [p.co[0] for p in splice.curves_of(mannequin, action)['pose.bones["left_knee"].rotation_quaternion', 0]
              .keyframe_points]  # fmt: skip
    assert frames == list(range(40, 71))


def test_only_selected_bones(settings, mannequin):
    own_keys(mannequin)
    for bone in mannequin.pose.bones:
        compat.select_bone(bone, False)
    settings.only_selected = True
    assert "Select the bones" in refused(bpy.ops.momug.generate)
    for name in ("left_elbow", "left_wrist"):
        compat.select_bone(mannequin.pose.bones[name], True)
    generate()
    assert {bone for bone, *_ in results.authorship(mannequin.animation_data.action)} == {"left_elbow", "left_wrist"}


def test_the_range_of_the_selected_keys(settings, mannequin):
    action = own_keys(mannequin)
    for curve in compat.fcurves(action, mannequin):
        curve.select = "pelvis" in curve.data_path
        for point in curve.keyframe_points:
            point.select_control_point = point.co[0] in (12, 33, 60)
    assert bpy.ops.momug.range_of_keys() == {"FINISHED"}
    assert (settings.use_range, settings.range_start, settings.range_end) == (True, 12, 60)
    for curve in compat.fcurves(action, mannequin):
        curve.select = False
    assert bpy.ops.momug.range_of_keys() == {"CANCELLED"}
    scene = bpy.context.scene
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 5, 25
    assert bpy.ops.momug.range_of_keys() == {"FINISHED"}
    assert (settings.range_start, settings.range_end) == (5, 25)


def test_the_buttons_say_what_is_missing(settings, mannequin):
    for operator in (bpy.ops.momug.accept, bpy.ops.momug.reject, bpy.ops.momug.change_result):
        assert "Nothing that MoMug made is on this armature" in refused(operator)
    settings.destination = SPLICE
    assert "no action to put the motion into" in refused(bpy.ops.momug.generate)
    settings.destination = "ACTION"
    settings.use_range, settings.range_start, settings.range_end = True, 50, 40
    assert "ends before it has begun" in refused(bpy.ops.momug.generate)
    settings.use_range = False
    generate()
    assert "only one variation" in refused(bpy.ops.momug.show_variation)
    bpy.ops.momug.accept()
    for operator in (bpy.ops.momug.accept, bpy.ops.momug.reject, bpy.ops.momug.show_variation):
        assert "accepted already" in refused(operator)
    assert "stays where it is" in refused(bpy.ops.momug.change_result, destination=NLA)
    bpy.context.view_layer.objects.active = None
    settings.armature = None
    assert "Select an armature" in refused(bpy.ops.momug.accept)
    assert "Select an armature" in refused(bpy.ops.momug.detect_bones)


def test_toggles_change_what_is_there_without_the_model(settings, mannequin):
    generate()
    api.shutdown()
    name = mannequin.animation_data.action.name
    for option in ("in_place", "foot_lock", "loop", "reduce"):
        on = getattr(commit.current(mannequin).take.options, option)
        assert bpy.ops.momug.change_result(**{option: not on}) == {"FINISHED"}
        assert getattr(commit.current(mannequin).take.options, option) is not on
    assert mannequin.animation_data.action.name == name and len(bpy.data.actions) == 1
    assert not runtime.backend_running()


def test_keys_changed_by_hand_are_not_lost(settings, mannequin):
    generate()
    action = mannequin.animation_data.action
    compat.fcurves(action, mannequin)[0].keyframe_points[2].co[1] += 1
    before = keys_of(action, mannequin)
    assert "changed by hand" in refused(bpy.ops.momug.change_result, in_place=True)
    assert keys_of(action, mannequin) == before


def test_variations_are_flipped(settings, mannequin):
    settings.variations = 3
    generate()
    first = mannequin.animation_data.action
    assert bpy.ops.momug.show_variation(step=1) == {"FINISHED"}
    second = mannequin.animation_data.action
    assert second != first and "2 of 3" in runtime.status().message
    assert bpy.ops.momug.accept() == {"FINISHED"}
    assert list(bpy.data.actions) == [second]


def test_variations_are_kept_on_request(settings, mannequin):
    settings.variations = 3
    generate()
    bpy.ops.momug.accept(keep_others=True)
    assert len(bpy.data.actions) == 3
    assert sum(action.use_fake_user for action in bpy.data.actions) == 2


def test_options_of_the_panel_reach_the_result(settings, mannequin):
    settings.in_place = settings.reduce = True
    settings.blend_in, settings.reduce_degrees = 9, 2.0
    generate()
    options = commit.current(mannequin).take.options
    assert (options.in_place, options.reduce, options.blend_in, options.reduce_degrees) == (True, True, 9, 2.0)
    assert options == properties.options(settings)


# --- scripts


def test_scripts_splice_and_reject(settings, mannequin):
    action = own_keys(mannequin)
    before = state(mannequin)
    made = api.animate(
        mannequin, "a walk", frame_range=(30, 70), destination="SPLICE", blend_in=4, bones=["head", "neck"]
    )
    take = commit.current(mannequin).take
    assert made == action and (take.first, take.last, set(take.bones)) == (30, 70, {"head", "neck"})
    api.change(mannequin, foot_lock=False, destination="NLA")
    assert commit.current(mannequin).take.options.destination == NLA
    assert commit.current(mannequin).take.state == PENDING
    bpy.context.scene.frame_set(20)
    api.reject(mannequin)
    assert state(mannequin) == before
    api.animate(mannequin, "a walk", seconds=1.0)
    api.accept(mannequin)
    with pytest.raises(api.Error, match="waits for a decision"):
        api.reject(mannequin)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"destination": "MOON"}, "no destination 'MOON'"),
        ({"shoes": True}, "no such option"),
        ({"frame_range": (50, 40)}, "ends before"),
        ({"frame_range": (1, 5000)}, "motions of 1 to 10 seconds|seconds"),
        ({"destination": "SPLICE"}, "no action"),
        ({"bones": ["nobody"]}, "nothing to key"),
    ],
)
def test_scripts_are_told_what_is_wrong(settings, mannequin, given, words, snapshot):
    api.animate(mannequin, "a walk", seconds=1.0)
    api.reject(mannequin)
    before = snapshot()
    with pytest.raises(api.Error, match=words):
        api.animate(mannequin, "a walk", **{"seconds": 1.0, **given})
    assert snapshot() == before


# --- control rigs: more than rotations is keyed


def controlled(armature):
    """An animation as a control rig gets it: IK targets, a switch, controls at rest."""
    armature.pose.bones["pelvis"]["IK_FK"] = 0.25
    armature.pose.bones["pelvis"]["follow"] = 1
    armature.update_tag()  # or the properties are not known to what is evaluated
    animation = retarget(walk(2.0), armatures.read_rig(armature), armatures.bone_map(armature), 30.0)
    keep = [k for k, bone in enumerate(animation.bones) if bone not in ("left_collar", "right_collar")]
    animation.bones = [animation.bones[k] for k in keep]
    animation.rotations = animation.rotations[:, keep]
    animation.locations = {"left_wrist": np.linspace(0, 1, 180).reshape(60, 3)}
    animation.properties = {("pelvis", "IK_FK"): 1.0, ("pelvis", "follow"): 1}
    animation.rested = ["left_collar"]
    return animation


def test_switches_and_targets_are_keyed(mannequin):
    animation = controlled(mannequin)
    action = keys.write_action(mannequin, animation, "x", 10)
    curves = splice.curves_of(mannequin, action)
    assert [tuple(p.co) for p in curves['pose.bones["pelvis"]["IK_FK"]', 0].keyframe_points] == [(10.0, 1.0)]
    assert [tuple(p.co) for p in curves['pose.bones["left_collar"].rotation_quaternion', 0].keyframe_points] == [
        (10, 1)
    ]
    assert len(curves['pose.bones["left_wrist"].location', 2].keyframe_points) == 60
    bpy.context.scene.frame_set(40)
    assert mannequin.pose.bones["pelvis"]["IK_FK"] == 1.0
    assert abs(mannequin.pose.bones["left_wrist"].location.z - animation.locations["left_wrist"][30, 2]) < 1e-5


def test_a_switch_flips_inside_a_splice_and_flips_back(mannequin):
    bpy.context.scene.render.fps = 30
    action = own_keys(mannequin)
    animation = controlled(mannequin)
    before = state(mannequin)
    done = splice.splice(mannequin, action, keys.channels(mannequin, animation), 20, 6, 6)
    shown = []
    for frame in (10, 20, 50, 79, 85):
        bpy.context.scene.frame_set(frame)
        shown.append(mannequin.pose.bones["pelvis"]["IK_FK"])
    assert shown == [0.25, 0.25, 1.0, 0.25, 0.25]
    curves = splice.curves_of(mannequin, action)
    assert {p.interpolation for p in curves['pose.bones["pelvis"]["IK_FK"]', 0].keyframe_points} == {"CONSTANT"}
    assert ('pose.bones["pelvis"]["follow"]', 0) not in curves, "what has the value already needs no key"
    splice.restore(mannequin, action, done)
    bpy.context.scene.frame_set(20)
    assert state(mannequin) == before

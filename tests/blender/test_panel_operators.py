"""The buttons of prompt, timeline, poses and path: what they do to the settings, and what they send."""

import json

import bpy
import pytest
from blender.scenes import bone_matrices, poses_apart, tick_until_done

from blender_addon import api, commit, costs, prompts, results, runtime, service, strip
from blender_addon.scene import mannequin as figures


@pytest.fixture
def settings(mannequin, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "user_folder", lambda name: tmp_path / name)
    prompts.forget()
    costs.forget()
    chosen = bpy.context.scene.momug
    chosen.prompt, chosen.seconds = "a person walks", 1.5
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 30, 1.0
    yield chosen
    prompts.forget()
    costs.forget()


def why_refused(operator, **given) -> str:
    with pytest.raises(RuntimeError) as caught:
        operator(**given)
    return str(caught.value)


# --- prompt


def test_examples_fill_the_prompt_and_all_are_prompts(settings):
    listed = prompts.examples()
    assert len(listed) >= 5 and all(len(texts) >= 3 for texts in listed.values())
    assert all(text == " ".join(text.split()) and len(text) < 80 for texts in listed.values() for text in texts)
    text = next(iter(listed.values()))[0]
    assert bpy.ops.momug.use_prompt(prompt=text) == {"FINISHED"} and settings.prompt == text


def test_the_history_is_kept_for_the_user_and_not_in_the_scene(fake, settings, tmp_path):
    for number in range(prompts.MOST + 5):
        prompts.remember(f"prompt {number}")
    settings.prompt = "prompt 20"
    bpy.ops.momug.generate()
    api.wait()
    assert prompts.history()[:2] == ["prompt 20", f"prompt {prompts.MOST + 4}"]
    assert len(prompts.history()) == prompts.MOST == len(set(prompts.history()))
    prompts.forget()
    assert prompts.history()[0] == "prompt 20"
    assert bpy.ops.momug.clear_history() == {"FINISHED"} and prompts.history() == []
    assert "No prompt" in why_refused(bpy.ops.momug.clear_history)
    (tmp_path / "memory" / "prompts.json").write_text("not json", encoding="utf-8")
    prompts.forget()
    assert prompts.history() == []


def test_length_in_seconds_in_frames_or_by_the_model(fake, settings, mannequin):
    bpy.context.scene.render.fps = 24
    settings.length = "FRAMES"
    settings.frames = 48
    assert settings.seconds == pytest.approx(2.0) and not settings.auto_seconds
    settings.length = "MODEL"
    assert settings.auto_seconds and settings.length == "MODEL"
    settings.length = "SECONDS"
    assert not settings.auto_seconds and settings.frames == 48


def test_presets_name_their_cost_which_is_measured(fake, settings, mannequin):
    seconds, measured = costs.estimate({"model": "momug", "preset": None}, 10.0)
    assert seconds > 0 and not measured
    fake(steps=10, delay=0.02)
    settings.variations = 2
    bpy.ops.momug.generate()
    api.wait()
    seconds, measured = costs.estimate({"model": "momug", "preset": None}, 3.0)
    assert measured and seconds == pytest.approx(0.2, rel=0.1)  # 10 steps for two motions of 1.5 s
    assert not costs.estimate({"model": "momug", "preset": "quality"}, 3.0)[1]
    items = {item[0]: item for item in settings.bl_rna.properties["preset"].enum_items} or _preset_items(settings)
    assert "under 1 s" in items["MODEL"][1] and "measured on this computer" in items["MODEL"][2]
    assert [costs.words(x) for x in (0.2, 4.4, 200)] == ["under 1 s", "4 s", "3 min"]
    costs.forget()
    assert costs.estimate({"model": "momug", "preset": None}, 3.0)[1]


def _preset_items(settings):
    from blender_addon import property_items

    return {item[0]: item for item in property_items.preset_items(settings, bpy.context)}


# --- several armatures


def test_every_selected_armature_gets_its_own(fake, settings, mannequin):
    others = [figures.add() for _ in range(2)]
    bare = bpy.data.objects.new("bare", bpy.data.armatures.new("bare"))
    bpy.context.scene.collection.objects.link(bare)
    for thing in (mannequin, *others, bare):
        thing.select_set(True)
    bpy.context.view_layer.objects.active = mannequin
    fake(steps=3, delay=0.02)
    assert bpy.ops.momug.generate() == {"FINISHED"}
    assert runtime.turn() == (1, 3)
    tick_until_done()
    assert runtime.status().message.startswith("3 armatures have a new motion.")
    seeds = [results.recipe(thing.animation_data.action)["seed"] for thing in (mannequin, *others)]
    assert len(set(seeds)) == 3 and bare.animation_data is None and runtime.turn() == (1, 1)
    bpy.ops.momug.generate()
    bpy.ops.momug.cancel()
    tick_until_done()
    assert runtime.status().message == "Cancelled." and runtime.active() is None
    settings.armature = others[0]
    bpy.ops.momug.generate()
    assert api.wait() == [others[0].animation_data.action]


def three_figures(mannequin) -> list:
    figures_ = [mannequin, *(figures.add() for _ in range(2))]
    for figure in figures_:
        figure.select_set(True)
    bpy.context.view_layer.objects.active = mannequin
    return [figure.name for figure in figures_]


def moved(names) -> list:
    return [name for name in names if (data := bpy.data.objects[name].animation_data) and data.action]


def test_several_armatures_are_one_undo_step(fake, settings, mannequin):
    names = three_figures(mannequin)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.momug.generate()
    tick_until_done()
    assert moved(names) == names and len(bpy.data.actions) == 3
    bpy.ops.ed.undo()
    assert not moved(names) and not bpy.data.actions
    bpy.ops.ed.redo()
    assert moved(names) == names


def test_accept_and_reject_decide_for_all_selected_armatures(fake, settings, mannequin):
    three_figures(mannequin)
    armatures = bpy.context.selected_objects[:]
    for decide, told in (("reject", "3 motions are taken away again."), ("accept", "3 motions are kept.")):
        bpy.ops.momug.generate()
        tick_until_done()
        assert all(commit.pending(armature) for armature in armatures)
        assert getattr(bpy.ops.momug, decide)() == {"FINISHED"} and runtime.status().message == told
        assert not any(commit.pending(armature) for armature in armatures)
    assert all(commit.current(armature) for armature in armatures)


def test_several_armatures_get_nothing_when_cancelled(fake, settings, mannequin, snapshot):
    names = three_figures(mannequin)
    before = snapshot()
    fake(steps=3, delay=0.05)
    bpy.ops.momug.generate()
    while runtime.turn()[0] < 2:
        runtime.pump()
    assert snapshot() == before, "the first one waits for the others"
    bpy.ops.momug.cancel()
    tick_until_done()
    assert runtime.status().message == "Cancelled." and snapshot() == before and not moved(names)


def test_what_was_made_before_a_failure_is_kept(fake, settings, mannequin, fake_command, tmp_path):
    names = three_figures(mannequin)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.momug.generate()
    while runtime.turn()[0] < 2:
        runtime.pump()
    bpy.data.objects.remove(bpy.data.objects[names[2]])
    tick_until_done()
    assert moved(names[:2]) == names[:2] and runtime.status().failed and "no longer exists" in runtime.status().message


# --- timeline


def blocks(settings) -> list:
    return [(block.prompt, round(block.seconds, 2), block.auto) for block in settings.blocks]


def test_blocks_are_added_split_moved_and_removed(settings):
    for operator in ("remove_block", "split_block", "generate_timeline"):
        assert "Add a block first" in why_refused(getattr(bpy.ops.momug, operator))
    bpy.ops.momug.add_block()
    bpy.ops.momug.add_block(prompt="a jump")
    assert blocks(settings) == [("a person walks", 3.0, False), ("a jump", 3.0, False)]
    settings.block_index = 0
    bpy.ops.momug.add_block(prompt="a run")
    assert [block[0] for block in blocks(settings)] == ["a person walks", "a run", "a jump"]
    bpy.ops.momug.split_block()
    assert [block[:2] for block in blocks(settings)][1:3] == [("a run", 1.5), ("a run", 1.5)]
    assert "half" in why_refused(bpy.ops.momug.split_block)
    bpy.ops.momug.move_block(step=1)
    assert [block[0] for block in blocks(settings)] == ["a person walks", "a run", "a jump", "a run"]
    assert bpy.ops.momug.move_block(step=1) == {"CANCELLED"}
    bpy.ops.momug.remove_block()
    assert [block[0] for block in blocks(settings)] == ["a person walks", "a run", "a jump"]
    assert settings.block_index == 2


def test_a_timeline_is_generated_and_a_block_rolled_again(fake, settings, mannequin):
    for prompt, seconds in (("a walk", 1.0), ("a run", 2.0), ("a walk", 1.0)):
        bpy.ops.momug.add_block(prompt=prompt)
        settings.blocks[settings.block_index].seconds = seconds
    settings.blocks[2].auto = True
    assert "Generate the timeline first" in why_refused(bpy.ops.momug.reroll_block)
    settings.blocks[1].prompt = " "
    assert "block 2" in why_refused(bpy.ops.momug.generate_timeline)
    settings.blocks[1].prompt = "a run"
    settings.timeline_start = 11
    assert bpy.ops.momug.generate_timeline() == {"FINISHED"}
    tick_until_done()
    action = mannequin.animation_data.action
    assert tuple(action.frame_range) == (11, 190) and "timeline" in results.recipe(action)
    bpy.ops.ed.undo_push(message="before")
    before = commit.stored_motion(commit.current(mannequin))
    settings.block_index, settings.blocks[1].prompt = 1, "a jump"
    assert bpy.ops.momug.reroll_block() == {"FINISHED"}
    tick_until_done()
    assert runtime.status().message.startswith("Block 2")
    mannequin = bpy.context.scene.objects["Mannequin"]
    after = commit.stored_motion(commit.current(mannequin))
    assert (before.rotations[:30] == after.rotations[:30]).all()
    assert commit.recipe(commit.current(mannequin))["timeline"][1]["prompt"] == "a jump"
    settings.blocks.clear()
    bpy.ops.momug.use_settings_of_action()
    assert blocks(settings) == [("a walk", 1.0, False), ("a jump", 2.0, False), ("a walk", 3.0, True)]


def test_the_strip_shows_the_blocks_and_then_what_came_out(fake, settings, mannequin):
    assert strip.blocks(bpy.context) == []
    for seconds in (1.0, 2.0):
        bpy.ops.momug.add_block()
        settings.blocks[settings.block_index].seconds = seconds
    settings.blocks[1].auto = True
    settings.timeline_start = 11
    assert [block[:2] for block in strip.blocks(bpy.context)] == [(11, 41), (41, 161)]
    bpy.ops.momug.generate_timeline()
    api.wait()
    assert [block[:2] for block in strip.blocks(bpy.context)] == [(11, 41), (41, 131)]  # the model made 3 seconds
    settings.show_strip = False
    assert strip.blocks(bpy.context) == []


# --- poses and path


def turn_a_bone(armature, angle: float) -> None:
    bone = armature.pose.bones[results.require_map(armature).bone("left_shoulder")]
    bone.rotation_mode = "XYZ"
    bone.rotation_euler = (angle, 0.0, angle / 2)
    bpy.context.view_layer.update()


def test_the_present_pose_as_start_here_and_end(fake, settings, mannequin):
    scene = bpy.context.scene
    wanted = {}
    scene.frame_set(5)
    for place, frame, angle in (("START", 5, 0.3), ("END", 49, -0.6), ("HERE", 20, 0.9)):
        turn_a_bone(mannequin, angle)
        wanted[frame] = bone_matrices(mannequin)
        if place == "HERE":
            scene.frame_set(20)
            turn_a_bone(mannequin, angle)
        assert bpy.ops.momug.add_pose(place=place) == {"FINISHED"}
    assert [pose.frame for pose in settings.poses] == [5, 20, 49]
    bpy.ops.momug.generate()
    tick_until_done()
    assert tuple(mannequin.animation_data.action.frame_range) == (5, 49)
    for frame, matrices in wanted.items():
        scene.frame_set(frame)
        assert poses_apart(matrices, bone_matrices(mannequin)) < (1e-4, 0.02)
    settings.pose_index = 1
    bpy.ops.momug.go_to_pose()
    assert scene.frame_current == 20
    bpy.ops.momug.remove_pose()
    assert [pose.frame for pose in settings.poses] == [5, 49]
    bpy.ops.momug.remove_pose(every=True)
    assert "no pose" in why_refused(bpy.ops.momug.remove_pose)


def test_poses_that_cannot_be_met_are_said_before_anything_is_asked(fake, settings, mannequin, monkeypatch):
    for frame in (5, 5, 20):
        bpy.context.scene.frame_set(frame)
        bpy.ops.momug.add_pose(place="HERE")
    assert [pose.frame for pose in settings.poses] == [5, 20], "the second one at frame 5 takes the place of the first"
    settings.poses[1].frame = 5  # by hand, in the list
    assert "Two poses are given for frame 5" in why_refused(bpy.ops.momug.generate)
    settings.poses[1].use = False
    assert bpy.ops.momug.generate.poll()
    settings.poses[1].use, settings.poses[1].frame = True, 90
    settings.use_range, settings.range_start, settings.range_end = True, 1, 60
    assert "The pose at frame 90 lies outside the frames 1 to 60" in why_refused(bpy.ops.momug.generate)
    settings.range_end = 100
    assert bpy.ops.momug.generate.poll()
    monkeypatch.setattr(service, "model_info", lambda name: {"name": name, "label": "Few", "max_poses": 1})
    assert "Too many poses for Few (2, at most 1)" in why_refused(bpy.ops.momug.generate)


def test_poses_belong_to_their_armature(fake, settings, mannequin):
    bpy.ops.momug.add_pose(place="START")
    settings.poses[0].owner = "somebody else"
    bpy.ops.momug.generate()
    assert "target/joints" not in str(runtime.active().job.frame[:1])
    api.wait()
    assert not commit.current(mannequin).take.pins
    settings.poses[0].owner, settings.poses[0].data = mannequin.name, "nonsense"
    assert "take it again" in why_refused(bpy.ops.momug.generate)


def test_poses_from_keys_and_in_between(fake, settings, mannequin):
    assert "no keys" in why_refused(bpy.ops.momug.add_key_poses)
    assert "no action yet" in why_refused(bpy.ops.momug.in_between)
    name = results.require_map(mannequin).bone("left_shoulder")
    for frame, angle in ((1, 0.2), (31, 0.8), (61, -0.4)):
        turn_a_bone(mannequin, angle)
        mannequin.pose.bones[name].keyframe_insert("rotation_euler", frame=frame)
    assert bpy.ops.momug.add_key_poses() == {"FINISHED"}
    assert [pose.frame for pose in settings.poses] == [1, 31, 61]
    bpy.ops.momug.remove_pose(every=True)
    assert bpy.ops.momug.in_between() == {"FINISHED"}
    tick_until_done()
    take = commit.current(mannequin).take
    assert (take.first, take.last, [frame for frame, _ in take.pins]) == (1, 61, [0, 30, 60])
    assert bpy.ops.momug.reject() == {"FINISHED"}
    settings.range_start, settings.range_end = 20, 50
    assert bpy.ops.momug.regenerate() == {"FINISHED"}
    tick_until_done()
    take = commit.current(mannequin).take
    assert (take.first, take.last) == (20, 50) and take.options.destination == "SPLICE"
    settings.range_end = 20
    assert "ends before" in why_refused(bpy.ops.momug.regenerate)


def test_bones_that_stay(fake, settings, mannequin):
    settings.keep_selected = True
    assert "Select the bones that stay" in why_refused(bpy.ops.momug.generate)
    from blender_addon.scene import compat

    compat.select_bone(mannequin.pose.bones[results.require_map(mannequin).bone("left_shoulder")], True)
    assert "This Action or NLA Strip" in why_refused(bpy.ops.momug.generate)
    settings.destination = "NLA"
    assert bpy.ops.momug.generate() == {"FINISHED"}
    tick_until_done()
    name = results.require_map(mannequin).bone("left_shoulder")
    assert name not in commit.current(mannequin).take.bones


def test_a_path_is_added_before_the_figure_and_followed(fake, settings, mannequin):
    assert bpy.ops.momug.add_path() == {"FINISHED"}
    points = settings.path.data.splines[0].bezier_points
    assert points[0].co.length < 0.1 and points[2].co.y < -3.0  # the mannequin faces -Y
    settings.length = "MODEL"
    bpy.ops.momug.generate()
    tick_until_done()
    motion = commit.stored_motion(commit.current(mannequin))
    assert 2.5 < motion.seconds < 4.0 and motion.translation[-1, 2] == pytest.approx(4.0, abs=0.05)


def test_generate_again(fake, settings, mannequin):
    assert "Nothing that MoMug made" in why_refused(bpy.ops.momug.generate_again)
    bpy.ops.momug.generate()
    tick_until_done()
    first = mannequin.animation_data.action
    stored = json.loads(first["momug"])
    assert stored["prompt"] == "a person walks" and stored["seed"] == settings.seed
    settings.prompt = "something else"
    assert bpy.ops.momug.generate_again() == {"FINISHED"}
    tick_until_done()
    second = mannequin.animation_data.action
    assert second != first and results.recipe(second)["prompt"] == "a person walks"
    assert results.recipe(second)["seed"] != stored["seed"]
    assert bpy.ops.momug.generate_again(same_seed=True) == {"FINISHED"}
    tick_until_done()
    assert results.recipe(mannequin.animation_data.action) == results.recipe(second)


def test_one_undo_step_for_lists(settings, mannequin):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.momug.add_block()
    bpy.ops.ed.undo_push(message="a block")
    bpy.ops.ed.undo()
    assert len(bpy.context.scene.momug.blocks) == 0


def test_remaining_time_is_told(fake, settings):
    fake(steps=20, delay=0.2)
    bpy.ops.momug.generate()
    task = runtime.active()
    while task.job.step < 2:
        runtime.pump()
    assert task.remaining > 0.5 and "2/20" in task.phase_text or task.job.step > 2
    bpy.ops.momug.cancel()
    assert task.remaining is None
    tick_until_done()

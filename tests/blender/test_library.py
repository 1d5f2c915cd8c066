"""Captions of several animations, actions as assets, and finding them again: in this file and in others."""

import gc
import json

import bpy
import pytest
from blender.scenes import tick_until_done

from blender_addon import api, captions, indexing, library_properties, results, runtime, service
from blender_addon.rig import RigError
from blender_addon.scene import assets, compat
from blender_addon.scene import mannequin as figures


@pytest.fixture
def walks(fake, mannequin):
    """Three actions of the mannequin, the last one active; the scene runs at 30 frames per second."""
    bpy.context.scene.render.fps = 30
    made = [api.animate(mannequin, f"a person does thing {n}", seconds=1.0 + n, seed=n) for n in range(3)]
    for action in made:
        action.use_fake_user = True
    return made


def settings():
    return bpy.context.scene.momug_captions


def finish_captions():
    """What Blender does in a window: call both timers until there is nothing left to do."""
    while captions._tick() is not None:
        tick_until_done()


def words_of(action):
    return action.get("momug_caption", "")


def test_ticked_actions_get_captions_one_after_the_other(walks, mannequin):
    settings().scope = "TICKED"
    walks[0].momug_ticked = walks[1].momug_ticked = True
    assert bpy.ops.momug.caption() == {"FINISHED"}
    queue = captions.running()
    assert queue.total == 2 and queue.number == 1
    finish_captions()
    assert captions.running() is None
    assert [bool(words_of(action)) for action in walks] == [True, True, False]
    assert words_of(walks[0]) != words_of(walks[1])  # the fake backend counts frames
    assert mannequin.animation_data.action == walks[2]
    assert runtime.status().message == "2 captions were made."


def test_strips_and_selected_objects_and_a_range(walks, mannequin):
    track, strip = compat.add_strip(mannequin, walks[0], None, 1, "one")
    strip.select = True
    settings().scope = "STRIPS"
    bpy.ops.momug.caption()
    finish_captions()
    assert words_of(walks[0])
    mannequin.animation_data.nla_tracks.remove(track)

    other = figures.add()
    compat.assign(other, walks[1])
    other.select_set(True)
    mannequin.select_set(True)
    settings().scope = "OBJECTS"
    bpy.ops.momug.caption()
    finish_captions()
    assert words_of(walks[1]) and words_of(walks[2])

    bpy.context.view_layer.objects.active = mannequin
    whole = words_of(walks[2])
    settings().scope, settings().first, settings().last = "RANGE", 2, 21
    bpy.ops.momug.caption()
    finish_captions()
    assert assets.captions_of_parts(walks[2])[0][:2] == (2, 21)
    assert "20 frames" in assets.captions_of_parts(walks[2])[0][2]
    assert words_of(walks[2]) == whole
    bpy.ops.momug.forget_caption_of_part(first=2, last=21)
    assert not assets.captions_of_parts(walks[2])


def test_a_strip_that_plays_a_part_gets_a_caption_of_that_part(walks, mannequin):
    _, strip = compat.add_strip(mannequin, walks[0], None, 1, "part")
    strip.action_frame_start, strip.action_frame_end = 3, 12
    assert captions.of_strip(strip, mannequin).frames == (3, 12)
    text = api.caption(strip)
    assert "10 frames" in text and assets.captions_of_parts(walks[0]) == [(3, 12, text)]


def test_armature_without_an_action_keeps_its_own_caption(walks, mannequin):
    compat.add_strip(mannequin, walks[0], None, 1, "one")
    mannequin.animation_data.action = None
    text = api.caption(mannequin)
    assert mannequin["momug_caption"] == text and results.caption_of(mannequin) == text


def test_cancel_keeps_what_was_made(walks, fake):
    for action in walks:
        action.momug_ticked = True
    settings().scope = "TICKED"
    bpy.ops.momug.caption()
    while not captions.running().done:
        captions._tick()
        runtime._tick()
    fake_steps = captions.running()
    assert bpy.ops.momug.cancel_captions() == {"FINISHED"}
    finish_captions()
    assert captions.running() is None and fake_steps.stopped
    assert words_of(walks[0]) and not words_of(walks[2])
    assert "Cancelled" in runtime.status().message


def test_several_captions_are_one_undo_step(walks):
    for action in walks:
        action.momug_ticked = True
    settings().scope = "TICKED"
    bpy.ops.ed.undo_push(message="before")
    names = [action.name for action in walks]
    bpy.ops.momug.caption()
    finish_captions()
    assert all(words_of(bpy.data.actions[name]) for name in names)
    bpy.ops.ed.undo()
    assert not any(words_of(bpy.data.actions[name]) for name in names)
    bpy.ops.ed.redo()
    assert all(words_of(bpy.data.actions[name]) for name in names)


def test_one_animation_that_cannot_be_read_does_not_stop_the_others(walks, mannequin, monkeypatch):
    settings().scope = "TICKED"
    for action in walks:
        action.momug_ticked = True
    curves = compat.channels(walks[1], compat.slot_for(walks[1], mannequin)).fcurves
    bpy.ops.momug.caption()
    for curve in list(curves):
        curves.remove(curve)
    finish_captions()
    assert words_of(walks[0]) and words_of(walks[2]) and not words_of(walks[1])
    assert runtime.status().failed and walks[1].name in runtime.status().message


def test_a_backend_that_cannot_start_ends_the_queue_with_one_reason(walks, fake):
    fake("die_start")
    for action in walks:
        action.momug_ticked = True
    settings().scope = "TICKED"
    bpy.ops.momug.caption()
    finish_captions()
    assert captions.running() is None and runtime.status().failed
    assert not any(words_of(action) for action in walks)


def test_scripts_describe_many_at_once(walks, mannequin):
    texts = api.caption([walks[0], mannequin])
    assert texts == [words_of(walks[0]), words_of(walks[2])] and all(texts)


def test_scripts_mark_and_find(walks):
    walks[0].momug_words, walks[1].momug_words = "a person sits down", "a person strolls"
    api.mark_asset(walks[0])
    assert walks[0].asset_data.description == "a person sits down"
    assert api.find("walking") == [walks[1]] and api.find("sitting") == [walks[0]]
    assert api.find("zebra") == []


def test_editing_undo_save_and_reload_lose_nothing(walks, mannequin, tmp_path):
    api.caption(mannequin)
    walks[2].momug_words = "  somebody   waves happily "
    assert words_of(walks[2]) == "somebody waves happily"
    assets.mark(walks[2])
    bpy.ops.ed.undo_push(message="marked")
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="something else")
    bpy.ops.ed.undo()
    name = walks[2].name if _alive(walks[2]) else "a person does thing 2"
    assert words_of(bpy.data.actions[name]) == "somebody waves happily"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    action = bpy.data.actions[name]
    assert words_of(action) == "somebody waves happily" == action.asset_data.description
    assert [tag.name for tag in action.asset_data.tags] == ["wave", "happily"]


def _alive(datablock) -> bool:
    try:
        return bool(datablock.name)
    except ReferenceError:
        return False


def test_a_caption_becomes_description_and_tags_and_nothing_of_the_artist_is_touched(walks):
    action = walks[0]
    action.momug_words = "a person walks forward"
    action.asset_mark()
    action.asset_data.author, action.asset_data.description = "Ada", ""
    action.asset_data.tags.new("hero")
    action.asset_data.tags.new("walk")
    assets.describe_asset(action)
    assert action.asset_data.description == "a person walks forward"
    action.momug_words = "a person sits down"
    tags = {tag.name for tag in action.asset_data.tags}
    assert tags == {"hero", "walk", "sit", "down"}  # "walk" was the artist's own
    assert action.asset_data.description == "a person sits down" and action.asset_data.author == "Ada"
    action.asset_data.description = "my own words"
    action.momug_words = "a person jumps"
    assert action.asset_data.description == "my own words"
    assert {tag.name for tag in action.asset_data.tags} == {"hero", "walk", "jump"}
    assets.unmark(action)
    assert action.asset_data is None and words_of(action) == "a person jumps"


def test_mark_and_unmark_buttons(walks):
    walks[0].momug_words, walks[0].momug_ticked, walks[1].momug_ticked = "a person hops", True, True
    assert bpy.ops.momug.mark_assets() == {"FINISHED"}
    assert [action.asset_data is not None for action in walks] == [True, True, False]
    with pytest.raises(RuntimeError, match="no asset yet"):
        bpy.ops.momug.mark_assets()
    assert bpy.ops.momug.unmark_assets() == {"FINISHED"}
    assert not any(action.asset_data for action in walks)


class List:
    """Stands in for the list that Blender makes when it draws."""

    bitflag_filter_item = 1 << 30


def test_the_list_shows_what_fits_best_first(walks):
    from blender_addon.panels.caption import MOMUG_UL_actions

    for action, text in zip(walks, ("a person sits", "a person strolls and waves", "a person walks"), strict=True):
        action.name, action.momug_words = text.split()[2], text
    library_properties.library(bpy.context).search = "walking"
    flags, order = MOMUG_UL_actions.filter_items(List(), bpy.context, bpy.data, "actions")
    shown = sorted(
        (place, action.name) for place, flag, action in zip(order, flags, bpy.data.actions, strict=True) if flag
    )
    assert [name for _, name in shown] == ["walks", "strolls"]
    assert sorted(order) == [0, 1, 2]
    bpy.ops.momug.tick_actions(all=True)
    assert {action.name for action in library_properties.ticked()} == {"walks", "strolls"}
    bpy.ops.momug.tick_actions(all=False)
    assert not library_properties.ticked()


def test_use_on_armature_binds_the_slot_and_keeps_the_former_action(walks, mannequin):
    library_properties.library(bpy.context).action_index = bpy.data.actions.find(walks[0].name)
    walks[2].use_fake_user = False
    assert bpy.ops.momug.apply_action() == {"FINISHED"}
    data = mannequin.animation_data
    assert data.action == walks[0] and walks[2].use_fake_user
    assert not compat.SLOTTED or data.action_slot is not None
    bpy.context.scene.frame_set(10)
    assert max(abs(bone.rotation_quaternion.x) for bone in mannequin.pose.bones) > 0.01


@pytest.mark.skipif(not compat.SLOTTED, reason="actions have slots since 4.4")
def test_the_slot_that_moves_the_bones_is_taken_whatever_it_is_called(walks, mannequin):
    action = walks[0]
    prop = bpy.data.objects.new("Mannequin prop", None)
    slot = action.slots.new(id_type="OBJECT", name="Mannequin")
    compat.channels(action, slot, ensure=True).fcurves.new("location", index=0).keyframe_points.insert(1, 1.0)
    bones = next(one for one in action.slots if one != slot)
    bones.name_display = "Somebody"
    assets.assign(action, mannequin)
    assert mannequin.animation_data.action_slot == bones
    bpy.data.objects.remove(prop)


def test_an_action_of_another_armature_is_refused_in_words(walks, mannequin, snapshot):
    door = bpy.data.actions.new("door")
    bag = compat.channels(door, door.slots.new(id_type="OBJECT", name="door") if compat.SLOTTED else None, ensure=True)
    bag.fcurves.new('pose.bones["hinge"].location', index=0).keyframe_points.insert(1, 1.0)
    before = snapshot()
    with pytest.raises(RigError, match="another armature"):
        assets.assign(door, mannequin)
    assert snapshot() == before


@pytest.fixture
def library_folder(fake, tmp_path, monkeypatch):
    """An asset library with two files, three assets, and one file that is none."""
    folder = tmp_path / "assets"
    folder.mkdir()
    for file, names in (("walks.blend", ("walk slow", "walk fast")), ("deep/sit.blend", ("sit",))):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        armature = figures.add()
        for name in names:
            action = api.animate(armature, name, seconds=1.0, seed=1)
            action.name = name
            action.momug_words = f"a person {name.split()[0]}s"
            assets.mark(action)
        plain = bpy.data.actions.new("not an asset")
        plain.use_fake_user = True
        target = folder / file
        target.parent.mkdir(exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(target))
    (folder / "broken.blend").write_bytes(b"this is no blend file")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    monkeypatch.setattr(indexing, "folders", lambda: [folder])
    monkeypatch.setattr(service, "user_folder", lambda name: tmp_path / "user" / name)
    indexing.forget()
    yield folder
    indexing.forget()


def finish_indexing():
    while indexing._tick() is not None:
        pass


def test_actions_of_other_files_are_found_and_used(library_folder, mannequin_in_an_empty_file):
    armature = mannequin_in_an_empty_file
    before = len(bpy.data.actions), len(bpy.data.libraries)
    assert bpy.ops.momug.read_libraries() == {"FINISHED"}
    finish_indexing()
    assert (len(bpy.data.actions), len(bpy.data.libraries)) == before
    assert "Actions: 3, files: 2." in runtime.status().message and "broken.blend" in runtime.status().message
    library = library_properties.library(bpy.context)
    library.search = "walking"
    assert [found.name for found in library.found] == ["walk slow", "walk fast"]
    assert library.found[0].caption == "a person walks"
    library.found_index = 1
    assert bpy.ops.momug.apply_found() == {"FINISHED"}
    action = armature.animation_data.action
    assert action.name == "walk fast" and action.library is None and action.asset_data is None
    assert words_of(action) == "a person walks"
    assert bpy.ops.momug.apply_found() == {"FINISHED"} and len(bpy.data.actions) == before[0] + 1


@pytest.fixture
def mannequin_in_an_empty_file(library_folder):
    armature = figures.add()
    bpy.context.view_layer.objects.active = armature
    return armature


def test_only_changed_files_are_read_again_and_gone_ones_forgotten(library_folder):
    indexing.begin()
    work = indexing.running()
    finish_indexing()
    assert work.read == 2
    indexing.forget()
    (library_folder / "deep" / "sit.blend").unlink()
    indexing.begin()
    work = indexing.running()
    finish_indexing()
    assert work.read == 0 and {asset.name for asset in indexing.assets()} == {"walk slow", "walk fast"}
    stored = json.loads(indexing._file().read_text(encoding="utf-8"))
    assert len(stored["files"]) == 1


def test_an_asset_that_is_gone_is_told(library_folder, mannequin_in_an_empty_file):
    indexing.begin()
    finish_indexing()
    library = library_properties.library(bpy.context)
    library.search = "sit"
    (library_folder / "deep" / "sit.blend").unlink()
    with pytest.raises(RuntimeError, match="cannot be opened any more"):
        bpy.ops.momug.apply_found()
    assert not bpy.data.actions


def test_the_error_of_a_broken_file_does_not_keep_blenders_data(library_folder):
    """A traceback that is kept (by a log, by a script) held what was read beside the open file: Blender 4.5 crashed
    when that was collected later."""
    with pytest.raises(OSError) as caught:
        assets.read_assets(library_folder / "broken.blend")
    assert caught.value.__context__ is None and str(caught.value)
    gc.collect()
    assert not bpy.data.libraries

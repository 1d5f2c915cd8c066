"""Styles: listed, chosen, sent, and learnt from captioned actions by another process."""

import json
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from blender.scenes import tick_until_done
from waiting import wait_until

from blender_addon import api, library_properties, results, runtime, service, styles

TRAINER = Path(__file__).resolve().parents[1] / "fake_trainer.py"
PACKS = [
    {"name": "proud", "label": "Proud", "licence": "CC0", "commercial": True},
    {"name": "capture", "label": "Lab Capture", "licence": "CC BY-NC 4.0", "commercial": False},
]


@pytest.fixture
def trainer(fake, tmp_path, monkeypatch):
    """``trainer(mode)``: the backend whose training only pretends; what it was told lies in the mark."""
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MOMUG_FAKE_MARK", str(tmp_path / "mark.json"))

    def choose(mode="ok"):
        runtime.configure(command=[sys.executable, str(TRAINER), mode, "serve"])
        return tmp_path / "mark.json"

    choose()
    return choose


@pytest.fixture
def captioned(trainer, mannequin):
    """Two captioned actions and one without words, all ticked."""
    made = [api.animate(mannequin, f"walk {n}", seconds=1.5, seed=n) for n in range(3)]
    for action in made:
        action.use_fake_user = action.momug_ticked = True
    made[0].momug_words, made[1].momug_words = "a person walks proudly", "a person turns proudly"
    return made


def settings():
    return bpy.context.scene.momug_captions


def motion():
    return bpy.context.scene.momug


def look_until_done():
    wait_until(lambda: styles._tick() is None)


def knows(packs):
    """The backend has said hello with these packs."""
    service._models[:] = [{"name": "momug", "label": "MoMug", "available": True, "styles": packs}]


def test_packs_are_listed_and_licences_told(fake, mannequin):
    from blender.test_addon import Drawn

    from blender_addon.panels.style import MOMUG_PT_style

    assert [item[0] for item in library_properties.style_items(motion(), bpy.context)] == ["NONE"]
    knows(PACKS)
    items = {item[0]: item for item in library_properties.style_items(motion(), bpy.context)}
    assert list(items) == ["NONE", "proud", "capture"]
    assert items["capture"][1] == "Lab Capture (non-commercial)" and items["capture"][3] == "ERROR"
    assert "CC BY-NC 4.0" in items["capture"][2] and items["proud"][1] == "Proud"
    motion().style = "capture"
    drawn = Drawn(MOMUG_PT_style)
    MOMUG_PT_style.draw(drawn, bpy.context)
    assert "Not for commercial work: CC BY-NC 4.0" in drawn.layout.text
    motion().style = "proud"
    drawn = Drawn(MOMUG_PT_style)
    MOMUG_PT_style.draw(drawn, bpy.context)
    assert "commercial" not in drawn.layout.text


def test_the_button_asks_the_backend(fake, mannequin):
    service._models.clear()
    assert not styles.asked()
    assert bpy.ops.momug.list_styles() == {"FINISHED"} and styles.starting()
    look_until_done()
    assert styles.asked() and not styles.starting()


def test_style_and_weight_go_with_the_request_and_are_remembered(fake, mannequin):
    api.animate(mannequin, "a walk", seconds=1.0, seed=1)
    knows(PACKS)
    bpy.context.scene.momug.prompt = "a person walks"
    motion().style, motion().style_weight = "proud", 0.25
    bpy.ops.momug.generate()
    fields = runtime.active().job.fields
    assert (fields["style"], fields["style_weight"]) == ("proud", 0.25)
    tick_until_done()
    recipe = results.recipe(mannequin.animation_data.action)
    assert (recipe["style"], recipe["style_weight"]) == ("proud", 0.25)
    motion().style = "NONE"
    knows(PACKS)
    bpy.ops.momug.use_settings_of_action()
    assert motion().style == "proud" and motion().style_weight == pytest.approx(0.25)


def test_training_writes_what_was_captured_and_the_pack_is_there(captioned, trainer, tmp_path):
    settings().style_name, settings().style_steps, settings().style_commercial = "Stolzer Gang!", 5, False
    assert bpy.ops.momug.train_style() == {"FINISHED"}
    training = styles.training()
    assert training.total == 5
    look_until_done()
    assert not runtime.status().failed and "Stolzer Gang!" in runtime.status().message
    arguments, rows = json.loads((tmp_path / "mark.json").read_text(encoding="utf-8"))
    assert [row["captions"] for row in rows] == [["a person walks proudly"], ["a person turns proudly"]]
    assert arguments[arguments.index("--name") + 1] == "stolzer-gang"
    assert {"--non-commercial", "--end-with-stdin"} <= {*arguments}
    source = Path(arguments[arguments.index("--source") + 1])
    assert tmp_path in source.parents
    with np.load(source / "000.npz", allow_pickle=False) as data:
        assert len(data["trans"]) == 45 and data["poses"].shape == (45, 165) or data["poses"].shape[0] == 45
    pack = styles.pack("stolzer-gang")
    assert pack["label"] == "Stolzer Gang!" and not pack["commercial"]
    motion().style = "stolzer-gang"
    assert training.step == training.total == 5 and training.fraction == 1.0
    assert not service.running()  # the next start knows the pack


def test_scripts_learn_a_style_too(captioned, trainer, mannequin):
    seen = []
    name = api.train_style(
        captioned, "Proud Walk", armature=mannequin, steps=3, progress=lambda *told: seen.append(told)
    )
    assert name == "proud-walk" and seen[-1][::2] == ("style", 3)
    assert styles.training() is None and styles.pack(name)["commercial"]
    trainer("fails")
    with pytest.raises(api.Error, match="None of the motions can be learnt from"):
        api.train_style(captioned, "Other", armature=mannequin, steps=3)


def test_progress_and_cancel(captioned, trainer):
    trainer("slow")
    settings().style_steps = 50
    bpy.ops.momug.train_style()
    wait_until(lambda: styles._tick() is not None and styles.training().step == 2)
    training = styles.training()
    assert training.remaining == pytest.approx(12.0) and training.loss == pytest.approx(0.5)
    with pytest.raises(RuntimeError, match="being trained already"):
        bpy.ops.momug.train_style()
    assert bpy.ops.momug.cancel_training() == {"FINISHED"}
    assert styles.training() is None and training._process.exit_code() is not None
    assert "cancelled" in runtime.status().message and not styles.packs()


def test_a_failure_is_told_in_the_trainers_words(captioned, trainer):
    trainer("fails")
    bpy.ops.momug.train_style()
    look_until_done()
    assert runtime.status().failed and "None of the motions can be learnt from." in runtime.status().message
    assert not styles.packs()


def test_buttons_say_what_is_missing(captioned):
    for action in captioned:
        action.momug_words = ""
    with pytest.raises(RuntimeError, match="have no caption yet"):
        bpy.ops.momug.train_style()
    for action in captioned:
        action.momug_ticked = False
    with pytest.raises(RuntimeError, match="Tick the actions"):
        bpy.ops.momug.train_style()
    settings().style_name = " "
    with pytest.raises(RuntimeError, match="a name first"):
        bpy.ops.momug.train_style()


def test_a_backend_command_that_cannot_train_is_told(captioned, fake):
    fake()
    with pytest.raises(RuntimeError, match="only generate and caption"):
        bpy.ops.momug.train_style()
    assert styles.training() is None


@pytest.mark.parametrize(
    ("label", "name"), [("My Style", "my-style"), ("Größe 2", "groe-2"), ("-- X --", "x"), ("A" * 60, "a" * 32)]
)
def test_names_of_packs(label, name):
    assert styles.pack_name(label) == name


def test_a_name_in_other_letters_still_names_a_pack():
    assert styles.pack_name("骄傲").startswith("style-") and styles.pack_name("骄傲") != styles.pack_name("悲伤")

"""The add-on as Blender sees it: registering and drawing; the package is tested in test_package.py."""

import re
import subprocess
import sys

import bpy
import pytest

from blender_addon import api, ask, installation, library_properties, properties, property_items, runtime
from blender_addon.panels import CLASSES as PANELS


class Given:
    """The properties of a drawn button: only those of its operator can be set."""

    def __init__(self, rna):
        object.__setattr__(self, "rna", rna)

    def __setattr__(self, name, _value):
        assert name in self.rna.properties, f"{self.rna.identifier} has no {name}"


class Layout:
    """Stands in for Blender's layout: takes every call and keeps the words that would be drawn."""

    def __init__(self, words=None, buttons=None):
        self.words = [] if words is None else words
        self.buttons = [] if buttons is None else buttons

    def label(self, text="", **_options):
        self.words.append(text)

    def progress(self, text="", factor=0.0, **_options):
        assert 0.0 <= factor <= 1.0
        self.words.append(text)

    def operator(self, name, **_options):
        self.buttons.append(name)
        module, function = name.split(".")
        return Given(getattr(getattr(bpy.ops, module), function).get_rna_type())

    def operator_menu_enum(self, name, property_name, **_options):
        assert property_name in self.operator(name).rna.properties

    def separator(self, **_options):
        """Room between two rows."""

    def prop(self, owner, name, **_options):
        assert name in owner.bl_rna.properties

    def prop_search(self, owner, name, data, names, **_options):
        assert name in owner.bl_rna.properties and names in data.bl_rna.properties
        self.words.append(getattr(owner, name))

    def menu(self, name, **_options):
        assert hasattr(bpy.types, name)

    def template_list(self, kind, _id, data, name, active_data, active_name, **_options):
        assert hasattr(bpy.types, kind) and hasattr(data, name)
        assert active_name in active_data.bl_rna.properties

    def inner(self, **_options):
        return Layout(self.words, self.buttons)

    row = column = box = split = grid_flow = inner

    @property
    def text(self) -> str:
        return " ".join(self.words)


class Drawn:
    """A panel that is being drawn."""

    def __init__(self, panel):
        self.panel = panel
        self.layout = Layout()

    def __getattr__(self, name):
        return getattr(self.panel, name)


def draw() -> Layout:
    """All panels into one layout."""
    layout = Layout()
    for panel in (cls for cls in PANELS if issubclass(cls, bpy.types.Panel)):
        if hasattr(panel, "poll") and not panel.poll(bpy.context):
            continue
        drawn = Drawn(panel)
        panel.draw(drawn, bpy.context)
        layout.words += drawn.layout.words
        layout.buttons += drawn.layout.buttons
    return layout


def test_importing_needs_no_blender(root):
    script = "import sys; sys.modules['bpy'] = None; import blender_addon; print(blender_addon.bl_info['name'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "MoMug", done.stderr


def test_unregister_leaves_nothing():
    import blender_addon

    def traces():
        handlers = [f for f in bpy.app.handlers.load_pre if f.__module__.startswith("blender_addon")]
        return [name for name in dir(bpy.types) if name.lower().startswith("momug")] + handlers

    assert not traces()
    for _ in range(2):
        blender_addon.register()
        assert traces() and hasattr(bpy.types.Scene, "momug")
        assert not runtime.service.running()
        blender_addon.unregister()
        assert not traces() and not hasattr(bpy.types.Scene, "momug")
        assert not bpy.app.timers.is_registered(runtime._tick)


def test_unregister_ends_backend_and_task(fake, mannequin):
    fake(steps=100, delay=0.1)
    task = ask.start_animate(mannequin, "a walk", seconds=1.0)
    runtime.unregister()
    assert task.finished and task.error.code == "cancelled"
    assert not runtime.service.running() and not bpy.app.timers.is_registered(runtime._tick)
    runtime.register()


def all_operators() -> dict:
    """Name -> operator, of every button of the add-on."""
    return {name: getattr(bpy.ops.momug, name) for name in dir(bpy.ops.momug)}


BLENDERS_OWN = ("rna_type", "name", "filepath", "directory", "bl_idname", "check_existing", "filter_glob")


def test_everything_has_a_tooltip(addon):
    from blender_addon.preferences import MomugPreferences

    operators = {name: operator.get_rna_type() for name, operator in all_operators().items()}
    assert len(operators) >= 50
    groups = (properties.MomugSettings, MomugPreferences, *property_items.CLASSES, *library_properties.CLASSES)
    told = {f"momug.{name}": rna.description for name, rna in operators.items()}
    owners = [*operators.items(), *((cls.__name__, cls.bl_rna) for cls in groups)]
    for owner, rna in owners:
        for prop in rna.properties:
            if prop.is_hidden or prop.identifier in BLENDERS_OWN:
                continue  # Blender's own
            told[f"{owner}.{prop.identifier}"] = prop.description
            items = prop.enum_items if prop.type == "ENUM" else ()
            told |= {f"{owner}.{prop.identifier}.{item.identifier}": item.description for item in items}
    for name in ("momug_ticked", "momug_words"):
        told[f"Action.{name}"] = bpy.types.Action.bl_rna.properties[name].description
    assert len(told) > 180
    assert not [name for name, text in told.items() if len(text) < 10]


# what may be pressed at any time, or does nothing but open something
ALWAYS = {"add_mannequin", "copy_diagnostics", "open_log", "use_prompt"}


@pytest.mark.parametrize("state", ["empty", "car", "figure", "busy"])
def test_every_grey_button_says_what_is_missing(fake, state):
    from blender_addon.scene import mannequin

    if state == "car":
        bpy.ops.object.armature_add()
    elif state != "empty":
        bpy.context.view_layer.objects.active = mannequin.add()
    if state == "busy":
        fake(steps=200, delay=0.1)
        ask.start_animate(bpy.context.object, "a walk", seconds=1.0)
    grey = {name: operator for name, operator in all_operators().items() if not operator.poll()}
    assert len(grey) > 10 and not ALWAYS & set(grey)
    for name, operator in grey.items():
        with pytest.raises(RuntimeError) as caught:
            operator()
        _, _, reason = str(caught.value).partition("poll() ")
        reason = reason.strip()
        assert reason and "context is incorrect" not in reason, f"momug.{name} does not say why it is grey"
        assert reason[0].isupper() or reason[0] == "'", (name, reason)
    runtime.cancel()


def test_one_version_everywhere(addon, root):
    manifest = (root / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', manifest, re.MULTILINE).group(1)
    assert version == ask.VERSION == ".".join(map(str, addon.bl_info["version"]))


def test_the_panel_without_a_character(fake):
    drawn = draw()
    assert "Select an armature, or add the mannequin." in drawn.text
    assert {"momug.add_mannequin", "momug.generate", "momug.caption"} <= set(drawn.buttons)


def test_without_the_model_the_prompt_offers_to_install_it(addon, monkeypatch):
    monkeypatch.setattr(installation.service, "can_start", lambda: False)
    installation.look_again()
    drawn = draw()
    assert "not installed" in drawn.text and "momug.generate" not in drawn.buttons
    assert {"momug.plan_installation", "momug.choose_wheels"} <= set(drawn.buttons)
    monkeypatch.undo()
    installation.look_again()


def test_the_panel_through_a_request(fake, mannequin):
    assert "all 22 joints" in draw().text
    fake(steps=10, delay=0.1)
    task = ask.start_animate(mannequin, "a walk", seconds=1.0)
    assert "Starting the model" in draw().text
    while task.job.step < 2:
        runtime.pump()
    drawn = draw()
    assert "Making the motion" in drawn.text and "/10" in drawn.text
    assert "momug.cancel" in drawn.buttons and "momug.generate" not in drawn.buttons
    api.wait()
    drawn = draw()
    assert "'a walk' is on Mannequin." in drawn.text and "momug.generate" in drawn.buttons
    caption = api.caption(mannequin)
    assert caption in draw().text


def test_the_preferences_can_be_drawn(addon):
    from blender_addon.preferences import MomugPreferences

    drawn = Drawn(MomugPreferences)
    MomugPreferences.draw(drawn, bpy.context)
    assert {"momug.unload_backend", "momug.open_log"} <= set(drawn.layout.buttons)


def test_the_panel_tells_what_went_wrong(fake, mannequin):
    fake("error")
    with pytest.raises(api.Error):
        api.animate(mannequin, "a walk", seconds=1.0)
    drawn = draw()
    assert "The checkpoint of MoMug is not there." in drawn.text and "Install it again." in drawn.text
    assert "momug.open_log" in drawn.buttons


def test_the_panel_names_missing_joints(addon):
    armature = bpy.data.objects.new("Odd", bpy.data.armatures.new("Odd"))
    bpy.context.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    armature.data.edit_bones.new("wheel").tail = (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert "pelvis" in draw().text


def test_drawing_asks_for_a_map_once(addon, mannequin, monkeypatch):
    from blender_addon import results

    calls = []
    original = results.stored_map.bone_map
    monkeypatch.setattr(results.stored_map, "bone_map", lambda *given: calls.append(1) or original(*given))
    results.forget_maps()
    for _ in range(5):
        draw()
    assert len(calls) == 1
    mannequin.data.bones[-1].name = "something else"
    draw()
    assert len(calls) == 2


def test_saved_are_the_settings_and_nothing_that_runs(fake, mannequin, tmp_path):
    chosen = bpy.context.scene.momug
    chosen.prompt, chosen.seed, chosen.armature = "a walk", 9, mannequin
    fake(steps=20, delay=0.1)
    bpy.ops.momug.generate()
    file = tmp_path / "file.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    loaded = bpy.context.scene.momug
    assert (loaded.prompt, loaded.armature.name) == ("a walk", "Mannequin")
    assert runtime.active() is None
    assert set(bpy.context.scene.momug.keys()) <= set(properties.MomugSettings.__annotations__)
    assert "momug.generate" in draw().buttons


def test_an_unknown_model_in_a_file_falls_back(addon):
    chosen = bpy.context.scene.momug
    chosen["model"] = 123456
    assert properties.chosen_model(chosen) == "momug"

"""The Backend panel and the preferences: every state drawn, every setting used, memory given back."""

import logging
import os
import sys
import time
from pathlib import Path

import bpy
import pytest
from blender.test_addon import Drawn, Layout
from waiting import wait_until

FAKE = Path(__file__).resolve().parents[1] / "fake_backend.py"


@pytest.fixture
def momug(tmp_path, monkeypatch):
    """The add-on as Blender enables it, with preferences, and a cache of its own where nothing is installed."""
    import addon_utils  # on the path once bpy is imported

    bpy.ops.wm.read_factory_settings(use_empty=True)
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOMUG_BACKEND_PYTHON", raising=False)
    from blender_addon import preferences

    monkeypatch.setattr(preferences, "_cache_before", str(tmp_path / "cache"))
    module = addon_utils.enable("blender_addon", default_set=True)
    assert module is not None
    page = preferences.get()
    page.log_folder = str(tmp_path / "logs")
    yield page
    from blender_addon import runtime

    runtime.configure()
    addon_utils.disable("blender_addon", default_set=True)
    logging.getLogger("blender_addon").handlers.clear()


def use_fake(page, mode: str = "ok", steps: int = 4, delay: float = 0.01) -> None:
    page.backend_command = f'"{sys.executable}" "{FAKE}" --mode {mode} --steps {steps} --delay {delay}'


def draw() -> Layout:
    from blender_addon.panels import backend

    layout = Layout()
    panel = Drawn(backend.MOMUG_PT_backend)
    panel.layout = layout
    backend.MOMUG_PT_backend.draw_header_preset(panel, bpy.context)
    backend.MOMUG_PT_backend.draw(panel, bpy.context)
    return layout


def draw_page(page) -> Layout:
    from blender_addon.panels import backend

    drawn = Drawn(page)
    drawn.layout = Layout()
    for name in page.bl_rna.properties.keys():
        if name not in ("rna_type", "bl_idname"):
            setattr(drawn, name, None)
    drawn.bl_rna = page.bl_rna
    drawn.layout.prop = lambda owner, name, **options: None
    backend.draw_preferences(drawn, bpy.context)
    return drawn.layout


def pump(seconds: float = 0.0, until=None) -> None:
    """What Blender's timers would do."""
    from blender_addon import installation, runtime

    end = time.monotonic() + (seconds or 300.0)
    while time.monotonic() < end and not (until is not None and until()):
        runtime.pump()
        installation.tend()
        time.sleep(0.01)
    assert until is None or until(), "waited in vain"


# --- states


def test_not_installed_says_what_to_press(momug):
    from blender_addon import installation

    assert installation.state().code == installation.NOT_INSTALLED
    drawn = draw()
    assert "not installed" in drawn.text and "Missing" in drawn.text
    assert "momug.plan_installation" in drawn.buttons and "momug.choose_wheels" in drawn.buttons
    assert "momug.load_backend" not in drawn.buttons and "momug.remove_backend" not in drawn.buttons


def test_ready_busy_and_stopped_are_told(momug):
    from blender_addon import installation, runtime, service

    use_fake(momug, steps=200, delay=0.02)
    installation.look_again()
    assert installation.state().code == installation.STOPPED
    assert bpy.ops.momug.load_backend() == {"FINISHED"}
    assert installation.state().code in (installation.STARTING, installation.BUSY)
    pump(until=lambda: service.current().state == "busy")
    assert "The model is working" in draw().text
    runtime.cancel()
    pump(until=lambda: runtime.active() is None)
    assert installation.state().code == installation.READY
    assert "momug.unload_backend" in draw().buttons


def test_memory_and_device_are_told_by_the_process(momug):
    from blender_addon import installation, runtime, service

    use_fake(momug)
    bpy.ops.momug.load_backend()
    pump(until=lambda: runtime.active() is None)

    def told() -> bool:
        service.current().ask_vitals()
        return bool(service.current().vitals.get("model"))

    pump(until=told)
    assert dict(installation.facts()) == {"Device": "CPU", "Precision": "float32", "Memory": "345 MB"}
    assert "is loaded" in draw().text and "345 MB" in draw().text
    assert bpy.ops.momug.unload_backend() == {"FINISHED"}
    assert installation.state().code == installation.STOPPED and installation.facts() == []


def test_a_crash_shows_its_reason_and_the_end_of_the_log(momug):
    from blender_addon import installation, runtime

    use_fake(momug, "die_start")
    bpy.ops.momug.load_backend()
    pump(until=lambda: runtime.active() is None)
    shown = installation.state()
    assert shown.code == installation.FAILED and "exit code 3" in shown.sentence
    drawn = draw()
    assert "the fake backend was told to die at its start" in drawn.text and "Failed" in drawn.text
    assert "momug.open_log" in drawn.buttons and "momug.copy_diagnostics" in drawn.buttons


def test_details_hold_no_name_of_the_user(momug):
    from blender_addon import installation

    use_fake(momug, "die_start")
    text = installation.diagnostics()
    assert "Blender (" in text and "State:" in text and "device auto" in text
    assert str(Path.home()) not in text
    assert bpy.ops.momug.copy_diagnostics() == {"FINISHED"}


@pytest.mark.parametrize(
    ("state", "words", "button"),
    [
        ("looking", "Looking at this computer", "momug.cancel_installation"),
        ("running", "Downloading 50 MB of 200 MB", "momug.cancel_installation"),
        ("cancelling", "Stopping", "momug.cancel_installation"),
        ("failed", "The disk became full. Free some space", "momug.plan_installation"),
        ("planned", "Download: 47 packages", "momug.install_backend"),
    ],
)
def test_the_installation_is_drawn_in_every_state(momug, state, words, button):
    from blender_addon import installation
    from blender_addon.client import environment, gpu, plan, platforms

    worker = installation.the_installer()
    worker.state = state
    worker.phase, worker.done, worker.total, worker.label = "download", 50_000_000, 200_000_000, "torch"
    worker.problem = (
        environment.EnvironmentProblem("The disk became full.", "Free some space.") if state == "failed" else None
    )
    target = platforms.Target("linux", "x86_64", (3, 11), (2, 36))
    build = gpu.builds(target, [])[0][0]
    text = environment.paths.REQUIREMENTS.read_text(encoding="utf-8")
    worker.plan = plan.make(text, target, build, "No card.") if state == "planned" else None
    drawn = draw()
    assert words in drawn.text or state == "planned" and "Download:" in drawn.text
    assert button in drawn.buttons
    if state == "running":
        worker.command = "install"
        assert "are being installed" in draw().text
    if state == "planned":
        assert "torch 2.13.0+cpu" in drawn.text and "Free:" in drawn.text and "No card." in drawn.text
        assert "momug.show_packages" in drawn.buttons
    worker.state = "idle"


def test_how_it_ended_is_told_beside_the_buttons(momug):
    from blender_addon import installation

    worker = installation.the_installer()
    worker.state, worker.command, worker.freed = "done", "remove", 1_565_000_000
    assert "were removed; 1.6 GB are free again." in draw().text
    worker.command = "install"
    assert "The model's programs are installed." in draw().text
    worker.state = "cancelled"
    assert "is kept for the next time" in draw().text
    worker.state = "idle"
    assert installation.outcome(worker) == ""


# --- asking first


def test_nothing_is_downloaded_while_blender_may_not_go_online(momug, monkeypatch):
    from blender_addon import installation, service
    from blender_addon.operators import backend

    monkeypatch.setattr(installation, "online", lambda: False)
    assert "Allow Online Access" in draw().text
    assert not backend.MOMUG_OT_install_backend.poll(bpy.context)
    with pytest.raises(service.Error, match="not allowed to go online") as caught:
        installation.start("install")
    assert "folder of wheels" in caught.value.message
    assert installation.the_installer().state == "idle"


def test_too_little_disk_is_told_before_the_start(momug, monkeypatch):
    from blender_addon import installation, service
    from blender_addon.client import environment, gpu, plan, platforms

    worker = installation.the_installer()
    target = platforms.Target("linux", "x86_64", (3, 11), (2, 36))
    text = environment.paths.REQUIREMENTS.read_text(encoding="utf-8")
    worker.plan, worker.state = plan.make(text, target, gpu.builds(target, [])[0][0]), "planned"
    worker.plan.free = 1000
    monkeypatch.setattr(installation, "online", lambda: True)
    with pytest.raises(service.Error, match="too little disk space"):
        installation.start("install")
    assert worker.state == "planned"


def test_a_look_ends_in_a_plan_without_a_download(momug, tmp_path):
    from blender_addon import installation

    bpy.ops.momug.plan_installation()
    worker = installation.the_installer()
    wait_until(lambda: not worker.busy)
    assert worker.state in ("planned", "failed")
    if worker.state == "failed":
        assert worker.problem.code == "no_python"
    assert not (tmp_path / "cache" / "downloads").exists()
    assert bpy.ops.momug.forget_plan() == {"FINISHED"} and worker.state == "idle"


def test_missing_wheels_of_a_folder_are_listed(momug, tmp_path):
    from blender_addon import installation, service

    (tmp_path / "wheels").mkdir()
    assert bpy.ops.momug.choose_wheels(directory=str(tmp_path / "wheels")) == {"FINISHED"}
    worker = installation.the_installer()
    wait_until(lambda: not worker.busy)
    if worker.state == "failed":
        pytest.skip(worker.problem.message)
    assert "Wheels are missing" in draw().text and "build.py wheels" in draw().text
    with pytest.raises(service.Error, match="Wheels are missing"):
        installation.start("install")


# --- every setting is used


def test_device_and_precision_go_to_the_process(momug):
    from blender_addon import service

    momug.backend_python = sys.executable
    momug.device, momug.precision = "cpu", "float32"
    command, _ = service._command()
    assert command[-2:] == ["--device=cpu", "--precision=float32"]
    momug.device = momug.precision = "auto"
    assert service._command()[0][-2:] == ["--device=auto", "--precision=auto"]


def test_python_of_the_model_is_used(momug, tmp_path):
    from blender_addon import installation, service

    momug.backend_python = sys.executable
    assert service._command()[0][0] == sys.executable and service.can_start()
    momug.backend_python = str(tmp_path / "absent")
    installation.look_again()
    with pytest.raises(service.Error, match="does not exist"):
        service._command()
    assert not installation.is_installed()


def test_idle_time_ends_the_process_and_zero_never_does(momug):
    from blender_addon import installation, runtime, service

    use_fake(momug)
    momug.idle_minutes = 1
    bpy.ops.momug.load_backend()
    pump(until=lambda: runtime.active() is None)
    process = service.current()._link.process
    now = time.monotonic()
    installation.tend(now)
    installation.tend(now + 59)
    assert service.running()
    momug.idle_minutes = 0
    installation.tend(now + 100_000)
    assert service.running()
    momug.idle_minutes = 1
    installation.tend(now + 61)
    assert not service.running()
    wait_until(lambda: process.exit_code() is not None)
    assert "memory was given back" in runtime.status().message


def test_a_working_model_is_not_idle(momug):
    from blender_addon import installation, runtime, service

    use_fake(momug, steps=500, delay=0.02)
    momug.idle_minutes = 1
    bpy.ops.momug.load_backend()
    pump(until=lambda: service.current().state == "busy")
    now = time.monotonic()
    installation.tend(now)
    installation.tend(now + 3600)
    assert service.running()
    runtime.shutdown()


def test_cache_folder_is_used_here_and_by_the_process(momug, tmp_path):
    from blender_addon.client import environment
    from blender_addon.client.process import child_environment

    momug.cache_folder = str(tmp_path / "elsewhere")
    assert environment.paths.cache_folder() == tmp_path / "elsewhere"
    assert child_environment()["MOMUG_CACHE"] == str(tmp_path / "elsewhere")
    momug.cache_folder = ""
    assert environment.paths.cache_folder() == tmp_path / "cache"


def test_log_folder_is_used_by_add_on_and_process(momug, tmp_path):
    from blender_addon import runtime, service

    use_fake(momug)
    momug.log_folder = str(tmp_path / "my logs")
    bpy.ops.momug.load_backend()
    pump(until=lambda: runtime.active() is None)
    assert (tmp_path / "my logs" / "addon.log").is_file() and (tmp_path / "my logs" / "backend.log").is_file()
    assert service.log_folder() == tmp_path / "my logs"


def test_default_model_and_preset_are_those_of_a_scene_where_none_was_chosen(momug):
    from blender_addon import installation, properties, runtime, service
    from blender_addon.operators import generate

    use_fake(momug)
    settings = properties.get(bpy.context.scene)
    assert properties.chosen_model(settings) == "momug" and properties.chosen_preset(settings) == "MODEL"
    bpy.ops.momug.load_backend()
    pump(until=lambda: runtime.active() is None)
    assert len(service.models()) == 2
    momug.default_model, momug.default_preset = "llamo", "fast"
    assert properties.chosen_model(settings) == "llamo" and properties.chosen_preset(settings) == "fast"
    installation.tend()
    assert settings.model == "llamo" and settings.preset == "fast", "the fields show something else"
    settings.model, settings.preset = "momug", "MODEL"
    installation.tend()
    assert properties.chosen_model(settings) == "momug" and properties.chosen_preset(settings) == "MODEL"
    assert generate is not None


def test_wheel_folder_goes_to_the_installation(momug, tmp_path, monkeypatch):
    from blender_addon import installation

    asked = []
    momug.wheel_folder = str(tmp_path)
    worker = installation.the_installer()
    monkeypatch.setattr(worker, "start", lambda command, **options: asked.append((command, options)))
    momug.device = "cpu"
    installation.start("repair")
    assert asked == [
        ("repair", {"device": "cpu", "folder": tmp_path, "agreed": None, "fetch_python": False}),
    ]


def test_the_page_shows_every_setting_and_the_licences(momug):
    from blender_addon import preferences
    from blender_addon.panels import backend

    assert preferences.MomugPreferences.page is backend.draw_preferences
    text = Path(backend.__file__).read_text(encoding="utf-8")
    for name in preferences.DEFAULTS:
        assert f'"{name}"' in text, f"{name} is not on the page"
    assert any("Apache" in line for line in preferences.LICENCES)


def test_every_setting_has_a_default_that_blender_agrees_with(momug):
    from blender_addon import preferences

    momug.log_folder = ""
    for name, default in preferences.DEFAULTS.items():
        assert preferences.value(name) == default, name
        assert momug.bl_rna.properties[name].description


def test_the_model_is_loaded_while_the_prompt_is_typed(momug, fake_command, monkeypatch):
    import shlex
    from types import SimpleNamespace

    from blender_addon import properties, runtime, service

    momug.backend_command = shlex.join(fake_command())

    typed = SimpleNamespace(prompt="a", model="momug", is_property_set=lambda name: True)
    properties._typed(typed, None)
    assert service.current() is None  # a script in the background says itself when it needs the model
    monkeypatch.setattr(properties, "bpy", SimpleNamespace(app=SimpleNamespace(background=False)))
    momug.prefetch = False
    properties._typed(typed, None)
    assert not service.running()
    momug.prefetch = True
    for prompt in ("", "  ", "a", "a person", "a person walks"):
        typed.prompt = prompt
        properties._typed(typed, None)
        assert service.running() == bool(prompt.strip())
    wait_until(lambda: service.current().state == "ready")
    service.current().ask_vitals()
    wait_until(lambda: service.current().vitals)
    assert service.current().vitals["model"] == "momug"
    runtime.shutdown()
    momug.backend_command = shlex.join(fake_command("die_start"))
    properties._typed(typed, None)  # what goes wrong ahead is told by whoever asks for a motion
    wait_until(lambda: not service.running())
    assert not runtime.status().failed
    monkeypatch.setattr(properties, "bpy", bpy)  # the add-on is taken out with the real one


def test_enabling_starts_nothing_and_writes_nothing(momug, tmp_path):
    from blender_addon import installation, service

    installation.tend()
    assert service.current() is None
    assert not os.listdir(tmp_path / "cache") if (tmp_path / "cache").exists() else True

"""Captions and a style from the real model, where it is installed (``MOMUG_TEST_BACKEND`` may name its Python)."""

import os

import bpy
import numpy as np
import pytest
from figures import walk

from blender_addon import api, library_properties, results, runtime, service, styles
from blender_addon.client import environment

pytestmark = pytest.mark.slow


@pytest.fixture
def real(addon, tmp_path, monkeypatch):
    """The installed backend, with caches of its own."""
    python = environment.backend_python(os.environ.get("MOMUG_TEST_BACKEND", ""))
    if python is None or not environment.paths.base_model_folder().is_dir():
        pytest.skip("the model is not installed on this computer")
    monkeypatch.setenv("MOMUG_BASE_MODEL", str(environment.paths.base_model_folder()))
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MOMUG_STYLES", str(tmp_path / "packs"))
    runtime.configure(python=str(python), hello_timeout=600.0, hang_timeout=600.0)
    yield
    runtime.configure()


def test_from_motion_to_captions_to_a_style_to_motion(real, mannequin, tmp_path):
    scene = bpy.context.scene
    actions = []
    for number, seconds in enumerate((2.0, 2.5)):
        recipe = {"prompt": f"walk {number}", "seed": number}
        made = results.apply_motions(mannequin, scene, [walk(seconds)], [recipe], frame_start=1, extend_timeline=False)[
            0
        ]
        api.accept(mannequin)
        made.use_fake_user = True
        actions.append(made)
    texts = api.caption(actions, armature=mannequin)
    assert all("person" in text or "someone" in text or len(text.split()) > 2 for text in texts)
    assert [action.momug_words for action in actions] == [" ".join(text.split()) for text in texts]
    plain = api.animate(mannequin, "a person walks forward", seconds=2.0, seed=3, steps=2)
    before = _keys(plain)

    training = styles.begin(actions, "Test Walk", commercial=False, steps=4, armature=mannequin)
    seen = []
    pack = styles.wait(lambda *step: seen.append(step))
    assert pack["label"] == "Test Walk" and not pack["commercial"] and training.record["windows"] == 4
    assert (tmp_path / "packs" / "test-walk" / "style.safetensors").is_file() and seen[-1][1] >= 1
    assert not service.running()

    styled = api.animate(mannequin, "a person walks forward", seconds=2.0, seed=3, steps=2, style="test-walk")
    assert np.abs(_keys(styled) - before).max() > 1e-5
    assert "test-walk" in [item[0] for item in library_properties.style_items(scene.momug, bpy.context)]


def _keys(action) -> np.ndarray:
    from blender_addon.scene import compat

    mannequin = bpy.data.objects["Mannequin"]
    curves = compat.channels(action, compat.slot_for(action, mannequin)).fcurves
    return np.array(
        [[point.co[1] for point in curve.keyframe_points] for curve in curves if len(curve.keyframe_points) > 10]
    )

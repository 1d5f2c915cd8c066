"""GLB and FBX clips become canonical motion in a Blender of their own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import empty  # noqa: E402
from figures import walk, wild  # noqa: E402

from blender_addon import convert  # noqa: E402
from blender_addon.retarget import retarget, smpl  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import compat, export, keys, mannequin  # noqa: E402

SCRIPT = Path(convert.__file__)
MOTIONS = {"Walk_Loop": walk(1.0), "Wild": wild(45)}


def animated(names):
    """The mannequin with one action for each name; the last one is active."""
    empty()
    armature = mannequin.add()
    rig = armatures.read_rig(armature)
    for name in names:
        animation = retarget(MOTIONS[name], rig, match(rig.bones), 30.0, foot_lock=False)
        keys.write_action(armature, animation, name, 0).name = name
    return armature


def run(jobs: list[dict], folder: Path) -> dict[str, dict]:
    table = folder / "jobs.json"
    table.write_text(json.dumps({"clips": jobs}))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--jobs", str(table)], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [answer["id"] for answer in answers] == [job["id"] for job in jobs]
    return {answer["id"]: answer for answer in answers}


def same_motion(path: Path, motion) -> None:
    with np.load(path, allow_pickle=False) as data:
        assert data["poses"].shape == (motion.frames, 165) and data["mocap_frame_rate"] == 30
        assert str(data["up_axis"]) == "Y" and data["contacts"].shape == (motion.frames, 4)
        vectors = data["poses"][:, :66].reshape(-1, 22, 3).astype(float)
        angles = np.linalg.norm(vectors, axis=-1)
        turns = rot.from_axis_angle(vectors / np.maximum(angles, 1e-9)[..., None], angles)
        wanted, path_ = smpl.from_canonical(motion)
        np.testing.assert_allclose(data["trans"][:, [0, 2]], path_[:, [0, 2]], atol=0.01)
    gap = np.degrees(rot.angle(turns, wanted))
    assert gap.max() < 2.0


def test_every_animation_of_a_glb_is_its_own_motion(tmp_path):
    armature = animated(MOTIONS)
    armature.select_set(True)
    file = tmp_path / "set.glb"
    bpy.ops.export_scene.gltf(
        filepath=str(file), export_format="GLB", export_animations=True, export_animation_mode="ACTIONS",
        export_force_sampling=True, export_optimize_animation_size=False,
    )  # fmt: skip
    jobs = [
        {"id": name, "file": str(file), "animation": name, "out": str(tmp_path / f"{name}.npz")} for name in MOTIONS
    ]
    jobs.append({"id": "none", "file": str(file), "animation": "Swim", "out": str(tmp_path / "none.npz")})
    jobs.append({"id": "which", "file": str(file), "animation": None, "out": str(tmp_path / "which.npz")})
    answers = run(jobs, tmp_path)
    for name, motion in MOTIONS.items():
        assert answers[name] == {"id": name, "frames": motion.frames}
        same_motion(tmp_path / f"{name}.npz", motion)
    assert answers["none"]["error"] == "'set.glb' holds no animation called 'Swim'."
    assert "say which one" in answers["which"]["error"]
    assert not (tmp_path / "none.npz").exists()


def test_the_only_animation_of_an_fbx_needs_no_name(tmp_path):
    file = export.fbx(animated(["Wild"]), tmp_path / "one.fbx")
    answers = run([{"id": "one", "file": str(file), "animation": None, "out": str(tmp_path / "one.npz")}], tmp_path)
    assert "error" not in answers["one"]
    assert answers["one"]["frames"] == pytest.approx(MOTIONS["Wild"].frames, abs=1)


def test_one_bad_file_stops_no_other(tmp_path):
    (tmp_path / "broken.glb").write_bytes(b"glTF but not really")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    file = export.glb(animated(["Walk_Loop"]), tmp_path / "good.glb")
    jobs = [
        {"id": name, "file": str(path), "animation": None, "out": str(tmp_path / f"{name}.npz")}
        for name, path in (("broken", tmp_path / "broken.glb"), ("gone", tmp_path / "gone.glb"), ("good", file))
    ]
    answers = run(jobs, tmp_path)
    assert "could not read 'broken.glb'" in answers["broken"]["error"]
    assert "There is no file" in answers["gone"]["error"]
    assert answers["good"]["frames"] == MOTIONS["Walk_Loop"].frames


def test_jobs_that_cannot_be_read_are_an_error(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--jobs", str(tmp_path / "none.json")], capture_output=True, text=True
    )
    assert done.returncode == 2 and "could not be read" in done.stderr


def test_tracks_name_the_animations():
    armature = animated(MOTIONS)
    first = bpy.data.actions["Walk_Loop"]
    track = armature.animation_data.nla_tracks.new()
    track.name = "walk as the file calls it"
    track.strips.new("strip", 0, first)
    found = convert.animations(armature)
    assert found == {"walk as the file calls it": first, "Wild": bpy.data.actions["Wild"]}
    assert not armature.animation_data.nla_tracks
    assert convert.pick(found, "Walk_Loop", "x.glb") == first
    compat.assign(armature, None)
    with pytest.raises(ValueError, match="no animation"):
        convert.pick(convert.animations(armature), None, "x.glb")

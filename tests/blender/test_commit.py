"""Whatever is generated, accepted, rejected, undone or saved: the artist's keys stay bit for bit."""

import struct

import bpy
import pytest
from blender.artist import EVERYWHERE, keys_of, make, state

from blender_addon import commit
from blender_addon.rig import RigError
from blender_addon.scene import splice, takes
from blender_addon.scene.takes import ACCEPTED, ACTION, NLA, SPLICE, Options

pytestmark = pytest.mark.usefixtures("thirty_frames_a_second")


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_reject_brings_everything_back(mannequin, mine, destination):
    before = state(mannequin)
    made = make(mannequin, Options(destination=destination))
    assert commit.pending(mannequin).action == made[0]
    outside = (30, 74) if destination == SPLICE else None
    assert keys_of(mine, mannequin, outside) == {
        curve: value for curve, value in _only_outside(before["keys"]["Mine"][0], outside).items() if value[-1]
    }
    assert state(mannequin) != before
    commit.reject(mannequin)
    assert state(mannequin) == before
    assert commit.pending(mannequin) is None


def _only_outside(keys: dict, outside: "tuple[int, int] | None") -> dict:
    if outside is None:
        return keys
    kept = {}
    for curve, (*rest, points) in keys.items():
        inside = [not outside[0] <= struct.unpack("<f", point[0][:4])[0] <= outside[1] for point in points]
        kept[curve] = (*rest, [point for point, keep in zip(points, inside, strict=True) if keep])
    return kept


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_accept_keeps_the_artists_keys(mannequin, mine, destination):
    before = keys_of(mine, mannequin)
    range_ = (30, 74) if destination == SPLICE else None
    made = make(mannequin, Options(destination=destination))[0]
    commit.accept(mannequin)
    kept = {curve: value for curve, value in _only_outside(before, range_).items() if value[-1]}
    assert keys_of(mine, mannequin, range_) == kept
    assert commit.pending(mannequin) is None and commit.current(mannequin).take.state == ACCEPTED
    assert takes.FORMER not in made and mine.name in bpy.data.actions
    with pytest.raises(RigError, match="waits for a decision"):
        commit.reject(mannequin)


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_first_animation_of_an_armature(mannequin, destination):
    before = state(mannequin)
    if destination == SPLICE:
        with pytest.raises(RigError, match="no action"):
            make(mannequin, Options(destination=destination))
        assert state(mannequin) == before
        return
    make(mannequin, Options(destination=destination))
    commit.reject(mannequin)
    assert state(mannequin) == before and mannequin.animation_data is None


@pytest.mark.parametrize("destination", EVERYWHERE)
@pytest.mark.parametrize("decide", ["accept", "reject", "wait"])
def test_saved_and_opened_again(mannequin, mine, destination, decide, tmp_path):
    bpy.context.scene.frame_set(20)
    before = state(mannequin)
    make(mannequin, Options(destination=destination))
    if decide == "accept":
        commit.accept(mannequin)
    elif decide == "reject":
        commit.reject(mannequin)
    then = state(mannequin)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    mannequin = bpy.data.objects["Mannequin"]
    assert state(mannequin) == then
    if decide == "wait":
        commit.reject(mannequin)
        assert state(mannequin) == before


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_undo_and_redo(mannequin, mine, destination):
    bpy.ops.ed.undo_push(message="before")
    before = state(mannequin)
    make(mannequin, Options(destination=destination))
    bpy.ops.ed.undo_push(message="MoMug: Generate")
    made = state(mannequin)
    bpy.ops.ed.undo()
    assert state(bpy.data.objects["Mannequin"]) == before
    bpy.ops.ed.redo()
    mannequin = bpy.data.objects["Mannequin"]
    assert state(mannequin) == made
    commit.reject(mannequin)
    assert state(mannequin) == before
    bpy.ops.ed.undo_push(message="MoMug: Reject")
    bpy.ops.ed.undo()
    mannequin = bpy.data.objects["Mannequin"]
    assert state(mannequin) == made and commit.pending(mannequin)


def test_a_failure_leaves_everything(mannequin, mine, monkeypatch):
    before = state(mannequin)
    for destination, module, name in (
        (ACTION, commit.takes, "keep_motion"),
        (NLA, commit.compat, "bind_strip"),
        (SPLICE, splice.key_data, "write"),
    ):
        real, calls, last = getattr(module, name), [], 3 if name == "write" else 1

        def fail_once(*arguments, real=real, calls=calls, last=last):
            calls.append(1)
            if len(calls) == last:
                raise RuntimeError("disk on fire")
            return real(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, fail_once)
            with pytest.raises(RuntimeError, match="on fire"):
                make(mannequin, Options(destination=destination))
        assert state(mannequin) == before, destination

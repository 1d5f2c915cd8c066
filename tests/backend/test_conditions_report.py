"""The report of conditions on a small data set of procedural motions, and its measures on motions with known faults."""

import json

import numpy as np
import pytest

from backend import models
from backend.__main__ import main
from backend.errors import BackendError
from backend.evaluation import condition_cases, conditions
from backend.evaluation.condition_cases import CASES, chained, target_of
from backend.models.interface import GenerateRequest

ABOUT = {"name": "momug", "conditions": ["text", "timeline", "poses", "loop"], "presets": [{"name": "fast"}]}


@pytest.fixture
def data(tmp_path, motion, write_split):
    made = [motion(frames=60 + 3 * i, turn=0.2 * i) for i in range(4)]
    write_split(tmp_path, "test", made, ["a person walks forward"] * 4)
    return tmp_path


def test_every_case_is_measured(data, make_model, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(models, "describe", lambda *_: [ABOUT])
    monkeypatch.setattr(models, "load", lambda *_: make_model())
    options = ["--data", str(data), "--windows", "1", "--json", str(tmp_path / "out.json")]
    assert main(["evaluate", "--conditions", *options]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert list(record["cases"]) == [case.name for case in CASES] and record["windows"] == 1
    told = capsys.readouterr().out
    for name, rows in record["cases"].items():
        assert f"| {name} |" in told and all(np.isfinite(list(row.values())).all() for row in rows.values())
    ends = record["cases"]["first and last pose"]
    assert set(ends) == {"model", "pinned only", "interpolated"}
    assert ends["model"]["pose_cm_after"] < 0.01 < ends["model"]["pose_cm_before"]
    assert ends["model"]["pose_deg_after"] < 0.1 and ends["interpolated"]["distance_cm_after"] < 1e-3
    assert record["cases"]["path"]["model"]["path_cm_after"] < record["cases"]["path"]["model"]["path_cm_before"]
    assert record["cases"]["loop"]["model"]["loop_cm_after"] < 0.1


def test_a_model_that_refuses_says_so(data, make_model, monkeypatch):
    def refuse(*_):
        raise BackendError("bad_request", "No paths here.")

    model = make_model()
    model.generate = refuse
    monkeypatch.setattr(models, "load", lambda *_: model)
    monkeypatch.setattr(models, "describe", lambda *_: [ABOUT | {"conditions": ["text", "poses"]}])
    record = conditions.evaluate("momug", data, windows=1)
    assert "loop" not in record["cases"] and record["cases"]["path"] == {"refused": "No paths here."}
    assert "| path | No paths here. |" in conditions.text_table(record)
    monkeypatch.setattr(models, "describe", lambda *_: [ABOUT | {"conditions": ["text"]}])
    with pytest.raises(BackendError, match="neither poses"):
        conditions.evaluate("momug", data)


def test_the_measures_see_what_is_wrong(motion):
    real = motion(frames=90)
    asked = condition_cases.new_range([real], ["a"], 0)
    clean = conditions.measure(asked, real, real, False)
    assert clean["pose_cm_after"] < 1e-3 and clean["jump_after"] == pytest.approx(clean["real_jump"])
    broken = motion(frames=90)
    broken.translation[20:] += np.array([0.1, 0, 0], np.float32)  # ten centimetres in one frame: 3 m/s and back
    broken.rotations[60:, 16] = broken.rotations[60:, 17]
    found = conditions.measure(asked, broken, broken, True)
    line, turn = conditions.jumps(broken)
    assert line[19:21].max() == pytest.approx(3.0, abs=0.5) and turn[59:61].max() > 5 * turn[30]
    assert found["reconstruction_cm_after"] > 5 and found["pose_cm_after"] > 1 and found["pose_deg_after"] > 1
    still = motion(frames=60, speed=0.0, turn=0.0)
    still.rotations[:], still.translation[:] = still.rotations[0], still.translation[0]
    assert max(conditions.loop_gap(still).values()) < 1e-4 < conditions.loop_gap(real)["loop_cm"]


def test_motions_are_chained_where_the_one_before_ends(motion):
    real, starts = chained([motion(frames=60, turn=1.0), motion(frames=70), motion(frames=80)])
    assert starts == [60, 130] and real.frames == 210
    step = np.linalg.norm(np.diff(real.translation, axis=0), axis=-1)
    assert step.max() < 0.1
    target = target_of(real, [0, 209])
    assert target.joints.all(1).nonzero()[0].tolist() == [0, 209]


def test_what_is_asked_without_poses_is_as_long(motion):
    real, _ = chained([motion(frames=150)] * 4)
    asked = condition_cases.Asked(GenerateRequest("a", target=target_of(real, [0])), real, [0])
    free = conditions._free(asked)
    assert free.target is None and sum(seconds for _, seconds in free.timeline) == pytest.approx(20.0)
    assert condition_cases.chosen([motion(frames=n) for n in (30, 60, 90, 400)], [{}] * 4, 5) == [1, 2]

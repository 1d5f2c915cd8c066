"""An artist's captioned motions become an installed style pack."""

import json

import numpy as np
import pytest

from backend import __main__ as command_line
from backend import paths
from backend.data import own
from backend.errors import BackendError
from backend.models import styles
from backend.models.momug.model import save_checkpoint
from backend.motion import formats
from backend.training.dataset import load_windows


@pytest.fixture
def source(motion, tmp_path):
    """Three motions, the last too long for one window, with captions."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = []
    for number, frames in enumerate((70, 90, 400)):
        formats.write(folder / f"{number}.npz", motion(frames=frames, speed=0.6, phase=float(number)))
        rows.append({"file": f"{number}.npz", "captions": ["a person turns left"]})
    _table(folder, rows)
    return folder


def _table(folder, rows):
    (folder / own.CAPTIONS).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def test_windows_and_their_mirror_images(source, tmp_path):
    made = own.build(source, tmp_path / "data")
    windows = load_windows(tmp_path / "data", "train", keep_motions=True)
    assert made["windows"] == len(windows) >= 8 and not made["notes"] and made["motions"] == 3
    assert len(load_windows(tmp_path / "data", "val")) == 0
    assert max(motion.frames for motion in windows.motions) <= 300
    for plain, mirrored in zip(windows.rows[::2], windows.rows[1::2], strict=True):
        assert plain["captions"] == ["a person turns left"] and mirrored["captions"] == ["a person turns right"]
    for motion in windows.motions:
        np.testing.assert_allclose(motion.translation[0, [0, 2]], 0, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "names no motion"),
        ([{"file": "0.npz", "captions": []}], "names no motion"),
        ([{"file": "../0.npz", "captions": ["a walk"]}], "beside it"),
        ([{"captions": ["a walk"]}], "not a file with its captions"),
        ([{"file": "gone.npz", "captions": ["a walk"]}], "None of the motions"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(source, tmp_path, rows, sentence):
    _table(source, rows)
    with pytest.raises(BackendError, match=sentence):
        own.build(source, tmp_path / "data")


def test_the_command_trains_and_installs(make_model, source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("MOMUG_STYLES", str(tmp_path / "packs"))
    folder = tmp_path / "checkpoints" / "momug"
    save_checkpoint(make_model(), folder)
    arguments = ["style", "train", "--source", str(source), "--out", str(tmp_path / "run"), "--name", "my-walk"]
    arguments += ["--label", "Mein Gang", "--licence", "CC BY-NC 4.0", "--non-commercial", "--steps", "4"]
    assert command_line.main([*arguments, "--device", "cpu"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["step"] == 4 and record["windows"] >= 8
    pack, where = styles.installed(folder)["my-walk"]
    assert (pack.label, pack.licence, pack.commercial) == ("Mein Gang", "CC BY-NC 4.0", False)
    assert where == paths.styles_folder() / "my-walk"
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 4 and steps[0] == 1


def test_a_name_that_is_none(source, tmp_path, capsys):
    arguments = ["style", "train", "--source", str(source), "--out", str(tmp_path / "run"), "--name", "My Walk!"]
    assert command_line.main(arguments) == 1
    assert "small letters" in capsys.readouterr().err

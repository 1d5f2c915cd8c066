"""MotionGPT's files: served as every other model, and what is said of damaged or foreign ones."""

import json

import numpy as np
import pytest
import torch

from backend import models
from backend.errors import BackendError
from backend.models.motiongpt.checkpoint import WEIGHTS
from backend.models.motiongpt.model import load_checkpoint
from backend.training.dataset import load_tokens
from tests.backend.asking import ask
from tests.backend.small_motiongpt import CODES


def test_served_as_every_other_model(motiongpt_folder):
    about = models.describe_one("motiongpt", motiongpt_folder)
    assert about["available"] and about["streams"] and about["captions"]
    assert about["conditions"] == ["text", "timeline", "poses"]
    made = ask(models.load("motiongpt", "cpu", "float32", motiongpt_folder), preset="fast")
    assert made.motions[0].frames == 60


def test_damaged_or_missing_files_are_told(motiongpt_folder):
    folder = motiongpt_folder / "motiongpt"
    whole = (folder / WEIGHTS).read_bytes()
    for content, code in ((whole[:-8] + b"12345678", "checkpoint_damaged"), (None, "checkpoint_missing")):
        (folder / WEIGHTS).unlink(missing_ok=True)
        if content:
            (folder / WEIGHTS).write_bytes(content)
        with pytest.raises(BackendError) as error:
            load_checkpoint(folder)
        assert error.value.code == code


def test_weights_of_other_sizes_are_refused(motiongpt_folder):
    path = motiongpt_folder / "motiongpt" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"finer_width": 4}), encoding="utf-8")
    with pytest.raises(BackendError, match="do not fit") as error:
        load_checkpoint(path.parent)
    assert error.value.code == "checkpoint_damaged"


def test_the_codec_has_to_be_the_one_it_was_trained_with(motiongpt_folder):
    (motiongpt_folder / "vq_vae" / "vq.safetensors").unlink()
    with pytest.raises(BackendError, match="codec of motion codes") as error:
        load_checkpoint(motiongpt_folder / "motiongpt")
    assert error.value.code == "checkpoint_missing"


def test_another_base_model_is_refused(motiongpt_folder):
    path = motiongpt_folder / "motiongpt" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"base": "another"}), encoding="utf-8")
    with pytest.raises(BackendError) as error:
        load_checkpoint(path.parent)
    assert error.value.code == "base_mismatch"


def test_unknown_codes_in_a_file_of_tokens(tmp_path, motiongpt):
    from backend.data.encode import _write, _write_rows

    facts = {"codec": "a", "vq": "b", "codes": CODES, "levels": 3, "stride": 4, "fps": 30}
    arrays = {"starts": np.zeros(1, np.int32), "lengths": np.full(1, 2, np.int32)}
    _write(tmp_path / "val.tokens.safetensors", arrays | {"tokens": np.full((2, 3), CODES, np.int16)}, facts)
    _write_rows(tmp_path / "val.jsonl.gz", [{"captions": ["x"]}])
    with pytest.raises(BackendError, match=f"not all between 0 and {CODES - 1}"):
        load_tokens(tmp_path, "val")
    with pytest.raises(BackendError, match=f"no motion code {CODES}"):
        motiongpt.codec.decode(torch.full((1, 2, 3), CODES))

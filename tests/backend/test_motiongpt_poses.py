"""Poses that MotionGPT is given: as its tokens, met exactly, refused; feet that are planted around them."""

import numpy as np
import pytest
import torch

from backend.errors import BackendError
from backend.evaluation.condition_cases import target_of
from backend.models.motiongpt import poses
from backend.models.motiongpt.network import instruction
from backend.models.plant import plant_feet
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import Motion
from backend.motion.target import Target, of_poses
from tests.backend.asking import ask, never, quiet


def test_given_poses_are_met_exactly_with_feet_planted(motiongpt, motion):
    given = motion(90)
    frames = [0, 30, 89]
    made = ask(motiongpt, target=target_of(given, frames), seconds=None)
    met, before = made.motions[0], made.unpinned[0]
    assert met.frames == 90
    assert np.abs(met.joints()[frames] - given.joints()[frames]).max() < 1e-5
    assert np.abs(before.joints()[frames] - given.joints()[frames]).max() > 0.02  # it is the pin that meets them


def test_poses_and_their_times_change_what_is_made(motiongpt):
    codes = [
        torch.cat(
            motiongpt._answers(
                motiongpt._ask("a person walks", 60, [(step, 9 * motiongpt.tokens.books[0][k])], 1.0), [5], quiet, never
            )
        )
        for step, k in ((3, 1), (3, 2), (9, 1))
    ]
    assert not torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])


def test_poses_alone_have_an_instruction_of_their_own(motiongpt, motion, monkeypatch):
    told, tell = [], motiongpt.text.told
    monkeypatch.setattr(motiongpt.text, "told", lambda *words: told.append(words) or tell(*words))
    given = motion(60)
    made = ask(motiongpt, "", target=target_of(given, [0, 59]), seconds=None, guidance_scale=1.0)
    assert told == [("", True)]
    assert "passes through the given poses" in instruction("", True) and "described" not in instruction("", True)
    assert np.abs(made.motions[0].joints()[[0, 59]] - given.joints()[[0, 59]]).max() < 1e-5


def test_two_poses_of_one_step_are_one_token_and_both_met(motiongpt, motion):
    given = motion(60)
    target = target_of(given, [20, 22])
    assert poses.key_frames(target, 8) == [20]
    made = ask(motiongpt, target=target, seconds=None).motions[0]
    assert np.abs(made.joints()[[20, 22]] - given.joints()[[20, 22]]).max() < 1e-5


def test_a_stretch_that_is_given_whole_counts_as_its_ends(motion):
    assert poses.key_frames(target_of(motion(90), list(range(20, 50))), 8) == [20, 49]


def test_more_poses_than_fit(motiongpt, motion):
    with pytest.raises(BackendError, match="given 9 poses; at most 8"):
        ask(motiongpt, target=target_of(motion(90), list(range(0, 90, 10))), seconds=None)


def test_paths_and_single_bones_are_for_another_model(motiongpt, motion):
    target = Target.empty(60)
    target.place[::10, [0, 2]] = True
    with pytest.raises(BackendError, match="whole poses only") as error:
        ask(motiongpt, target=target, seconds=None)
    assert "MoMug" in error.value.hint


def test_a_pose_that_the_codes_miss_is_told_with_how_far(motiongpt, motion, monkeypatch):
    given = motion(60)
    monkeypatch.setattr(poses, "FAR", 0.0)
    warnings = ask(motiongpt, target=target_of(given, [30]), seconds=None).warnings
    assert any("at 1.00 s" in w and "cm off" in w for w in warnings)
    monkeypatch.setattr(poses, "FAR", 100.0)
    assert not any("cm off" in w for w in ask(motiongpt, target=target_of(given, [30]), seconds=None).warnings)


def test_poses_outside_the_motion_and_two_at_one_time(motion):
    given = motion(2)
    target = of_poses([(0.0, given), (2.0, given)], 2.0)
    assert np.flatnonzero(target.joints.all(1)).tolist() == [0, 59] and not target.place[:, [0, 2]].any()
    for at in (-0.1, 2.1):
        with pytest.raises(BackendError, match="outside the motion of 2 s"):
            of_poses([(at, given)], 2.0)
    with pytest.raises(BackendError, match="poses at 1 s and 1.01 s are at the same time"):
        of_poses([(1.0, given), (1.01, given)], 2.0)


def test_poses_from_files_on_the_command_line(motiongpt_folder, motion, tmp_path, capsys):
    from backend.__main__ import main
    from backend.motion import formats

    formats.write(tmp_path / "pose.npz", motion(5))
    asked = ["generate", "--model", "motiongpt", "--prompt", "walk", "--out", str(tmp_path / "out.npz"), "--seed", "1"]
    keys = ["--key", "0", str(tmp_path / "pose.npz"), "--key", "2", str(tmp_path / "pose.npz")]
    assert main([*asked, *keys, "--seconds", "2", "--device", "cpu"]) == 0
    made, given = formats.read(tmp_path / "out.npz"), formats.read(tmp_path / "pose.npz")
    turned = np.abs(np.sum(made.rotations[[0, -1]] * given.rotations[:1], -1))
    assert turned.min() > 1 - 1e-6
    assert main([*asked, *keys, "--seconds", "1"]) == 1
    assert "outside the motion" in capsys.readouterr().err
    wordless = [word for word in asked if word not in ("--prompt", "walk")]
    assert main([*wordless, *keys, "--seconds", "2", "--device", "cpu"]) == 0
    assert formats.read(tmp_path / "out.npz").frames == 60
    assert main([*wordless, "--seconds", "2"]) == 1
    assert "The prompt is empty" in capsys.readouterr().err


def test_poses_longer_than_a_motion_can_be(motiongpt, motion):
    with pytest.raises(BackendError) as error:
        ask(motiongpt, target=target_of(motion(330), [0]), seconds=None)
    assert error.value.code == "bad_duration"


def test_planted_feet_stay_and_fixed_frames_do_not_change(motion):
    still = motion(60, speed=0.0)
    places = still.translation[8:9].repeat(60, 0)
    places[:, 0] += 0.0015 * np.arange(60)  # 4.5 cm a second
    sliding = Motion(still.rotations[8:9].repeat(60, 0), places)
    sliding.contacts = foot_contacts(sliding.joints(), 30.0)
    contact = sliding.contacts[:, 0] > 0.5
    assert contact.sum() > 20
    planted = plant_feet(sliding)
    ankle = 7
    moved = [np.ptp(m.joints()[contact][:, ankle, 0]) for m in (sliding, planted)]
    assert moved[1] < 0.5 * moved[0]
    fixed = np.zeros(60, bool)
    fixed[[0, 30]] = True
    kept = plant_feet(sliding, fixed)
    assert np.array_equal(kept.rotations[fixed], sliding.rotations[fixed])

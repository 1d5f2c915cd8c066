"""Poses, places, loops and timelines: what is given is met, seams hold, and the error sentences."""

import numpy as np
import pytest
import torch

from backend.errors import BackendError
from backend.evaluation.condition_cases import target_of
from backend.models.interface import GenerateRequest
from backend.models.momug import windows
from backend.models.momug.conditions import REACH, SHARP, SPREAD, WARM, Conditions, bending, course, spread
from backend.models.momug.search import Search
from backend.models.momug.windows import Window
from backend.motion import features
from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.pin import between, close_loop, fade, pin, run_out
from backend.motion.skeleton import quaternion_to_matrix
from backend.motion.target import Target


def ask(model, **fields):
    request = GenerateRequest(**({"prompt": "a person walks forward", "seed": 7} | fields))
    return model.generate(request, lambda *step: None, lambda: False)


# --- windows


@pytest.mark.parametrize(
    "lengths, expected",
    [
        ([80], [Window(0, 0, 80)]),
        ([30, 20], [Window(0, 0, 34), Window(1, 26, 50)]),
        ([100], [Window(0, 0, 54), Window(0, 46, 100)]),
        ([10, 10, 10], [Window(0, 0, 14), Window(1, 6, 24), Window(2, 16, 30)]),
    ],
)
def test_windows_cover_the_prompts_and_overlap(lengths, expected):
    assert windows.plan(lengths, 80, 4) == expected


@pytest.mark.parametrize("lengths", [[75], [30, 41, 8], [200, 75, 10], [8] * 12])
def test_windows_are_never_longer_than_the_model_sees(lengths):
    parts = windows.plan(lengths, 75)
    assert max(p.stop - p.start for p in parts) <= 75
    assert parts[0].start == 0 and parts[-1].stop == sum(lengths)
    assert {p.prompt for p in parts} == set(range(len(lengths)))
    latents = torch.randn(2, sum(lengths), 3)
    cut, sizes = windows.gather(latents, parts)
    assert len(cut) == len(sizes) == 2 * len(parts)
    assert torch.allclose(windows.scatter(cut, parts, sum(lengths)), latents, atol=1e-5)


def test_overlaps_are_cross_faded():
    parts = windows.plan([20, 20], 80)
    cut, sizes = windows.gather(torch.zeros(1, 40, 1), parts)
    cut[1] = 1.0
    blended = windows.scatter(cut, parts, 40)[0, :, 0]
    assert blended[:16].max() == 0 and blended[24:].min() == 1
    assert (blended[15:25].diff() >= 0).all() and blended.diff().max() < 0.2


# --- exact corrections


def test_a_fade_is_exact_at_given_frames_and_gone_beyond():
    values = np.array([[1.0], [-2.0], [3.0]])
    faded = fade(values, np.array([10, 13, 40]), 60, 8)[:, 0]
    assert np.allclose(faded[[10, 13, 40]], [1, -2, 3])
    assert np.allclose(faded[[0, 2, 25, 48, 59]], 0)
    assert np.abs(np.diff(faded, 2)[30:]).max() < 0.4
    assert np.allclose(between(np.array([0.0, 1.0]), np.array([5, 25]), 31)[[0, 5, 15, 25, 30]], [0, 0, 0.5, 1, 1])
    assert np.allclose(between(np.array([0.3]), np.array([5]), 9), 0.3)


def test_pinned_poses_are_exact_and_the_rest_stays(motion):
    made, wanted = motion(frames=90), motion(frames=90, speed=0.8, turn=0.0, phase=1.0)
    target = target_of(wanted, [0, 45])
    pinned = pin(made, target)
    for frame in (0, 45):
        assert np.degrees(rot.quaternion_angle(pinned.rotations[frame], wanted.rotations[frame])).max() < 0.1
        assert np.allclose(pinned.translation[frame], wanted.translation[frame], atol=1e-5)
    assert np.allclose(pinned.rotations[70:], made.rotations[70:], atol=1e-5)
    moved = pinned.translation[70:, [0, 2]] - made.translation[70:, [0, 2]]
    assert np.ptp(moved, axis=0).max() < 1e-5  # after the last given place the whole motion is shifted alike
    step = np.linalg.norm(np.diff(pinned.joints(), axis=0), axis=-1).max() * 30
    assert step < 2 * np.linalg.norm(np.diff(made.joints(), axis=0), axis=-1).max() * 30 + 6
    with pytest.raises(ValueError, match="length"):
        pin(made.slice(0, 80), target)


def test_a_given_stretch_is_left_at_its_own_speed(motion):
    """Made and given move at other speeds: position and velocity go on over the seam."""
    made, wanted = motion(frames=90), motion(frames=90, speed=0.6, turn=0.5, phase=0.5)
    pinned = pin(made, target_of(wanted, [*range(20), *range(70, 90)]))
    joints, own = pinned.joints().astype(float), wanted.joints().astype(float)
    assert np.allclose(joints[:20], own[:20], atol=1e-4) and np.allclose(joints[70:], own[70:], atol=1e-4)
    change = np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).mean(1) * 30
    usual = max(np.linalg.norm(np.diff(m.joints(), n=2, axis=0), axis=-1).mean(1).max() * 30 for m in (made, wanted))
    assert change[[18, 19, 68, 69]].max() < usual + 0.1
    curve = np.zeros((30, 1))
    run_out(curve, np.array([[0.0], [0.1]]), np.array([9, 10]), np.array([8, 8]))
    assert curve[11, 0] == pytest.approx(0.1) and curve[18:].max() == 0 and (curve[:2] == 0).all()
    assert curve[8, 0] == pytest.approx(-0.1)
    assert np.abs(np.diff(curve[9:21, 0], n=2)[1:]).max() < 0.06, "the speed is lost over all of the frames"


def test_one_joint_can_be_given_alone(motion):
    made, wanted = motion(frames=60), motion(frames=60, phase=2.0)
    pinned = pin(made, target_of(wanted, range(60), joints=[16, 18], place=False))
    assert np.allclose(pinned.rotations[:, [16, 18]], wanted.rotations[:, [16, 18]], atol=1e-5)
    rest = [j for j in range(22) if j not in (16, 18)]
    assert np.allclose(pinned.rotations[:, rest], made.rotations[:, rest], atol=1e-6)
    assert np.allclose(pinned.translation, made.translation)


def test_a_closed_loop_ends_as_it_begins(motion):
    closed = close_loop(motion(frames=75, turn=2.0))
    angle = np.degrees(rot.quaternion_angle(closed.rotations[0, 1:], closed.rotations[-1, 1:]))
    assert angle.max() < 0.1
    assert abs(closed.translation[0, 1] - closed.translation[-1, 1]) < 1e-5
    tilt = [rot.quaternion_rotate(closed.rotations[f, 0].astype(float), np.array([0.0, 1, 0]))[1] for f in (0, -1)]
    assert abs(tilt[0] - tilt[1]) < 1e-4


# --- the pull


def test_the_course_is_that_of_the_decoded_motion(motion):
    """Tensors and numpy decode the same path and the same rotations."""
    made = motion(frames=60, turn=2.5)
    encoded = features.encode(made)
    decoded = features.decode(encoded)
    found = course(torch.from_numpy(encoded)[None])
    assert np.allclose(found.pelvis[0], decoded.translation, atol=1e-4)
    assert np.allclose(found.rotations[0], quaternion_to_matrix(decoded.rotations), atol=1e-4)


def test_a_moved_and_turned_motion_is_no_distance_away(make_model, motion):
    """Where the target stands and which way it faces does not matter: the motion is brought there."""
    made = features.decode(features.encode(motion(frames=60, turn=1.0)))
    moved = motion(frames=60, turn=1.0)
    turn = np.array([np.cos(0.6), 0.0, np.sin(0.6), 0.0])
    moved.rotations[:, 0] = rot.quaternion_multiply(turn, made.rotations[:, 0].astype(float))
    moved.translation[:] = rot.quaternion_rotate(turn, made.translation.astype(float)) + [3.0, 0.0, -2.0]
    conditions = Conditions(make_model().codec, target_of(moved, [0, 20, 59]), False, 60)
    encoded = torch.from_numpy(features.encode(made))[None]
    assert conditions.distance(encoded).item() < 1e-6
    placed = conditions.placed(encoded, [made])[0]
    assert np.allclose(placed.translation, moved.translation, atol=1e-3)
    away = target_of(moved, [0, 20, 59])
    away.translation[59] += 1.0
    assert Conditions(make_model().codec, away, False, 60).distance(encoded).item() > 0.1


def test_pulling_brings_latents_nearer(make_model, motion):
    model = make_model()
    conditions = Conditions(model.codec, target_of(motion(frames=60), [0, 59]), False, 60)
    x0 = torch.randn(2, 15, 8)
    with torch.no_grad():
        before = conditions.distance(model.codec.decode(x0))
        pulled = conditions.pull(x0, 40)
        after = conditions.distance(model.codec.decode(pulled))
    assert (after < 0.9 * before).all()
    moved = (pulled - x0).square().mean(-1).sqrt()
    assert (moved[:, [1, 2, 12, 13]] > 0.1 * moved.amax(1, keepdim=True)).all(), "the way to a pose is not left out"


def test_a_step_of_the_search_is_shared_with_the_latents_around():
    steps = torch.zeros(2, 20, 3)
    steps[1, 10, 2] = 1.0
    moved = spread(steps)
    row = moved[1, :, 2]
    assert not moved[0].any() and not moved[1, :, :2].any() and row.sum() == pytest.approx(1 + SHARP)
    assert torch.allclose(row[7:14], row[7:14].flip(0)) and (row[7:10].diff() > 0).all() and row[7] > 0
    assert not row[:7].any() and not row[14:].any()


def test_only_what_the_given_frames_depend_on_is_decoded(make_model, motion):
    """The codec looks back: a pose in the middle is met by the latents before it, what follows has half a second to
    follow, and the loss is that of the whole motion."""
    model = make_model()
    target = target_of(motion(frames=200), [100])
    conditions = Conditions(model.codec, target, False, 200)
    assert conditions.first == (25 - REACH) * 4 and conditions.last == 101 + SPREAD * 4
    x0 = torch.randn(1, 50, 8)
    with torch.no_grad():
        whole = conditions.distance(model.codec.decode(x0))
        part = conditions.distance(model.codec.decode(x0[:, 25 - REACH : 30])[:, : 117 - conditions.first], 28)
    assert whole.item() == pytest.approx(part.item(), rel=1e-4)
    pulled = conditions.pull(x0, 5)
    assert torch.equal(pulled[:, 30:], x0[:, 30:]) and not torch.isclose(pulled, x0)[:, 22:30].all(2).any()


def test_a_stretch_that_is_given_whole_brings_its_latents(make_model, motion):
    model, wanted = make_model(), motion(frames=80)
    wanted.contacts = foot_contacts(wanted.joints(), 30)
    conditions = Conditions(model.codec, target_of(wanted, [*range(20), *range(41, 80)]), False, 80)
    filled = conditions.filled(torch.full((2, 20, 8), 9.0))
    encoded = model.codec.encode(torch.from_numpy(features.encode(wanted.slice(0, 20)))[None])[0]
    assert torch.allclose(filled[1, :5], encoded, atol=1e-4)
    assert (filled[0] == 9).all(-1).nonzero().flatten().tolist() == list(range(5, 11 + WARM))


def test_what_follows_a_given_stretch_follows_it(make_model, motion):
    """Bending is counted from what the model itself would move like, but not within what is given."""
    model, wanted = make_model(), motion(frames=80)
    conditions = Conditions(model.codec, target_of(wanted, range(20, 60)), False, 80)
    assert conditions.free.tolist() == [1] * (20 + 4 * WARM) + [0] * (40 - 4 * WARM) + [1] * 16
    change = torch.zeros(1, 76, 155)
    change[:, 30:50, 30] = torch.randn(20)
    assert bending(change, conditions.free).item() == 0 and bending(change, torch.ones(76)).item() > 1
    change[:, 60:, 30] = 1.0
    assert bending(change, conditions.free).item() == pytest.approx(2), "there and back at the seam"


def test_the_search_keeps_what_it_learnt():
    """Rows of their own scale; of valleys that move slowly two looks each suffice once some were seen."""
    torch.manual_seed(0)
    slopes = torch.rand(3, 20) * torch.tensor([[1.0], [30.0], [0.01]])
    bottom, moves = torch.randn(3, 20), 0.05 * torch.randn(12, 3, 20)
    start = torch.zeros(3, 20)

    def valley(number):
        middle = bottom + moves[:number].sum(0)
        return lambda x: ((slopes * (x - middle).square()).sum(1), 2 * slopes * (x - middle))

    search = Search()
    for number in range(12):
        kept, fresh = search.minimise(valley(number), start, 2), Search().minimise(valley(number), start, 2)
    assert (valley(11)(kept)[0] < 0.5 * valley(11)(fresh)[0]).all()
    found = Search().minimise(valley(0), start, 30)
    assert (valley(0)(found)[0] < 1e-2 * valley(0)(start)[0]).all()
    worse = Search().minimise(lambda x: (x.square().sum(1), -2 * x), torch.ones(1, 2), 6)  # a slope that lies
    assert torch.equal(worse, torch.ones(1, 2))


def test_a_pull_can_be_cancelled(make_model, motion):
    """Each look at the loss is a chance to stop: the search at the end is the longest step there is."""
    model = make_model()
    target, phases = target_of(motion(frames=60), [0, 59]), []

    def cancelled() -> bool:
        return len(phases) > 4 and phases[-1] == "meet"

    request = GenerateRequest(prompt="a person walks", target=target, seed=1, steps=2)
    with pytest.raises(BackendError) as caught:
        model.generate(request, lambda phase, *_: phases.append(phase), cancelled)
    assert caught.value.code == "cancelled" and "decode" not in phases and phases.count("meet") < 8


def test_a_step_of_many_windows_can_be_cancelled(make_model, monkeypatch):
    """Eight variations of a long timeline: more windows than go through the head at once."""
    model, batches = make_model(), []
    head = model.head.forward
    monkeypatch.setattr(model.head, "forward", lambda x, *rest: (batches.append(len(x)), head(x, *rest))[1])

    def cancelled() -> bool:
        return len(batches) > 1

    parts = [("a person walks", 1.0)] * 5
    request = GenerateRequest("", timeline=parts, variations=8, steps=2, preset="fast", seed=1)
    with pytest.raises(BackendError) as caught:
        model.generate(request, lambda *_: None, cancelled)
    assert caught.value.code == "cancelled" and batches == [16, 16]  # of 80 windows in the first step


# --- through the model


@pytest.mark.parametrize("rank, preset", [(0, "fast"), (4, "full")])
def test_given_poses_are_met_exactly(make_model, motion, rank, preset):
    wanted = motion(frames=60, turn=0.7)
    wanted.translation += np.array([1.0, 0.0, 2.0], dtype=np.float32)
    result = ask(make_model(rank), target=target_of(wanted, [0, 59]), preset=preset, variations=2)
    for made in result.motions:
        assert made.frames == 60
        for frame in (0, 59):
            assert np.allclose(made.joints()[frame], wanted.joints()[frame], atol=1e-4)


def test_poses_alone_need_no_prompt(make_model, motion):
    given = motion(60)
    made = ask(make_model(), prompt="", target=target_of(given, [0, 30, 59]), seconds=None)
    assert np.abs(made.motions[0].joints()[[0, 30, 59]] - given.joints()[[0, 30, 59]]).max() < 1e-5
    assert not made.warnings


def test_a_path_is_followed(make_model):
    target = Target.empty(60)
    target.translation[:, 0], target.translation[:, 2] = np.linspace(0, 1, 60), np.linspace(2, 0, 60)
    target.place[:, [0, 2]] = True
    made = ask(make_model(), target=target).motions[0]
    assert np.allclose(made.translation[:, [0, 2]], target.translation[:, [0, 2]], atol=1e-4)


def test_a_loop_closes(make_model):
    made = ask(make_model(), seconds=2.0, loop=True).motions[0]
    assert np.degrees(rot.quaternion_angle(made.rotations[0, 1:], made.rotations[-1, 1:])).max() < 0.1


@pytest.mark.parametrize("rank, preset", [(0, "fast"), (4, "full")])
def test_a_timeline_is_one_motion(make_model, rank, preset):
    parts = [("a person walks forward", 1.5), ("someone sits down", 2.0), ("a person jumps up", 1.1)]
    model = make_model(rank)
    result = ask(model, prompt="", timeline=parts, preset=preset, variations=2)
    assert [m.frames for m in result.motions] == [138, 138] and result.segments == [0, 45, 105]
    again = ask(model, prompt="", timeline=parts, preset=preset)
    assert np.allclose(again.motions[0].rotations, result.motions[0].rotations, atol=1e-3)
    other = ask(model, prompt="", timeline=[*parts[:2], ("a person turns left", 1.1)], preset=preset)
    changed = np.abs(other.motions[0].rotations - again.motions[0].rotations).max((1, 2))
    assert changed[110:].max() > 1e-3
    if rank == 0:  # the last sentence says little about the first; a random language model says something about all
        assert changed[:30].max() < 0.5 * changed[110:].max()


def test_a_timeline_of_one_is_the_prompt(make_model):
    model = make_model()
    a = ask(model, seconds=2.0).motions[0]
    b = ask(model, prompt="", timeline=[("a person walks forward", 2.0)]).motions[0]
    assert np.allclose(a.rotations, b.rotations, atol=1e-6)


def test_a_timeline_may_leave_lengths_to_the_model(make_model):
    result = ask(make_model(4), prompt="", timeline=[("a person walks forward", None), ("someone sits down", 1.0)])
    assert result.motions[0].frames == result.segments[1] + 30 and result.segments[1] >= 30


def test_a_timeline_meets_poses(make_model, motion):
    """The frames of the target are shared out; lengths that are not given are the model's own."""
    wanted = motion(frames=100, turn=0.7)
    target = target_of(wanted, [0, 50, 99])
    for lengths, segments in (((1.0, 1.0, 2.0), [0, 25, 50]), ((3.0, 3.0, None), None)):
        parts = list(zip(("a person walks", "someone sits down", "a person jumps"), lengths, strict=True))
        result = ask(make_model(4), prompt="", timeline=parts, target=target)
        made = result.motions[0]
        assert made.frames == 100 and (segments is None or result.segments == segments)
        assert np.allclose(made.joints()[[0, 50, 99]], wanted.joints()[[0, 50, 99]], atol=1e-4)
        assert result.unpinned[0].frames == 100 and not np.allclose(result.unpinned[0].rotations, made.rotations)
    with pytest.raises(BackendError, match="seconds for one of the sentences") as caught:
        ask(make_model(), prompt="", timeline=[("a person walks", 10.0), ("a person sits", 1.0)], target=target)
    assert caught.value.code == "bad_duration"


def test_poses_further_apart_than_the_model_sees(make_model, motion):
    """Windows overlap, and the poses are met over all of them."""
    wanted = motion(frames=480, turn=3.0)
    made = ask(make_model(), target=target_of(wanted, [0, 200, 479]), variations=2, steps=2).motions
    for one in made:
        assert one.frames == 480
        assert np.allclose(one.joints()[[0, 200, 479]], wanted.joints()[[0, 200, 479]], atol=1e-4)


def test_bad_combinations(make_model, motion):
    with pytest.raises(BackendError, match="between 1 and 10") as caught:
        ask(make_model(), timeline=[("a person walks", 1.0), ("a person runs", 11.0)])
    assert caught.value.code == "bad_duration"

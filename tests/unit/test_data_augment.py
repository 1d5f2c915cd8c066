"""Augmented motion: other speeds, sequences, arms on other legs, walks turned round; and the gates they pass."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("scipy")

from motions import jump, raise_hand, turn, walk  # noqa: E402

from backend.data import acts, augment, compose, gates, ground, join, retime  # noqa: E402
from backend.data.feet import move_feet  # noqa: E402
from backend.data.measure import measure  # noqa: E402
from backend.motion import rotations as rot  # noqa: E402
from backend.motion.contacts import foot_contacts  # noqa: E402
from backend.motion.skeleton import JOINT_INDEX, Motion, global_rotations  # noqa: E402

FEET = [JOINT_INDEX["left_foot"], JOINT_INDEX["right_foot"]]


def with_contacts(motion: Motion) -> Motion:
    motion.contacts = foot_contacts(motion.joints(), motion.fps)
    return motion


def standing(seconds: float = 3.0, side: str = "") -> Motion:
    """Standing with knees a little bent, both feet on the floor; one arm goes up where a side is given."""
    motion = raise_hand(side or "left").slice(0, round(seconds * 30))
    if not side:
        motion.rotations[:, JOINT_INDEX["left_shoulder"]] = turn(2, np.full(motion.frames, -1.3))
    motion.translation[:, 1] = 0.94
    up = np.zeros((motion.frames, 2, 3))
    up[..., 1] = 0.02
    return move_feet(motion, up)


def stepping(seconds: float = 4.0, speed: float = 1.0) -> Motion:
    """A walk whose feet stand still on the floor while they carry: 0.6 s of every step of a second."""
    motion = walk(seconds, speed)
    for joint in ("left_hip", "right_hip", "left_knee", "right_knee"):
        motion.rotations[:, JOINT_INDEX[joint]] = [1, 0, 0, 0]
    motion.translation[:, 1] = 0.88
    wanted = motion.joints()[:, FEET].astype(float)
    for i in range(2):
        beat = np.arange(motion.frames) / 30 + 0.5 * i
        swing = np.clip((beat % 1 - 0.6) / 0.4, 0, 1)
        ease = swing * swing * (3 - 2 * swing)
        wanted[:, i, 2] = speed * (np.floor(beat) + ease - 0.5 * i) + 0.3 * speed + 0.13
        wanted[:, i, 1] = 0.10 * np.sin(np.pi * swing) ** 2
    return move_feet(motion, wanted - motion.joints()[:, FEET])


def raise_and_lower(seconds: float, side: str) -> Motion:
    """Standing; one arm goes up fast and comes down again."""
    up = retime.at_speed(standing(seconds + 1, side).slice(20, 10**6), 2.0)
    rotations = np.concatenate([up.rotations, up.rotations[::-1]])
    return with_contacts(Motion(rotations, np.concatenate([up.translation, up.translation[::-1]])))


def toe_speed(motion: Motion) -> np.ndarray:
    """Speed of the balls of the feet over the floor (T-1,2), m/s."""
    return np.linalg.norm(np.diff(motion.joints()[:, FEET][..., [0, 2]].astype(float), axis=0), axis=-1) * motion.fps


def window(motion: Motion, phrase: str, clip: str, **more) -> augment.Window:
    row = {"id": f"{clip}:0-{motion.frames}", "clip": clip, "kind": "real", "mirrored": False, "start": 0}
    row |= {"phrases": [phrase], "labels": measure(motion), "sources": [clip]}
    return augment.Window(motion, row | more)


@pytest.fixture(scope="module")
def windows() -> list[augment.Window]:
    found = []
    for i in range(4):
        found += [
            window(stepping(3 + 0.5 * i, 0.9 + 0.1 * i), "walks forward", f"walk{i}"),
            window(raise_and_lower(2.5 + 0.4 * i, "left"), "raises the left hand", f"left{i}"),
            window(raise_and_lower(2.5 + 0.4 * i, "right"), f"waves hello {i}", f"right{i}"),
        ]
    return found


def test_the_walk_of_these_tests_is_a_walk():
    motion = stepping()
    assert measure(motion)["phases"][0]["kind"] == "walk"
    assert gates.gate(motion) is None
    share = motion.contacts.reshape(-1, 2, 2).any(2).mean(0)
    assert (share > 0.5).all() and (share < 0.75).all()


# contacts and the floor


def test_a_runner_s_foot_is_in_contact_in_every_frame_that_keeps_its_place():
    joints = np.zeros((40, 22, 3))
    joints[..., 1] = 0.06
    ball = JOINT_INDEX["left_foot"]
    joints[:, ball] = [0, 0.3, 0]
    place = np.cumsum(np.full(40, 4.0 / 30))
    joints[:, ball, 2] = place
    # five frames in one place on the floor, at 4 m/s before and after
    joints[15:20, ball, 1] = 0.0
    joints[15:20, ball, 2] = place[15]
    found = foot_contacts(joints, 30.0)[:, 1]
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(15, 20))


@pytest.mark.parametrize("degrees", [1.2, -1.2])
def test_a_tilted_floor_is_levelled(degrees):
    level = stepping(6.0)
    slope = turn(0, np.radians([degrees]))
    rotations = level.rotations.astype(float)
    rotations[:, 0] = rot.quaternion_multiply(slope, rotations[:, 0])
    tilted = Motion(rotations, rot.quaternion_rotate(slope, level.translation.astype(float)))
    tilted.translation[:, 1] -= tilted.joints()[:, FEET, 1].min()
    with_contacts(tilted)
    assert tilted.contacts.mean() < 0.8 * level.contacts.mean()
    found = ground.levelled(tilted)
    assert found.contacts.mean() > 0.95 * level.contacts.mean()
    planted = found.contacts[:, [1, 3]] > 0.5
    assert np.abs(found.joints()[:, FEET, 1][planted]).max() < 0.02


def test_level_floors_and_steps_are_left_alone():
    level = stepping(5.0)
    assert ground.levelled(level) is level
    stairs = stepping(5.0)
    stairs.translation[:, 1] += 0.2 * np.floor(stairs.translation[:, 2])
    with_contacts(stairs)
    assert ground.levelled(stairs) is stairs


# gates


def test_sound_motion_passes():
    for motion in (standing(), standing(side="right"), stepping(), with_contacts(jump())):
        assert gates.gate(motion) is None


def spoilt(fault: str) -> Motion:
    motion = standing()
    if fault == "skate":
        motion.translation[:, 2] += 0.4 * np.arange(motion.frames) / 30
    elif fault == "jerk":
        motion.translation += np.random.default_rng(0).normal(0, 0.02, motion.translation.shape)
    elif fault == "pops":
        motion.rotations[40:, JOINT_INDEX["left_wrist"]] = turn(0, np.array([2.0]))[0]
    elif fault == "penetration":
        motion.translation[30:50, 1] -= 0.08
    elif fault == "float":
        motion.translation[:, 1] += 0.1
    elif fault == "limb speed":
        # smooth, but twice round in a third of a second
        swing = 6 * np.pi * np.clip((np.arange(motion.frames) - 40) / 14, 0, 1)
        motion.rotations[:, JOINT_INDEX["left_shoulder"]] = turn(2, swing)
    elif fault == "balance":
        # bent forward over feet that stand behind
        motion.rotations[:, JOINT_INDEX["spine1"]] = turn(0, np.full(motion.frames, 0.9))
        motion = move_feet(motion, np.full((motion.frames, 2, 3), [0.0, 0.0, -0.22]))
    elif fault == "hand in body":
        motion.rotations[:, JOINT_INDEX["right_elbow"]] = turn(2, np.full(motion.frames, 1.6))
    motion.contacts = (
        foot_contacts(motion.joints(), motion.fps) if fault not in ("skate", "penetration") else motion.contacts
    )
    return motion


FIGURE = {
    "skate": "contact_speed", "jerk": "jerk", "pops": "pop", "penetration": "penetration", "float": "float",
    "limb speed": "limb_speed", "balance": "balance", "hand in body": "inside",
}  # fmt: skip


@pytest.mark.parametrize("fault", FIGURE)
def test_each_fault_is_seen_by_its_gate(fault):
    motion = spoilt(fault)
    limit = next(x.most for x in gates.LIMITS if x.figure == FIGURE[fault])
    assert gates.figures(standing())[FIGURE[fault]] <= limit < gates.figures(motion)[FIGURE[fault]]
    assert gates.gate(motion) is not None


def test_the_reason_is_the_fault():
    for fault in ("skate", "penetration", "float", "balance", "hand in body"):
        assert gates.gate(spoilt(fault)) == fault


def test_the_centre_of_mass_of_a_standing_body_is_over_its_feet():
    centre = gates.centre_of_mass(standing().joints().astype(float))
    assert gates.MASS.sum() == pytest.approx(1)
    assert np.abs(centre[:, 0]).max() < 0.03 and 0.9 < centre[:, 1].mean() < 1.15


# feet


def test_feet_go_where_they_are_sent_and_keep_their_direction():
    motion = standing()
    shift = np.zeros((motion.frames, 2, 3))
    shift[:, 0] = [0.03, 0.04, -0.05]
    moved = move_feet(motion, shift)
    np.testing.assert_allclose(moved.joints()[:, FEET] - motion.joints()[:, FEET], shift, atol=1e-4)
    ankle = JOINT_INDEX["left_ankle"]
    before, after = (global_rotations(m.rotations)[:, ankle] for m in (motion, moved))
    np.testing.assert_allclose(before, after, atol=1e-4)
    same = [j for j in range(22) if j not in (JOINT_INDEX["left_knee"], ankle, JOINT_INDEX["left_foot"])]
    np.testing.assert_allclose(moved.joints()[:, same], motion.joints()[:, same], atol=1e-5)


def test_a_goal_out_of_reach_is_approached():
    motion = standing()
    far = np.zeros((motion.frames, 2, 3))
    far[:, 1, 1] = -0.5
    moved = move_feet(motion, far)
    leg = moved.joints()[:, JOINT_INDEX["right_ankle"]] - moved.joints()[:, JOINT_INDEX["right_hip"]]
    assert np.isfinite(moved.rotations).all() and np.linalg.norm(leg, axis=1).max() <= 0.82


# speed and direction


@pytest.mark.parametrize("factor", [0.87, 1.13])
def test_another_speed_changes_the_time_and_nothing_else(factor):
    motion = stepping(5.0)
    made = retime.at_speed(motion, factor)
    assert made.frames == pytest.approx(motion.frames / factor, abs=1.5)
    np.testing.assert_allclose(made.translation[-1, 2], motion.translation[-1, 2], atol=0.05)
    assert measure(made)["speed"] == pytest.approx(factor * measure(motion)["speed"], rel=0.05)
    assert measure(made)["steps"] == measure(motion)["steps"]
    assert gates.gate(made) is None


def test_factors_are_not_near_one_and_jumps_keep_their_time():
    random = np.random.default_rng(0)
    labels = measure(stepping())
    factors = np.array([retime.speed_factor(labels, random) for _ in range(200)])
    assert ((factors >= 0.85) & (factors <= 0.93) | (factors >= 1.08) & (factors <= 1.15)).all()
    assert (factors < 1).any() and (factors > 1).any()
    assert retime.speed_factor(measure(with_contacts(jump())), random) is None


def test_a_walk_turned_round_walks_backward():
    made = retime.reverse(stepping())
    assert {p["kind"] for p in measure(made)["phases"]} == {"backward"}
    assert gates.gate(made) is None
    np.testing.assert_array_equal(made.contacts, stepping().contacts[::-1])


def test_only_plain_steps_are_turned_round():
    row = window(stepping(), "walks forward", "a").row
    assert retime.reversible(row)
    assert not retime.reversible(row | {"phrases": ["dribbles a basketball"]})
    assert not retime.reversible(row | {"labels": row["labels"] | {"punches": {"left": 1, "right": 0}}})
    assert not retime.reversible(window(with_contacts(jump()), "jumps", "b").row)
    assert not retime.reversible(window(standing(), "stands", "c").row)


# joining


def test_a_difference_dies_out_smoothly():
    gap, rate = np.array([0.3, -0.2]), np.array([1.0, 0.5])
    path = join.decay(gap, rate, np.array(0.5), 31, 60.0)
    np.testing.assert_allclose(path[0], gap)
    np.testing.assert_allclose((path[1] - path[0]) * 60, rate, rtol=0.2)
    np.testing.assert_allclose(path[-1], 0, atol=1e-12)
    np.testing.assert_allclose(path[-1] - path[-2], 0, atol=1e-3)


def test_joined_clips_meet_without_a_jump_and_the_feet_stay():
    first, second = standing(side="left"), standing()
    # the second one stands 5 cm wider, turned and elsewhere
    shift = np.zeros((second.frames, 2, 3))
    shift[:, 0, 0], shift[:, 1, 2] = 0.05, 0.05
    second = move_feet(second, shift)
    second.rotations[:, 0] = rot.quaternion_multiply(turn(1, np.array([2.0])), second.rotations[:, 0])
    second.translation += np.array([3.0, 0.0, -1.0], dtype=np.float32)
    with_contacts(second)
    cut, start = 70, 5
    made, seam = join.join(first, cut, second, start)
    assert made.frames == cut + second.frames - start
    np.testing.assert_allclose(made.joints()[:cut], first.joints()[:cut], atol=1e-5)
    assert toe_speed(made).max() < 0.02
    assert made.contacts.all()
    assert seam.jerk < 250 and 0.01 < seam.shift < 0.1
    # half a second later it is the second clip, but for the feet, which stand where they stood
    np.testing.assert_allclose(made.rotations[-1, 9:], second.rotations[-1, 9:], atol=1e-4)
    assert gates.gate(made) is None


def test_a_walk_goes_over_into_standing():
    first, second = stepping(4.0), stepping(4.0, 0.7)
    features = join.pose_features(first), join.pose_features(second)
    apart = np.linalg.norm(features[0][60:100, None] - features[1][None, 1:40], axis=-1)
    i, j = np.unravel_index(apart.argmin(), apart.shape)
    made, seam = join.join(first, 60 + int(i), second, 1 + int(j))
    assert seam.turn < join.MOST_TURN and seam.shift < join.MOST_SHIFT
    planted = made.contacts[:, [1, 3]] > 0.5
    assert toe_speed(made)[planted[1:] & planted[:-1]].mean() < 0.1
    step = np.linalg.norm(np.diff(made.joints(), axis=0), axis=-1).max()
    assert step < 1.3 * np.linalg.norm(np.diff(first.joints(), axis=0), axis=-1).max()


def test_sequences_tell_their_parts(windows):
    report = Counter()
    found = list(augment.augmented(windows, 3, report, {"joined": 0.5}))
    assert 4 <= len(found) == report["joined: passed"] <= 6
    assert report["joined: made"] == sum(n for name, n in report.items() if name != "joined: made")
    for made in found:
        assert made.kind == "joined" and 2 <= len(made.parts) <= 4 and 75 <= made.motion.frames <= 300
        assert made.parts[0].start == 0 and made.parts[-1].stop == made.motion.frames
        for before, after in zip(made.parts[:-1], made.parts[1:], strict=True):
            assert before.stop == after.start
            a, b = made.sources[before.source], made.sources[after.source]
            assert a["clip"] != b["clip"] and acts.action(a) != acts.action(b)
        for part in made.parts:
            assert part.stop - part.start == part.source_stop - part.source_start
        np.testing.assert_allclose(made.motion.translation[0, [0, 2]], 0, atol=1e-5)


# arms on other legs


def test_arms_of_one_on_the_legs_of_another():
    legs, arms = stepping(3.0), standing(3.0, "right")
    made, why = compose.compose(legs, arms, ["right"])
    assert why is None and gates.gate(made) is None
    lower = [JOINT_INDEX[f"{s}_{p}"] for s in ("left", "right") for p in ("hip", "knee", "ankle", "foot")]
    np.testing.assert_allclose(made.joints()[:, lower], legs.joints()[:, lower], atol=1e-5)
    np.testing.assert_array_equal(made.contacts, legs.contacts)
    for side, of in (("right", arms), ("left", legs)):
        np.testing.assert_allclose(
            made.rotations[:, compose.ARMS[side]], of.rotations[:, compose.ARMS[side]], atol=1e-6
        )
    over = made.joints()[-1, JOINT_INDEX["right_wrist"], 1] - made.joints()[-1, JOINT_INDEX["head"], 1]
    assert over > 0.1


def test_the_chest_faces_the_way_of_the_legs_and_stays_upright():
    legs, arms = stepping(3.0), standing(3.0, "left")
    # legs that go to the side with tilted hips, arms that face backward
    legs.rotations[:, 0] = rot.quaternion_multiply(
        turn(1, np.full(legs.frames, 1.2)), turn(0, np.full(legs.frames, 0.2))
    )
    arms.rotations[:, 0] = turn(1, np.full(arms.frames, 3.0))
    made, why = compose.compose(legs, arms)
    assert why is None
    chest = global_rotations(made.rotations)[:, JOINT_INDEX["spine3"]]
    np.testing.assert_allclose(rot.yaw_of(chest), 1.2, atol=0.03)
    np.testing.assert_allclose(chest[:, 1, 1], 1, atol=1e-3)
    bends = rot.quaternion_angle(made.rotations[:, compose.SPINE], np.array([1.0, 0, 0, 0]))
    np.testing.assert_allclose(bends, bends[:, :1] * np.ones((1, 3)), atol=1e-3)


def test_a_spine_is_not_twisted():
    legs, arms = stepping(3.0), standing(3.0, "left")
    arms.rotations[:, JOINT_INDEX["spine2"]] = turn(1, np.full(arms.frames, 1.2))
    assert compose.compose(legs, arms)[1] == "spine twisted"


def test_composed_windows_say_what_legs_and_arms_do(windows):
    found = list(augment.augmented(windows, 1, Counter(), {"composed": 0.4}))
    assert found
    for made in found:
        legs, arms = made.parts
        assert (legs.role, arms.role) == ("legs", "arms")
        assert legs.phrases and all(phrase.split()[0] in ("walks", "backs", "moves") for phrase in legs.phrases)
        assert arms.phrases == made.sources[arms.source]["phrases"]
        assert arms.phrases[0].startswith(("raises", "waves"))
        assert made.motion.frames == legs.stop == arms.stop >= compose.LEAST
        kinds = {p["kind"] for p in measure(made.motion)["phases"]}
        assert ("backward" in kinds) == made.recipe["reversed"]


@pytest.mark.parametrize(
    ("phrases", "arms", "legs"),
    [
        (["waves with the right hand"], True, False),
        (["stands in place", "raises both arms above the head"], True, False),
        (["walks forward", "waves"], False, False),
        (["raises both hands", "sits down"], False, False),
        (["walks backwards in a long curve to the left"], False, True),
        (["takes 3 steps forward and turns right by about 90 degrees"], False, True),
        (["walks like a zombie"], False, False),
        (["kicks a ball"], False, False),
        (["lowers the body"], False, False),
    ],
)
def test_what_belongs_to_arms_and_what_to_legs(phrases, arms, legs):
    assert bool(acts.arm_phrases(phrases)) == arms
    assert bool(acts.leg_phrases(phrases)) == legs


# all together


def test_the_same_seed_gives_the_same_windows(windows):
    budget = {"speed": 0.3, "joined": 0.2, "composed": 0.2, "reversed": 0.2}
    first, second = (list(augment.augmented(windows, 5, Counter(), budget)) for _ in range(2))
    other = list(augment.augmented(windows, 6, Counter(), budget))
    assert {made.kind for made in first} == set(augment.KINDS)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.kind, a.parts, a.recipe) == (b.kind, b.parts, b.recipe)
        np.testing.assert_array_equal(a.motion.rotations, b.motion.rotations)
    assert [m.parts for m in first] != [m.parts for m in other]


def test_mirrored_windows_are_passed_over(windows):
    mirrored = [augment.Window(w.motion, w.row | {"mirrored": True}) for w in windows]
    assert not list(augment.augmented(mirrored, 0, Counter()))


def test_a_kind_does_not_depend_on_the_others(windows):
    alone = list(augment.augmented(windows, 5, Counter(), {"reversed": 0.2}))
    among = [m for m in augment.augmented(windows, 5, Counter()) if m.kind == "reversed"]
    assert [m.sources[0]["id"] for m in alone[:1]] == [m.sources[0]["id"] for m in among[:1]]

"""The checked prompts: each check can pass and fail on procedural motions, sides included."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.data.clean import mirrored
from backend.evaluation.prompts import FRESH, PROMPTS, QUICK, adherence, judge, passed, rates
from backend.models.interface import GenerateResult
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import JOINT_INDEX as J
from backend.motion.skeleton import Motion

BY_TEXT = {prompt.text: prompt for prompt in PROMPTS}
LEFT, RIGHT = (f"a person walks forward and turns {side}" for side in ("left", "right"))


class Actor:
    """A MotionModel that answers every sentence with the same motion."""

    def __init__(self, make):
        self.make, self.asked = make, []

    def generate(self, request, progress, cancelled):
        self.asked.append(request)
        motions = [self.make(round(request.seconds * 30)) for _ in range(request.variations)]
        return GenerateResult(motions, [request.seed + i for i in range(request.variations)])


def pose(frames: int, turns: dict[str, np.ndarray], height=0.94, travel=None, yaw=None) -> Motion:
    """A standing figure with hanging arms whose joints turn by rotation vectors ((T,3) or (3,)), y up, +Z ahead.

    height: of the pelvis, (T,) or one number; travel: (T,) metres along the heading so far; yaw: (T,) radians.
    """
    vectors = np.zeros((frames, 22, 3))
    vectors[:, J["left_shoulder"], 2], vectors[:, J["right_shoulder"], 2] = -1.35, 1.35
    for name, value in turns.items():
        vectors[:, J[name]] = value
    quaternions = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_quat(scalar_first=True).reshape(frames, 22, 4)
    yaw = np.zeros(frames) if yaw is None else yaw
    pelvis = Rotation.from_euler("Y", yaw[:, None]) * Rotation.from_rotvec(vectors[:, 0])
    quaternions[:, 0] = pelvis.as_quat(scalar_first=True)
    step = np.diff(np.zeros(frames) if travel is None else travel, prepend=0.0)
    place = np.cumsum(np.stack([step * np.sin(yaw), 0 * step, step * np.cos(yaw)], -1), 0)
    place[:, 1] = height
    motion = Motion(quaternions, place)
    motion.contacts = foot_contacts(motion.joints(), 30.0)
    return motion


def ramp(frames: int, start: float, stop: float) -> np.ndarray:
    """0 before ``start``, 1 after ``stop`` (shares of the time), smooth between."""
    part = np.clip((np.linspace(0, 1, frames) - start) / (stop - start), 0, 1)
    return part * part * (3 - 2 * part)


def bump(frames: int, middle: float, width: float) -> np.ndarray:
    return np.clip(1 - np.abs(np.linspace(0, 1, frames) - middle) / width, 0, None)


def arm_up(side: str, amount: np.ndarray) -> dict:
    sign = 1 if side == "left" else -1
    return {f"{side}_shoulder": np.stack([0 * amount, 0 * amount, sign * (-1.35 + 2.6 * amount)], -1)}


def waving(side: str, frames: int = 120) -> dict:
    """The upper arm out to the side, the forearm up and swinging."""
    sign = 1 if side == "left" else -1
    swing = 1.4 + 0.5 * np.sin(2 * np.pi * 1.6 * np.arange(frames) / 30)
    return {f"{side}_shoulder": np.zeros(3), f"{side}_elbow": np.stack([0 * swing, 0 * swing, sign * swing], -1)}


def hanging_forward(side: str, angle: np.ndarray) -> np.ndarray:
    """A hanging arm swung forward by ``angle``, as rotation vectors (T,3)."""
    down = Rotation.from_euler("Z", -1.35 if side == "left" else 1.35)
    return (Rotation.from_euler("X", -angle[:, None]) * down).as_rotvec()


def folded(depth: np.ndarray) -> dict:
    """Hips and knees bent so far that the pelvis sinks by about ``depth`` of the leg."""
    angle = np.arccos(np.clip(1 - depth, 0, 1))
    zero = 0 * angle
    bend = {f"{s}_hip": np.stack([-angle, zero, zero], -1) for s in ("left", "right")}
    return bend | {f"{s}_knee": np.stack([2 * angle, zero, zero], -1) for s in ("left", "right")}


def jumping(times: int, frames: int = 150, travel: float = 0.0) -> Motion:
    rise = sum(bump(frames, (k + 0.5) / times, 9 / frames) for k in range(times))
    return pose(frames, {}, 0.94 + 0.35 * rise, travel * ramp(frames, 0, 1))


def kicking(side: str, frames: int = 90) -> Motion:
    swing = bump(frames, 0.5, 0.12)
    return pose(frames, {f"{side}_hip": np.stack([-1.5 * swing, 0 * swing, 0 * swing], -1)})


def punching(side: str, times: int, frames: int = 120) -> Motion:
    sign = 1 if side == "left" else -1
    bent = 1 - sum(bump(frames, (k + 0.5) / times, 5 / frames) for k in range(times))
    zero = 0 * bent
    return pose(frames, {
        f"{side}_shoulder": np.array([0.0, -1.4 * sign, 0.0]),
        f"{side}_elbow": np.stack([zero, -2.3 * sign * bent, zero], -1),
    })  # fmt: skip


def sinking(frames: int, depth: np.ndarray, **more) -> Motion:
    return pose(frames, folded(depth), 0.94 - 0.84 * depth, **more)


def going(frames: int, speed: float, **more) -> Motion:
    return pose(frames, {}, travel=speed * np.arange(frames) / 30, **more)


def sideways(frames: int, speed: float) -> Motion:
    motion = pose(frames, {})
    motion.translation[:, 0] = speed * np.arange(frames) / 30
    return motion


LINE = np.linspace(0, 1, 150)
WALK_THEN = 2.0 * ramp(150, 0, 0.5)
LATER = 2.0 * ramp(150, 0.5, 1)
SIDED = [
    ("a person raises the {} hand", lambda s: pose(120, arm_up(s, ramp(120, 0.2, 0.6)))),
    ("a man lifts the {} arm", lambda s: pose(120, arm_up(s, ramp(120, 0.2, 0.6)))),
    ("a person waves with the {} hand", lambda s: pose(120, waving(s))),
    ("a person kicks with the {} foot", kicking),
    ("a person punches with the {} hand", lambda s: punching(s, 2)),
    ("a person stands on the {} leg",
     lambda s: pose(120, {f"{'right' if s == 'left' else 'left'}_{k}": np.array([v, 0, 0])
                          for k, v in (("hip", -1.4), ("knee", 1.4))})),
    ("a person turns to the {}", lambda s: pose(90, {}, yaw=(1.6 if s == "left" else -1.6) * ramp(90, 0.2, 0.8))),
    ("a person walks forward and turns {}", lambda s: going(150, 1.0, yaw=(1.5 if s == "left" else -1.5) * LINE)),
    ("a man walks in a curve to the {}", lambda s: going(150, 1.0, yaw=(1.0 if s == "left" else -1.0) * LINE)),
    ("a man walks in a circle to the {}", lambda s: going(150, 1.0, yaw=(6.0 if s == "left" else -6.0) * LINE)),
    ("a person runs in a curve to the {}", lambda s: going(150, 3.0, yaw=(1.2 if s == "left" else -1.2) * LINE)),
    ("a person walks sideways to the {}", lambda s: sideways(120, 0.6 if s == "left" else -0.6)),
    ("someone takes a step to the {}", lambda s: sideways(90, 0.12 if s == "left" else -0.12)),
    ("a person turns {}, then walks forward",
     lambda s: pose(150, {}, travel=LATER, yaw=(1.2 if s == "left" else -1.2) * ramp(150, 0, 0.45))),
    ("a person walks backward and turns {}", lambda s: going(150, -0.8, yaw=(1.0 if s == "left" else -1.0) * LINE)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "make"), SIDED, ids=[text for text, _ in SIDED])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_side_counts(text, make, side):
    other = "right" if side == "left" else "left"
    motion, asked, wrong = make(side), BY_TEXT[text.format(side)], BY_TEXT[text.format(other)]
    assert passed(asked, motion) and not passed(wrong, motion)
    assert passed(wrong, mirrored(motion)) and not passed(asked, mirrored(motion))


BOTH = arm_up("left", ramp(150, 0.1, 0.4)) | arm_up("right", ramp(150, 0.1, 0.4))
DOWN = arm_up("left", 1 - ramp(150, 0.3, 0.7)) | arm_up("right", 1 - ramp(150, 0.3, 0.7))
STILL = pose(150, {})
WALK, SLOW, QUICK_WALK, RUN, BACK = (going(150, speed) for speed in (1.1, 0.6, 1.6, 3.4, -0.7))
SQUAT = 0.45 * bump(150, 0.5, 0.3)
BENT = {"pelvis": np.stack([1.6 * bump(150, 0.5, 0.4), 0 * LINE, 0 * LINE], -1)}
REACH = BENT | {f"{side}_shoulder": hanging_forward(side, 1.6 * bump(150, 0.5, 0.4)) for side in ("left", "right")}
SITTING = sinking(150, 0.4 * ramp(150, 0.3, 0.6))
RISING = sinking(150, 0.4 * (1 - ramp(150, 0.3, 0.6)))
JUMP = jumping(1)
SIT_LATE = 0.4 * ramp(150, 0.6, 0.8)
T_POSE = {"left_shoulder": np.zeros(3), "right_shoulder": np.zeros(3)}
CASES = {
    "a person walks forward": (WALK, BACK),
    "a man is walking forward in a straight line": (WALK, going(150, 1.0, yaw=1.5 * LINE)),
    "someone walks a few steps forward": (WALK, STILL),
    "a man walks forward slowly": (SLOW, QUICK_WALK),
    "someone walks quickly straight ahead": (QUICK_WALK, SLOW),
    "a person jogs slowly": (going(120, 2.2), SLOW),
    "a person sprints": (going(90, 4.5), WALK),
    "a person walks backward": (BACK, WALK),
    "a man slowly walks backwards": (BACK, WALK),
    "someone takes a step back": (going(90, -0.1), STILL),
    "a person runs forward": (RUN, WALK),
    "someone is jogging forward": (RUN, WALK),
    "a person walks forward, then turns around": (pose(150, {}, travel=WALK_THEN, yaw=3.1 * ramp(150, 0.5, 0.9)), WALK),
    "someone turns around": (pose(120, {}, yaw=-3.1 * ramp(120, 0.2, 0.8)), STILL),
    "a person jumps up": (JUMP, STILL),
    "a person jumps forward": (jumping(1, travel=1.0), JUMP),
    "someone jumps high into the air": (JUMP, STILL),
    "a person hops forward": (jumping(2, travel=1.0), jumping(2)),
    "a person jumps twice": (jumping(2), JUMP),
    "a person jumps three times": (jumping(3), jumping(2)),
    "someone jumps up and down several times": (jumping(4), JUMP),
    "a person does squats": (sinking(180, 0.45 * (bump(180, 0.28, 0.2) + bump(180, 0.72, 0.2))), sinking(150, SQUAT)),
    "a person sits down": (SITTING, STILL),
    "a person is sitting": (sinking(120, np.full(120, 0.45)), STILL),
    "a person stands up": (RISING, SITTING),
    "a person squats down, then stands up": (sinking(150, SQUAT), SITTING),
    "a person crouches": (sinking(150, SQUAT), STILL),
    "someone squats deeply": (sinking(150, 0.7 * bump(150, 0.5, 0.3)), SITTING),
    "a person walks crouched": (sinking(120, np.full(120, 0.35), travel=0.6 * np.arange(120) / 30), WALK),
    "a person bends forward": (pose(150, BENT), STILL),
    "a person bends down and picks something up": (pose(150, REACH), STILL),
    "a person raises both hands": (pose(150, BOTH), pose(150, arm_up("left", ramp(150, 0.1, 0.4)))),
    "someone raises both arms above the head": (pose(150, BOTH), STILL),
    "a person lowers both hands": (pose(150, DOWN), pose(150, BOTH)),
    "a person stretches out both arms": (pose(120, T_POSE), STILL),
    "someone waves with both hands": (pose(120, waving("left") | waving("right")), pose(120, waving("left"))),
    "a person throws punches like a boxer": (punching("left", 4), STILL),
    "a person dances": (pose(120, waving("left") | waving("right")), STILL),
    "a person stands still": (STILL, WALK),
    "a person walks forward, then stops": (pose(150, {}, travel=WALK_THEN), WALK),
    "a person runs forward, then stops":
        (pose(120, {}, travel=6.0 * ramp(120, 0, 0.6)), pose(150, {}, travel=WALK_THEN)),
    "a person stands still, then walks forward": (pose(150, {}, travel=LATER), WALK),
    "a person walks forward, then sits down":
        (sinking(150, SIT_LATE, travel=WALK_THEN), sinking(150, 0.4 * ramp(150, 0.1, 0.3), travel=LATER)),
    "a person stands up, then walks forward":
        (sinking(150, 0.4 * (1 - ramp(150, 0.1, 0.4)), travel=LATER), sinking(150, SIT_LATE, travel=LATER)),
    "a person walks forward, turns around and walks back":
        (pose(240, {}, travel=4.0 * np.linspace(0, 1, 240), yaw=math.pi * ramp(240, 0.42, 0.58)), WALK),
    "a person walks forward, then walks backward": (pose(150, {}, travel=1.5 * np.sin(math.pi * LINE)), WALK),
    "a person raises the right hand, then walks forward":
        (pose(150, arm_up("right", ramp(150, 0.05, 0.3)), travel=LATER), WALK),
    "a person walks forward while raising the left hand":
        (pose(150, arm_up("left", ramp(150, 0.1, 0.4)), travel=3 * LINE), WALK),
    "a person walks forward while waving the right hand":
        (pose(150, arm_up("right", ramp(150, 0.1, 0.4)), travel=3 * LINE), pose(150, arm_up("right", LINE))),
    "a person walks forward with both hands raised": (pose(150, BOTH, travel=3 * LINE), WALK),
    "a person runs with both hands raised": (pose(150, BOTH, travel=15 * LINE), RUN),
    "a person jumps and raises both arms": (pose(150, BOTH, 0.94 + 0.35 * bump(150, 0.5, 0.1)), JUMP),
    "a person kicks twice": (None, STILL),
    "a person walks forward, then jumps": (pose(150, {}, 0.94 + 0.35 * bump(150, 0.8, 0.08), WALK_THEN), JUMP),
    "a person jumps, then walks forward": (pose(150, {}, 0.94 + 0.35 * bump(150, 0.2, 0.08), LATER), JUMP),
    "a person crouches, then jumps high into the air": (None, JUMP),
}  # fmt: skip


def two_kicks() -> Motion:
    swing = bump(120, 0.25, 0.09) + bump(120, 0.75, 0.09)
    return pose(120, {"right_hip": np.stack([-1.5 * swing, 0 * swing, 0 * swing], -1)})


def crouch_and_jump() -> Motion:
    depth = 0.4 * bump(150, 0.4, 0.15)
    return pose(150, folded(depth), 0.94 - 0.84 * depth + 0.4 * bump(150, 0.65, 0.08))


MADE = {"a person kicks twice": two_kicks, "a person crouches, then jumps high into the air": crouch_and_jump}


@pytest.mark.parametrize("text", CASES)
def test_a_check_passes_and_fails(text):
    right, wrong = CASES[text]
    assert passed(BY_TEXT[text], right or MADE[text]())
    assert not passed(BY_TEXT[text], wrong)


def test_no_check_is_left_out():
    sided = {text.format(side) for text, _ in SIDED for side in ("left", "right")}
    assert sided | set(CASES) == set(BY_TEXT)


def test_the_suite():
    assert len(BY_TEXT) == len(PROMPTS) >= 60 and len({p.category for p in PROMPTS}) >= 12
    assert all(1 <= prompt.seconds <= 10 for prompt in PROMPTS)
    assert len(QUICK) == 21 and set(QUICK) < set(PROMPTS)
    assert sum(p.sided for p in PROMPTS) >= 20
    assert len(FRESH) >= 30 and not {p.text for p in FRESH} & {p.text for p in PROMPTS}


def test_adherence_counts_by_category(motion):
    actor = Actor(lambda frames: motion(frames=frames, speed=1.2, turn=0.0))
    texts = ("a person walks forward", "a person walks backward", LEFT)
    figures = adherence(actor, seeds=2, prompts=tuple(BY_TEXT[t] for t in texts), preset="fast")
    assert figures["passed_backward"] == 0.0 and figures["passed_walk"] == 1.0 and figures["passed_turn"] == 0.0
    assert figures["passed"] == pytest.approx(1 / 3) and "right_side" not in figures
    assert all((r.seed, r.variations, r.preset) == (0, 2, "fast") for r in actor.asked)


def test_who_turns_to_the_wrong_side_is_told_from_who_does_not_turn(motion):
    turned = motion(frames=150, speed=0.9, turn=-1.6)
    straight = motion(frames=150, speed=0.9, turn=0.0)
    rows = judge((BY_TEXT[LEFT], BY_TEXT[RIGHT]), [[turned, straight], [turned, straight]])
    assert [row["passed"] for row in rows] == [[False, False], [True, False]]
    assert [row["wrong_side"] for row in rows] == [[True, False], [False, False]]
    assert rates(rows)["right_side"] == 0.5 and rates(rows)["passed_sided"] == 0.25

"""The arms of one clip on the legs of another: to wave while walking.

Pelvis and legs stay as captured, so the feet keep their contacts. The chest takes the direction that it has in the
other clip, seen from that clip's heading, and the spine is bent evenly between the two; neck, head and arms follow.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from backend.data import describe
from backend.data.acts import action, arm_phrases, goes_on, leg_phrases
from backend.data.clean import place
from backend.data.gates import hands_inside
from backend.data.retime import reverse, reversible, with_contacts
from backend.data.tracks import smooth
from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, Motion, global_rotations

LEAST, MOST = 64, 300  # frames
BACKWARD = 0.4  # how often legs that are played backward are drawn, against others
WHOLE = 0.8  # share of a window from which on its phrases hold
SPINE = [JOINT_INDEX[name] for name in ("spine1", "spine2", "spine3")]
HEAD = [JOINT_INDEX[name] for name in ("neck", "head")]
ARMS = {s: [JOINT_INDEX[f"{s}_{p}"] for p in ("collar", "shoulder", "elbow", "wrist")] for s in ("left", "right")}
STEADY = 1.2  # seconds over which the heading is smoothed, so that the chest does not swing with the hips
SWING = 0.5  # share of the chest's own swing while walking that stays under the other clip's arms
MOST_TWIST = np.radians(50)  # between chest and pelvis
MOST_LEAN = np.radians(40)  # of the chest
DEEPER = 0.01  # metres by which a hand may be deeper in the body than in its own clip


def gives_arms(row: dict) -> bool:
    """Whether the upper body of a window can go on other legs: upright, on the spot, arms that do something."""
    m = row["labels"]
    return bool(
        arm_phrases(row["phrases"])
        and m["distance"] < 0.8 and m["lean"] < 30 and m["up"] > 0.85 and m["lowest"] > 0.82 and abs(m["turn"]) < 60
        and not m["jumps"] and not sum(m["kicks"].values()) and m["air"] < 0.02
    )  # fmt: skip


def gives_legs(row: dict) -> bool:
    """Whether a window walks, steps sideways or turns, upright, and leaves the arms free."""
    m = row["labels"]
    kinds = {p["kind"] for p in m["phases"]}
    return bool(
        leg_phrases(row["phrases"])
        and kinds & {"walk", "backward", "left", "right", "turn", "run"}
        and not kinds & {"jump", "low"} and not sum(m["kicks"].values())
        and m["lean"] < 30 and m["up"] > 0.85 and m["speed"] < 2.6 and not m["jumps"]
        and (m["air"] < 0.02 or "run" in kinds)
    )  # fmt: skip


def active_arms(motion: Motion) -> list[str]:
    """The arms that do something, raised or moving: "left", "right"; none when the act is one of the head."""
    joints = motion.joints()
    found = []
    for side, arm in ARMS.items():
        shoulder, wrist = joints[:, arm[1]], joints[:, arm[3]]
        raised = np.percentile(wrist[:, 1] - shoulder[:, 1], 80) > -0.30
        path = np.linalg.norm(np.diff(wrist - joints[:, 0], axis=0), axis=1).mean() * motion.fps
        if raised or path > 0.35:
            found.append(side)
    return found


def heading(motion: Motion) -> np.ndarray:
    """The way the pelvis faces, smoothed over a second (T,), radians."""
    root = motion.rotations[:, 0].astype(np.float64)
    return smooth(np.unwrap(rot.heading(root)), round(STEADY * motion.fps))


def compose(legs: Motion, arms: Motion, sides: Sequence[str] = ("left", "right")) -> tuple[Motion, str | None]:
    """Pelvis and legs of ``legs`` with the chest, head and the arms ``sides`` of ``arms``; both of the same length.

    The other arm stays that of ``legs``. Returns the motion and why it cannot be used, or None.
    """
    lower, upper = global_rotations(legs.rotations.astype(np.float64)), global_rotations(arms.rotations.astype(float))
    chest = SPINE[-1]
    own = np.swapaxes(rot.yaw_matrix(heading(legs)), -1, -2) @ lower[:, chest]
    other = np.swapaxes(rot.yaw_matrix(heading(arms)), -1, -2) @ upper[:, chest]
    # the swing of the walker's own chest about its middle goes on under the new arms
    middle = smooth(rot.quaternion_to_axis_angle(rot.matrix_to_quaternion(own)), round(STEADY * legs.fps))
    middle = rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(middle))
    swing = rot.quaternion_to_axis_angle(rot.matrix_to_quaternion(own @ np.swapaxes(middle, -1, -2)))
    swing = rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(SWING * swing))
    wanted = rot.yaw_matrix(heading(legs)) @ swing @ other
    between = rot.quaternion_to_axis_angle(rot.matrix_to_quaternion(np.swapaxes(lower[:, 0], -1, -2) @ wanted))
    rotations = legs.rotations.astype(np.float64)
    rotations[:, SPINE] = rot.axis_angle_to_quaternion(between / len(SPINE))[:, None]
    for joint in HEAD + [j for side in sides for j in ARMS[side]]:
        rotations[:, joint] = arms.rotations[:, joint]
    made = with_contacts(rotations, legs.translation, legs)
    if np.linalg.norm(between, axis=1).max() > MOST_TWIST:
        return made, "spine twisted"
    if np.arccos(np.clip(wanted[:, 1, 1], -1, 1)).max() > MOST_LEAN:
        return made, "leans too far"
    before = hands_inside(arms.joints()).max(), hands_inside(legs.joints()).max()
    if hands_inside(made.joints()).max() > max(before) + DEEPER:
        return made, "hand in body"
    return made, None


def composed(
    motions: Sequence[Motion],
    rows: Sequence[dict],
    count: int,
    random: np.random.Generator,
    check: Callable[[Motion], str | None],
    report: Counter,
) -> Iterator[tuple[Motion, dict]]:
    """Up to ``count`` motions with what they are made of: legs, arms (numbers of windows), legs_start, reversed
    (whether the legs are played backward), sides, frames, leg_phrases, arm_phrases.

    ``check`` says why a motion is refused; ``report`` counts.
    """
    legs = [(i, False) for i, row in enumerate(rows) if gives_legs(row)]
    legs += [(i, True) for i, row in enumerate(rows) if gives_legs(row) and reversible(row)]
    arms = [i for i, row in enumerate(rows) if gives_arms(row)]
    if not legs or not arms:
        return
    # one way of walking is about as frequent as another, and so is one act of the arms
    ways = [(action(rows[i]), _way(rows[i]), back) for i, back in legs]
    acts = [action(rows[i]) for i in arms]
    legs_seen, arms_seen = Counter(ways), Counter(acts)
    rare_legs = np.array([legs_seen[w] ** -0.6 * (BACKWARD if w[2] else 1) for w in ways])
    rare_arms = np.array([arms_seen[a] ** -0.6 for a in acts])
    used_legs, used_arms, done = np.zeros(len(legs)), np.zeros(len(arms)), set()
    for _ in range(3 * count):
        if count <= 0:
            return
        a = _draw(rare_legs / (1 + used_legs) ** 2, random)
        b = _draw(rare_arms / (1 + used_arms) ** 2, random)
        if (a, b) in done:
            continue
        done.add((a, b))
        (i, back), k = legs[a], arms[b]
        frames = min(motions[i].frames, motions[k].frames, MOST)
        if frames < LEAST:
            continue
        used_legs[a] += 1
        used_arms[b] += 1
        lower = reverse(motions[i]) if back else motions[i]
        at = int(random.integers(lower.frames - frames + 1))
        lower, upper = lower.slice(at, at + frames), motions[k].slice(0, frames)
        steps, act = _steps(lower, rows[i], back or frames < WHOLE * motions[i].frames), arm_phrases(rows[k]["phrases"])
        if not steps or frames < WHOLE * motions[k].frames and not goes_on(act):
            # an act that does not fit into the steps would lose its end
            continue
        sides = active_arms(upper)
        report["composed: made"] += 1
        made, reason = compose(lower, upper, sides)
        reason = reason or check(made)
        report[f"composed: {reason or 'passed'}"] += 1
        if reason is None:
            count -= 1
            start = motions[i].frames - at - frames if back else at
            yield made, {
                "legs": i, "arms": k, "legs_start": start, "reversed": back, "sides": sides, "frames": frames,
                "leg_phrases": steps, "arm_phrases": act,
            }  # fmt: skip


def _steps(legs: Motion, row: dict, changed: bool) -> list[str]:
    """What the legs do: what the row says, or what is measured where only a part is shown or it is played backward."""
    return leg_phrases(describe.phrases(place(legs), [], len(legs.rotations)) if changed else row["phrases"])


def _way(row: dict) -> tuple[str, int]:
    """Where the longest phase goes, and the side that the whole turns to."""
    longest = max(row["labels"]["phases"], key=lambda p: p["stop"] - p["start"])
    turn = row["labels"]["turn"]
    return longest["kind"], 0 if abs(turn) < 40 else 1 if turn > 0 else -1


def _draw(weight: np.ndarray, random: np.random.Generator) -> int:
    return int(random.choice(len(weight), p=weight / weight.sum()))

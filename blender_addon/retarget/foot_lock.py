"""Feet that stay where they touch the ground.

The motion says when ankle and ball touch; at a run, whose contacts last a few frames and are often missed, a toe that
is low and far slower than the body on the target itself counts as well. While they touch, the skating of the touching
point is taken away by a correction that is added to the foot's path; in the air the correction blends from one contact
to the next. The legs then reach the corrected feet by two-bone IK that keeps the plane of the knee, and the feet keep
their rotation as far as the legs reach.
"""

import numpy as np

from . import rotations as rot

# Seconds over which a foot is eased into and out of a contact
_BLEND = 0.15
# Contacts and gaps shorter than this (seconds) are noise
_SHORTEST = 0.07
# Up to this share of its length a leg reaches freely, and as far as the motion itself does; then softly
_REACH = 0.96
# A run, in metres a second of a body with a leg of ``_LEG`` metres; a stance of it: toe height (m), and toe speed as a
# share of the body's. A stance begins where both are surely so and lasts while they may be
_RUN, _LEG = 1.8, 0.82
_SURE, _POSSIBLE = (0.05, 0.5), (0.08, 0.68)
# Only where the same toe swings through faster than this share of the body's speed, within this time (seconds)
_SWING, _STRIDE = 1.2, 0.5
# How far (radians) a heel may rise for a leg that is too short
_HEEL = np.radians(35.0)
# No correction moves a foot further than this share of a leg
LIMIT = 0.25


def lock(skeleton, turns: dict, positions: dict, contacts: np.ndarray, fps: float) -> None:
    """Change the thigh and shin turns so that touching feet hold still.

    skeleton: the ``Chain`` of the rig. turns: bone name -> (T,4) world turns from rest, changed in place.
    positions: joint -> (T,3) world. contacts: (T,4) as in CanonicalMotion.
    """
    rest = skeleton.rest
    for side, columns in (("left", (0, 1)), ("right", (2, 3))):
        hip, knee, ankle, ball = (positions[f"{side}_{role}"] for role in ("hip", "knee", "ankle", "foot"))
        leg = float(np.linalg.norm(knee[0] - hip[0]) + np.linalg.norm(ankle[0] - knee[0]))
        heights = [rest.ground + rest.foot_heights[f"{side}_{role}"] for role in ("ankle", "foot")]
        touching = contacts[:, columns] > 0.5
        touching[:, 1] |= running(positions["pelvis"], ball, rest.frame[:, 1], heights[1], leg, fps)
        moved = correction(
            ankle,
            ball,
            touching,
            rest.frame[:, 1],
            heights,
            LIMIT * leg,
            fps,
        )
        move(skeleton, turns, positions, side, moved)


def move(skeleton, turns: dict, positions: dict, side: str, moved: np.ndarray) -> None:
    """Let the foot of ``side`` go where ``moved`` (T,3) shifts it. The rest as for :func:`lock`."""
    hip, knee, ankle, ball = (positions[f"{side}_{role}"] for role in ("hip", "knee", "ankle", "foot"))
    leg = float(np.linalg.norm(knee[0] - hip[0]) + np.linalg.norm(ankle[0] - knee[0]))
    if np.abs(moved).max() < 1e-6 * leg:
        return
    thigh, shin = (skeleton.map.bone(f"{side}_{role}") for role in ("hip", "knee"))
    # The knee bends about the figure's left axis when the leg is straight and tells no plane of its own
    from_tpose = rot.multiply(turns[thigh], rot.conjugate(skeleton.match[thigh]))
    hinge = rot.rotate(from_tpose, skeleton.rest.frame[:, 0])
    upper, lower = two_bone(hip, knee, ankle, ankle + moved, hinge)
    turns[thigh] = rot.multiply(upper, turns[thigh])
    turns[shin] = rot.multiply(lower, turns[shin])
    # Where the leg is too short the heel rises instead: the ball keeps its place
    reached = hip + rot.rotate(upper, knee - hip) + rot.rotate(lower, ankle - knee)
    foot = skeleton.map.bone(f"{side}_ankle")
    turns[foot] = rot.multiply(_aimed(ball - ankle, ball + moved - reached), turns[foot])


def _aimed(now: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The turn (T,4) of a foot that takes ``now`` (T,3) towards ``wanted`` (T,3), no further than ``_HEEL``."""
    vector = rot.to_axis_angle(rot.between(now, wanted))
    angle = np.linalg.norm(vector, axis=-1)
    return rot.from_axis_angle(vector / np.maximum(angle, 1e-12)[:, None], _HEEL * np.tanh(angle / _HEEL))


def running(hips: np.ndarray, ball: np.ndarray, up: np.ndarray, standing: float, leg: float, fps: float) -> np.ndarray:
    """The frames (T,) in which the ball of a running foot stands, from its path and that of the hips (T,3), world.

    standing: height of a standing ball along ``up``. leg: length, world units. No frames of anything slower than a run.
    """
    frames = len(ball)
    if frames < 5:
        return np.zeros(frames, dtype=bool)
    metre = leg / _LEG
    flat = hips - np.outer(hips @ up, up)
    window = max(1, int(round(0.15 * fps)))
    padded = np.pad(flat, ((window, window), (0, 0)), mode="edge")
    spread = np.minimum(np.arange(frames) + window, frames - 1) - np.maximum(np.arange(frames) - window, 0)
    body = np.linalg.norm(padded[2 * window :] - padded[: -2 * window], axis=-1) * fps / spread
    step = np.linalg.norm(np.diff(ball, axis=0), axis=-1) * fps
    into, out = np.concatenate([step[:1], step]), np.concatenate([step, step[-1:]])
    height = (ball @ up - standing) / metre
    share = np.minimum(into, out) / np.maximum(body, 1e-9)
    reach = max(1, int(round(_STRIDE * fps)))
    swing = np.lib.stride_tricks.sliding_window_view(np.pad(share, reach, mode="edge"), 2 * reach + 1).max(-1)
    runs = (body > _RUN * metre) & (swing > _SWING)
    sure, possible = (runs & (height < low) & (share < slow) for low, slow in (_SURE, _POSSIBLE))
    stands = np.zeros(frames, dtype=bool)
    for start, stop in contact_spans(possible, 1):
        if sure[start:stop].any():
            stands[start:stop] = True
    return stands


def correction(
    ankle: np.ndarray,
    ball: np.ndarray,
    touching: np.ndarray,
    up: np.ndarray,
    heights: list[float],
    limit: float,
    fps: float,
) -> np.ndarray:
    """What to add to a foot's path (T,3) so that it neither skates nor sinks.

    ankle, ball: (T,3) world paths. touching: (T,2) bool, ankle and ball. up: (3,). heights: of ankle and ball above
    the world's origin, along ``up``, when the foot stands. limit: largest correction, world units.
    """
    lifts = np.minimum(ankle @ up - heights[0], ball @ up - heights[1])
    moved = np.zeros_like(ankle)
    blend = max(1, int(round(_BLEND * fps)))
    spans = contact_spans(touching.any(-1), max(1, int(round(_SHORTEST * fps))))
    for i, (start, stop) in enumerate(spans):
        on_ball = touching[start : stop - 1, 1] & touching[start + 1 : stop, 1]
        steps = np.where(on_ball[:, None], np.diff(ball[start:stop], axis=0), np.diff(ankle[start:stop], axis=0))
        drift = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
        drift -= drift.mean(0)
        drift -= np.outer(drift @ up, up)
        held = -drift - np.outer(lifts[start:stop], up)
        size = np.linalg.norm(held, axis=-1, keepdims=True)
        held *= np.minimum(1.0, limit / np.maximum(size, 1e-12))
        moved[start:stop] += held
        before = start - (spans[i - 1][1] if i else 0)
        after = (spans[i + 1][0] if i + 1 < len(spans) else len(ankle)) - stop
        for room, edge, value, step in ((before, start - 1, held[0], -1), (after, stop, held[-1], 1)):
            length = min(blend, room)
            ease = 1.0 - np.arange(1, length + 1) / (length + 1)
            ease = ease * ease * (3.0 - 2.0 * ease)
            moved[edge + step * np.arange(length)] += ease[:, None] * value
    sunk = np.maximum(0.0, -(lifts + moved @ up))
    return moved + np.outer(np.minimum(sunk, limit), up)


def contact_spans(touching: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Runs [start, stop) of True in (T,), gaps shorter than ``shortest`` closed, then short runs dropped."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], touching, [False]]).astype(int)))
    runs: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] < shortest:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return [run for run in runs if run[1] - run[0] >= max(shortest, 2)]


def two_bone(
    hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, target: np.ndarray, hinge: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (T,4) to add to thigh and shin so that the ankle comes to ``target``; all points (T,3).

    The knee keeps its plane; ``hinge`` (T,3) is its axis where the leg is straight.
    """
    thigh, shin = knee - hip, ankle - knee
    first, second = np.linalg.norm(thigh, axis=-1), np.linalg.norm(shin, axis=-1)
    length = first + second
    reach = np.linalg.norm(ankle - hip, axis=-1)
    wanted = np.linalg.norm(target - hip, axis=-1)
    # Soft IK: below ``free`` nothing changes, beyond it the leg nears its limit without ever snapping straight
    free = np.maximum(reach, _REACH * length)
    room = np.maximum(0.999 * length - free, 1e-6 * length)
    beyond = np.maximum(wanted - free, 0.0)
    wanted = np.where(beyond > 0, free + room * (1.0 - np.exp(-beyond / room)), wanted)
    wanted = np.maximum(wanted, np.abs(first - second) + 0.05 * length)

    def flex(distance: np.ndarray) -> np.ndarray:
        cosine = (first**2 + second**2 - distance**2) / (2 * first * second)
        return np.pi - np.arccos(np.clip(cosine, -1.0, 1.0))

    normal = rot.cross(thigh, shin) / (first * second)[:, None]
    bend = np.linalg.norm(normal, axis=-1, keepdims=True)
    share = np.clip(bend / 0.1, 0.0, 1.0)
    normal = normal / np.maximum(bend, 1e-9) * share + hinge * (1.0 - share)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    fold = rot.from_axis_angle(normal, flex(wanted) - flex(reach))
    folded = knee + rot.rotate(fold, shin)
    swing = rot.between(folded - hip, target - hip)
    return swing, rot.multiply(swing, fold)

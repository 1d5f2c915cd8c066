"""What the whole body does off its usual standing and walking: jumps, low postures, bends. Numbers only, no words."""

import numpy as np

from backend.data.tracks import SIDES, STANDING, Tracks, close, runs, smooth
from backend.motion.skeleton import JOINT_INDEX as J

LOW = 0.74  # pelvis height in metres under which a body no longer stands
SEAT = 0.05  # metres that the centre of mass lies behind the heels: only a seat holds it there


def jumps(t: Tracks) -> list[dict]:
    """Flights with both feet clearly off the floor; the flights of running are no jumps.

    Each: {start, stop, rise (m, of the pelvis), speed (m/s), forward, left (m), turn (degrees), leg (both, left, right:
    the one that pushed and landed)}.
    """
    found = []
    for start, stop in runs(t.lowest > 0.05, max(3, t.span(0.12))):
        seconds = (stop - start) / t.fps
        before = t.height[max(0, start - t.span(0.5)) : start + 1]
        rise = t.height[start:stop].max() - min(np.median(before), STANDING) if len(before) else 0.0
        clearance = t.lowest[start:stop].max()
        inside = start > 0 and stop < t.frames
        if start > 0 and stop == t.frames and seconds > 0.2 and t.lowest[-3:].mean() > 0.12:
            inside, stop = True, t.frames - 1  # cut off in the air: the push is seen, the landing is not
        speed = t.speed[start:stop].mean()
        need = 0.10 if speed < 1.5 else 0.16
        high = clearance > need and rise > 0.06 + (0.06 if speed > 1.5 else 0)
        if not inside or seconds > 1.2 or not high:
            continue
        first, last = _foot(t, start - 1), _foot(t, stop)
        if first != last and "both" not in (first, last) and speed > 1.5 and seconds < 0.4:
            continue  # from one foot to the other, quickly and soon down: a stride of running
        a, b = max(0, start - t.span(0.25)), min(t.frames - 1, stop + t.span(0.25))
        moved = t.joints[b, 0] - t.joints[a, 0]
        forward = moved[0] * t.sine[a] + moved[2] * t.cosine[a]
        left = moved[0] * t.cosine[a] - moved[2] * t.sine[a]
        found.append({
            "start": start, "stop": stop, "rise": round(float(rise), 3), "speed": round(float(speed), 2),
            "forward": round(float(forward), 2), "left": round(float(left), 2),
            "turn": round(float(t.yaw[b] - t.yaw[a]), 1), "leg": first if first == last else "both",
        })  # fmt: skip
    return found


def landing(t: Tracks) -> int:
    """The frame at which a body that is in the air at the first frame lands; 0 when it stands there."""
    flight = next(iter(runs(t.lowest > 0.05, 3)), (1, 0))
    high = flight[0] == 0 and flight[1] < min(t.frames, t.span(0.8)) and t.lowest[: flight[1]].max() > 0.12
    high = high and t.height[0] - t.height[flight[1]] > 0.12
    return flight[1] if high and t.up[0] > 0.7 else 0


def _foot(t: Tracks, frame: int) -> str:
    """The foot that is on the floor, "both" unless the other one is 12 cm higher."""
    left, right = np.minimum(t.toes, t.ankles - 0.06)[frame]
    return "both" if abs(left - right) < 0.12 else "left" if left < right else "right"


def behind_heels(t: Tracks) -> np.ndarray:
    """How far (T,) in metres the centre of mass lies behind the heels, along the heading; negative over the feet."""
    j = t.joints
    legs = sum(0.10 * (j[:, 0] + j[:, J[f"{s}_knee"]]) / 2 + 0.06 * (j[:, J[f"{s}_knee"]] + j[:, J[f"{s}_ankle"]]) / 2
               for s in SIDES)  # fmt: skip
    arms = sum(0.05 * j[:, J[f"{s}_elbow"]] for s in SIDES)
    mass = legs + arms + 0.50 * (j[:, 0] + j[:, J["neck"]]) / 2 + 0.08 * j[:, J["head"]]
    back = [t.heading(mass - j[:, J[f"{s}_ankle"]])[0] for s in SIDES]
    return -np.maximum(*back) - 0.06


def lows(t: Tracks) -> list[dict]:
    """Times with the pelvis low: {start, stop, posture, depth, side, face, began, ended, lean}.

    posture: lie, fours (on hands and knees or feet), kneel, floor (sits on it), sit (on a seat), lunge, wide (stance),
    bend, squat, crouch, upside (head down); depth: lowest pelvis (m); side: the knee that kneels or the leg in front
    ("" both); face: up, down, side for lie; began, ended: the posture is there at the first, last frame.
    """
    found = []
    behind = None
    for a, b in close(runs(smooth(t.height, 5) < LOW, t.span(0.25)), t.span(0.2)):
        behind = behind_heels(t) if behind is None else behind
        height = t.height[a:b]
        deep = a + np.flatnonzero(height <= np.percentile(height, 50) + 0.02)
        found.append(
            {"start": a, "stop": b, "depth": round(float(height.min()), 2), "began": a <= 2, "ended": b >= t.frames - 2}
            | {"lean": round(float(np.median(t.lean[deep]))), "distance": round(float(t.speed[a:b].sum() / t.fps), 2)}
            | _posture(t, deep, behind)
        )
    return found


def _posture(t: Tracks, deep: np.ndarray, behind: np.ndarray) -> dict:
    middle = lambda curve: float(np.median(curve[deep]))  # noqa: E731
    height, lean, up = middle(t.height), middle(t.lean), middle(t.up)
    head = middle(t.joints[:, J["head"], 1])
    knees = [middle(t.joints[:, J[f"{s}_knee"], 1]) for s in SIDES]
    hands = min(middle(t.joints[:, J[f"{s}_wrist"], 1]) for s in SIDES)
    apart = t.joints[:, J["left_ankle"]] - t.joints[:, J["right_ankle"]]
    ahead, aside = (middle(way) for way in t.heading(apart))
    over = [middle(t.joints[:, J[f"{s}_wrist"], 1]) for s in SIDES]
    hung = min(over) > head  # both hands over the head may hold on to a bar
    middle_of = lambda part: sum(t.joints[deep, J[f"{s}_{part}"]] for s in SIDES) / 2  # noqa: E731
    # hands that carry weight stand well away from the feet
    reach = float(np.median(np.hypot(*(middle_of("wrist") - middle_of("ankle"))[:, [0, 2]].T)))
    side = ""
    if up < -0.2 or head < height - 0.35:
        name = "upside"
    elif head < 0.5 and height < 0.4:
        name = "lie"
    elif hands < 0.25 and lean > 50 and height < 0.68 and reach > 0.4:
        name = "fours"
    elif min(knees) < 0.17 and height > 0.26:
        name = "kneel"
        side = "" if max(knees) < 0.25 else SIDES[int(np.argmin(knees))]
    elif height < 0.32:
        name = "floor"
    elif middle(behind) > SEAT and lean < 60 and len(deep) > t.span(0.6) and not hung:
        name = "sit"
    elif lean > 60:
        name = "bend"
    elif abs(ahead) > 0.55:
        name, side = "lunge", "left" if ahead > 0 else "right"
    elif abs(aside) > 0.6:
        name = "wide"
    else:
        name = "squat" if height < 0.6 else "crouch"
    front = middle(t.front)
    return {"posture": name, "side": side, "face": "up" if front > 0.6 else "down" if front < -0.6 else "side"}


def bends(t: Tracks) -> list[dict]:
    """Times with the trunk bent far over straight legs: {start, stop, lean, began}."""
    mask = (t.lean > 50) & (t.up > 0.2) & (t.height > 0.55)
    still_bent = t.lean > 35  # a stooped walk that sways about 50 degrees is one bend
    found: list[tuple[int, int]] = []
    for a, b in close(runs(mask, t.span(0.25)), t.span(0.2)):
        if found and still_bent[found[-1][1] : a].all():
            found[-1] = (found[-1][0], b)
        else:
            found.append((a, b))
    return [{"start": a, "stop": b, "lean": round(float(t.lean[a:b].max())), "began": a <= 2} for a, b in found]


def leans(t: Tracks) -> list[dict]:
    """The trunk held 20 to 50 degrees off upright on standing legs for a second or more: {start, stop, way}."""
    forward, left = t.heading(t.trunk)
    mask = (smooth(t.lean, 5) > 20) & (t.lean < 52) & (t.height > 0.78) & (t.speed < 0.5)
    found = []
    for a, b in close(runs(mask, t.span(0.7)), t.span(0.2)):
        x, z = float(np.median(left[a:b])), float(np.median(forward[a:b]))
        way = ("forward" if z > 0 else "backward") if abs(z) > abs(x) else "left" if x > 0 else "right"
        found.append({"start": a, "stop": b, "way": way})
    return found

"""Action words that a capture's own description adds, where the numbers allow them (``activities.json``)."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np

from backend.data.tracks import SIDES, swings
from backend.motion.skeleton import JOINT_INDEX as J
from backend.motion.skeleton import Motion


@cache
def table() -> dict:
    """``activities.json``: "activities" (match, phrases, needs) and "styles" (match, words)."""
    return json.loads((Path(__file__).parent / "activities.json").read_text(encoding="utf-8"))


def conditions(m: dict, motion: Motion) -> dict[str, float]:
    """The numbers that the activity table may ask for, from measurements ``m``."""
    up = {side: m["hands"][side]["shoulder"] for side in SIDES}
    over = {side: m["hands"][side]["head"] for side in SIDES}
    height = motion.translation[:, 1]
    n = max(3, motion.frames // 6)
    low = height < 0.74
    speeds = [p["speed"] for p in m["phases"]]
    joints = motion.joints()
    face = joints[:, J["head"]] + [0, 0.1, 0]
    near = {s: float((np.linalg.norm(joints[:, J[f"{s}_wrist"]] - face, axis=1) < 0.26).mean()) for s in SIDES}
    shoulder = joints[:, J["left_shoulder"]] - joints[:, J["right_shoulder"]]
    twist = np.degrees(np.unwrap(np.arctan2(-shoulder[:, 2], shoulder[:, 0])))
    moving_end = any(a > 1.0 and b < 0.5 for a, b in zip(speeds, speeds[1:], strict=False))
    return {k: v for k, v in m.items() if isinstance(v, float)} | {
        "jumps": len(m["jumps"]),
        "steps": m["steps"],
        "kicks": sum(m["kicks"].values()),
        "kick_speed": m["foot_speed"],
        "punches": sum(m["punches"].values()),
        "waves": sum(m["waves"].values()),
        "bends": len(m["bends"]) + (m["lowest"] < 0.6),
        "one_leg": max(m["one_leg"].values()),
        "abs_turn": abs(m["turn"]),
        "hand_high": max(m["left_hand"], m["right_hand"]) + 0.1,
        "hand_top": max(m["left_hand"], m["right_hand"]),
        "hand_swing": m["hand_activity"],
        "hand_busy": max(m["left_busy"], m["right_busy"]),
        "both_up": float(bool(up["left"]) and bool(up["right"])),
        "one_up": float(bool(up["left"]) != bool(up["right"])),
        "one_near_head": float((near["left"] > 0.15) != (near["right"] > 0.15)),
        "one_chest": float((m["left_hand"] > -0.2) != (m["right_hand"] > -0.2)),
        "both_chest": float(min(m["left_hand"], m["right_hand"]) > -0.2),
        "both_over_head": float(bool(over["left"]) and bool(over["right"])),
        "sits_down": float(height[:n].mean() > 0.82 and low[-n:].mean() > 0.8),
        "stands_up": float(height[-n:].mean() > 0.82 and low[:n].mean() > 0.8),
        "low_share": float(low.mean()),
        "squats": sum(e["count"] for e in m["events"] if e["kind"] == "low"),
        "ducks": float(m["lowest"] < 0.72 and m["distance"] > 0.7),
        "stops": float(moving_end),
        "straddles": len(swings(np.linalg.norm(joints[:, J["left_ankle"]] - joints[:, J["right_ankle"]], axis=1), 0.2)),
        "twist": float(np.ptp(twist)),
        "twists": len(swings(twist, 40)),
        "left_near_head": near["left"],
        "right_near_head": near["right"],
    }


def _holds(needs: list[str], values: dict[str, float]) -> bool:
    for need in needs:
        name, sign, limit = re.fullmatch(r"(\w+)([<>])(-?[\d.]+)", need).groups()
        if not (values[name] > float(limit) if sign == ">" else values[name] < float(limit)):
            return False
    return True


def phrases_of(descriptions: list[str], m: dict, motion: Motion) -> list[list[str]]:
    """Groups of phrases (third person) for the actions that a description names and the numbers confirm."""
    matching = [a for a in table()["activities"] if _named(a, descriptions)]
    if not matching:
        return []
    values = conditions(m, motion)
    sides = {"up_side": _up_side(values, m), "kick_side": max(m["kicks"], key=m["kicks"].get)}
    sides["punch_side"] = max(m["punches"], key=m["punches"].get)
    return [[p.format(**sides) for p in a["phrases"]] for a in matching if _holds(a["needs"], values)]


def _named(activity: dict, descriptions: list[str]) -> bool:
    return any(re.search(activity["match"], d, re.IGNORECASE) for d in descriptions)


def _up_side(values: dict, m: dict) -> str:
    if values["one_near_head"]:
        return "left" if values["left_near_head"] > values["right_near_head"] else "right"
    return "left" if m["left_hand"] > m["right_hand"] else "right"


def may_wave(descriptions: list[str]) -> bool:
    """A hand that swings waves, unless the description names something else that hands do (washing, fencing...)."""
    named = any(_named(a, descriptions) for a in table()["activities"])
    return not named or any(re.search("wave|traffic|hello|bye|point", d, re.IGNORECASE) for d in descriptions)


def styles(descriptions: list[str]) -> list[str]:
    """Words for the manner that a description names ("walk, elderly style"): ["like an old person", ...]."""
    for entry in table()["styles"]:
        if any(re.search(entry["match"], d, re.IGNORECASE) for d in descriptions):
            return entry["words"]
    return []


def running(descriptions: list[str]) -> bool:
    """Whether the capture is known to be a run, which may be as slow as a walk."""
    return any(re.search(r"^(run|jog)\b(?!.*\bwalk)", d, re.IGNORECASE) for d in descriptions)


def seated(descriptions: list[str]) -> bool:
    """Whether a seat is known to be there, so that a low pelvis means sitting."""
    return any(re.search(r"\bsit\b|stool|chair", d, re.IGNORECASE) for d in descriptions)

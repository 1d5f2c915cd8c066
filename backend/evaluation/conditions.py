"""``python -m backend evaluate --conditions``: how well a model meets what is given, and what that costs.

Held-out motion gives the poses, joints, ranges and places; the model makes the rest. Each figure is told before what
is given is met exactly (``motion.pin``) and after it. Beside the model stand its motion to the same sentence without
the poses, only pinned, and for poses at single frames a plain interpolation of them.
"""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from backend import models, requests
from backend.errors import BackendError
from backend.evaluation.condition_cases import CASES, Asked, Case, chosen
from backend.motion import rotations as rot
from backend.motion.pin import pin
from backend.motion.quality import metrics as quality
from backend.motion.skeleton import Motion
from backend.motion.target import Target
from backend.protocol import FPS
from backend.training.dataset import load_windows

log = logging.getLogger(__name__)
SCHEMA = 1
AROUND = 2  # frames on either side of a seam among which the largest jump is told


def evaluate(
    name: str,
    data: Path,
    split: str = "test",
    windows: int = 6,
    device: str = "auto",
    preset: str | None = None,
    cases: tuple[Case, ...] = CASES,
) -> dict:
    """Measure how a model meets poses, places, loops and timelines on ``windows`` windows of a built data set.

    preset: None is the model's first, which makes one motion of each request. Returns plain numbers: "cases" has for
    each case the rows "model", "pinned only" and "interpolated" of mean figures (see ``measure``), or "refused" with
    the model's own sentence. Raises BackendError when the model or the data is missing, or it knows no conditions.
    """
    about = requests.available_model(name, models.describe())
    known = [case for case in cases if set(case.needs) <= set(about["conditions"])]
    if not known:
        raise BackendError("bad_request", f"The model {name} meets neither poses nor loops nor timelines.")
    if windows < 1:
        raise BackendError("bad_request", "At least one window is needed.")
    found = load_windows(data, split, keep_motions=True)
    picked = chosen(found.motions, found.rows, windows)
    if not picked:
        raise BackendError("bad_file", f"The {split} split in {data} has no window of 2 to 5 seconds as captured.")
    motions, texts = [found.motions[i] for i in picked], [found.rows[i]["captions"][0] for i in picked]
    model = models.load(name, device)
    preset = preset or next((entry["name"] for entry in about["presets"]), None)
    record = {
        "schema": SCHEMA,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "model": name,
        "preset": preset or "",
        "split": split,
        "windows": len(picked),
        "cases": {},
    }
    for case in known:
        record["cases"][case.name] = _case(model, case, motions, texts, preset)
        log.info("%s", _line(case.name, record["cases"][case.name]))
    return record


def _case(model, case: Case, motions: list[Motion], texts: list[str], preset: str | None) -> dict:
    rows: dict[str, list[dict]] = {}
    count = max(1, len(motions) // case.windows)
    for start in range(count):
        at = [(start + k * count) % len(motions) for k in range(case.windows)]
        asked = case.ask([motions[i] for i in at], [texts[i] for i in at], start)
        asked.request.preset = preset
        began, spent = time.perf_counter(), time.process_time()
        try:
            result = model.generate(asked.request, lambda *step: None, lambda: False)
        except BackendError as error:
            return {"refused": error.message}
        took = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - spent}
        made = result.motions[0]
        before = result.unpinned[0] if result.unpinned else made
        rows.setdefault("model", []).append(measure(asked, before, made, case.poses) | took)
        if asked.request.target is not None:
            free = model.generate(_free(asked), lambda *step: None, lambda: False).motions[0]
            free = placed(free.slice(0, asked.real.frames), asked.request.target)
            pinned = pin(free, asked.request.target)
            rows.setdefault("pinned only", []).append(measure(asked, free, pinned, case.poses))
        if case.poses:
            plain = interpolated(asked.real, asked.given)
            rows.setdefault("interpolated", []).append(measure(asked, plain, plain, True))
    return {row: {key: float(np.mean([f[key] for f in each])) for key in each[0]} for row, each in rows.items()}


def _free(asked: Asked):
    """The same request without what is given; a long one as a timeline of one sentence after the other."""
    request = replace(asked.request, target=None)
    if request.timeline:
        return request
    seconds = asked.real.frames / FPS
    if seconds <= 10:
        return replace(request, seconds=seconds)
    parts = int(np.ceil(seconds / 10))
    return replace(request, timeline=[(request.prompt, seconds / parts)] * parts)


def measure(asked: Asked, before: Motion, after: Motion, poses: bool) -> dict[str, float]:
    """What an answer ``after`` is worth, that was ``before`` until the given poses were met exactly.

    Rotations in degrees and positions in centimetres, before and after: ``pose_cm`` joints of wholly given poses, in
    the world; ``pose_deg`` given local rotations; ``path_cm`` the pelvis over the ground, over all frames, where its
    places are given. ``jump``: the largest change of velocity from one frame to the next within two frames of a seam,
    mean over joints, m/s; ``turn_jump`` the same of local rotations, degrees/s; ``real_jump``, ``real_turn_jump``: of
    the captured motion at the same frames (in the middle where it was put together there). ``loop_cm``, ``loop_deg``,
    ``loop_jump``: how far the end is from the beginning, and the change of velocity there. ``jerk``, ``skate``: see
    ``motion.quality`` (toe speed in contact). Of poses at single frames, as the MotionGPT paper asks (arXiv 2306.10900,
    which gives no formulas; ours are mean distances of joints): ``reconstruction_cm`` to the captured motion,
    ``velocity`` of their velocities in m/s, ``distance_cm`` to the control poses.
    """
    figures: dict[str, float] = {}
    real, target, loops = asked.real, asked.request.target, asked.request.loop
    for stage, motion in (("before", before), ("after", after)):
        joints = motion.joints().astype(np.float64)
        if asked.given:
            apart = np.linalg.norm(joints[asked.given] - real.joints()[asked.given], axis=-1)
            figures[f"pose_cm_{stage}"] = 100 * apart.mean()
        if target is not None and target.joints.any():
            turned = rot.quaternion_angle(motion.rotations.astype(np.float64), target.rotations)
            figures[f"pose_deg_{stage}"] = np.degrees(turned[target.joints].mean())
        elif target is not None:
            off = motion.translation[:, [0, 2]] - real.translation[:, [0, 2]]
            figures[f"path_cm_{stage}"] = 100 * np.linalg.norm(off, axis=-1).mean()
        if asked.seams:
            line, turn = jumps(motion)
            figures[f"jump_{stage}"], figures[f"turn_jump_{stage}"] = _at(line, asked.seams), _at(turn, asked.seams)
        if loops:
            figures |= {f"{key}_{stage}": value for key, value in loop_gap(motion).items()}
        if poses:
            other = real.joints().astype(np.float64)
            figures[f"reconstruction_cm_{stage}"] = 100 * np.linalg.norm(joints - other, axis=-1).mean()
            apart = (np.diff(joints, axis=0) - np.diff(other, axis=0)) * FPS
            figures[f"velocity_{stage}"] = np.linalg.norm(apart, axis=-1).mean()
            figures[f"distance_cm_{stage}"] = figures[f"pose_cm_{stage}"]
        looks = quality(motion)
        figures[f"jerk_{stage}"], figures[f"skate_{stage}"] = looks["jerk"], looks["contact_speed"]
    if asked.seams:
        line, turn = jumps(real)
        within = real.frames // (2 * len(asked.joins) + 2)  # the middle of the first part
        middle = [seam for seam in asked.seams if seam not in asked.joins] or [within]
        figures["real_jump"], figures["real_turn_jump"] = _at(line, middle), _at(turn, middle)
    figures["real_jerk"] = quality(real)["jerk"]
    return {key: float(value) for key, value in figures.items()}


def jumps(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """(T,) m/s and degrees/s: how much velocities change at each frame, mean over joints; 0 at the first and last."""
    velocity = np.diff(motion.joints().astype(np.float64), axis=0) * motion.fps
    line = np.linalg.norm(np.diff(velocity, axis=0), axis=-1).mean(-1)
    turned = rot.quaternion_multiply(rot.quaternion_conjugate(motion.rotations[:-1]), motion.rotations[1:])
    turning = rot.quaternion_to_axis_angle(turned.astype(np.float64)) * motion.fps
    turn = np.degrees(np.linalg.norm(np.diff(turning, axis=0), axis=-1).mean(-1))
    return np.pad(line, 1), np.pad(turn, 1)


def _at(values: np.ndarray, seams: list[int]) -> float:
    return float(np.mean([values[max(0, seam - AROUND) : seam + AROUND + 1].max() for seam in seams]))


def loop_gap(motion: Motion) -> dict[str, float]:
    """How far the last pose is from the first, place and heading aside, and how much velocities change from the last
    step to the first: centimetres, degrees, m/s."""
    joints = motion.joints().astype(np.float64)
    yaw = rot.heading(motion.rotations[:, 0].astype(np.float64))
    local = rot.quaternion_rotate(rot.yaw_quaternion(-yaw)[:, None], joints - joints[:, :1] * [1, 0, 1])
    unturned = motion.rotations.astype(np.float64)
    unturned[:, 0] = rot.quaternion_multiply(rot.yaw_quaternion(-yaw), unturned[:, 0])
    step = (local[1] - local[0]) - (local[-1] - local[-2])
    return {
        "loop_cm": 100 * np.linalg.norm(local[-1] - local[0], axis=-1).mean(),
        "loop_deg": np.degrees(rot.quaternion_angle(unturned[0], unturned[-1]).mean()),
        "loop_jump": np.linalg.norm(step, axis=-1).mean() * motion.fps,
    }


def placed(motion: Motion, target: Target) -> Motion:
    """The motion turned and moved so that its first given frame stands and faces as ``target`` asks."""
    faces, stands = np.flatnonzero(target.joints[:, 0]), np.flatnonzero(target.place[:, 0])
    rotations, places = motion.rotations.astype(np.float64), motion.translation.astype(np.float64)
    if len(faces):
        turn = rot.heading(target.rotations[faces[0], 0]) - rot.heading(rotations[faces[0], 0])
        q = rot.yaw_quaternion(float(turn))
        rotations[:, 0] = rot.quaternion_multiply(q, rotations[:, 0])
        places = rot.quaternion_rotate(q, places)
    if len(stands):
        places[:, [0, 2]] += (target.translation[stands[0]] - places[stands[0]])[[0, 2]]
    return Motion(rotations, places, motion.rest_offsets, motion.fps, motion.contacts)


def interpolated(real: Motion, given: list[int]) -> Motion:
    """The poses of ``real`` at the frames ``given`` and what lies evenly between them; held before and after."""
    at = np.arange(real.frames)
    high = np.clip(np.searchsorted(given, at), 0, len(given) - 1)
    low = np.maximum(high - 1, 0)
    a, b = np.asarray(given)[low], np.asarray(given)[high]
    part = np.clip((at - a) / np.maximum(b - a, 1), 0, 1)
    q, p = real.rotations[a].astype(np.float64), real.rotations[b].astype(np.float64)
    between = rot.quaternion_to_axis_angle(rot.quaternion_multiply(p, rot.quaternion_conjugate(q)))
    turned = rot.axis_angle_to_quaternion(between * part[:, None, None])
    places = real.translation[a] * (1 - part[:, None]) + real.translation[b] * part[:, None]
    return Motion(rot.continuous(rot.quaternion_multiply(turned, q)), places)


COLUMNS = (
    ("pose_cm", "pose, cm", 1), ("pose_deg", "pose, degrees", 1), ("path_cm", "path, cm", 1),
    ("jump", "jump, m/s", 2), ("turn_jump", "jump, degrees/s", 0),
    ("loop_cm", "loop gap, cm", 1), ("loop_deg", "loop gap, degrees", 1), ("loop_jump", "loop jump, m/s", 2),
    ("skate", "toe speed in contact, m/s", 2), ("jerk", "jerk, m/s^3", 0),
)  # fmt: skip
PAPER = (("reconstruction_cm", "reconstruction, cm", 1), ("velocity", "velocity, m/s", 2),
         ("distance_cm", "distance to the control pose, cm", 1))  # fmt: skip
REAL = {"jump": "real_jump", "turn_jump": "real_turn_jump", "jerk": "real_jerk"}


def text_table(record: dict) -> str:
    """The record as Markdown: "before > after" the exact correction, and (real) where there is one."""
    told = f"{record['model']} ({record['preset']}), {record['windows']} windows of the {record['split']} split. "
    lines = [told + "Before > after what is given is met exactly; in brackets the captured motion at the same frames."]
    for columns, only in ((COLUMNS, False), (PAPER, True)):
        lines += ["", "| | " + " | ".join(label for _, label, _ in columns) + ("" if only else " | seconds") + " |"]
        lines.append("|---" * (len(columns) + (1 if only else 2)) + "|")
        for case, rows in record["cases"].items():
            if "refused" in rows:
                lines += [] if only else [f"| {case} | {rows['refused']} |" + " |" * len(columns)]
                continue
            for row, figures in rows.items():
                if only and "reconstruction_cm_after" not in figures:
                    continue
                cells = [_cell(figures, key, digits) for key, _, digits in columns]
                cells += [] if only else [f"{figures['seconds']:.1f}" if "seconds" in figures else ""]
                lines.append(f"| {case if row == 'model' else f'{case}: {row}'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figures: dict, key: str, digits: int) -> str:
    if f"{key}_after" not in figures:
        return ""
    before, after = figures[f"{key}_before"], figures[f"{key}_after"]
    cell = f"{before:.{digits}f} > {after:.{digits}f}"
    return f"{cell} ({figures[REAL[key]]:.{digits}f})" if REAL.get(key) in figures else cell


def _line(case: str, rows: dict) -> str:
    if "refused" in rows:
        return f"{case}: {rows['refused']}"
    told = [f"{label} {_cell(rows['model'], key, digits)}" for key, label, digits in COLUMNS if key != "jerk"]
    return f"{case}: " + ", ".join(t for t in told if ">" in t) + f", {rows['model']['seconds']:.1f} s"

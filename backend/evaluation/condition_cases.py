"""What a model is asked to meet in the report of conditions, from held-out motion: poses, joints, ranges, places."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from backend.models.interface import GenerateRequest
from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, Motion
from backend.motion.target import Target
from backend.protocol import FPS

FEWEST, MOST = 60, 150  # frames of a window that is taken
ARMS = [JOINT_INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("shoulder", "elbow", "wrist")]
EVERY = 10  # frames between the places of a path
CONTEXT = 15  # frames on either side of a range that is made anew, as the add-on gives them


@dataclass
class Asked:
    """One request with what it comes from.

    real: the held-out motion that the given parts are taken from, as long as the answer; seams: frames at which what
    is given begins or ends, or a sentence does; joins: frames at which ``real`` itself was put together, and jumps.
    """

    request: GenerateRequest
    real: Motion
    seams: list[int]
    joins: list[int] = field(default_factory=list)

    @property
    def given(self) -> list[int]:
        """Frames of which the whole pose is given."""
        target = self.request.target
        return [] if target is None else np.flatnonzero(target.joints.all(1)).tolist()


@dataclass(frozen=True)
class Case:
    """needs: what a model has to know (``conditions`` of its capabilities); windows: how many one request takes;
    poses: whole poses are given at single frames, as in the MotionGPT paper."""

    name: str
    ask: Callable[[list[Motion], list[str], int], Asked]
    needs: tuple[str, ...] = ("poses",)
    windows: int = 1
    poses: bool = False


def target_of(
    motion: Motion, frames: "np.ndarray | list[int]", joints: "list[int] | slice" = slice(None), place: bool = True
) -> Target:
    """A target that asks for what ``motion`` does at ``frames``: the rotations of ``joints``, and the pelvis' place."""
    target = Target.empty(motion.frames)
    target.rotations[:], target.translation[:] = motion.rotations, motion.translation
    for frame in frames:
        target.joints[frame, joints] = True
        target.place[frame] = place
    return target


def _poses(motions: list[Motion], texts: list[str], seed: int, frames: list[int]) -> Asked:
    motion = motions[0]
    at = sorted({frame % motion.frames for frame in frames})
    request = GenerateRequest(texts[0], seed=seed, target=target_of(motion, at))
    return Asked(request, motion, at)


def first(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    return _poses(motions, texts, seed, [0])


def last(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    return _poses(motions, texts, seed, [-1])


def ends(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    return _poses(motions, texts, seed, [0, -1])


def keys(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """First, last, and two at a third and two thirds."""
    frames = motions[0].frames
    return _poses(motions, texts, seed, [0, frames // 3, 2 * frames // 3, -1])


def wordless(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """The four keys again, and no sentence."""
    asked = keys(motions, texts, seed)
    asked.request.prompt = ""
    return asked


def joints(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """Both arms as they are, all the time; the rest is free."""
    target = target_of(motions[0], range(motions[0].frames), ARMS, place=False)
    return Asked(GenerateRequest(texts[0], seed=seed, target=target), motions[0], [])


def kept_range(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """The middle third stays, what comes before and after is made anew."""
    frames = motions[0].frames
    start, stop = frames // 3, 2 * frames // 3
    request = GenerateRequest(texts[0], seed=seed, target=target_of(motions[0], range(start, stop)))
    return Asked(request, motions[0], [start, stop - 1])


def new_range(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """The middle is made anew between half a second of context on either side."""
    frames = motions[0].frames
    given = [*range(CONTEXT), *range(frames - CONTEXT, frames)]
    request = GenerateRequest(texts[0], seed=seed, target=target_of(motions[0], given))
    return Asked(request, motions[0], [CONTEXT - 1, frames - CONTEXT])


def path(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """The pelvis over the ground every third of a second."""
    frames = motions[0].frames
    target = target_of(motions[0], [])
    target.place[np.append(np.arange(0, frames, EVERY), frames - 1)[:, None], [0, 2]] = True
    return Asked(GenerateRequest(texts[0], seed=seed, target=target), motions[0], [])


def loop(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    return Asked(GenerateRequest(texts[0], motions[0].frames / FPS, seed=seed, loop=True), motions[0], [])


def timeline(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """Three sentences of three windows, each as long as its window."""
    parts = [(text, motion.frames / FPS) for text, motion in zip(texts, motions, strict=True)]
    real, starts = chained(motions)
    return Asked(GenerateRequest("", timeline=parts, seed=seed), real, starts, starts)


def timeline_poses(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """Two sentences with a pose at the beginning, where they meet, and at the end."""
    asked = timeline(motions, texts, seed)
    asked.request.target = target_of(asked.real, [0, *asked.seams, asked.real.frames - 1])
    asked.seams = [0, *asked.seams, asked.real.frames - 1]
    return asked


def long(motions: list[Motion], texts: list[str], seed: int) -> Asked:
    """One sentence for several windows one after the other, longer than a window of the model, with a pose at the
    beginning of each and at the end."""
    real, starts = chained(motions)
    at = [0, *starts, real.frames - 1]
    return Asked(GenerateRequest(texts[0], seed=seed, target=target_of(real, at)), real, at, starts)


def chained(motions: list[Motion]) -> tuple[Motion, list[int]]:
    """Motions one after the other, each turned and moved to begin where the one before ends; where they begin."""
    rotations, places, starts = [motions[0].rotations], [motions[0].translation.astype(np.float64)], []
    for motion in motions[1:]:
        turn = rot.heading(rotations[-1][-1, 0]) - rot.heading(motion.rotations[0, 0])
        q = rot.yaw_quaternion(float(turn))
        turned = motion.rotations.astype(np.float64)
        turned[:, 0] = rot.quaternion_multiply(q, turned[:, 0])
        moved = rot.quaternion_rotate(q, motion.translation.astype(np.float64))
        moved[:, [0, 2]] += (places[-1][-1] - moved[0])[[0, 2]]
        starts.append(sum(map(len, places)))
        rotations.append(turned)
        places.append(moved)
    return Motion(rot.continuous(np.concatenate(rotations)), np.concatenate(places)), starts


CASES = (
    Case("first pose", first, poses=True),
    Case("last pose", last, poses=True),
    Case("first and last pose", ends, poses=True),
    Case("four keys", keys, poses=True),
    Case("four keys, no sentence", wordless, poses=True),
    Case("arms kept", joints),
    Case("range kept", kept_range),
    Case("range made anew", new_range),
    Case("path", path),
    Case("loop", loop, ("loop",)),
    Case("timeline of three", timeline, ("timeline",), 3),
    Case("timeline and poses", timeline_poses, ("timeline", "poses"), 2),
    Case("keys over 10 s", long, windows=4),
)


def chosen(motions: list[Motion], rows: list[dict], count: int) -> list[int]:
    """At most ``count`` windows for the report, evenly spaced over those that were captured as they are and have a
    length that fits."""
    captured = [row.get("kind", "real") == "real" and not row.get("mirrored") for row in rows]
    fitting = [i for i, motion in enumerate(motions) if captured[i] and FEWEST <= motion.frames <= MOST]
    at = np.linspace(0, len(fitting) - 1, min(count, len(fitting))).round().astype(int)
    return [fitting[i] for i in at]

"""What the artist wants a motion to meet - poses, a path, bones that stay - as the model and the keys need it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import bpy
import numpy as np

from . import results, service
from .client import protocol
from .retarget import CanonicalMotion, floor
from .retarget import given as giving
from .rig import RigError, canonical
from .scene import armature as armatures
from .scene import capture, paths, poses
from .scene.poses import Pose
from .scene.takes import Options, Take
from .service import Error

CONTEXT = 15  # frames at 30 fps of what surrounds a range that the model gets to see
EVERY = 10  # frames at 30 fps between two given places of a path: sway stays free in between
WALK = 1.25  # metres a second, where a path says how far but nobody says how long
MIN_SECONDS, MAX_SECONDS = 1.0, 60.0  # as long as the model has not said it


@dataclass
class Wish:
    """What is asked of the frames ``first`` to ``last`` of the scene.

    given: for the model, at 30 fps; it may begin ``lead`` frames earlier and end later. pins: poses that the keys meet
    exactly, [frame counted from ``first``, {data path: values}]. only: bones that may get keys, all when None.
    """

    first: int
    last: int
    given: giving.Given
    lead: int
    body: int
    pins: list = field(default_factory=list)
    only: "list[str] | None" = None

    @property
    def frames(self) -> int:
        return self.last - self.first + 1

    @property
    def placed(self) -> bool:
        return self.given.anchored

    def pack(self) -> str:
        """As text, to be stored with the take (which knows frames, pins and bones)."""
        return f"{self.lead};{self.body};{self.given.pack()}"

    @classmethod
    def of_take(cls, take: Take) -> "Wish | None":
        """What a take was asked to meet; None when it was free."""
        if not take.given:
            return None
        try:
            lead, body, given = take.given.split(";", 2)
            return cls(take.first, take.last, giving.Given.unpack(given), int(lead), int(body), take.pins, take.only)
        except ValueError as error:
            raise Error("bad_request", "What this motion had to meet cannot be read any more.") from error

    def cut(self, motion: CanonicalMotion) -> CanonicalMotion:
        """The part of the model's motion that belongs to the frames."""
        return giving.part(motion, self.lead, self.lead + self.body)


def wish(
    armature: bpy.types.Object,
    scene: bpy.types.Scene,
    first: int,
    last: int,
    *,
    model: str,
    given_poses: "Mapping[int, Pose] | None" = None,
    path: "np.ndarray | None" = None,
    keep: "Sequence[str] | None" = None,
    stays: "tuple[int, int] | None" = None,
    before: bool = False,
    after: bool = False,
) -> Wish:
    """See ``Wish``. Raises Error when it cannot be asked for.

    given_poses: scene frame -> pose. path: world points (n,3) to follow at even speed. keep: bones that stay as they
    are. stays: first and last of the frames that show what they show now. before, after: what stands before and after
    the frames is given too, so that the motion goes on from it.
    """
    frames, fps = last - first + 1, capture.scene_fps(scene)
    if frames < 2:
        raise Error("bad_request", "The frame range ends before it has begun.")
    low, high = limits(model)
    steps = max(1, round((frames - 1) / fps * protocol.FPS))
    body = steps + 1
    if body > high * protocol.FPS:
        seconds = (frames - 1) / fps
        raise Error("bad_duration", f"Frames {first} to {last} are {seconds:.1f} seconds; {high:g} are possible.",
                    "Take fewer frames at a time.")  # fmt: skip
    room = int(high * protocol.FPS) - body
    around = min(CONTEXT, room // 2)
    lead, tail = around * before, around * after
    tail += max(0, round(low * protocol.FPS) - (lead + body + tail))
    asked = Wish(first, last, giving.Given.nothing(lead + body + tail), lead, body)
    pace = (frames - 1) / steps  # frames of the scene for each of the model's
    try:
        if before or after:
            _give_surroundings(asked, armature, around, pace, before, after)
        if stays is not None:
            _give_range(asked, armature, stays, pace)
        if keep:
            _give_kept(asked, armature, keep, pace)
        _give_poses(asked, given_poses or {}, pace)
        if path is not None:
            _give_path(asked, armature, path)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    return asked


def for_motion(
    armature: bpy.types.Object,
    scene: bpy.types.Scene,
    model: str,
    *,
    seconds: "float | None",
    first: int,
    last: "int | None",
    given_poses: "Mapping[int, object] | None",
    path: object,
    keep: "Sequence[str] | None",
) -> "Wish | None":
    """The wish behind a new motion from frame ``first`` on; None when nothing is asked for. Raises Error.

    last: its last frame; when None, ``seconds`` decide, else the last pose, else the length of the path.
    given_poses, path, keep: see ``api.animate``.
    """
    if not given_poses and path is None and not keep:
        return None
    require(model, "poses", "meet poses, places or bones that stay")
    points = path_points(path) if path is not None else None
    wanted = resolved(armature, given_poses or {})
    if last is None:
        if seconds is None and points is not None:
            seconds = path_seconds(armature, points, model)
        latest = max(wanted, default=first)
        if seconds is not None or latest <= first:
            latest = first + max(1, round((4.0 if seconds is None else seconds) * capture.scene_fps(scene)) - 1)
        last = latest
    return wish(armature, scene, first, last, model=model, given_poses=wanted, path=points, keep=keep)


def resolved(armature: bpy.types.Object, wanted: "Mapping[int, object]") -> dict[int, Pose]:
    """Scene frame -> pose, from what ``api.animate`` takes. Raises Error."""
    found: dict[int, Pose] = {}
    asked: dict[int, int] = {}
    try:
        for frame, pose in wanted.items():
            if int(frame) in found or int(frame) in asked:
                told = f"Two poses are given for frame {int(frame)}."
                raise Error("bad_request", told, "Remove or move one of them.")
            if isinstance(pose, Pose):
                found[int(frame)] = pose
            elif pose == "current":
                found[int(frame)] = poses.present(armature)
            elif pose == "keys":
                asked[int(frame)] = int(frame)
            elif isinstance(pose, bpy.types.Action):
                found[int(frame)] = poses.of_action(armature, pose)
            elif isinstance(pose, int) and not isinstance(pose, bool):
                asked[int(frame)] = pose
            else:
                raise Error(
                    "bad_request", f"The pose at frame {frame} has to be 'current', 'keys', a frame or an action."
                )
        shown = poses.shown(armature, asked.values()) if asked else {}
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    except (TypeError, ValueError) as error:
        raise Error("bad_request", "The poses have to be a dictionary of frames and poses.") from error
    return found | {frame: shown[source] for frame, source in asked.items()}


def limits(model: str) -> tuple[float, float]:
    """The shortest and the longest motion in seconds that a model makes to meet something."""
    info = service.model_info(model)
    high = info.get("max_target_seconds") or info.get("max_seconds") or MAX_SECONDS
    return float(info.get("min_seconds") or MIN_SECONDS), float(high)


def can(model: str, condition: str) -> bool:
    """Whether a model knows a condition ("timeline", "poses", "loop"); a model that nobody has asked yet may."""
    info = service.model_info(model)
    return not info or condition in info.get("conditions", [])


def require(model: str, condition: str, what: str) -> None:
    """Raises Error when a model is known not to be able to do something."""
    if not can(model, condition):
        label = service.model_info(model).get("label") or model
        raise Error("bad_request", f"{label} cannot do this yet: {what}.", "Choose another model.")


def why_no_poses(frames: "Sequence[int]", span: "tuple[int, int] | None", model: str) -> str:
    """Why poses at ``frames`` of the scene cannot all be met, one sentence; empty when they can. span: the first and
    last frame of the motion, when both are known."""
    twice = sorted(frame for frame in set(frames) if list(frames).count(frame) > 1)
    if twice:
        return f"Two poses are given for frame {twice[0]}: remove or move one of them"
    outside = sorted(frame for frame in frames if span and not span[0] <= frame <= span[1])
    if outside:
        return f"The pose at frame {outside[0]} lies outside the frames {span[0]} to {span[1]}: move it"
    info = service.model_info(model)
    most = info.get("max_poses")
    if most and len(frames) > most:
        label = info.get("label") or model
        return f"Too many poses for {label} ({len(frames)}, at most {most}): switch some off, or choose another model"
    return ""


def case_of(frames: "Sequence[int]", first: int, last: "int | None", wordless: bool = False) -> str:
    """Which poses are given, as the models' tables of ``conditions_quality`` call it: "first" for one where the motion
    begins, "last" for one where it ends, "ends" for these two, else "keys"; all are "poses_only" without a prompt."""
    if wordless:
        return "poses_only"
    if last is not None and set(frames) == {last}:
        return "last"
    return {frozenset({first}): "first", frozenset({first, last}): "ends"}.get(frozenset(frames), "keys")


def better_model(model: str, case: str) -> str:
    """The model that was measured to meet such poses better than ``model`` and is installed; empty when there is
    none."""
    for info in service.models():
        table = info.get("conditions_quality") or {}
        row = table.get(case) or {}
        best = row.get("better", "")
        if model in row and best != model and service.model_info(best).get("available"):
            return best
    return ""


def as_posed(armature: bpy.types.Object, asked: Wish, options: Options) -> Options:
    """``options`` with the limbs of a control rig keyed by the controls that the given poses were made with, FK or IK,
    where all of them agree: an artist who poses by IK goes on by IK, with limbs that may stretch."""
    known = armatures.bone_map(armature).controls
    if known is None or not asked.pins:
        return options
    mapping = armatures.bone_map(armature)
    for kind in ("leg", "arm"):
        limbs = [limb for limb in known.switches if limb.endswith(kind)]
        shown = {poses.shown_by(mapping, limb, values) != "FK" for limb in limbs for _, values in asked.pins}
        if len(shown) == 1:
            options = replace(options, **{f"ik_{kind}s": shown.pop()})
    return options


def path_points(path: object) -> np.ndarray:
    """World points (n,3) of a curve object, a collection of waypoints, or points. Raises Error."""
    try:
        if isinstance(path, bpy.types.Object):
            points = paths.curve_points(path)
        elif isinstance(path, bpy.types.Collection):
            points = paths.waypoints(path)
        else:
            points = np.array([[*point, 0.0][:3] for point in path], dtype=np.float64)
    except RigError as error:
        raise Error("bad_request", str(error)) from error
    except (TypeError, ValueError) as error:
        raise Error("bad_request", "The path has to be a curve, a collection or a list of points.") from error
    if points.ndim != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise Error("bad_request", "The path needs at least two points.")
    return points


def path_seconds(armature: bpy.types.Object, path: np.ndarray, model: str) -> float:
    """How long a walk along ``path`` takes, within what the model can do."""
    low, high = limits(model)
    ground = _ground(armature, path)
    return float(np.clip(giving.length(ground) / WALK, low, high))


def joints_of(armature: bpy.types.Object, bones: Sequence[str]) -> list[int]:
    """The numbers of the joints all of whose bones are in ``bones``. Raises RigError."""
    chosen, mapping = set(bones), armatures.bone_map(armature).require()
    found = [(joint, names) for joint, names in mapping.joints.items() if names]
    if mapping.controls is not None:  # on control rigs the controls are chosen, not the bones that follow them
        fk = mapping.controls.fk
        found = [(joint, list(fk.get(joint) or names)) for joint, names in found]
    return [canonical.INDEX[joint] for joint, names in found if set(names) <= chosen]


def _give_poses(asked: Wish, given_poses: "Mapping[int, Pose]", pace: float) -> None:
    """Poses at frames of the scene, each at a frame of the model of its own."""
    taken: dict[int, int] = {}
    for frame, pose in sorted(given_poses.items()):
        if not asked.first <= frame <= asked.last:
            told = f"The pose at frame {frame} lies outside the frames {asked.first} to {asked.last}."
            raise Error("bad_request", told, "Move the pose, or make the motion longer.")
        at = round((frame - asked.first) / pace)
        if at in taken:
            told = (
                f"The poses at frames {taken[at]} and {frame} are at the same time for the model "
                f"({at / protocol.FPS:.2f} s): its frame rate is {protocol.FPS}."
            )
            raise Error("bad_request", told, "Remove one of them, or move them apart.")
        taken[at] = frame
        asked.given.poses(asked.lead + at, pose.motion)
        asked.pins.append([int(frame - asked.first), pose.values])


def _give_surroundings(asked: Wish, armature, around: int, pace: float, before: bool, after: bool) -> None:
    """The frames before the range with its first one, and those after it with its last one."""
    span = int(np.ceil(around * pace))
    end = asked.lead + asked.body
    step = np.arange(around + 1) * pace
    ends = ((before, asked.first - span, asked.first, slice(0, asked.lead + 1), span - step[::-1]),
            (after, asked.last, asked.last + span, slice(end - 1, end + around), step))  # fmt: skip
    for wanted, start, stop, at, positions in ends:
        if wanted:
            motion = capture.capture(armature, None, (start, stop), None)
            asked.given.poses(at, giving.sampled(motion, positions))
    _pin(asked, armature, [asked.first] * before + [asked.last] * after)


def _give_range(asked: Wish, armature, stays: "tuple[int, int]", pace: float) -> None:
    """What the animation shows at the frames ``stays`` (first and last) of the range."""
    first, last = max(stays[0], asked.first), min(stays[1], asked.last)
    if last < first:
        raise Error("bad_request", f"The frames {stays[0]} to {stays[1]} lie outside of what is made anew.")
    if first == asked.first and last == asked.last:
        raise Error("bad_request", f"Nothing is left to make beside the frames {first} to {last}.")
    positions = np.arange(asked.body) * pace + asked.first
    inside = np.flatnonzero((positions >= first - 1e-6) & (positions <= last + 1e-6))
    motion = capture.capture(armature, None, (first, last), None)
    asked.given.poses(asked.lead + inside, giving.sampled(motion, positions[inside] - first))
    _pin(asked, armature, range(first, last + 1))


def _pin(asked: Wish, armature, frames: Iterable[int]) -> None:
    """Let the keys meet what the animation shows at ``frames`` of the scene."""
    for frame, pose in poses.shown(armature, frames).items():
        asked.pins.append([frame - asked.first, pose.values])


def _give_kept(asked: Wish, armature, keep: Sequence[str], pace: float) -> None:
    """Joints whose bones stay are what the animation shows; their bones get no keys."""
    missing = [name for name in keep if name not in armature.pose.bones]
    if missing:
        raise RigError(f"'{armature.name}' has no bone called '{missing[0]}'.")
    asked.only = [bone.name for bone in armature.pose.bones if bone.name not in set(keep)]
    joints = joints_of(armature, keep)
    if not joints:
        return
    if results.current_action(armature) is not None:
        motion = capture.capture(armature, None, (asked.first, asked.last), None)
    else:
        motion = poses.present(armature).motion
    body = slice(asked.lead, asked.lead + asked.body)
    asked.given.poses(body, giving.sampled(motion, np.arange(asked.body) * pace), joints)


def _give_path(asked: Wish, armature, path: np.ndarray) -> None:
    ground = giving.along(_ground(armature, path), asked.body)
    at = np.unique(np.append(np.arange(0, asked.body, EVERY), asked.body - 1))
    at = at[~asked.given.place[asked.lead + at, 0]]  # a given pose says where it stands
    asked.given.path(asked.lead + at, ground[at])


def _ground(armature, path: np.ndarray) -> np.ndarray:
    """World points as x, z (n,2) of the canonical motion."""
    rig = armatures.read_rig(armature)
    return floor.canonical_points(rig, armatures.bone_map(armature).require(), path)[:, [0, 2]]

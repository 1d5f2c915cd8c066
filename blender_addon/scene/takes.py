"""What is known about generated motion in an action: who made which bones in which frames, and the motion itself.

It lies in custom properties of the action, so it is saved, undone and copied with the keys that it is about.
"""

import base64
import binascii
import json
import logging
import zlib
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache

import bpy
import numpy as np

from ..retarget import BodyMotion, CanonicalMotion
from ..rig import canonical
from .splice import Splice

log = logging.getLogger(__name__)

_TAKES = "momug_takes"
_MOTION = "momug_motion_"
_SPLICE = "momug_splice_"
FORMER = "momug_former"  # the action that a new one took the place of, until it is accepted

PENDING, ACCEPTED = "pending", "accepted"
DESTINATIONS = ACTION, NLA, SPLICE = "ACTION", "NLA", "SPLICE"
_ARRAYS = ("rotations", "translation", "rest_offsets", "contacts")
_LARGEST_MOTION = 200_000_000  # bytes; keeps a damaged file from filling the memory


@dataclass
class Options:
    """What a result becomes without asking the model again.

    in_place: no travel over the ground. loop: the end runs into the start. foot_lock: feet hold still on the ground.
    clear_hands: hands are pushed out of the trunk.
    reduce: fewer keys, off by at most ``reduce_degrees`` and ``reduce_cm``. destination: a new action, an NLA strip,
    or spliced into the action that is there. blend_in, blend_out: frames over which a strip or splice runs into what is
    there. ik_legs, ik_arms: on control rigs, key the IK controls rather than the FK ones.
    """

    in_place: bool = False
    loop: bool = False
    foot_lock: bool = True
    clear_hands: bool = True
    reduce: bool = False
    reduce_degrees: float = 0.5
    reduce_cm: float = 0.5
    destination: str = ACTION
    blend_in: int = 6
    blend_out: int = 6
    ik_legs: bool = False
    ik_arms: bool = False


@dataclass
class Take:
    """One generated motion in one action, or one of several variations of it.

    bones, first, last: whose keys in which frames the model made. motions: how many variations lie with the action
    (only a splice keeps several), shown: the one that is seen. written: digest of the keys as they were written.
    anchors: where the figure stands at the two ends, [position, heading] or None for an end that is free.
    former: how to bring back what was active before: "slot" and "fake_user" of the action, "animated" (was there
    animation data), "pushed" (the NLA track that took the action).
    curves: the f-curves that were written, [data path, array index]. pose: what the pose was, bone ->
    property -> values. only: the bones that may get keys, all when None.
    frames: how many frames of the scene were asked for; 0 for as long as the motion is.
    pins: poses that are met exactly, [frame counted from the first one, {data path: keyed values}]. given: what the
    model was asked to meet, packed (see ``retarget.given``), for making it again. placed: the motion says itself where
    it happens.
    """

    id: str
    variation: int = 0
    state: str = PENDING
    first: int = 1
    last: int = 1
    frames: int = 0
    bones: list[str] = field(default_factory=list)
    curves: list[list] = field(default_factory=list)
    only: list[str] | None = None
    options: Options = field(default_factory=Options)
    recipes: list[dict] = field(default_factory=list)
    shown: int = 0
    written: int = 0
    anchors: list = field(default_factory=lambda: [None, None])
    former: dict = field(default_factory=dict)
    pose: dict = field(default_factory=dict)
    pins: list = field(default_factory=list)
    given: str = ""
    placed: bool = False

    @property
    def recipe(self) -> dict:
        """How the shown variation was made."""
        return self.recipes[self.shown] if self.shown < len(self.recipes) else {}


def read(action: bpy.types.Action | None) -> list[Take]:
    """The takes of an action, oldest first; empty for actions that hold nothing generated."""
    text = action.get(_TAKES, "") if action is not None else ""
    if not isinstance(text, str) or not text:
        return []
    try:
        return [_take(stored) for stored in _loaded(text)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("what is stored on the action '%s' cannot be read: %r", action.name, error)
        return []


@lru_cache(maxsize=64)
def _loaded(text: str) -> list[dict]:
    """Parsed once, for panels read it at every drawing; nothing in it is ever changed in place."""
    return json.loads(text)


def _take(stored: dict) -> Take:
    known = {item.name for item in fields(Take)}
    options = {item.name for item in fields(Options)}
    take = Take(**{name: value for name, value in stored.items() if name in known})
    take.options = Options(**{name: value for name, value in stored.get("options", {}).items() if name in options})
    return take


def write(action: bpy.types.Action, takes: list[Take]) -> None:
    """Store the takes of an action."""
    action[_TAKES] = json.dumps([asdict(take) for take in takes], ensure_ascii=False)


def put(action: bpy.types.Action, take: Take) -> None:
    """Store one take, in place of the one with its id when there is one."""
    takes = read(action)
    for index, other in enumerate(takes):
        if other.id == take.id:
            takes[index] = take
            break
    else:
        takes.append(take)
    write(action, takes)


def drop(action: bpy.types.Action, take_id: str) -> None:
    """Forget a take with all that is stored for it."""
    takes = [take for take in read(action) if take.id != take_id]
    if takes:
        write(action, takes)
    elif _TAKES in action:
        del action[_TAKES]
    for name in [name for name in action.keys() if name.startswith((_MOTION + take_id, _SPLICE + take_id))]:
        del action[name]


def authorship(action: bpy.types.Action | None) -> list[tuple[str, int, int, str]]:
    """(bone, first frame, last frame, id of the take) of everything that the model made in ``action``."""
    return [(bone, take.first, take.last, take.id) for take in read(action) for bone in take.bones]


# --- the motion, so that nothing has to be generated again


def keep_motion(action: bpy.types.Action, take_id: str, index: int, motion: CanonicalMotion) -> None:
    """Store the canonical motion of variation ``index`` of a take."""
    told = {"frames": motion.frames, "fps": motion.fps}
    arrays = [getattr(motion, name) for name in _ARRAYS]
    if motion.body is not None:
        told["body"] = list(motion.body.joints)
        arrays += [motion.body.rotations, motion.body.translation]
    header = json.dumps(told)
    data = b"".join(np.ascontiguousarray(array, dtype="<f4").tobytes() for array in arrays)
    packed = base64.b64encode(zlib.compress(data, 6)).decode("ascii")
    action[f"{_MOTION}{take_id}_{index}"] = f"{header}\n{packed}"


def motion(action: bpy.types.Action, take_id: str, index: int = 0) -> CanonicalMotion | None:
    """What :func:`keep_motion` stored; None when there is none (or it cannot be read: see the log)."""
    text = action.get(f"{_MOTION}{take_id}_{index}", "")
    if not isinstance(text, str) or not text:
        return None
    try:
        header, _, packed = text.partition("\n")
        told = json.loads(header)
        frames, fps = int(told["frames"]), float(told["fps"])
        joints = len(canonical.JOINTS)
        shapes = [(frames, joints, 4), (frames, 3), (joints, 3), (frames, 4)]
        body = tuple(told.get("body", ()))
        if body:
            shapes += [(frames, len(body), 4), (frames, 3)]
        size = 4 * sum(int(np.prod(shape)) for shape in shapes)
        if not 0 < size <= _LARGEST_MOTION:
            raise ValueError(f"{size} bytes")
        data = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size)
        values, arrays = np.frombuffer(data, dtype="<f4"), []
        if len(values) * 4 != size:
            raise ValueError(f"{len(values)} numbers")
        for shape in shapes:
            count = int(np.prod(shape))
            arrays.append(values[:count].reshape(shape))
            values = values[count:]
        own = BodyMotion(body, arrays[4], arrays[5]) if body else None
        return CanonicalMotion(arrays[0], arrays[1], arrays[2], fps, arrays[3], own)
    except (ValueError, TypeError, KeyError, binascii.Error, zlib.error) as error:
        log.warning("the motion that is stored on the action '%s' cannot be read: %r", action.name, error)
        return None


def forget_motion(action: bpy.types.Action, take_id: str, index: int) -> None:
    """Drop the stored motion of a variation that was not chosen."""
    name = f"{_MOTION}{take_id}_{index}"
    if name in action:
        del action[name]


# --- what a splice replaced


def keep_splice(action: bpy.types.Action, take_id: str, done: Splice) -> None:
    """Store what a splice replaced, for taking it out again."""
    action[_SPLICE + take_id] = json.dumps(done.pack())


def splice_of(action: bpy.types.Action, take_id: str) -> Splice | None:
    """What :func:`keep_splice` stored, or None."""
    text = action.get(_SPLICE + take_id, "")
    if not isinstance(text, str) or not text:
        return None
    try:
        return Splice.unpack(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        log.warning("what a splice replaced in the action '%s' cannot be read: %r", action.name, error)
        return None


def forget_splice(action: bpy.types.Action, take_id: str) -> None:
    """The artist has accepted it: what it replaced is not needed any more."""
    if _SPLICE + take_id in action:
        del action[_SPLICE + take_id]

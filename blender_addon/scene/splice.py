"""A generated piece written into a range of an action that exists, and taken out again.

Keys outside the range are never rewritten otherwise than bit for bit: not their values, handles, types or selection.
Handles that Blender would recompute next to new neighbours stay too, because nothing here asks it to.
"""

import zlib
from dataclasses import dataclass, field

import bpy
import numpy as np

from ..retarget import splicing
from ..rig import RigError
from . import compat, key_data, posing
from .keys import Channel

CurveId = tuple[str, int]  # data path, array index


@dataclass
class Splice:
    """What was done to an action between frames ``first`` and ``last`` (inclusive).

    removed: the keys that were in the range, for each curve that was written; None for a curve that is new.
    written: digest of the keys that were put there, to tell later whether somebody changed them.
    """

    first: int
    last: int
    removed: dict[CurveId, key_data.Keys | None] = field(default_factory=dict)
    written: int = 0

    def pack(self) -> dict:
        """JSON-able."""
        curves = [
            [path, index, None if keys is None else key_data.pack(keys)] for (path, index), keys in self.removed.items()
        ]
        return {"first": self.first, "last": self.last, "written": self.written, "curves": curves}

    @classmethod
    def unpack(cls, stored: dict) -> "Splice":
        """What :meth:`pack` made. Raises ValueError, KeyError or TypeError for anything else."""
        removed = {
            (str(path), int(index)): None if keys is None else key_data.unpack(keys)
            for path, index, keys in stored["curves"]
        }
        return cls(int(stored["first"]), int(stored["last"]), removed, int(stored["written"]))


def why_not(armature: bpy.types.Object, action: bpy.types.Action | None) -> str:
    """Why nothing can be put into ``action`` of ``armature``, one sentence; empty when it can."""
    if action is None:
        return f"'{armature.name}' has no action to put the motion into."
    if action.library is not None or action.override_library is not None:
        return f"The action '{action.name}' is linked from another file and cannot be changed."
    for other in bpy.data.objects:
        data = other.animation_data
        if other == armature or data is None or data.action != action:
            continue
        if not compat.SLOTTED or data.action_slot == compat.slot_for(action, armature):
            return f"The action '{action.name}' also moves '{other.name}'; make it a single user first."
    return ""


def splice(
    armature: bpy.types.Object,
    action: bpy.types.Action,
    wanted: list[Channel],
    first: int,
    blend_in: int,
    blend_out: int,
    kept: "frozenset[int]" = frozenset(),
) -> Splice:
    """Replace the keys of ``wanted`` channels in ``action`` from frame ``first`` on, one key a frame, typed GENERATED.

    blend_in, blend_out: over how many frames the ends run into what is there; an end beyond which nothing is keyed is
    left free. Curves that are locked keep what they have. kept: frames at which the keys that are there stay, bit for
    bit; a curve without one gets a generated key. Raises RigError, with nothing changed, when a curve cannot
    be written.
    """
    sentence = why_not(armature, action)
    if sentence:
        raise RigError(sentence)
    last = first + len(wanted[0].values) - 1
    there = curves_of(armature, action)
    for channel in wanted:
        for index, _ in channel.curves:
            _check(there.get((channel.path, index)), channel.bone)
    wanted = [channel for channel in wanted if not _locked(channel, there)]
    if not wanted:
        raise RigError("All the curves that would get keys are locked.")
    before, after = keyed_around(there, {channel.bone for channel in wanted}, first, last)
    done = Splice(first, last)
    # everything is computed before the first curve is touched
    new = {}
    for channel in wanted:
        new.update(_new_keys(armature, channel, there, done, blend_in if before else 0, blend_out if after else 0,
                             before, after, kept))  # fmt: skip
    bag = compat.channels(action, compat.slot_for(action, armature), ensure=True)
    bones = {channel.path: channel.bone for channel in wanted}
    try:
        for (path, index), keys in new.items():
            curve = there.get((path, index)) or _new_curve(bag, path, index, bones[path])
            key_data.write(curve, keys)
    except Exception:
        restore(armature, action, done)
        raise
    done.written = digest(armature, action, done)
    action.update_tag()
    return done


def restore(armature: bpy.types.Object, action: bpy.types.Action, done: Splice) -> None:
    """Put back what :func:`splice` replaced. Keys outside its range stay as they are now."""
    there = curves_of(armature, action)
    for curve_id, removed in done.removed.items():
        curve = there.get(curve_id)
        if curve is None:
            if removed is None:
                continue
            bag = compat.channels(action, compat.slot_for(action, armature), ensure=True)
            curve = bag.fcurves.new(curve_id[0], index=curve_id[1])
        keys = key_data.read(curve)
        outside = key_data.pick(keys, ~_within(keys["co"], done.first, done.last))
        if removed is not None:
            outside = key_data.join(outside, removed)
        if removed is None and not len(outside["co"]):
            compat.remove_curve(action, armature, curve)
        else:
            key_data.write(curve, outside)
    action.update_tag()


def digest(armature: bpy.types.Object, action: bpy.types.Action, done: Splice) -> int:
    """A number for the keys that now lie where ``done`` wrote; compare it with ``done.written``."""
    there = curves_of(armature, action)
    number = 0
    for curve_id in sorted(done.removed):
        curve = there.get(curve_id)
        if curve is not None:
            co = key_data.positions(curve)
            inside = co[_within(co, done.first, done.last)]
            number = zlib.crc32(inside.tobytes(), number)
    return number


def curves_of(armature: bpy.types.Object, action: bpy.types.Action) -> dict[CurveId, bpy.types.FCurve]:
    """The f-curves by which ``action`` moves ``armature``."""
    return {(curve.data_path, curve.array_index): curve for curve in compat.fcurves(action, armature)}


def keyed_around(there: dict[CurveId, bpy.types.FCurve], bones: set[str], first: int, last: int) -> tuple[bool, bool]:
    """Whether anything of ``bones`` is keyed before frame ``first``, and after ``last``."""
    ends = []
    for curve in there.values():
        found = posing.bone_of(curve.data_path)
        if found and found[0] in bones and len(curve.keyframe_points):
            ends.append((curve.keyframe_points[0].co[0], curve.keyframe_points[-1].co[0]))
    return any(low < first for low, _ in ends), any(high > last for _, high in ends)


def _within(co: np.ndarray, first: int, last: int) -> np.ndarray:
    frames = co[:, 0]
    return (frames >= first - 1e-3) & (frames <= last + 1e-3)


def _check(curve: bpy.types.FCurve | None, bone: str) -> None:
    if curve is None:
        return
    if len(curve.sampled_points):
        raise RigError(f"A curve of '{bone}' is baked to samples; turn it back into keyframes first.")
    if any(not modifier.mute for modifier in curve.modifiers):
        raise RigError(f"A curve of '{bone}' has modifiers, which would act on the new keys as well; apply them first.")


def _locked(channel: Channel, there: dict[CurveId, bpy.types.FCurve]) -> bool:
    curves = [there[channel.path, index] for index, _ in channel.curves if (channel.path, index) in there]
    return any(curve.lock or (curve.group is not None and curve.group.lock) for curve in curves)


def _new_curve(bag, path: str, index: int, bone: str) -> bpy.types.FCurve:
    curve = bag.fcurves.new(path, index=index)
    curve.group = next((group for group in bag.groups if group.name == bone), None) or bag.groups.new(bone)
    return curve


def _existing(
    armature: bpy.types.Object, channel: Channel, there: dict[CurveId, bpy.types.FCurve], frames: np.ndarray
) -> np.ndarray:
    """What the channel shows now (T,k): its curves, or the present value of what is not animated."""
    now = armature.path_resolve(channel.path)
    now = np.atleast_1d(np.array(now, dtype=np.float64))
    values = np.tile(now[: channel.values.shape[1]], (len(frames), 1))
    for index, _ in channel.curves:
        curve = there.get((channel.path, index))
        if curve is not None and len(curve.keyframe_points):
            values[:, index] = [curve.evaluate(float(frame)) for frame in frames]
    return values


def _new_keys(
    armature: bpy.types.Object,
    channel: Channel,
    there: dict[CurveId, bpy.types.FCurve],
    done: Splice,
    blend_in: int,
    blend_out: int,
    before: bool,
    after: bool,
    kept: "frozenset[int]",
) -> dict[CurveId, key_data.Keys]:
    """All keys that the curves of ``channel`` will have; what they lose is noted in ``done``."""
    frames = np.arange(done.first, done.last + 1)
    old = {}
    for index, _ in channel.curves:
        curve = there.get((channel.path, index))
        old[index] = key_data.read(curve) if curve is not None else None
    starts = [keys["co"][0, 0] for keys in old.values() if keys is not None and len(keys["co"])]
    ends = [keys["co"][-1, 0] for keys in old.values() if keys is not None and len(keys["co"])]
    # A curve holds its outermost key for ever: where none is left beyond the range, that key must show what was there
    if before and (len(starts) < len(old) or max(starts) >= done.first):
        blend_in = max(blend_in, 1)
    if after and (len(ends) < len(old) or min(ends) <= done.last):
        blend_out = max(blend_out, 1)
    weight = splicing.weights(len(frames), blend_in, blend_out)
    existing = _existing(armature, channel, there, frames)
    if channel.hold:
        values, jumps = np.where(weight[:, None] < 0.5, existing, channel.values), np.ones(len(frames), dtype=bool)
        if (values == existing).all():
            return {}
        keep = np.append(True, (values[1:] != values[:-1]).any(-1))
    else:
        values, jumps = splicing.blended(channel.mode, channel.values, existing, weight)
        keep = np.ones(len(frames), dtype=bool) if channel.keep is None else channel.keep.copy()
        special = jumps | (weight < 1.0)
        keep |= special
        keep[1:] |= special[:-1]
        keep[:-1] |= special[1:]
    keep[0] = keep[-1] = True
    found = {}
    for index in old:
        keys = old[index]
        stays = _staying(keys, done, kept)
        fresh = keep & ~_shown_by(keys, stays, frames, kept)
        parts = [key_data.pick(keys, stays)] if stays.any() else []
        if fresh.any():
            new = key_data.made(frames[fresh], values[fresh, index])
            new["interpolation"][jumps[fresh]] = compat.interpolation("CONSTANT")
            parts.append(new)
        made = key_data.join(*parts)
        if keys is None:
            done.removed[channel.path, index] = None
        else:
            inside = _within(keys["co"], done.first, done.last)
            done.removed[channel.path, index] = key_data.pick(keys, inside)
            keys = key_data.pick(keys, ~inside)
            if len(keys["co"]):
                _tie(made, there[channel.path, index], old[index], done, fresh[0], fresh[-1])
            made = key_data.join(keys, made)
        found[channel.path, index] = made
    return found


def _staying(keys: "key_data.Keys | None", done: Splice, kept: "frozenset[int]") -> np.ndarray:
    """Which of the keys lie in the range at a frame of ``kept``."""
    if keys is None:
        return np.zeros(0, dtype=bool)
    whole = np.rint(keys["co"][:, 0])
    exact = np.abs(keys["co"][:, 0] - whole) < 1e-3
    return _within(keys["co"], done.first, done.last) & exact & np.isin(whole, list(kept))


def _shown_by(
    keys: "key_data.Keys | None", stays: np.ndarray, frames: np.ndarray, kept: "frozenset[int]"
) -> np.ndarray:
    """Which of ``frames`` need no new key: those of keys that stay, and those between two of them with nothing but
    frames of ``kept`` in between, where the curve is what it was."""
    shown = np.zeros(len(frames), dtype=bool)
    if keys is None:
        return shown
    at = np.rint(keys["co"][stays, 0]).astype(int) - int(frames[0])
    numbers = np.flatnonzero(stays)
    shown[at] = True
    for one, other, a, b in zip(at[:-1], at[1:], numbers[:-1], numbers[1:], strict=True):
        if b == a + 1 and all(int(frames[0]) + i in kept for i in range(one, other)):
            shown[one:other] = True
    return shown


def _tie(
    made: key_data.Keys, curve: bpy.types.FCurve, old: key_data.Keys, done: Splice, begins: bool, ends: bool
) -> None:
    """Let the outermost new keys continue the slopes of the old curve, so that it keeps its course outside the range.
    begins, ends: whether the first and the last key are new; the artist's own stay as they are.

    The handles of the artist's keys next to the range stay, so a Bezier segment that was cut keeps its tangents on
    both sides but not every value between them.
    """
    frames = old["co"][:, 0]
    free, step = compat.handle_type("FREE"), 0.1
    earlier, later = frames[frames < done.first - 1e-3], frames[frames > done.last + 1e-3]
    if len(earlier) and begins:
        slope = (curve.evaluate(done.first) - curve.evaluate(done.first - step)) / step
        reach = (done.first - earlier[-1]) / 3
        made["handle_left"][0] = made["co"][0] - np.array([reach, slope * reach], dtype=np.float32)
        made["handle_left_type"][0] = made["handle_right_type"][0] = free
    if len(later) and ends:
        slope = (curve.evaluate(done.last + step) - curve.evaluate(done.last)) / step
        reach = (later[0] - done.last) / 3
        made["handle_right"][-1] = made["co"][-1] + np.array([reach, slope * reach], dtype=np.float32)
        made["handle_left_type"][-1] = made["handle_right_type"][-1] = free
        held = np.flatnonzero(frames <= done.last + 1e-3)
        kind = int(old["interpolation"][held[-1]]) if len(held) else compat.interpolation("LINEAR")
        straight = (compat.interpolation("LINEAR"), compat.interpolation("CONSTANT"))
        made["interpolation"][-1] = kind if kind in straight else compat.interpolation("BEZIER")

"""Fewer keys, within a stated error: those go that linear interpolation between the others comes near enough to."""

import numpy as np

from ..rig.bones import Rig
from . import rotations as rot
from .mechanism import Mechanism


def reduce_keys(values: np.ndarray, mode: str, tolerance: float) -> np.ndarray:
    """Which of the keyed ``values`` (T,k) to keep, (T,) bool, with LINEAR interpolation between them.

    mode: the bone's rotation mode ("QUATERNION", "AXIS_ANGLE", "XYZ" ...), or "" for plain numbers. tolerance: degrees
    for rotations, else in the units of ``values``. The first and last frame are kept. Each round keeps the worst frame
    of every gap that is off by more than the tolerance (Ramer, Douglas and Peucker, all gaps at once).
    """
    values = np.asarray(values, dtype=np.float64)
    frames = len(values)
    keep = np.zeros(frames, dtype=bool)
    keep[[0, -1]] = True
    if frames < 3:
        return keep
    time = np.arange(frames)
    wanted = _quaternions(values, mode) if mode else values
    allowed = np.radians(tolerance) if mode else tolerance
    while True:
        kept = np.flatnonzero(keep)
        between = np.stack([np.interp(time, kept, values[kept, i]) for i in range(values.shape[1])], -1)
        if mode:
            error = rot.angle(_quaternions(between, mode), wanted)
        else:
            error = np.linalg.norm(between - wanted, axis=-1)
        if error.max() <= allowed:
            return keep
        worst = np.maximum.reduceat(error, kept[:-1])
        for start, stop, most in zip(kept[:-1], kept[1:], worst, strict=True):
            if most > allowed:
                keep[start + int(error[start:stop].argmax())] = True


def _quaternions(values: np.ndarray, mode: str) -> np.ndarray:
    if mode == "QUATERNION":
        return rot.normalise(values)
    if mode == "AXIS_ANGLE":
        length = np.maximum(np.linalg.norm(values[:, 1:], axis=-1, keepdims=True), 1e-12)
        return rot.from_axis_angle(values[:, 1:] / length, values[:, 0])
    return rot.from_euler(values, mode)


def _values(quaternions: np.ndarray, mode: str) -> np.ndarray:
    if mode == "QUATERNION":
        return quaternions
    if mode == "AXIS_ANGLE":
        return rot.to_axis_and_angle(quaternions)
    return rot.to_euler(quaternions, mode)


def key_masks(
    animation, rig: Rig, modes: dict[str, str], degrees: float, cm: float
) -> dict[tuple[str, str], np.ndarray]:
    """The keys of a RigAnimation that are needed: (bone, "rotation" or "location") -> (T,) bool.

    modes: bone -> rotation mode. Every bone stays within ``degrees`` of its own rotation, and the heads of all keyed
    bones within ``cm`` of where they were in the world (Blender units are metres): small errors add up along a chain,
    so they are tightened until both hold.
    """
    size = float(np.cbrt(abs(np.linalg.det(rig.object_matrix[:3, :3]))))
    allowed = cm / 100.0 / max(size, 1e-12)
    rotations = {name: animation.rotations[:, k] for k, name in enumerate(animation.bones)}
    locations = dict(animation.locations)
    if animation.root:
        locations[animation.root] = animation.root_location
    values = {name: _values(q, modes.get(name, "QUATERNION")) for name, q in rotations.items()}
    before = _heads(rig, rotations, locations)
    share = 1.0
    while True:
        masks, kept_rotations, kept_locations = {}, {}, {}
        for name in rotations:
            mode = modes.get(name, "QUATERNION")
            masks[name, "rotation"] = mask = reduce_keys(values[name], mode, degrees * share)
            kept_rotations[name] = _quaternions(_between(values[name], mask), mode)
        for name, location in locations.items():
            masks[name, "location"] = mask = reduce_keys(location, "", allowed * 0.5 * share)
            kept_locations[name] = _between(location, mask)
        after = _heads(rig, kept_rotations, kept_locations)
        off = max(float(np.linalg.norm(after[name] - before[name], axis=-1).max()) for name in before)
        if off <= allowed or share < 1e-3:
            return masks
        share *= max(0.25, min(0.85, allowed / off))


def _between(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    time, kept = np.arange(len(values)), np.flatnonzero(mask)
    return np.stack([np.interp(time, kept, values[kept, i]) for i in range(values.shape[1])], -1)


def _heads(rig: Rig, rotations: dict[str, np.ndarray], locations: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bone -> (T,3) head in armature space, by parents alone (constraints carry errors on as they are)."""
    frames = len(next(iter(rotations.values())))
    plain = Mechanism(Rig(rig.name, rig.bones, rig.object_matrix), frames)
    for name in {**rotations, **locations}:
        plain.put(name, rotations.get(name), locations.get(name))
    return {name: plain.place(name).head for name in rotations}

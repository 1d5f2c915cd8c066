"""The whole of an f-curve's keys as arrays, read and written without changing a bit.

``FCurve.update()`` and the operators of the Graph Editor recompute automatic handles; nothing here does, so that keys
which are put back are the keys that were there.
"""

import base64

import bpy
import numpy as np

from . import compat

_FLOATS = {"co": 2, "handle_left": 2, "handle_right": 2, "back": 1, "amplitude": 1, "period": 1}
_ENUMS = ("interpolation", "easing", "type")
_HANDLES = ("handle_left_type", "handle_right_type")
_FLAGS = ("select_control_point", "select_left_handle", "select_right_handle")

Keys = dict[str, np.ndarray]


def read(curve: bpy.types.FCurve) -> Keys:
    """Every property of every key of ``curve``: float32 (n,) or (n,2), int32 (n,) for enums and bool (n,)."""
    points = curve.keyframe_points
    count = len(points)
    keys: Keys = {}
    for name, size in _FLOATS.items():
        values = np.empty(count * size, dtype=np.float32)
        points.foreach_get(name, values)
        keys[name] = values.reshape(count, size) if size > 1 else values
    for name in _ENUMS:
        keys[name] = np.empty(count, dtype=np.int32)
        points.foreach_get(name, keys[name])
    for name in _HANDLES:
        keys[name] = compat.get_handle_types(points, name)
    for name in _FLAGS:
        keys[name] = np.empty(count, dtype=bool)
        points.foreach_get(name, keys[name])
    return keys


def positions(curve: bpy.types.FCurve) -> np.ndarray:
    """Frames and values (n,2) float32 of all keys."""
    co = np.empty((len(curve.keyframe_points), 2), dtype=np.float32)
    curve.keyframe_points.foreach_get("co", co.ravel())
    return co


def write(curve: bpy.types.FCurve, keys: Keys) -> None:
    """Replace all keys of ``curve`` by ``keys``, which must be in the order of their frames."""
    points = curve.keyframe_points
    points.clear()
    count = len(keys["co"])
    if not count:
        return
    points.add(count)
    for name in _HANDLES:  # first: a type may move its handle
        compat.set_handle_types(points, name, keys[name])
    for name in (*_ENUMS, *_FLAGS, *_FLOATS):
        points.foreach_set(name, np.ascontiguousarray(keys[name]).ravel())


def write_new(curve: bpy.types.FCurve, frames: np.ndarray, values: np.ndarray) -> None:
    """Keys typed GENERATED at ``frames`` (n,) on a curve that has none, straight lines between them.

    Handles lie on these lines a third of the way and are of the type that Blender gives to new keys, for whoever
    changes the interpolation later.
    """
    points = curve.keyframe_points
    points.add(len(frames))
    keys = made(frames, values)
    for name in ("interpolation", "type", "co", "handle_left", "handle_right"):
        points.foreach_set(name, keys[name].ravel())


def made(frames: np.ndarray, values: np.ndarray) -> Keys:
    """The keys (n,) of :func:`write_new`, complete."""
    count = len(frames)
    co = np.empty((count, 2), dtype=np.float64)
    co[:, 0], co[:, 1] = frames, values
    third = np.empty_like(co)
    third[:-1] = (co[1:] - co[:-1]) / 3
    third[-1] = third[-2] if count > 1 else (1.0, 0.0)
    left = np.concatenate([third[:1], third[:-1]])
    automatic = np.full(count, compat.handle_type("AUTO_CLAMPED"), dtype=np.int32)
    return {
        "co": co.astype(np.float32),
        "handle_left": (co - left).astype(np.float32),
        "handle_right": (co + third).astype(np.float32),
        # what keys have that the artist inserts
        "back": np.full(count, 1.70158, dtype=np.float32),
        "amplitude": np.full(count, 0.8, dtype=np.float32),
        "period": np.full(count, 4.1, dtype=np.float32),
        "interpolation": np.full(count, compat.interpolation("LINEAR"), dtype=np.int32),
        "easing": np.zeros(count, dtype=np.int32),
        "type": np.full(count, compat.key_type_generated(), dtype=np.int32),
        "handle_left_type": automatic,
        "handle_right_type": automatic.copy(),
        **{name: np.zeros(count, dtype=bool) for name in _FLAGS},
    }


def pick(keys: Keys, mask: np.ndarray) -> Keys:
    """The keys where ``mask`` (n,) is true."""
    return {name: values[mask] for name, values in keys.items()}


def join(*parts: Keys) -> Keys:
    """The keys of all ``parts`` in the order of their frames."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["co"][:, 0], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def pack(keys: Keys) -> dict:
    """``keys`` as JSON-able data, exact."""
    return {
        name: base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii") for name, values in keys.items()
    }


def unpack(stored: dict) -> Keys:
    """What :func:`pack` made. Raises ValueError or KeyError for anything else."""
    keys: Keys = {}
    for name, size in _FLOATS.items():
        values = np.frombuffer(base64.b64decode(stored[name], validate=True), dtype=np.float32)
        keys[name] = values.reshape(-1, size) if size > 1 else values
    for name in (*_ENUMS, *_HANDLES):
        keys[name] = np.frombuffer(base64.b64decode(stored[name], validate=True), dtype=np.int32)
    for name in _FLAGS:
        keys[name] = np.frombuffer(base64.b64decode(stored[name], validate=True), dtype=bool)
    if len({len(values) for values in keys.values()}) != 1:
        raise ValueError("stored keys of unequal length")
    return keys

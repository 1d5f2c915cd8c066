"""What a request may ask for: every field is checked here, before any model is loaded or runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from backend import protocol
from backend.errors import BackendError
from backend.models.interface import GenerateRequest
from backend.motion.skeleton import Motion


def available_model(name: Any, models: list[dict[str, Any]]) -> dict[str, Any]:
    """The capabilities of the model ``name``; raises BackendError when there is none or it cannot be used here."""
    found = next((model for model in models if model["name"] == name), None)
    if found is None:
        known = ", ".join(model["name"] for model in models) or "none"
        raise BackendError("unknown_model", f"There is no model called {str(name)[:40]!r}.", f"Known models: {known}.")
    if not found.get("available", True):
        reason = found.get("reason") or f"The model {found['name']} is not installed."
        raise BackendError("checkpoint_missing", reason, "Choose another model, or install this one.")
    return found


def generate_request(fields: Mapping[str, Any], model: Mapping[str, Any]) -> GenerateRequest:
    """A generate message for ``model`` (its capabilities) as a request; raises BackendError with one plain sentence."""
    seconds = fields.get("seconds")
    if seconds is not None:
        low, high = model["min_seconds"], model["max_seconds"]
        seconds = _number("bad_duration", seconds, "The duration in seconds", low, high)
    preset = fields.get("preset")
    known = [entry["name"] for entry in model.get("presets", [])]
    if preset is not None and preset not in known:
        raise BackendError("bad_request", f"There is no preset {str(preset)[:40]!r}.", f"Known: {', '.join(known)}.")
    variations = fields.get("variations")
    if variations is None:
        variations = 1
    variations = _number(
        "bad_request", variations, "The number of variations", 1, protocol.MAX_VARIATIONS, integer=True
    )
    # the seeds count up from the first, and the last has to fit too
    highest_seed = protocol.MAX_SEED - variations + 1
    return GenerateRequest(
        prompt=prompt(fields.get("prompt")),
        seconds=seconds,
        seed=_optional(fields.get("seed"), "The seed", 0, highest_seed, integer=True),
        steps=_optional(fields.get("steps"), "The number of steps", 1, protocol.MAX_STEPS, integer=True),
        guidance_scale=_optional(fields.get("guidance_scale"), "The guidance", 0, protocol.MAX_GUIDANCE),
        preset=preset,
        variations=variations,
    )


def prompt(text: Any) -> str:
    """The prompt on one clean line; raises BackendError("bad_prompt")."""
    try:
        return protocol.clean_prompt(text)
    except protocol.ProtocolError as error:
        raise BackendError("bad_prompt", str(error)) from error


def caption_motion(fields: Mapping[str, Any], arrays: Mapping[str, Any]) -> Motion:
    """The motion of a caption message; raises BackendError("bad_motion").

    ``arrays``: rotations (T,22,4) wxyz, translation (T,3) metres, rest_offsets (22,3), any float type.
    """
    fps = _number("bad_motion", fields.get("fps", protocol.FPS), "The frame rate", 1.0, protocol.MAX_FPS)
    rotations = _floats(arrays, "rotations", 3)
    frames = rotations.shape[0]
    if not 1 <= frames <= protocol.MAX_CAPTION_FRAMES:
        raise BackendError(
            "bad_motion", f"The motion has {frames} frames; between 1 and {protocol.MAX_CAPTION_FRAMES} are possible."
        )
    translation, offsets = _floats(arrays, "translation", 2), _floats(arrays, "rest_offsets", 2)
    joints = len(protocol.JOINTS)
    if rotations.shape != (frames, joints, 4) or translation.shape != (frames, 3) or offsets.shape != (joints, 3):
        raise BackendError("bad_motion", "The arrays of the motion do not have the shapes of one motion.")
    lengths = np.linalg.norm(rotations, axis=-1, keepdims=True)
    if (np.abs(lengths - 1) > 0.1).any():
        raise BackendError("bad_motion", "The rotations of the motion are not unit quaternions.")
    return Motion(rotations / lengths, translation, offsets, fps)


def motion_arrays(motions: list[Motion]) -> dict[str, np.ndarray]:
    """The arrays of a generate result; raises BackendError when the model produced something that is no motion."""
    arrays = {"rest_offsets": motions[0].rest_offsets}
    for index, motion in enumerate(motions):
        arrays[f"{index}/rotations"] = motion.rotations
        arrays[f"{index}/translation"] = motion.translation
        arrays[f"{index}/contacts"] = motion.contacts
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise BackendError(
            "internal", "The model produced a motion with numbers that are not finite.", "Try another seed.", True
        )
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}


def _floats(arrays: Mapping[str, Any], name: str, dimensions: int) -> np.ndarray:
    if name not in arrays:
        raise BackendError("bad_motion", f"The motion has no {name}.")
    array = np.asarray(arrays[name])
    if array.dtype.kind != "f" or array.ndim != dimensions:
        raise BackendError("bad_motion", f"The {name} of the motion are not of the right kind.")
    if not np.isfinite(array).all() or (np.abs(array) > 1e6).any():
        raise BackendError("bad_motion", f"The {name} of the motion hold numbers that are not finite or far too large.")
    return array.astype(np.float32)


def _number(code: str, value: Any, name: str, low: float, high: float, integer: bool = False):
    try:
        return protocol.check_number(value, name, low, high, integer)
    except protocol.ProtocolError as error:
        raise BackendError(code, str(error)) from error


def _optional(value: Any, name: str, low: float, high: float, integer: bool = False):
    return None if value is None else _number("bad_request", value, name, low, high, integer)

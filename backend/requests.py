"""What a request may ask for: every field is checked here, before any model is loaded or runs."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from backend import protocol
from backend.errors import BackendError
from backend.models.interface import GenerateRequest
from backend.motion.skeleton import Motion
from backend.motion.target import Target

MAX_TIMELINE = 100


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


def generate_request(
    fields: Mapping[str, Any], model: Mapping[str, Any], arrays: Mapping[str, Any] = MappingProxyType({})
) -> GenerateRequest:
    """A generate message for ``model`` (its capabilities) as a request; raises BackendError with one plain sentence.

    ``arrays``: none, or those of a target (see ``target``).
    """
    seconds = _seconds(fields.get("seconds"), model)
    parts = _timeline(fields.get("timeline"), model)
    wanted = target(arrays, model)
    loop = fields.get("loop", False)
    if not isinstance(loop, bool):
        raise BackendError("bad_request", "Whether the motion loops has to be true or false.")
    for name, asked in (("timeline", parts), ("poses", wanted), ("loop", loop)):
        if asked and name not in model.get("conditions", []):
            raise BackendError("bad_request", f"The model {model['name']} cannot do this: {name}.")
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
        prompt=", then ".join(text for text, _ in parts) if parts else prompt(fields.get("prompt", ""), bool(wanted)),
        seconds=seconds,
        seed=_optional(fields.get("seed"), "The seed", 0, highest_seed, integer=True),
        steps=_optional(fields.get("steps"), "The number of steps", 1, protocol.MAX_STEPS, integer=True),
        guidance_scale=_optional(fields.get("guidance_scale"), "The guidance", 0, protocol.MAX_GUIDANCE),
        preset=preset,
        variations=variations,
        timeline=parts,
        target=wanted,
        loop=loop,
        style=_style(fields.get("style"), model),
        style_weight=_number("bad_request", fields.get("style_weight", 1.0), "The weight of the style", 0, 1),
    )


def stream_request(fields: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[GenerateRequest, int]:
    """A stream message for ``model`` as (request, how many frames it may be ahead); raises BackendError."""
    if not model.get("streams"):
        told = f"{model.get('label') or model['name']} cannot show its motion while it is made."
        raise BackendError("bad_request", told, "Choose a model that streams, or generate the motion.")
    if fields.get("timeline") or fields.get("loop") or fields.get("variations") not in (None, 1):
        raise BackendError("bad_request", "A motion that is watched has no variations, no timeline and no loop.")
    longest = model.get("stream_seconds") or model["max_seconds"]
    request = generate_request(fields, {**model, "max_seconds": longest})
    ahead = fields.get("ahead")
    ahead = protocol.AHEAD if ahead is None else ahead
    low, high = protocol.MIN_AHEAD, protocol.MAX_AHEAD
    return request, _number("bad_request", ahead, "The number of frames ahead", low, high, integer=True)


def frame_count(value: Any) -> int:
    """The frames of a played message; raises BackendError."""
    return _number("bad_request", value, "The number of frames", 0, protocol.MAX_STREAM_FRAMES, integer=True)


def _style(name: Any, model: Mapping[str, Any]) -> str | None:
    known = [style["name"] for style in model.get("styles", [])]
    if name is not None and name not in known:
        told = f"Installed: {', '.join(known) or 'none'}."
        raise BackendError("bad_request", f"There is no style pack called {str(name)[:40]!r}.", told)
    return name


def _seconds(value: Any, model: Mapping[str, Any]) -> float | None:
    if value is None:
        return None
    return _number("bad_duration", value, "The duration in seconds", model["min_seconds"], model["max_seconds"])


def _timeline(entries: Any, model: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """[{"prompt", "seconds" or null}, ...] as pairs; raises BackendError."""
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise BackendError("bad_request", "The timeline has to be a list of prompts with their seconds.")
    if len(entries) > MAX_TIMELINE:
        raise BackendError("bad_request", f"The timeline has {len(entries)} prompts; at most {MAX_TIMELINE} fit.")
    return [(prompt(entry.get("prompt")), _seconds(entry.get("seconds"), model)) for entry in entries]


def target(arrays: Mapping[str, Any], model: Mapping[str, Any]) -> Target | None:
    """Given poses and places of a generate message, or None; raises BackendError("bad_motion").

    ``arrays``: target/rotations (T,22,4) wxyz and target/translation (T,3) metres, floats; target/joints (T,22) and
    target/place (T,3), uint8, 1 where the rotation or coordinate is given. The result has T frames at 30 fps.
    """
    if not any(name.startswith("target/") for name in arrays):
        return None
    rotations = _floats(arrays, "target/rotations", 3).astype(np.float64)
    translation = _floats(arrays, "target/translation", 2).astype(np.float64)
    masks = []
    for name in ("target/joints", "target/place"):
        mask = np.asarray(arrays.get(name))
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.max(initial=0) > 1:
            raise BackendError("bad_motion", "The given poses do not say what of them is given.")
        masks.append(mask.astype(bool))
    frames = len(rotations)
    shapes = (rotations.shape, translation.shape, masks[0].shape, masks[1].shape)
    joints = len(protocol.JOINTS)
    if shapes != ((frames, joints, 4), (frames, 3), (frames, joints), (frames, 3)):
        raise BackendError("bad_motion", "The arrays of the given poses do not belong together.")
    low, high = model["min_seconds"], model.get("max_target_seconds", model["max_seconds"])
    _number("bad_duration", frames / protocol.FPS, "The duration in seconds", low, high)
    lengths = np.linalg.norm(rotations, axis=-1, keepdims=True)
    if (np.abs(lengths - 1) > 0.1).any():
        raise BackendError("bad_motion", "The rotations of the given poses are not unit quaternions.")
    if not (masks[0].any() or masks[1].any()):
        raise BackendError("bad_request", "No pose and no place is given.")
    return Target(rotations / lengths, masks[0], translation, masks[1])


def prompt(text: Any, optional: bool = False) -> str:
    """The prompt on one clean line, "" where it is ``optional``; raises BackendError("bad_prompt")."""
    try:
        return protocol.clean_prompt(text, optional)
    except protocol.ProtocolError as error:
        raise BackendError("bad_prompt", str(error)) from error


def caption_motion(
    fields: Mapping[str, Any], arrays: Mapping[str, Any], most: int = protocol.MAX_CAPTION_FRAMES
) -> Motion:
    """The motion of a caption or write message, of ``most`` frames at most; raises BackendError("bad_motion").

    ``arrays``: rotations (T,22,4) wxyz, translation (T,3) metres, rest_offsets (22,3), any float type.
    """
    fps = _number("bad_motion", fields.get("fps", protocol.FPS), "The frame rate", 1.0, protocol.MAX_FPS)
    rotations = _floats(arrays, "rotations", 3)
    frames = rotations.shape[0]
    if not 1 <= frames <= most:
        raise BackendError("bad_motion", f"The motion has {frames} frames; between 1 and {most} are possible.")
    translation, offsets = _floats(arrays, "translation", 2), _floats(arrays, "rest_offsets", 2)
    joints = len(protocol.JOINTS)
    if rotations.shape != (frames, joints, 4) or translation.shape != (frames, 3) or offsets.shape != (joints, 3):
        raise BackendError("bad_motion", "The arrays of the motion do not have the shapes of one motion.")
    lengths = np.linalg.norm(rotations, axis=-1, keepdims=True)
    if (np.abs(lengths - 1) > 0.1).any():
        raise BackendError("bad_motion", "The rotations of the motion are not unit quaternions.")
    return Motion(rotations / lengths, translation, offsets, fps)


def read_options(fields: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """(file, options of ``motion.formats.read``) of a read message; raises BackendError("bad_request").

    ``fields``: path; fps of the result; where the file does not say: source_fps, up ('Y' or 'Z'); mean, std (paths).
    """
    path = _path(fields.get("path"), "The motion file")
    options: dict[str, Any] = {"fps": _number("bad_request", fields.get("fps"), "The frame rate", 1.0, 1000.0)}
    if fields.get("source_fps") is not None:
        options["source_fps"] = _number("bad_request", fields["source_fps"], "The file's frame rate", 0.1, 10_000.0)
    up = fields.get("up")
    if up is not None and up not in ("Y", "Z"):
        raise BackendError("bad_request", "The axis that points up can be Y or Z.")
    if up is not None and path.suffix.lower() in (".bvh", ".npz", ".npy"):
        options["up"] = up
    for name in ("mean", "std"):
        if fields.get(name) is not None:
            if path.suffix.lower() != ".npy":
                raise BackendError("bad_request", "Mean and std belong to HumanML3D features in a .npy file.")
            options[name] = _path(fields[name], f"The file of the {name}")
    return path, options


def write_options(fields: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """(file, options of ``motion.formats.write``) of a write message; raises BackendError("bad_request").

    ``fields``: path; features (bool), HumanML3D's 263 numbers a frame instead of joint positions.
    """
    path, features = _path(fields.get("path"), "The motion file"), fields.get("features", False)
    if not isinstance(features, bool) or (features and path.suffix.lower() != ".npy"):
        raise BackendError("bad_request", "HumanML3D features go into a .npy file.")
    return path, {"features": True} if features else {}


def _path(value: Any, name: str) -> Path:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise BackendError("bad_request", f"{name} has no name.")
    path = Path(value)
    if not path.is_absolute():  # this process has a working folder of its own
        raise BackendError("bad_request", f"{name} needs its whole path.")
    return path


def motion_arrays(motions: list[Motion]) -> dict[str, np.ndarray]:
    """The arrays of a generate result; raises BackendError when the model produced something that is no motion."""
    arrays = {"rest_offsets": motions[0].rest_offsets}
    for index, motion in enumerate(motions):
        arrays[f"{index}/rotations"] = motion.rotations
        arrays[f"{index}/translation"] = motion.translation
        arrays[f"{index}/contacts"] = motion.contacts
    return {name: float_array(array) for name, array in arrays.items()}


def partial_arrays(motion: Motion) -> dict[str, np.ndarray]:
    """The arrays of a piece of a stream, first axis frames; raises BackendError as ``motion_arrays``."""
    return {name: float_array(getattr(motion, name)) for name in ("rotations", "translation", "contacts")}


def float_array(array: np.ndarray) -> np.ndarray:
    """``array`` as it crosses the pipe; raises BackendError when it holds numbers that are not finite."""
    if not np.isfinite(array).all():
        raise BackendError(
            "internal", "The model produced a motion with numbers that are not finite.", "Try another seed.", True
        )
    return np.ascontiguousarray(array, dtype=np.float32)


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

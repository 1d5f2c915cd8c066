"""Poses that an artist gives: as codes for the language model, and how far off the codes are."""

import numpy as np
import torch
from torch import Tensor

from backend.codecs.causal_vae import STRIDE
from backend.codecs.vq_vae import VQVAE
from backend.errors import BackendError
from backend.motion import features as encoding
from backend.motion.contacts import foot_contacts
from backend.motion.features import local_positions
from backend.motion.skeleton import Motion
from backend.motion.target import Target
from backend.protocol import FPS

FAR = 0.15  # metres, mean over joints: from here on a pose is not what the codes say
OTHER_MODEL = "Choose MoMug for them."


@torch.no_grad()
def encode_poses(quantiser: VQVAE, features: Tensor) -> Tensor:
    """Codes (N,levels) of poses, single frames of features (N,155): each stands still for a step."""
    still = features.clone()
    still[:, :3] = 0.0
    return quantiser.encode(still[:, None].expand(-1, STRIDE, -1))[:, 0]


@torch.no_grad()
def apart(quantiser: VQVAE, features: Tensor, codes: Tensor) -> Tensor:
    """How far poses (N,155) are from what their codes (N,levels) show: mean over joints in metres (N,)."""
    shown = quantiser.decode(codes[:, None])[:, -1]
    return (local_positions(shown) - local_positions(features)).norm(dim=-1).mean(-1)


def pose_features(target: Target, frames: list[int]) -> Tensor:
    """Features (N,155) of the whole poses that are given at ``frames``, without travel."""
    found = []
    for frame in frames:
        motion = Motion(target.rotations[[frame]], target.translation[[frame]])
        motion.contacts = foot_contacts(motion.joints(), FPS)
        found.append(encoding.encode(motion)[0])
    return torch.from_numpy(np.stack(found))


def key_frames(target: Target, most: int) -> list[int]:
    """Frames whose poses the language model is to read: single ones, and both ends of what is given as a stretch.

    Raises BackendError ``bad_request`` where no whole pose is given, or more than ``most``.
    """
    whole = target.joints.all(1)
    if not whole.any():
        raise BackendError(
            "bad_request", "MotionGPT meets whole poses only, no paths and no single bones.", OTHER_MODEL
        )
    edges = np.flatnonzero(np.diff(np.r_[False, whole, False]))
    frames = sorted({int(f) for start, stop in edges.reshape(-1, 2) for f in (start, stop - 1)})
    kept = []
    for frame in frames:  # two poses of one step would be one token
        if not kept or frame // STRIDE != kept[-1] // STRIDE:
            kept.append(frame)
    if len(kept) > most:
        told = f"MotionGPT has been given {len(kept)} poses; at most {most} fit into one motion."
        raise BackendError("bad_request", told, "Give fewer poses, or choose MoMug for them.")
    return kept


def keys_of(quantiser: VQVAE, target: Target, most: int) -> tuple[list[tuple[int, Tensor]], list[str]]:
    """(step, entries (D,)) of the given poses in the order of time, and a warning for each that the codes miss by far.

    Raises BackendError ``bad_request`` as :func:`key_frames`.
    """
    frames = key_frames(target, most)
    features = pose_features(target, frames).to(quantiser.base.mean.device)
    codes = encode_poses(quantiser, features)
    off = apart(quantiser, features, codes)
    vectors = quantiser.entries(codes)
    warnings = [
        f"MotionGPT knows no pose like that at {frame / FPS:.2f} s (its nearest is {100 * metres:.0f} cm off on "
        "average): it is met, but what leads there may be abrupt."
        for frame, metres in zip(frames, off.tolist(), strict=True)
        if metres > FAR
    ]
    return [(frame // STRIDE, vector) for frame, vector in zip(frames, vectors, strict=True)], warnings

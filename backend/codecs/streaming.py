"""Latents to frames while they arrive: the causal VAE's decoder with a memory, and frames laid on one world path.

Every convolution of the decoder looks back only, so the frames of a latent are final as soon as it is there. What a
convolution has yet to see of the past is kept (as in Moshi's streaming modules, arXiv 2410.00037): a latent costs the
same however long the motion has become.
"""

from collections import deque

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.codecs.causal_vae import CausalConv1d, CausalVAE, ResidualBlock
from backend.motion import features
from backend.motion import rotations as rot
from backend.motion.skeleton import Motion


class StreamingDecoder:
    """``CausalVAE.decode`` piece by piece, for one motion or a batch of them."""

    def __init__(self, codec: CausalVAE):
        self.codec = codec
        self.past: dict[nn.Module, Tensor] = {}

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """The next latents (B,L,C) to their features (B,4L,155) in their own units."""
        codec, blocks = self.codec, features.BLOCKS
        x = (latents * codec.latent_std + codec.latent_mean).to(codec.mean.dtype)
        normalised = self._run(codec.decoder, x.transpose(1, 2)).transpose(1, 2).float()
        found = codec.normaliser.inverse(normalised)
        found[..., blocks["contacts"]] = normalised[..., blocks["contacts"]].sigmoid()
        return found

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        if isinstance(module, nn.Sequential):
            for part in module:
                x = self._run(part, x)
            return x
        if isinstance(module, ResidualBlock):
            y = self._run(module.conv1, F.silu(module.norm(x)))
            return x + module.conv2(F.silu(y))
        if isinstance(module, CausalConv1d) and module.left:
            past = self.past.get(module)
            if past is None:  # as offline: the first frame stands before the start
                past = x[..., :1].expand(-1, -1, module.left)
            x = torch.cat([past, x], -1)
            self.past[module] = x[..., -module.left :]
            return nn.Conv1d.forward(module, x)
        return module(x)


class MotionStream:
    """``features.decode`` piece by piece: motions in one world frame that starts at x = z = 0 with heading +Z."""

    def __init__(self):
        self.yaw, self.place = 0.0, np.zeros(3)
        self.last: np.ndarray | None = None  # features of the last frame
        self.turned: np.ndarray | None = None  # its quaternions

    def __call__(self, found: np.ndarray) -> Motion:
        """The next frames."""
        fresh = self.last is None
        piece = features.decode(found if fresh else np.concatenate([self.last, found]))
        rotations, translation = piece.rotations.astype(np.float64), piece.translation.astype(np.float64)
        turn = rot.yaw_quaternion(self.yaw)
        rotations[:, 0] = rot.quaternion_multiply(turn, rotations[:, 0])
        level = translation[:, 1].copy()
        translation = rot.quaternion_rotate(turn, translation) + self.place
        translation[:, 1] = level
        if not fresh:
            rotations, translation = rotations[1:], translation[1:]
            flip = np.sum(rotations[0] * self.turned, -1) < 0
            rotations *= np.where(flip, -1, 1)[:, None]
        self.yaw += float(np.asarray(found if not fresh else found[1:], dtype=np.float64)[:, 2].sum())
        self.place = translation[-1] * (1, 0, 1)
        self.last, self.turned = np.asarray(found[-1:]), rotations[-1]
        # copies: a view would keep all that it was cut from, and whoever collects the pieces keeps all of them
        arrays = (rotations.astype(np.float32), translation.astype(np.float32))
        contacts = piece.contacts[-len(rotations) :].astype(np.float32)
        return Motion(*arrays, piece.rest_offsets, piece.fps, contacts)


class Tape:
    """Pieces of a motion that grows, and the way back to where the latest of them began.

    ``before(state)`` is called before a piece is made, with what its maker needs to go back there; ``add`` after it.
    """

    REACH = 32  # pieces

    def __init__(self, codec: CausalVAE):
        self.decode, self.lay = StreamingDecoder(codec), MotionStream()
        self.pieces: list[Motion] = []
        self.frames = 0
        self._marks: deque[tuple] = deque(maxlen=self.REACH)

    def before(self, state: object) -> None:
        """The next piece begins here; ``state`` comes back from :meth:`go_back`."""
        made = len(self.pieces)
        self._marks.append((self.frames, made, dict(self.decode.past), dict(vars(self.lay)), state))

    @property
    def starts(self) -> list[int]:
        """The frames that :meth:`go_back` takes; the last one is where the next piece begins."""
        return [mark[0] for mark in self._marks]

    def add(self, features: np.ndarray) -> Motion:
        """The next frames, from their features (n,155) in their own units."""
        self.pieces.append(self.lay(features))
        self.frames += self.pieces[-1].frames
        return self.pieces[-1]

    def go_back(self, frame: int) -> object:
        """Forget what came from ``frame`` of ``starts`` on; the state that was noted there."""
        while self._marks[-1][0] > frame:
            self._marks.pop()
        self.frames, made, past, laid, state = self._marks[-1]
        self.decode.past = dict(past)
        vars(self.lay).update(laid)
        del self.pieces[made:]
        return state


def join(pieces: list[Motion]) -> Motion:
    """Consecutive pieces as one motion."""
    first = pieces[0]
    return Motion(
        *(np.concatenate([getattr(p, name) for p in pieces]) for name in ("rotations", "translation")),
        first.rest_offsets,
        first.fps,
        np.concatenate([p.contacts for p in pieces]),
    )

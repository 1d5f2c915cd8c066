"""Poses, paths and loops without retraining: the clean latents are pulled towards what is asked at every step.

The decoder is differentiable, so anything that can be read off the decoded motion can be asked for. Each prediction of
x0 first takes over the latents of whatever stretches of motion are given whole (inpainting, Lugmayr et al. 2022), and
is then corrected by a few quasi-Newton steps on the distance to the target (optimising the latents of a frozen
diffusion model: DNO, Karunratanakul et al. 2024; here x0 itself, within the sampler). A step is shared with the latents
around it, or a single pose would be met by those at its frame alone, in a rush. What remains is corrected exactly
by ``motion.pin``.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from backend.codecs.causal_vae import STRIDE, CausalVAE
from backend.errors import BackendError
from backend.models.momug.search import Search
from backend.motion import features as encoding
from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.features import BLOCKS, local_positions, six_to_matrix
from backend.motion.skeleton import Motion, quaternion_to_matrix
from backend.motion.target import Target
from backend.protocol import FPS

KEEP = 0.02  # how dearly a latent leaves what the model predicted; unit-variance latents against squared metres
TURN, PLACE, SMOOTH = 0.5, 4.0, 2.0
BEND = 2.0  # what it costs when a correction comes and goes within a few frames: without it a key is met with a jerk
WHOLE = 30.0  # what a metre of the whole body counts in that beside a radian of one joint
SPREAD = 4  # so many latents away nothing is left of a step of the search, which falls evenly to either side
SHARP = 0.2  # and this much of it is added where it was made
REACH = 18  # latents that a decoded frame can depend on
WARM = 2  # latents at the beginning of a given stretch whose past is missing
ROOM = 900  # frames that are decoded at once: between two rooms the search can be cancelled


def shared(frames: int, seconds: list[float]) -> list[int]:
    """``frames`` of a target shared out among sentences by their ``seconds``. Raises BackendError ``bad_duration`` when
    one gets less than half a second."""
    ends = np.round(np.cumsum(seconds) / sum(seconds) * frames).astype(int)
    lengths = np.diff(ends, prepend=0).tolist()
    if min(lengths) < FPS // 2:
        raise BackendError(
            "bad_duration",
            f"The poses leave {min(lengths) / FPS:.2f} seconds for one of the sentences; half a second is needed.",
            "Give them later frames, or take fewer sentences.",
        )
    return lengths


@dataclass
class Course:
    """Decoded motion in tensors: pelvis (B,T,3), world; yaw (B,T) radians; joints' local rotations (B,K,22,3,3) of K of
    the frames, with the pelvis in the world."""

    pelvis: Tensor
    yaw: Tensor
    rotations: Tensor


def course(features: Tensor, at: "Tensor | slice" = slice(None)) -> Course:
    """The path of features (B,T,155), beginning at x = z = 0 with heading +Z; rotations of the frames ``at``."""
    yaw = F.pad(features[:, 1:, 2].cumsum(1), (1, 0))
    step = turned(yaw, F.pad(features[:, 1:, BLOCKS["velocity"]], (0, 0, 1, 0)))
    plane = step.cumsum(1)
    pelvis = torch.stack([plane[..., 0], features[..., 3], plane[..., 1]], -1)
    local = six_to_matrix(features[:, at][..., BLOCKS["rotations"]].unflatten(-1, (22, 6)))
    root = yaw_matrices(yaw[:, at]) @ local[..., 0, :, :]
    return Course(pelvis, yaw, torch.cat([root[:, :, None], local[:, :, 1:]], 2))


def turned(yaw: Tensor, plane: Tensor) -> Tensor:
    """Vectors (...,2) of x, z turned by yaw (...)."""
    cos, sin = yaw.cos(), yaw.sin()
    return torch.stack([cos * plane[..., 0] + sin * plane[..., 1], cos * plane[..., 1] - sin * plane[..., 0]], -1)


def yaw_matrices(yaw: Tensor) -> Tensor:
    cos, sin, zero, one = yaw.cos(), yaw.sin(), torch.zeros_like(yaw), torch.ones_like(yaw)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).unflatten(-1, (3, 3))


class Conditions:
    """What is asked of the decoded motion of ``frames`` frames, as a loss on latents.

    target: see ``Target``, of ``frames`` frames, or None; loop: the end has to lead into the beginning.
    """

    def __init__(self, codec: CausalVAE, target: Target | None, loop: bool, frames: int):
        self.codec, self.target, self.loop, self.frames = codec, target, loop, frames
        self.search = Search()
        self.known: list[tuple[int, Tensor]] = []  # first latent of a stretch that is given whole, and its latents
        self.first, self.last = 0, frames  # frames that the loss looks at
        if target is not None:
            self._read(target)
        self.free = torch.ones(self.last - self.first, device=codec.mean.device)  # of these frames, 0 at those of known
        for start, latents in self.known:
            begin = start * STRIDE - self.first
            self.free[max(0, begin) : max(0, begin + len(latents) * STRIDE)] = 0.0

    def _read(self, target: Target) -> None:
        device = self.codec.mean.device
        posed, placed = target.joints.any(1), target.place.any(1)
        if not self.loop:
            given = np.flatnonzero(posed | placed)
            self.first = max(0, given[0] // STRIDE - REACH) * STRIDE
            self.last = min(self.frames, int(given[-1]) + 1 + SPREAD * STRIDE)  # what follows must be able to follow
        at = np.flatnonzero(posed)
        self.at = torch.from_numpy(at).to(device)
        self.rotations = torch.from_numpy(quaternion_to_matrix(target.rotations[at])).float().to(device)
        self.joints = torch.from_numpy(target.joints[at]).float().to(device)
        self.place = torch.from_numpy(target.place).float().to(device)
        self.wanted = torch.from_numpy(target.translation).float().to(device)
        forward = self.rotations[:, 0, :, 2]
        self.yaw = torch.atan2(forward[:, 0], forward[:, 2])
        for start, stop in _stretches(target.joints.all(1) & target.place.all(1)):
            self._know(target, start, stop)

    @torch.no_grad()
    def _know(self, target: Target, start: int, stop: int) -> None:
        """Latents of frames ``start`` to ``stop``, all given; the codec looks back: the first ones lack their past."""
        start = -(-start // STRIDE) * STRIDE
        stop -= (stop - start) % STRIDE
        warm = 0 if start == 0 else WARM
        if stop - start <= warm * STRIDE:
            return
        motion = Motion(target.rotations[start:stop], target.translation[start:stop])
        motion.contacts = foot_contacts(motion.joints(), FPS)
        made = torch.from_numpy(encoding.encode(motion)).to(self.codec.mean.device)
        latents = self.codec.encode(made[None])[0]
        self.known.append((start // STRIDE + warm, latents[warm:]))

    def alignment(self, made: Course, start: int = 0) -> tuple[Tensor, Tensor]:
        """The turn (B,) and shift (B,2) on the floor that bring a motion nearest to the given places and headings.

        made: of the frames from ``start`` on, with the rotations of the posed frames.
        """
        pelvis = made.pelvis.detach()
        forward = made.rotations.detach()[:, :, 0, :, 2]
        count = len(pelvis)
        shift, turn = pelvis.new_zeros(count, 2), pelvis.new_zeros(count)
        if self.target is None or not self.target.anchored:
            return turn, shift
        here = slice(start, start + pelvis.shape[1])
        weight = self.place[here, 0] * self.place[here, 2]
        total = weight.sum()
        own, wanted = pelvis[..., [0, 2]], self.wanted[here][:, [0, 2]].expand(count, -1, -1)
        mean_own, mean_wanted = own.mean(1), wanted.mean(1)
        sine, cosine = pelvis.new_zeros(count), pelvis.new_zeros(count)
        if total > 0:
            mean_own = (own * weight[:, None]).sum(1) / total
            mean_wanted = (wanted * weight[:, None]).sum(1) / total
            a, b = own - mean_own[:, None], wanted - mean_wanted[:, None]
            cosine = cosine + (weight * (a * b).sum(-1)).sum(1)
            sine = sine + (weight * (a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1])).sum(1)
        facing = self.joints[:, 0]
        if facing.any():
            own_yaw = torch.atan2(forward[..., 0], forward[..., 2])
            cosine = cosine + (facing * torch.cos(self.yaw - own_yaw)).sum(1)
            sine = sine + (facing * torch.sin(self.yaw - own_yaw)).sum(1)
        turn = torch.atan2(sine, cosine)
        if total > 0:
            shift = mean_wanted - turned(turn[:, None], mean_own[:, None])[:, 0]
        return turn, shift

    def distance(self, features: Tensor, start: int = 0) -> Tensor:
        """How far decoded motions (B,T,155) are from what is asked (B,): squared metres and squared sines of angles.

        start: the frame that they begin at; nothing that is asked for comes before it or after them.
        """
        features = features[:, : self.frames - start]
        loss = features.new_zeros(len(features))
        if self.target is not None:
            made = course(features, self.at - start)
            turn, shift = self.alignment(made, start)
            world = torch.cat(
                [yaw_matrices(turn)[:, None, None] @ made.rotations[:, :, :1], made.rotations[:, :, 1:]], 2
            )
            apart = (world - self.rotations).square().sum((-1, -2)) * self.joints
            loss = loss + TURN * apart.sum((1, 2)) / self.joints.sum().clamp(min=1) * min(22, self.joints.sum().item())
            plane = turned(turn[:, None], made.pelvis[..., [0, 2]]) + shift[:, None]
            pelvis = torch.stack([plane[..., 0], made.pelvis[..., 1], plane[..., 1]], -1)
            here = slice(start, start + pelvis.shape[1])
            off = (pelvis - self.wanted[here]).square() * self.place[here]
            loss = loss + PLACE * off.sum((1, 2)) / self.place.sum().clamp(min=1) * min(4, self.place.sum().item())
        if self.loop:
            local = local_positions(features[:, [0, 1, -2, -1]])
            loss = loss + SMOOTH * (local[:, 3] - local[:, 0]).square().sum((-1, -2))
            first, last = local[:, 1] - local[:, 0], local[:, 3] - local[:, 2]
            loss = loss + 4 * SMOOTH * (first - last).square().sum((-1, -2))
        return loss

    def pull(self, x0: Tensor, looks: int, on_look: Callable[[int], None] = lambda _count: None) -> Tensor:
        """Clean latents (B,L,C) nearer to what is asked, and not far from where the model put them.

        looks: how often the loss is looked at; on_look: called before each look with how many there were, and often
        enough to be heard within one of many variations; what it raises ends the search.
        """
        low, high = self.first // STRIDE, -(-self.last // STRIDE)
        own = x0[:, low:high]
        x0 = self.filled(x0)
        part = x0[:, low:high]
        counter = itertools.count()
        rows = max(1, ROOM // (STRIDE * part.shape[1]))

        def loss(steps: Tensor) -> tuple[Tensor, Tensor]:
            count = next(counter)
            values, slopes = [], []
            for number, (x, step) in enumerate(zip(part.split(rows), steps.split(rows), strict=True)):
                on_look(count)
                step = step.detach().unflatten(1, x.shape[1:]).requires_grad_(True)
                with torch.enable_grad():
                    moved = spread(step)
                    features = self._decoded(x + moved)
                    if count == 0:
                        plain = self._decoded(own.split(rows)[number]) if self.known else features
                        before.append(plain.detach())
                    value = self.distance(features, self.first) + KEEP * moved.square().mean(-1).sum(1)
                    value = value + BEND * bending(features - before[number], self.free)
                    slopes.append(torch.autograd.grad(value.sum(), step)[0].flatten(1))
                values.append(value.detach())
            return torch.cat(values), torch.cat(slopes)

        before: list[Tensor] = []  # the model's own motion, without the seams of stretches that are given whole
        steps = self.search.minimise(loss, torch.zeros_like(part).flatten(1), looks)
        return torch.cat([x0[:, :low], part + spread(steps.view_as(part)), x0[:, high:]], 1)

    def _decoded(self, latents: Tensor) -> Tensor:
        """Features (B,T,155) of the frames that the loss looks at, of their latents."""
        return self.codec.decode(latents)[:, : self.last - self.first]

    def filled(self, x0: Tensor) -> Tensor:
        """Latents (B,L,C) with those of stretches that are given whole in their place."""
        for start, latents in self.known:
            x0 = torch.cat([x0[:, :start], latents.expand(len(x0), -1, -1), x0[:, start + len(latents) :]], 1)
        return x0

    def placed(self, features: Tensor, motions: list[Motion]) -> list[Motion]:
        """The decoded motions moved to where the target wants them."""
        turn, shift = self.alignment(course(features[:, : self.frames], self.at))
        return [_moved(m, float(t), s.cpu().numpy()) for m, t, s in zip(motions, turn, shift, strict=True)]


def spread(steps: Tensor) -> Tensor:
    """Changes of latents (B,L,C): steps of the search (B,L,C), each shared with SPREAD - 1 latents on either side.

    The search looks for these steps, not for the change itself: its shortest way down is then a smooth one (a Sobolev
    gradient, Neuberger 2010), and what one frame asks for comes and goes within about half a second.
    """
    ramp = torch.arange(1.0, SPREAD + 1, device=steps.device)
    triangle = torch.cat([ramp, ramp[:-1].flip(0)]) / SPREAD**2
    rows = steps.transpose(1, 2).flatten(0, 1)[:, None]
    wide = F.conv1d(rows, triangle[None, None], padding=SPREAD - 1)
    return SHARP * steps + wide.view(len(steps), -1, steps.shape[1]).transpose(1, 2)


def bending(change: Tensor, free: Tensor) -> Tensor:
    """How abruptly a change of features (B,T,155) comes and goes (B,): squared second differences of rotations and
    height, and first ones of the steps over the floor. free (T,) is 1 or 0: a difference counts if a frame has 1."""
    held, steps = change[..., BLOCKS["rotations"]].diff(n=2, dim=1), change[..., :3].diff(dim=1)
    raised = change[..., 3].diff(n=2, dim=1)
    of_two = torch.maximum(free[1:], free[:-1])
    of_three = torch.maximum(of_two[1:], of_two[:-1])
    turned_by, moved_by = of_three[:, None] * held.square(), of_two[:, None] * steps.square()
    return turned_by.sum((1, 2)) + WHOLE * (moved_by.sum((1, 2)) + (of_three * raised.square()).sum(1))


def _stretches(given: np.ndarray) -> list[tuple[int, int]]:
    """(first, stop) of each run of true in ``given`` (T,)."""
    edges = np.flatnonzero(np.diff(np.r_[False, given, False]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _moved(motion: Motion, turn: float, shift: np.ndarray) -> Motion:
    """The motion turned by ``turn`` radians about the vertical through the origin, then moved by x, z metres."""
    q = rot.yaw_quaternion(turn)
    rotations = motion.rotations.astype(np.float64)
    rotations[:, 0] = rot.quaternion_multiply(q, rotations[:, 0])
    translation = rot.quaternion_rotate(q, motion.translation.astype(np.float64)) + [shift[0], 0.0, shift[1]]
    return Motion(rot.continuous(rotations), translation, motion.rest_offsets, motion.fps, motion.contacts)

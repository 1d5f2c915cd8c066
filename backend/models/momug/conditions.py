"""Poses, paths and loops without retraining: the clean latents are pulled towards what is asked at every step.

The decoder is differentiable, so anything that can be read off the decoded motion can be asked for. Each prediction of
x0 is corrected by a few L-BFGS steps on the distance to the target (optimising the latents of a frozen diffusion
model: DNO, Karunratanakul et al. 2024; here x0 itself, within the sampler). What then remains is corrected exactly by
``motion.pin``.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from backend.codecs.causal_vae import CausalVAE
from backend.motion import rotations as rot
from backend.motion.features import BLOCKS, local_positions, six_to_matrix
from backend.motion.skeleton import Motion, quaternion_to_matrix
from backend.motion.target import Target

KEEP = 0.02  # how dearly a latent leaves what the model predicted; unit-variance latents against squared metres
TURN, PLACE, SMOOTH = 0.5, 4.0, 2.0


@dataclass
class Course:
    """Decoded motion in tensors: pelvis (B,T,3), world; yaw (B,T) radians; joints' local rotations (B,T,22,3,3) with
    the pelvis in the world."""

    pelvis: Tensor
    yaw: Tensor
    rotations: Tensor


def course(features: Tensor) -> Course:
    """The path and rotations of features (B,T,155), beginning at x = z = 0 with heading +Z."""
    yaw = F.pad(features[:, 1:, 2].cumsum(1), (1, 0))
    step = turned(yaw, F.pad(features[:, 1:, BLOCKS["velocity"]], (0, 0, 1, 0)))
    plane = step.cumsum(1)
    pelvis = torch.stack([plane[..., 0], features[..., 3], plane[..., 1]], -1)
    local = six_to_matrix(features[..., BLOCKS["rotations"]].unflatten(-1, (22, 6)))
    root = yaw_matrices(yaw) @ local[..., 0, :, :]
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
        device = codec.mean.device
        if target is not None:
            self.rotations = torch.from_numpy(quaternion_to_matrix(target.rotations)).float().to(device)
            self.joints = torch.from_numpy(target.joints).float().to(device)
            self.place = torch.from_numpy(target.place).float().to(device)
            self.wanted = torch.from_numpy(target.translation).float().to(device)
            forward = self.rotations[:, 0, :, 2]
            self.yaw = torch.atan2(forward[:, 0], forward[:, 2])

    def alignment(self, made: Course) -> tuple[Tensor, Tensor]:
        """The turn (B,) and shift (B,2) on the floor that bring a motion nearest to the given places and headings."""
        pelvis = made.pelvis.detach()
        forward = made.rotations.detach()[:, :, 0, :, 2]
        count = len(pelvis)
        shift, turn = pelvis.new_zeros(count, 2), pelvis.new_zeros(count)
        if self.target is None or not self.target.anchored:
            return turn, shift
        weight = self.place[:, 0] * self.place[:, 2]
        total = weight.sum()
        own, wanted = pelvis[..., [0, 2]], self.wanted[:, [0, 2]].expand(count, -1, -1)
        mean_own, mean_wanted = own.mean(1), wanted.mean(1)
        sine, cosine = pelvis.new_zeros(count), pelvis.new_zeros(count)
        if total > 0:
            mean_own = (own * weight[:, None]).sum(1) / total
            mean_wanted = (wanted * weight[:, None]).sum(1) / total
            a, b = own - mean_own[:, None], wanted - mean_wanted[:, None]
            cosine = cosine + (weight * (a * b).sum(-1)).sum(1)
            sine = sine + (weight * (a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1])).sum(1)
        known = self.joints[:, 0]
        if known.any():
            own_yaw = torch.atan2(forward[..., 0], forward[..., 2])
            cosine = cosine + (known * torch.cos(self.yaw - own_yaw)).sum(1)
            sine = sine + (known * torch.sin(self.yaw - own_yaw)).sum(1)
        turn = torch.atan2(sine, cosine)
        if total > 0:
            shift = mean_wanted - turned(turn[:, None], mean_own[:, None])[:, 0]
        return turn, shift

    def distance(self, features: Tensor) -> Tensor:
        """How far decoded motions (B,T,155) are from what is asked (B,): squared metres and squared sines of angles."""
        made = course(features[:, : self.frames])
        loss = features.new_zeros(len(features))
        if self.target is not None:
            turn, shift = self.alignment(made)
            world = torch.cat(
                [yaw_matrices(turn)[:, None, None] @ made.rotations[:, :, :1], made.rotations[:, :, 1:]], 2
            )
            apart = (world - self.rotations).square().sum((-1, -2)) * self.joints
            loss = loss + TURN * apart.sum((1, 2)) / self.joints.sum().clamp(min=1) * min(22, self.joints.sum().item())
            plane = turned(turn[:, None], made.pelvis[..., [0, 2]]) + shift[:, None]
            pelvis = torch.stack([plane[..., 0], made.pelvis[..., 1], plane[..., 1]], -1)
            off = (pelvis - self.wanted).square() * self.place
            loss = loss + PLACE * off.sum((1, 2)) / self.place.sum().clamp(min=1) * min(4, self.place.sum().item())
        if self.loop:
            local = local_positions(features[:, : self.frames])
            loss = loss + SMOOTH * (local[:, -1] - local[:, 0]).square().sum((-1, -2))
            first, last = local[:, 1] - local[:, 0], local[:, -1] - local[:, -2]
            loss = loss + 4 * SMOOTH * (first - last).square().sum((-1, -2))
        return loss

    def pull(self, x0: Tensor, iterations: int, on_look: Callable[[int], None] = lambda _count: None) -> Tensor:
        """Clean latents (B,L,C) nearer to what is asked, and not far from where the model put them.

        on_look: called before each look at the loss with how many there were; what it raises ends the search.
        """
        looks = itertools.count()
        with torch.enable_grad():
            change = torch.zeros_like(x0, requires_grad=True)
            optimiser = torch.optim.LBFGS([change], max_iter=iterations, history_size=8, line_search_fn="strong_wolfe")

            def closure() -> Tensor:
                on_look(next(looks))
                optimiser.zero_grad()
                loss = (self.distance(self.codec.decode(x0 + change)) + KEEP * change.square().mean(-1).sum(1)).sum()
                loss.backward()
                return loss

            optimiser.step(closure)
        return (x0 + change).detach()

    def placed(self, features: Tensor, motions: list[Motion]) -> list[Motion]:
        """The decoded motions moved to where the target wants them."""
        turn, shift = self.alignment(course(features[:, : self.frames]))
        return [_moved(m, float(t), s.cpu().numpy()) for m, t, s in zip(motions, turn, shift, strict=True)]


def _moved(motion: Motion, turn: float, shift: np.ndarray) -> Motion:
    """The motion turned by ``turn`` radians about the vertical through the origin, then moved by x, z metres."""
    q = rot.yaw_quaternion(turn)
    rotations = motion.rotations.astype(np.float64)
    rotations[:, 0] = rot.quaternion_multiply(q, rotations[:, 0])
    translation = rot.quaternion_rotate(q, motion.translation.astype(np.float64)) + [shift[0], 0.0, shift[1]]
    return Motion(rot.continuous(rotations), translation, motion.rest_offsets, motion.fps, motion.contacts)

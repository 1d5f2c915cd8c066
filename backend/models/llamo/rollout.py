"""Motions that grow latent by latent: the state of a generation, usable without server or watcher.

The memory is bounded: after ``window`` latents the mixture begins anew behind <bom> with the last ``recall`` of them,
as a training window that was cut out of a longer motion does. A new sentence is the same step with other keys.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from backend.models.llamo.config import LLaMoConfig
from backend.models.llamo.expert import MotionExpert
from backend.models.llamo.sampling import next_latents


class Context:
    """What the mixture has read: keys and values of text, then of motion, in memory that is taken once.

    keys (layers,2,R,kv_heads,S,head_width) and seen (R,S) of the sentences; ``room`` tokens may follow.
    """

    def __init__(self, expert: MotionExpert, keys: Tensor, seen: Tensor, room: int):
        self.expert, self.filled = expert, keys.shape[4]
        size = (*keys.shape[:4], self.filled + room, keys.shape[5])
        self.past = torch.zeros(size, dtype=expert.bom.dtype, device=keys.device)
        self.past[..., : self.filled, :] = keys
        self.seen = torch.ones(len(seen), self.filled + room, dtype=torch.bool, device=seen.device)
        self.seen[:, : self.filled] = seen
        self.begin = seen.sum(1)

    def read(self, x: Tensor) -> Tensor:
        """States (R,L,width) of the next tokens (R,L,width)."""
        start, self.filled = self.filled, self.filled + x.shape[1]
        states, own = self.expert(x, self.past[..., :start, :], self.seen[:, :start], self.begin)
        self.past[..., start : self.filled, :] = own
        self.begin = self.begin + x.shape[1]
        return states


class Rollout:
    """Several motions that grow together, each with its sentence and seed. ``ending`` (N,): the exit head's probability
    that a motion is over with its latest latent.

    read_sentences: sentences -> keys and mask of them and of as many empty ones (2N rows, for guidance).
    """

    def __init__(
        self,
        config: LLaMoConfig,
        expert: MotionExpert,
        read_sentences: Callable[[list[str]], tuple[Tensor, Tensor]],
        sentences: list[str],
        seeds: list[int],
        steps: int | None = None,
        scale: float | None = None,
    ):
        self.config, self.expert, self.read_sentences = config, expert, read_sentences
        self.steps = steps or config.steps
        self.scale = config.guidance_scale if scale is None else scale
        self.generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
        self.device = expert.bom.device
        self.history = torch.zeros(len(seeds), 0, config.codec.latent, device=self.device)
        self.ending = torch.zeros(len(seeds))
        self.sentences: list[str] = []
        self.say(sentences)

    @torch.no_grad()
    def say(self, sentences: list[str]) -> None:
        """From here on these sentences hold, one for each motion."""
        if sentences == self.sentences:
            return
        self.sentences = list(sentences)
        self.keys, self.seen = self.read_sentences(sentences)
        self._begin(self.config.recall_changed)

    def go_back(self, history: Tensor) -> None:
        """To where ``self.history`` was ``history``; :meth:`say` has to follow."""
        self.history, self.sentences = history, []

    def _begin(self, recall: int) -> None:
        self.history = self.history[:, -recall:]
        self.context = Context(self.expert, self.keys, self.seen, self.config.window + 1)
        self.state = self.context.read(self.expert.tokens(self.history).repeat(2, 1, 1))[:, -1]

    @torch.no_grad()
    def next(self) -> Tensor:
        """The next latent of each motion, (N,C)."""
        width = self.config.codec.latent
        noise = torch.stack([torch.randn(width, generator=g) for g in self.generators]).to(self.device)
        r = next_latents(self.expert.flow, self.state, self.config.temperature * noise, self.scale, self.steps)
        expected, spread = self.expert.expected(self.history[:, -1] if self.history.shape[1] else None, r)
        z = expected + spread * r
        self.history = torch.cat([self.history, z[:, None]], 1)
        if self.history.shape[1] >= self.config.window:
            self._begin(self.config.recall)
        else:
            self.state = self.context.read(self.expert.motion_in(z)[:, None].repeat(2, 1, 1))[:, -1]
        self.ending = self.expert.exit(self.state[: len(z)])[:, 0].sigmoid().cpu()
        return z

"""One guided prediction of clean latents, window by window, for all variations at once."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from backend.models.momug import windows
from backend.models.momug.few import Way
from backend.models.momug.sampling import guided

# windows that go at once through the head, and through the language model: between two batches a step can be cancelled
ROWS, READ = 16, 3


class Denoiser:
    """Predicts the clean latents of all variations, window by window, with guidance; ``step`` counts the steps, and
    ``stop`` is called often enough within one to be heard within a second."""

    def __init__(self, momug, states, mask, cache, parts: list[windows.Window], count: int, way: Way, every: int = 0):
        self.momug, self.parts, self.way, self.step, self.hidden = momug, parts, way, 0, None
        self.every = every if momug.loop else 0
        self.stop: Callable[[], None] = lambda: None
        prompts = torch.tensor([part.prompt for part in parts] * count)
        # rows: the windows of every variation with their sentence, then, for guidance, all of them without one (the
        # last text)
        rows = torch.cat([prompts, torch.full_like(prompts, len(mask) - 1)][: way.reads]).to(momug.device)
        self.words, self.word_mask, self.prefix_mask = states[rows, 1:], mask[rows, 1:], mask[rows]
        if self.words.shape[1] == 0:
            self.words, self.word_mask = states[rows], torch.zeros_like(mask[rows])
        self.caches = []
        for piece in rows.split(READ) if self.every else ():
            self.caches.append(copy.deepcopy(cache))
            self.caches[-1].batch_select_indices(piece)

    def __call__(self, x_t: Tensor, t: int) -> Tensor:
        cut, lengths = windows.gather(x_t, self.parts)
        cut, both = cut.repeat(self.way.reads, 1, 1), lengths.repeat(self.way.reads)
        times = torch.full((len(cut),), t, device=cut.device)
        if self.every and self.step % self.every == 0:
            self.hidden = torch.cat(list(self._read(cut, times, both)))
        made = []
        for start in range(0, len(cut), ROWS):
            self.stop()
            rows = slice(start, start + ROWS)
            hidden = None if self.hidden is None else self.hidden[rows]
            words, mask = self.words[rows], self.word_mask[rows]
            made.append(self.way.head(cut[rows], times[rows], both[rows], words, mask, hidden))
        x0 = torch.cat(made)
        if self.way.reads == 2:
            x0 = guided(*x0.chunk(2), self.way.scale, lengths)
        return windows.scatter(x0, self.parts, x_t.shape[1])

    def _read(self, cut: Tensor, times: Tensor, lengths: Tensor) -> Iterator[Tensor]:
        """The language model's states (B,L,576) of latents (B,L,C), ``READ`` rows at a time; see ``motion_states``."""
        for index, cache in enumerate(self.caches):
            self.stop()
            rows = slice(index * READ, (index + 1) * READ)
            yield self.momug.loop.motion_states(cut[rows], times[rows], lengths[rows], cache, self.prefix_mask[rows])
            cache.crop(-(cut.shape[1] + 2))

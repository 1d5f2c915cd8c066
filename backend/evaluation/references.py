"""The rows that stand beside every model: real motion, the codec's reconstruction, retrieval, random, the mean pose."""

import numpy as np
import torch

from backend.evaluation import corruptions
from backend.evaluation.wording import Meaning
from backend.models.interface import GenerateRequest
from backend.motion import features
from backend.motion.skeleton import Motion
from backend.training.dataset import Windows


class References:
    """What else could answer a sentence, from the training split alone."""

    def __init__(self, train: Windows, meaning: Meaning):
        self.train, self.meaning = train, meaning
        self.owner = [i for i, row in enumerate(train.rows) for _ in row["captions"]]
        self.captions = [c for row in train.rows for c in row["captions"]]
        self.vectors = meaning.vectors(self.captions)
        self.pose = corruptions.average_pose(train.motions)

    def retrieved(self, sentences: list[str], frames: list[int], seed: int) -> list[Motion]:
        """For each sentence the training motion whose caption says it most nearly; of equals one by ``seed``."""
        random = np.random.default_rng(seed)
        similarity = (self.meaning.vectors(sentences) @ self.vectors.T).toarray()
        found = []
        for row, length in zip(similarity, frames, strict=True):
            best = {self.owner[i] for i in np.flatnonzero(row > row.max() - 1e-6)}
            chosen = self.train.motions[int(random.choice(sorted(best)))]
            found.append(chosen.slice(0, min(length, chosen.frames)))
        return found

    def random(self, frames: list[int], seed: int) -> list[Motion]:
        """Training motions drawn blindly, as long as asked where they are long enough."""
        random = np.random.default_rng(seed)
        drawn = [self.train.motions[int(i)] for i in random.integers(0, len(self.train), len(frames))]
        return [m.slice(0, min(length, m.frames)) for m, length in zip(drawn, frames, strict=True)]

    def mean_pose(self, frames: list[int]) -> list[Motion]:
        first = self.train.motions[0]
        still = [Motion(np.repeat(first.rotations[:1], n, 0), np.repeat(first.translation[:1], n, 0)) for n in frames]
        return [corruptions.mean_pose(m, *self.pose) for m in still]


@torch.no_grad()
def reconstructed(model, windows: Windows) -> list[Motion]:
    """The windows through the model's codec and back."""
    found = []
    for window in windows.features:
        trimmed = torch.from_numpy(window[: len(window) // 4 * 4]).to(model.device)
        found.append(features.decode(model.codec.decode(model.codec.encode(trimmed[None]))[0].cpu().numpy()))
    return found


def generated(model, sentences: list[str], frames: list[int], seed: int, preset: str | None) -> list[Motion]:
    """One motion a sentence, as long as the real one."""
    quiet = lambda phase, step, total: None  # noqa: E731
    made = []
    for i, (sentence, length) in enumerate(zip(sentences, frames, strict=True)):
        seconds = float(np.clip(length / 30, 1.0, 10.0))
        request = GenerateRequest(sentence, seconds, seed=1000 * seed + i, preset=preset)
        made += model.generate(request, quiet, lambda: False).motions
    return made

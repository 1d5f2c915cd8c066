"""The evaluator: a contrastive motion-text model in the manner of TMR (arXiv 2305.00976), small, frozen and hashed.

It sees joint positions and velocities, never the generator's features or latents, and reads words with an encoder of
its own over the vocabulary of the training captions: nothing of the generator's language model is in it.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend import paths
from backend.errors import BackendError
from backend.evaluation.wording import stems
from backend.language.base import sha256_file
from backend.motion import features
from backend.motion.skeleton import Motion
from backend.protocol import FPS

INPUTS = 22 * 3 * 2 + 1
LONGEST = 320  # frames; the rest of a longer motion is not looked at
PATCH = 8  # frames a token
NAME = "evaluator"
WEIGHTS = "evaluator.safetensors"


@dataclass
class EvaluatorConfig:
    vocabulary: list[str] = field(default_factory=list)  # stems; 0 is padding, 1 an unknown word
    width: int = 176
    layers: int = 3
    heads: int = 4
    text_width: int = 128
    text_layers: int = 2
    embedding: int = 128
    dropout: float = 0.2
    words: int = 40  # longest sentence; longer ones are cut


def kinematics(window: Tensor) -> Tensor:
    """Features (...,T,155) to what the evaluator sees (...,T,133), at 30 fps.

    Positions (22,3) in metres in the heading frame with the pelvis at x = z = 0; velocities (22,3) over the ground in
    m/s, along the same axes, so that a standing foot has none; yaw rate in rad/s.
    """
    positions = features.local_positions(window)
    turn, moved = window[..., 2], window[..., :2]
    before = torch.cat([positions[..., :1, :, :], positions[..., :-1, :, :]], -3)
    cosine, sine = turn.cos()[..., None], turn.sin()[..., None]
    x, y, z = before.unbind(-1)
    before = torch.stack([x * cosine - z * sine, y, x * sine + z * cosine], -1)  # turned by minus the yaw step
    travel = torch.stack([moved[..., 0], torch.zeros_like(turn), moved[..., 1]], -1)[..., None, :]
    velocity = (positions - before + travel) * FPS
    velocity = torch.cat([velocity[..., 1:2, :, :], velocity[..., 1:, :, :]], -3)  # frame 0 has no frame before it
    return torch.cat([positions.flatten(-2), velocity.flatten(-2), turn[..., None] * FPS], -1)


class Encoder(nn.Module):
    """Transformer over (B,L,width) whose valid tokens are averaged, then projected to the shared unit sphere."""

    def __init__(self, width: int, layers: int, heads: int, longest: int, embedding: int, dropout: float):
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(2 * width, embedding)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.blocks(x + self.place[: x.shape[1]], src_key_padding_mask=~valid)
        kept = valid[..., None]
        mean = (x * kept).sum(1) / kept.sum(1)
        largest = x.masked_fill(~kept, -torch.inf).amax(1)
        return F.normalize(self.out(torch.cat([mean, largest], -1)), dim=-1)


class Evaluator(nn.Module):
    """``motion`` and ``text`` map to unit vectors (B,embedding); their dot product says how well they fit."""

    def __init__(self, config: EvaluatorConfig):
        super().__init__()
        self.config = config
        self.sha256 = ""
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("std", torch.ones(INPUTS))
        self.patch = nn.Sequential(
            nn.Conv1d(INPUTS, config.width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv1d(config.width, config.width, 4, stride=4),
        )
        self.body = Encoder(
            config.width, config.layers, config.heads, LONGEST // PATCH, config.embedding, config.dropout
        )
        self.words = nn.Embedding(len(config.vocabulary) + 2, config.text_width, padding_idx=0)
        self.sentence = Encoder(
            config.text_width, config.text_layers, 4, config.words, config.embedding, config.dropout
        )
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.1), dtype=torch.float32))
        self.index = {word: i + 2 for i, word in enumerate(config.vocabulary)}

    def motion(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """Kinematics (B,T,133), T a multiple of 8, and lengths (B,) in frames to unit vectors (B,embedding)."""
        x = (windows - self.mean) / self.std
        frames = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = self.patch((x * frames[..., None]).transpose(1, 2)).transpose(1, 2)
        return self.body(x, torch.arange(x.shape[1], device=x.device) < (lengths[:, None] / PATCH))

    def tokens(self, captions: list[str]) -> Tensor:
        """Word numbers (B,words) of sentences; 0 is padding."""
        rows = [[self.index.get(s, 1) for s in stems(c)][: self.config.words] or [1] for c in captions]
        table = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for row, found in enumerate(rows):
            table[row, : len(found)] = torch.tensor(found)
        return table

    def text(self, tokens: Tensor) -> Tensor:
        """Word numbers (B,L) to unit vectors (B,embedding)."""
        return self.sentence(self.words(tokens), tokens > 0)

    @torch.no_grad()
    def embed_features(self, windows: list[np.ndarray], batch: int = 32) -> np.ndarray:
        """Feature windows [(T,155)] at 30 fps to unit vectors (N,embedding) float64."""
        order = np.argsort([len(w) for w in windows], kind="stable")
        found = np.zeros((len(windows), self.config.embedding))
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            found[rows] = self.motion(*collate([seen(windows[i]) for i in rows])).double().numpy()
        return found

    def embed_motions(self, motions: list[Motion]) -> np.ndarray:
        """Canonical motions at 30 fps (the first 10.6 s of each) to unit vectors (N,embedding) float64."""
        return self.embed_features([features.encode(m) for m in motions])

    @torch.no_grad()
    def embed_texts(self, captions: list[str], batch: int = 256) -> np.ndarray:
        """Sentences to unit vectors (N,embedding) float64."""
        parts = [
            self.text(self.tokens(captions[i : i + batch])).double().numpy() for i in range(0, len(captions), batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.config.embedding))


def seen(window: np.ndarray) -> Tensor:
    """Kinematics (T,133) of the first ``LONGEST`` frames of one feature window (T,155)."""
    return kinematics(torch.from_numpy(window[:LONGEST]))


def collate(windows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Kinematics [(T,133)] to one table (B,T,133), padded to a multiple of 8, and lengths (B,)."""
    lengths = torch.tensor([len(w) for w in windows])
    longest = -(-int(lengths.max()) // PATCH) * PATCH
    table = torch.zeros(len(windows), longest, INPUTS)
    for row, window in enumerate(windows):
        table[row, : len(window)] = window
    return table, lengths


def save_evaluator(model: Evaluator, folder: Path, about: dict) -> None:
    """Write ``evaluator.safetensors`` (float16) and ``config.json`` with the shape, ``about`` and the hash."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    record = {"format": 1, "model": asdict(model.config), "sha256": sha256_file(folder / WEIGHTS), **about}
    (folder / "config.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load_evaluator(folder: Path | None = None) -> Evaluator:
    """The frozen evaluator on the CPU, float32; ``sha256`` is the hash of its weights.

    Raises BackendError ``checkpoint_missing`` or ``checkpoint_damaged``.
    """
    folder = Path(folder) if folder else paths.checkpoints_folder() / NAME
    try:
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = sha256_file(folder / WEIGHTS)
        if found != record["sha256"]:
            raise ValueError("the weights have changed")
        model = Evaluator(EvaluatorConfig(**record["model"]))
        model.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
    except FileNotFoundError as error:
        raise BackendError(
            "checkpoint_missing",
            "The evaluator is not installed.",
            f"Train it: python -m backend train --recipe evaluator --data DIR --out DIR, then copy best/ to {folder}.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BackendError("checkpoint_damaged", f"The evaluator is damaged: {error}.") from error
    model.sha256 = found
    return model.requires_grad_(False).eval()

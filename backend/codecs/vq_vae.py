"""VQ-VAE: feature frames to codes of a small vocabulary, four frames a code (7.5 codes a second), for language models.

Follows MotionGPT (arXiv 2306.10900): a codebook that learns by moving averages, codes that nobody uses are drawn anew,
a commitment loss and the straight-through gradient. Two levels make a residual quantiser: the second codebook says what
the first left out. Encoder and decoder are those of the causal VAE, frozen, with a small trained net on either side of
the codebooks; the file holds only these, and the latents of the VAE and the codes belong to one decoder.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend import paths
from backend.codecs.causal_vae import CausalVAE, ChannelNorm, ResidualBlock, codec_hash, load_codec, motion_loss
from backend.errors import BackendError
from backend.motion.features import local_positions

DECAY = 0.99  # of the codebooks' moving averages
DEAD = 0.1  # a code with less than this share of an even use is drawn anew
MOTION = 0.1  # weight of the motion loss, so that it and the distance of latents are of one size
PER_STEP = 512  # vectors of a step: how much the first codes weigh in the moving averages


@dataclass
class VQVAEConfig:
    codes: int = 512  # entries of each codebook
    code_width: int = 64
    levels: int = 2  # codebooks; from the second on they hold what those before left out
    width: int = 192
    blocks: int = 4  # residual blocks before and after the codebooks
    base: str = ""  # hash of the causal VAE that it stands on

    def to_dict(self) -> dict:
        return asdict(self)


class Codebook(nn.Module):
    """``codes`` (K,D), learnt without gradients; ``counts`` (K,) and ``sums`` (K,D): the moving averages behind it."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("codes", torch.zeros(size, width))
        self.register_buffer("counts", torch.zeros(size), persistent=False)
        self.register_buffer("sums", torch.zeros(size, width), persistent=False)

    def nearest(self, vectors: Tensor) -> Tensor:
        """The nearest code of each vector (N,D): ids (N,) int64."""
        return (self.codes.pow(2).sum(1) - 2 * vectors @ self.codes.T).argmin(1)

    @torch.no_grad()
    def begin(self, vectors: Tensor, codes: Tensor | None = None, rounds: int = 10) -> None:
        """Place the codes among ``vectors`` (N,D) by ``rounds`` of k-means, or take ``codes`` (K,D) that are known."""
        if codes is None:
            picks = torch.randperm(len(vectors), device=vectors.device)
            self.codes.copy_(vectors[picks.repeat(-(-len(self.codes) // len(picks)))[: len(self.codes)]])
            for _ in range(rounds):
                self.update(vectors, self.nearest(vectors), decay=0.0)
        else:
            self.codes.copy_(codes)
        used = torch.bincount(self.nearest(vectors), minlength=len(self.codes)).to(vectors)
        self.counts.copy_(used / used.mean() * PER_STEP / len(self.codes))
        self.sums.copy_(self.codes * self.counts[:, None])

    @torch.no_grad()
    def update(self, vectors: Tensor, ids: Tensor, decay: float = DECAY) -> int:
        """One step of the moving averages towards ``vectors`` (N,D) with the codes ``ids`` (N,).

        Codes that are hardly used are put onto random vectors. Returns how many.
        """
        used = torch.bincount(ids, minlength=len(self.codes)).to(vectors)
        total = torch.zeros_like(self.sums).index_add_(0, ids, vectors)
        self.counts.lerp_(used, 1 - decay)
        self.sums.lerp_(total, 1 - decay)
        even = self.counts.mean()
        dead = self.counts < DEAD * even
        number = int(dead.sum())
        if number:
            picks = torch.randint(len(vectors), (number,), device=vectors.device)
            self.counts[dead] = even
            self.sums[dead] = vectors[picks] * even
        self.codes.copy_(self.sums / self.counts[:, None])
        return number


class Bridge(nn.Module):
    """Causal net between latents and code vectors, (B,L,inputs) to (B,L,outputs); linear before training."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int):
        super().__init__()
        self.skip = nn.Linear(inputs, outputs)
        self.net = nn.Sequential(
            nn.Conv1d(inputs, width, 1),
            *(ResidualBlock(width, 2**i) for i in range(blocks)),
            ChannelNorm(width),
            nn.SiLU(),
            nn.Conv1d(width, outputs, 1),
        )
        for layer in (self.skip, self.net[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.eye_(self.skip.weight)

    def forward(self, x: Tensor) -> Tensor:
        return (self.skip(x) + self.net(x.transpose(1, 2)).transpose(1, 2)).float()


class VQVAE(nn.Module):
    """``base``: the frozen causal VAE; ``before`` and ``after``: nets on either side of ``books``, one a level."""

    def __init__(self, config: VQVAEConfig, base: CausalVAE):
        super().__init__()
        self.config = config
        self.base = base.requires_grad_(False)
        latent = base.config.latent
        self.before = Bridge(latent, config.code_width, config.width, config.blocks)
        self.after = Bridge(config.code_width, latent, config.width, config.blocks)
        self.books = nn.ModuleList(Codebook(config.codes, config.code_width) for _ in range(config.levels))

    def quantise(self, vectors: Tensor, learn: bool = False) -> tuple[Tensor, Tensor]:
        """Vectors (B,L,D) to codes (B,L,levels) int64 and their entries (levels,B,L,D), without a gradient.

        learn: also move the codebooks towards the vectors.
        """
        left = vectors.detach().flatten(0, 1).float()
        entries, ids = [], []
        for book in self.books:
            found = book.nearest(left)
            entry = book.codes[found]
            if learn:
                book.update(left, found)
            left = left - entry
            ids.append(found)
            entries.append(entry.view_as(vectors))
        return torch.stack(ids, -1).unflatten(0, vectors.shape[:2]), torch.stack(entries)

    @torch.no_grad()
    def align(self, directions: Tensor) -> None:
        """Begin with code vectors that measure latents by :func:`directions` (C,C) of motion."""
        self.before.skip.weight.zero_()
        self.after.skip.weight.zero_()
        width = min(self.config.code_width, len(directions))
        self.before.skip.weight[:width] = directions[:width]
        self.after.skip.weight[:, :width] = torch.linalg.pinv(directions)[:, :width]

    @torch.no_grad()
    def begin(self, latents: Tensor, books: nn.ModuleList | None = None) -> None:
        """Place the codebooks, one after the other, for many latents (B,L,C) of the base; or take over ``books``."""
        left = self.before(latents).flatten(0, 1)
        for level, book in enumerate(self.books):
            book.begin(left, books[level].codes if books else None)
            left = left - book.codes[book.nearest(left)]

    @torch.no_grad()
    def encode(self, features: Tensor) -> Tensor:
        """Features (B,T,155) in their own units, T a multiple of 4, to codes (B,T/4,levels) int64."""
        return self.encode_latents(self.base.encode(features))

    @torch.no_grad()
    def encode_latents(self, latents: Tensor) -> Tensor:
        """Latents (B,L,C) of the base to codes (B,L,levels) int64."""
        return self.quantise(self.before(latents))[0]

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B,L,levels) to features (B,4L,155) in their own units, contacts in 0..1; the last levels may be left
        out, for a coarser motion.

        Raises BackendError ``bad_motion`` for codes that the codebooks do not have.
        """
        if codes.ndim != 3 or not 1 <= codes.shape[-1] <= len(self.books):
            shape, levels = "x".join(map(str, codes.shape)), len(self.books)
            message = f"The motion codes are {shape}, not windows x codes x up to {levels} levels."
            raise BackendError("bad_motion", message)
        wrong = codes[(codes < 0) | (codes >= self.config.codes)]
        if len(wrong):
            raise BackendError(
                "bad_motion",
                f"There is no motion code {int(wrong[0])}: this codec has 0 to {self.config.codes - 1}.",
                "The codes may have been made by another codec: encode the motion again.",
            )
        return self.base.decode(self.after(self.entries(codes)))

    def entries(self, codes: Tensor) -> Tensor:
        """Codes (...,levels) to what they stand for, summed over the levels (...,D)."""
        return sum(
            book.codes[codes[..., level]] for level, book in zip(range(codes.shape[-1]), self.books, strict=False)
        )


@torch.no_grad()
def directions(base: CausalVAE, latents: Tensor, step: float = 0.5) -> Tensor:
    """What matters in the latents (B,L,C) of ``base``: a matrix R (C,C) with |R(a - b)| the larger, the more
    differently two latents move; the rows are orthogonal, the most telling first.

    Measured by moving every channel by ``step`` and looking at the joints, rotations and root that come out.
    """

    def moves(latents: Tensor) -> Tensor:
        made = base.decode(latents)
        normalised = base.normaliser.forward(made)
        # about as the terms of the motion loss weigh 17 mm, a turn and a step
        parts = 5 * local_positions(made).flatten(-2), 0.3 * normalised[..., 4:136], 2 * normalised[..., :4]
        return torch.cat(parts, -1).flatten()

    still, channels = moves(latents), torch.eye(latents.shape[-1], device=latents.device)
    changes = torch.stack([moves(latents + step * channel) - still for channel in channels])
    values, vectors = torch.linalg.eigh(changes @ changes.T)
    values = values.clamp(min=1e-4 * values.max())
    return ((values / values.mean()).sqrt()[:, None] * vectors.T).flip(0)


def latent_loss(model: VQVAE, latents: Tensor, directions: Tensor, commit: float, bf16: bool) -> tuple[Tensor, dict]:
    """Loss of latents (B,L,C) of the base without its decoder, several times faster: their distance by
    :func:`directions`, and the commitment."""
    restored, committed = _through(model, latents, bf16)
    error = ((restored - latents) @ directions.T).pow(2).mean()
    return error + commit * committed, {"latent": error.item(), "commit": committed.item()}


def vq_loss(model: VQVAE, features: Tensor, commit: float, bf16: bool = False) -> tuple[Tensor, dict]:
    """Loss of a batch of windows (B,T,155) as the causal VAE's, and the commitment; the codebooks learn on the way.

    The gradient passes the codebooks as if they were not there. Returns the loss and its parts, with ``commit``, the
    mean squared distance of vectors and codes.
    """
    base = model.base
    with torch.autocast(features.device.type, torch.bfloat16, enabled=bf16):
        latents = base.encode(features)
    restored, committed = _through(model, latents, bf16)
    with torch.autocast(features.device.type, torch.bfloat16, enabled=bf16):
        predicted = base.decode_raw(restored * base.latent_std + base.latent_mean)
    loss, logs = motion_loss(base.normaliser, predicted, features)
    return MOTION * loss + commit * committed, logs | {"commit": committed.item()}


def _through(model: VQVAE, latents: Tensor, bf16: bool) -> tuple[Tensor, Tensor]:
    """Latents (B,L,C) as the codes give them back, and the commitment; the codebooks learn on the way."""
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=bf16):
        vectors = model.before(latents)
    _, entries = model.quantise(vectors, learn=True)
    committed = F.mse_loss(vectors, entries.sum(0))
    # every window is decoded from its first few levels, so that later ones may be left out
    kept = torch.randint(1, len(entries) + 1, (len(latents), 1, 1), device=latents.device)
    entries = sum(entry * (level < kept) for level, entry in enumerate(entries))
    passed = vectors + (entries - vectors).detach()
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=bf16):
        return model.after(passed), committed


def use(codes: Tensor, size: int) -> tuple[float, float]:
    """How codes (...) of one level are spread over a codebook of ``size``: share that occurs at all, and perplexity."""
    share = torch.bincount(codes.flatten(), minlength=size).double()
    share /= share.sum().clamp(min=1)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return (share > 0).double().mean().item(), entropy.exp().item()


def save_vq(model: VQVAE, folder: Path) -> None:
    """Write vq.json and vq.safetensors (float16), without the causal VAE, into ``folder``."""
    tensors = {k: v for k, v in model.state_dict().items() if not k.startswith("base.")}
    save_file({k: v.detach().cpu().half().contiguous() for k, v in tensors.items()}, folder / "vq.safetensors")
    (folder / "vq.json").write_text(json.dumps(model.config.to_dict(), indent=1), encoding="utf-8")


def vq_hash(folder: Path) -> str:
    """As :func:`codec_hash` for the VQ codec in ``folder``."""
    return codec_hash(folder, "vq.safetensors")


def load_vq(folder: Path, base: Path | None = None, device: str = "cpu") -> VQVAE:
    """The VQ codec of a run folder or checkpoint, frozen, float32, on the causal VAE in ``base`` (default: the one
    among the checkpoints that it was trained on).

    Raises BackendError ``bad_file`` where one of them is missing or damaged or they do not belong together.
    """
    try:
        config = VQVAEConfig(**json.loads((Path(folder) / "vq.json").read_text(encoding="utf-8")))
        tensors = load_file(Path(folder) / "vq.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise BackendError("bad_file", f"There is no VQ codec in {folder}, or it is damaged ({error}).") from error
    if base is None:
        folders = [path.parent for path in paths.checkpoints_folder().glob("*/codec.safetensors")]
        known = {codec_hash(path): path for path in folders}
        base = known.get(config.base, paths.checkpoints_folder() / "momug")
    found = codec_hash(base)
    if config.base != found:
        raise BackendError(
            "bad_file",
            f"The VQ codec in {folder} stands on the codec {config.base}, and {base} holds {found}.",
            "Give the codec that it was trained on.",
        )
    model = VQVAE(config, load_codec(base))
    state = {f"base.{k}": v for k, v in model.base.state_dict().items()}
    try:
        model.load_state_dict(state | {k: v.float() for k, v in tensors.items()})
    except RuntimeError as error:
        raise BackendError("bad_file", f"The weights in {folder} do not fit their vq.json.") from error
    return model.requires_grad_(False).eval().to(device)

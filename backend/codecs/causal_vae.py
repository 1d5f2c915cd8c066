"""Causal VAE: feature frames to continuous latents, four frames a latent (7.5 latents a second).

Follows LLaMo (arXiv 2602.12370): no learned variance, the latent is mu + sigma * eps with sigma drawn anew for every
window. Every convolution looks only backwards, so that latents can be decoded while they arrive.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend.errors import BackendError
from backend.motion.features import BLOCKS, WIDTH, Normaliser, local_positions
from backend.motion.skeleton import CONTACT_JOINTS

STRIDE = 4
FILL = 8  # latents: lengths are multiples of it on a CPU, see `_filled`
ROWS = 4  # motions at once on a CPU, see `_in_few_shapes`
FEET = list(CONTACT_JOINTS)


@dataclass
class CausalVAEConfig:
    features: int = WIDTH
    width: int = 256  # 0: no network, a latent is its four frames as they are (see ``frames_of``)
    latent: int = 64
    blocks: int = 2  # residual blocks at each resolution
    noise: float = 0.05  # largest sigma, in units of the latent's standard deviation

    def to_dict(self) -> dict:
        return asdict(self)


class CausalConv1d(nn.Conv1d):
    """Convolution over (B,C,T) that sees present and past only; the first frame is repeated before the start."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1):
        super().__init__(inputs, outputs, kernel, stride=stride, dilation=dilation)
        self.left = (kernel - 1) * dilation - (stride - 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.left, 0), mode="replicate") if self.left else x)


class ChannelNorm(nn.Module):
    """RMS norm over channels of (B,C,T), frame by frame, so that it stays causal."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6) * self.weight


class ResidualBlock(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.norm = ChannelNorm(width)
        self.conv1 = CausalConv1d(width, width, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(self.norm(x)))))


class Stack(nn.Module):
    """(B,C,T) to (B,4C,T/4): four frames become one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, STRIDE)).transpose(2, 3).flatten(1, 2)


class Unstack(nn.Module):
    """The inverse of ``Stack``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, STRIDE)).transpose(2, 3).flatten(2)


def _filled(x: Tensor, step: int) -> Tensor:
    """(B,T,C) with zeros after it up to a multiple of ``step``, on a CPU: every new length of a convolution is kept in
    memory there, and a causal codec does not hear what comes after."""
    more = -x.shape[1] % step if x.device.type == "cpu" else 0
    return F.pad(x, (0, 0, 0, more)) if more else x


def _in_few_shapes(network: nn.Module, x: Tensor) -> Tensor:
    """``network`` of (B,T,C), over time: on a CPU, where nothing is learnt, ``ROWS`` motions at a time and the rest one
    by one. oneDNN keeps code for each number of rows with each length, about 1 MiB for all layers."""
    x = x.transpose(1, 2)
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return network(x).transpose(1, 2)
    whole, rest = divmod(len(x), ROWS)
    return torch.cat([network(piece) for piece in x.split([ROWS] * whole + [1] * rest)]).transpose(1, 2)


class CausalVAE(nn.Module):
    """Encoder and decoder. ``latent_mean`` and ``latent_std`` (C,) scale latents to zero mean and unit variance."""

    def __init__(self, config: CausalVAEConfig):
        super().__init__()
        self.config = config
        width = config.width

        def residual() -> list[nn.Module]:
            return [ResidualBlock(width, 3**i) for i in range(config.blocks)]

        self.encoder = (
            nn.Sequential(Stack())
            if not width
            else nn.Sequential(
                CausalConv1d(config.features, width, 3),
                *residual(),
                CausalConv1d(width, width, 4, stride=2),
                *residual(),
                CausalConv1d(width, width, 4, stride=2),
                *residual(),
                ChannelNorm(width),
                nn.SiLU(),
                nn.Conv1d(width, config.latent, 1),
            )
        )
        self.decoder = (
            nn.Sequential(Unstack())
            if not width
            else nn.Sequential(
                CausalConv1d(config.latent, width, 3),
                *residual(),
                nn.Upsample(scale_factor=2, mode="nearest"),
                CausalConv1d(width, width, 3),
                *residual(),
                nn.Upsample(scale_factor=2, mode="nearest"),
                CausalConv1d(width, width, 3),
                *residual(),
                ChannelNorm(width),
                nn.SiLU(),
                CausalConv1d(width, config.features, 3),
            )
        )
        self.register_buffer("mean", torch.zeros(config.features))
        self.register_buffer("std", torch.ones(config.features))
        self.register_buffer("latent_mean", torch.zeros(config.latent))
        self.register_buffer("latent_std", torch.ones(config.latent))

    @property
    def normaliser(self) -> Normaliser:
        return Normaliser(self.mean, self.std)

    def encode_raw(self, features: Tensor) -> Tensor:
        """Features (B,T,155), T a multiple of 4, in their own units, to unscaled latents (B,T/4,C)."""
        x = self.normaliser.forward(features).to(self.mean.dtype)
        length = x.shape[1] // STRIDE
        return _in_few_shapes(self.encoder, _filled(x, STRIDE * FILL))[:, :length].float()

    def decode_raw(self, latents: Tensor) -> Tensor:
        """Unscaled latents (B,L,C) to normalised features (B,4L,155); contacts are logits."""
        frames = latents.shape[1] * STRIDE
        x = _filled(latents.to(self.mean.dtype), FILL)
        return _in_few_shapes(self.decoder, x)[:, :frames].float()

    def encode(self, features: Tensor) -> Tensor:
        """Features (B,T,155) in their own units to latents (B,T/4,C) of zero mean and unit variance."""
        return (self.encode_raw(features) - self.latent_mean) / self.latent_std

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B,L,C) to features (B,4L,155) in their own units, contacts in 0..1."""
        normalised = self.decode_raw(latents * self.latent_std + self.latent_mean)
        features = self.normaliser.inverse(normalised)
        contacts = normalised[..., BLOCKS["contacts"]]
        features[..., BLOCKS["contacts"]] = contacts.sigmoid() if self.config.width else contacts.clamp(0, 1)
        return features


def frames_of(codec: CausalVAE) -> CausalVAE:
    """The paper's form in a codec's place (arXiv 2503.06119): raw feature frames, normalised as ``codec`` does, four of
    them a latent, so that sequences are as long as those of latents."""
    frames = CausalVAE(CausalVAEConfig(width=0, latent=STRIDE * codec.config.features, blocks=0, noise=0.0))
    frames.mean.copy_(codec.mean)
    frames.std.copy_(codec.std)
    return frames.requires_grad_(False).eval().to(codec.mean.device)


def kinematic_errors(made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """How differently two feature sequences (B,T,155), in their own units, move: (B,T or T-1 or T-2, joints or feet).

    position (B,T,22,3), velocity (B,T-1,22,3), acceleration (B,T-2,22,3): differences of joints in the heading frame,
    metres and frames; slide (B,T-1,4,2): of the feet's movement over the floor, which is their own plus the pelvis'
    travel: the sum has to agree, or feet slide.
    """
    position = local_positions(made) - local_positions(wanted)
    own = position[:, :, FEET][..., [0, 2]].diff(dim=1)
    return {
        "position": position,
        "velocity": position.diff(dim=1),
        "acceleration": position.diff(n=2, dim=1),
        "slide": own + (made - wanted)[:, 1:, None, :2],
    }


def reconstruction_loss(model: CausalVAE, features: Tensor, bf16: bool = False) -> tuple[Tensor, dict]:
    """Loss of a batch of windows (B,T,155): smooth L1, FK positions and velocities, contacts, and a weak prior.

    ``bf16`` runs the convolutions in bfloat16; kinematics and losses always stay in float32.
    Returns the loss and its parts: ``mpjpe`` (metres, pelvis-relative), ``rotation`` (6D), ``root``, ``contact``.
    """
    with torch.autocast(features.device.type, torch.bfloat16, enabled=bf16):
        mu = model.encode_raw(features)
        spread = mu.detach().flatten(0, 1).std(0)
        sigma = torch.rand(len(mu), 1, 1, device=mu.device) * model.config.noise * spread
        predicted = model.decode_raw(mu + sigma * torch.randn_like(mu))
    loss, logs = motion_loss(model.normaliser, predicted, features)
    prior = 1e-5 * (mu.pow(2).mean() + spread.log().pow(2).mean())
    return loss + prior, logs


def motion_loss(normaliser: Normaliser, predicted: Tensor, features: Tensor) -> tuple[Tensor, dict]:
    """How far ``predicted`` (B,T,155), normalised and with contacts as logits, is from ``features`` (B,T,155) in their
    own units.

    Returns the loss and its parts as :func:`reconstruction_loss` does.
    """
    target = normaliser.forward(features)
    root = F.smooth_l1_loss(predicted[..., :4], target[..., :4], beta=0.1)
    rotation = F.smooth_l1_loss(predicted[..., 4:136], target[..., 4:136], beta=0.1)
    contact = F.binary_cross_entropy_with_logits(predicted[..., 136:140], features[..., 136:140])
    errors = kinematic_errors(normaliser.inverse(predicted), features)
    position, velocity = _smooth_l1(errors["position"], 0.01), _smooth_l1(errors["velocity"], 0.002)
    acceleration, slide = errors["acceleration"].abs().mean(), errors["slide"].abs().mean()
    # positions say nothing of the twist of wrists and head: rotations count four times
    loss = 7 * root + 4 * rotation + 30 * position + 30 * velocity + 20 * acceleration + 10 * slide + 0.1 * contact
    with torch.no_grad():
        logs = {
            "loss": loss.item(),
            "mpjpe": errors["position"].norm(dim=-1).mean().item(),
            "rotation": rotation.item(),
            "root": root.item(),
            "contact": contact.item(),
            "slide": slide.item(),
        }
    return loss, logs


def _smooth_l1(error: Tensor, beta: float) -> Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta)


def save_codec(model: CausalVAE, folder: Path) -> None:
    """Write codec.json and codec.safetensors (float16) into ``folder``."""
    tensors = {k: v.detach().cpu().half() for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "codec.safetensors")
    (folder / "codec.json").write_text(json.dumps(model.config.to_dict(), indent=1), encoding="utf-8")


def load_codec(folder: Path, device: str = "cpu") -> CausalVAE:
    """The codec of a run folder or checkpoint, frozen, float32."""
    config = CausalVAEConfig(**json.loads((Path(folder) / "codec.json").read_text(encoding="utf-8")))
    model = CausalVAE(config)
    model.load_state_dict({k: v.float() for k, v in load_file(Path(folder) / "codec.safetensors").items()})
    return model.requires_grad_(False).eval().to(device)


def codec_hash(folder: Path, file: str = "codec.safetensors") -> str:
    """Sixteen hex digits that name the codec in a run folder or checkpoint, by its weights in ``file``.

    Latents of one codec mean nothing to another. Raises BackendError ``bad_file``.
    """
    try:
        return hashlib.sha256((Path(folder) / file).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise BackendError("bad_file", f"There is no codec in {folder}: {error.strerror}.") from error

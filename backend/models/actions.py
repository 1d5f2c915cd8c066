"""Which actions a motion shows: a small net on the codec's latents that gives every verb of the captions a probability.

A language model of this size writes well and recognises coarsely. This net only recognises: captions are begun with the
verbs that it is surest of, and of several captions those are preferred that name them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from backend.errors import BackendError
from backend.models import checkpoint

FILE = "actions.safetensors"
BEGUN = 4  # of the captions that are written
LIKELY = 0.25  # of a verb that a caption is begun with


class ActionNet(nn.Module):
    """A temporal convolutional net, ours: every verb is recognised by itself (binary cross-entropy), in any number.

    Latents (B,L,C) of the causal VAE, four frames each, with True in mask (B,L) where there is one, to logits (B,V) of
    ``verbs`` (``backend.data.grammar.action_words``: third person singular).
    """

    def __init__(self, latent: int, verbs: list[str], width: int = 160, dropout: float = 0.3):
        super().__init__()
        self.verbs, self.dropout = verbs, nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            [
                nn.Conv1d(latent, width, 5, padding=2),
                nn.Conv1d(width, width, 5, padding=2),
                nn.Conv1d(width, width, 5, padding=4, dilation=2),
            ]
        )
        self.out = nn.Linear(2 * width, len(verbs))

    def forward(self, latents: Tensor, mask: Tensor) -> Tensor:
        there = mask[:, None].to(latents.dtype)
        first, *others = self.layers
        x = F.gelu(self.dropout(first(latents.transpose(1, 2) * there)))
        for layer in others:
            x = x + F.gelu(self.dropout(layer(x * there)))
        mean = (x * there).sum(-1) / there.sum(-1)
        return self.out(self.dropout(torch.cat([mean, x.masked_fill(there == 0, -torch.inf).amax(-1)], 1)))

    @torch.no_grad()
    def shown(self, latents: Tensor) -> dict[str, float]:
        """The probability of every verb, for one motion's latents (L,C); likeliest first."""
        weight = self.out.weight
        latents = latents.to(weight.device, weight.dtype)[None]
        chances = self(latents, latents.new_ones(latents.shape[:2], dtype=torch.bool))[0].sigmoid().tolist()
        return dict(sorted(zip(self.verbs, chances, strict=True), key=lambda row: -row[1]))


def shown(net: ActionNet | None, latents: Tensor) -> dict[str, float]:
    """``net.shown(latents)``; nothing where there is no net."""
    return {} if net is None else net.shown(latents)


def beginnings(shown: dict[str, float], count: int) -> list[str]:
    """``count`` beginnings of a caption, with the likeliest verbs by turns; none where no verb is likely."""
    likely = [verb for verb, chance in shown.items() if chance >= LIKELY][:count]
    return [f" a person {likely[i % len(likely)]}" for i in range(count)] if likely else []


def save(net: ActionNet, folder: Path) -> None:
    """Write actions.safetensors: float16, with the verbs in its header."""
    tensors = {name: value.detach().half().contiguous() for name, value in net.state_dict().items()}
    save_file(tensors, folder / FILE, metadata={"verbs": " ".join(net.verbs)})


def load(folder: Path, device: str = "cpu") -> ActionNet | None:
    """The net of a checkpoint folder, or None where it has none. Raises BackendError ``checkpoint_damaged``."""
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, "pt") as file:
            verbs = file.metadata()["verbs"].split()
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        width, latent, _ = tensors["layers.0.weight"].shape
        net = ActionNet(latent, verbs, width)
        net.load_state_dict(tensors)
    except (OSError, KeyError, TypeError, AttributeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackendError("checkpoint_damaged", f"The weights in {FILE} cannot be read.", checkpoint.HINT) from error
    return net.requires_grad_(False).eval().to(device)

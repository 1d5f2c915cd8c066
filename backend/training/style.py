"""A style pack from a folder of motion: LoRA on the head of a finished checkpoint, minutes on a CPU."""

import shutil
from pathlib import Path

import numpy as np

from backend import paths
from backend.errors import BackendError
from backend.language import base
from backend.models.momug import style
from backend.models.momug.model import load_checkpoint
from backend.models.styles import NAME, Style, read
from backend.training.momug import MoMugTask, TextCache, balance, read_split


class StyleTask(MoMugTask):
    """The loss of stage 1 on the user's windows; only the pack's layers are trained.

    Without a val split every eighth training window is held out.
    """

    def __init__(self, recipe: dict, data: Path, device: str, out: Path):
        about = recipe.get("style", {})
        if not NAME.fullmatch(about.get("name", "")):
            raise BackendError("bad_request", "A style needs a name of small letters, digits and dashes.")
        checkpoint = Path(recipe.get("start") or paths.checkpoints_folder() / "momug")
        self.recipe, self.device = recipe, device
        self.batch, self.text_dropout = recipe.get("batch", 16), recipe.get("text_dropout", 0.1)
        self.momug = load_checkpoint(checkpoint, device)
        self.config, self.alpha_bar = self.momug.config, self.momug.alpha_bar
        self.random = np.random.default_rng(recipe.get("schedule", {}).get("seed", 0))
        codec = self.momug.codec
        self.train, self.train_latents = read_split(data, "train", codec, checkpoint, device)
        self.val, self.val_latents = read_split(data, "val", codec, checkpoint, device)
        if len(self.train) < 2:
            raise BackendError("bad_file", f"There are fewer than two windows of motion in {data}.")
        if not len(self.val):
            self._hold_out()
        self.weights = balance(self.train.rows)
        self.queue = []
        captions = sorted({c for rows in (self.train.rows, self.val.rows) for row in rows for c in row["captions"]})
        parts = self.momug.language_model, self.momug.tokenizer, captions, device
        self.cache = TextCache(*parts, out.parent / "text", base.base_hash())
        head = base.sha256_file(checkpoint / "head.safetensors")
        self.about = Style(
            head=head, **({"label": about["name"], "licence": "the owner's", "commercial": True} | about)
        )
        style.inject(self.momug.head, self.about.name, self.about.rank)
        self.model = self.momug.head

    def _hold_out(self) -> None:
        held = set(range(0, len(self.train), 8))
        self.val.rows, self.val_latents = (
            [x for i, x in enumerate(values) if i in held] for values in (self.train.rows, self.train_latents)
        )
        self.train.rows, self.train_latents = (
            [x for i, x in enumerate(values) if i not in held] for values in (self.train.rows, self.train_latents)
        )

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "lr": learning_rate}]

    def validate(self, model) -> dict[str, float]:
        """Loss on held-out windows, with the pack and without it."""
        loss = self._held_out_loss(model)
        style.use(model, None)
        plain = self._held_out_loss(model)
        style.use(model, self.about.name, trains=True)
        return {"score": loss, "val_loss": loss, "val_loss_without": plain}

    def export(self, model, folder: Path, record: dict) -> None:
        style.save(model, self.about, folder)


def install(folder: Path) -> Path:
    """Copy a trained pack to the user's packs, where the backend finds it; returns where it lies now."""
    about = read(folder)
    if about is None:
        raise BackendError("bad_file", f"There is no style pack in {folder}.")
    place = paths.styles_folder() / about.name
    place.mkdir(parents=True, exist_ok=True)
    for name in ("style.safetensors", "style.json"):
        shutil.copyfile(folder / name, place / name)
    return place

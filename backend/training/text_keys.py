"""Keys and values of the training captions, computed once: the frozen text half never runs in the training loop."""

import json
import logging
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from backend.language import text
from backend.models.llamo.text_half import text_keys

SHARD = 512  # captions a file: some 150 MB
log = logging.getLogger(__name__)


class TextKeys:
    """Keys and values of captions in ``folder``, in files of ``SHARD`` captions; only missing ones are computed.

    The files stay on disk and are read row by row: a token of a 30-layer model takes 23 kB. One set of files for each
    base model; a data set with new captions adds files.
    """

    def __init__(self, language_model, tokenizer, captions: list[str], device: str, folder: Path, base_hash: str):
        self.where: dict[str, tuple[int, int, int]] = {}  # caption -> file, first token, tokens
        self.files = []
        self.folder, self.base = folder, base_hash[:16]
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob(f"keys-{self.base}-*.safetensors")):
            self._open(path)
        missing = sorted({*captions, ""} - self.where.keys(), key=lambda c: (len(c), c))
        for begin in range(0, len(missing), SHARD):
            log.info("keys and values of %d more captions", len(missing) - begin)
            self._compute(language_model, tokenizer, missing[begin : begin + SHARD], device)

    def length(self, caption: str) -> int:
        """Tokens of a caption, with its BOS."""
        return self.where[caption][2]

    def batch(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """(layers,2,B,kv_heads,S,head_width) bfloat16 and mask (B,S)."""
        rows = []
        for caption in captions:
            file, start, length = self.where[caption]
            rows.append(self.files[file].get_slice("keys")[start : start + length])
        mask = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.bool)
        for row, found in enumerate(rows):
            mask[row, : len(found)] = True
        # files: (tokens,layers,2,kv_heads,head_width)
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).permute(2, 3, 0, 4, 1, 5).contiguous(), mask

    def _open(self, path: Path) -> None:
        file = safe_open(path, "pt")
        start = 0
        for caption, length in json.loads(file.metadata()["captions"]):
            self.where[caption] = (len(self.files), start, length)
            start += length
        self.files.append(file)

    def _compute(self, language_model, tokenizer, captions: list[str], device: str, batch: int = 64) -> None:
        found, about = [], []
        for begin in range(0, len(captions), batch):
            rows = captions[begin : begin + batch]
            ids, mask = text.tokenise(tokenizer, rows)
            keys = text_keys(language_model, ids.to(device), mask.to(device)).permute(2, 4, 0, 1, 3, 5)
            for row, caption in enumerate(rows):
                length = int(mask[row].sum())
                found.append(keys[row, :length].to("cpu", torch.bfloat16))
                about.append((caption, length))
        path = self.folder / f"keys-{self.base}-{len(self.files):04d}.safetensors"
        temporary = path.with_suffix(".tmp")
        save_file({"keys": torch.cat(found)}, temporary, metadata={"captions": json.dumps(about)})
        temporary.replace(path)
        self._open(path)


def chosen_captions(rows: list[dict], count: int) -> list[list[str]]:
    """At most ``count`` captions of each window: its first other one, and those that most windows share.

    Keys and values of all captions would take a training run longer than the run itself.
    """
    often: dict[str, int] = {}
    for row in rows:
        for caption in row["captions"]:
            often[caption] = often.get(caption, 0) + 1
    chosen = []
    for row in rows:
        own = list(dict.fromkeys(row["captions"]))
        shared = sorted(own, key=lambda c: -often[c])[: max(count - 1, 1)]
        chosen.append(shared + [c for c in own if c not in shared][: count - len(shared)])
    return chosen

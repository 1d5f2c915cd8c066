"""Few-step distillation of MoMug's head: five readings learn what forty did.

The teacher is the finished head in 20 guided steps, two readings each. The student, the same head with low-rank changes
(``models.momug.few``), reads once a step and is asked, at each of the few times its sampler visits, for the clean
latents that bring it where the teacher is four steps later (progressive distillation, Salimans and Ho, arXiv
2202.00512, with guidance learnt too: Meng et al., arXiv 2210.03142). The teacher's courses begin at noise and are made
once: the student sees the states that a sampler sees. Where a motion lacks what can be measured of its sentence, the
same noise is denoised in other words as the preset *best* does (``models.wordings``), and what obeys is learnt as the
answer to the first words; what still lacks something is drawn less often. Courses are dear:
a share of the batches learns no more than single guided steps of noised motion data.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from backend.codecs.causal_vae import STRIDE
from backend.errors import BackendError
from backend.models import choosing, wordings
from backend.models.momug import few, windows
from backend.models.momug.sampling import add_noise, ddim, guided
from backend.motion import features
from backend.protocol import FPS
from backend.training.momug import MoMugTask, pad

SETTINGS = {
    "few_steps": 5,
    "teacher_steps": 20,
    "courses": 4096,
    "rank": few.RANK,
    "denied": 0.3,
    "held_out": 32,
    "single": 0.0,
}
SHARD = 8  # batches of courses in a file
log = logging.getLogger(__name__)


@dataclass
class Courses:
    """What the teacher did. states: list of (steps + 1,L,C) float16, from noise to clean latents; captions: the first
    words of each; denied: how many kinds of claims of the caption do not hold (N,)."""

    states: list[Tensor]
    captions: list[str]
    denied: np.ndarray


def aim(x_t: Tensor, x_then: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """The x0 with which one DDIM step from x_t (B,L,C) leads to x_then; now, then: alpha_bar (B,) of both times."""
    now, then = now[:, None, None], then[:, None, None]
    shrink = ((1 - then) / (1 - now)).sqrt()
    return (x_then - shrink * x_t) / (then.sqrt() - shrink * now.sqrt())


class DistilTask(MoMugTask):
    """``[distil]``: few_steps; teacher_steps, a multiple of them; courses, how many; rank; denied, how often a course
    is drawn that lacks something; held_out, how many courses of held-out sentences there are at least; single,
    the share of batches that learn a guided step of noised data instead (:meth:`_single_loss`)."""

    def __init__(self, recipe: dict, data: Path, device: str, out: Path):
        super().__init__(recipe, data, device, out)
        about = SETTINGS | recipe.get("distil", {})
        self.single = about["single"]
        self.few_steps, self.teacher_steps = about["few_steps"], about["teacher_steps"]
        if self.teacher_steps % self.few_steps:
            raise BackendError("bad_file", "The teacher's steps have to be a multiple of the student's.")
        self.times = torch.linspace(self.config.timesteps - 1, 0, self.few_steps + 1).round().long()
        self.momug.head.requires_grad_(False).eval()
        self.momug.config.few_steps = self.few_steps
        self.train_courses = self._kept(out / "courses", about["courses"], self._sentences)
        self.val_courses = self._kept(
            out / "courses_val", min(about["held_out"], len(self.val)), self._held_out, again=False
        )
        obeys = self.train_courses.denied == 0
        log.info("%d courses, %.0f %% obey", len(obeys), 100 * obeys.mean())
        self.drawn = np.where(obeys, 1.0, about["denied"])
        self.drawn /= self.drawn.sum()
        self.model = self.momug.few = few.attach(self.momug.head, about["rank"])
        self.order: list[np.ndarray] = []

    def _sentences(self) -> Iterator[tuple[list[str], list[int]]]:
        while True:
            rows, captions = self._next_batch()
            yield captions, [len(self.train_latents[i]) for i in rows]

    def _held_out(self) -> Iterator[tuple[list[str], list[int]]]:
        order = self.random.permutation(len(self.val))
        for begin in range(0, len(order), self.batch):
            rows = order[begin : begin + self.batch]
            yield [self.val.rows[i]["captions"][0] for i in rows], [len(self.val_latents[i]) for i in rows]

    def _kept(self, folder: Path, count: int, draw, again: bool = True) -> Courses:
        """Courses from ``folder``; those that are missing are made and kept there."""
        folder.mkdir(parents=True, exist_ok=True)
        found = Courses([], [], np.zeros(0, int))
        for path in sorted(folder.glob("*.safetensors")):
            _append(found, _read(path))
        sentences = draw()
        while (have := len(found.states)) < count:
            torch.manual_seed(have)  # what is made does not depend on how often making was broken off
            self.random, self.queue = np.random.default_rng(have), []
            made = Courses([], [], np.zeros(0, int))
            for _, (captions, lengths) in zip(range(SHARD), sentences, strict=False):
                _append(made, self.courses(captions, lengths, again))
            _write(made, folder / f"{have:06d}.safetensors")
            _append(found, made)
            log.info("%d courses, %.0f %% of the last obey", len(found.states), 100 * (made.denied == 0).mean())
        return found

    @torch.no_grad()
    def courses(self, captions: list[str], lengths: list[int], again: bool = True) -> Courses:
        """The teacher's courses for captions, each of as many latents as ``lengths`` says, from fresh noise."""
        noise = torch.randn(len(captions), max(lengths), self.config.codec.latent, device=self.device)
        states, denied = self._teach([[caption] for caption in captions], lengths, noise, captions)
        for way in range(wordings.MOST if again else 0):
            rows = [i for i in np.flatnonzero(denied) if len(wordings.others(captions[i])) > way]
            if not rows:
                continue
            other, sizes = [wordings.others(captions[i])[way] for i in rows], [lengths[i] for i in rows]
            words = [captions[i] for i in rows]
            better, lacking = self._teach(other, sizes, noise[rows][:, : max(sizes)], words)
            for row, state, lacks in zip(rows, better, lacking, strict=True):
                if not lacks:
                    states[row], denied[row] = state, 0
        return Courses(states, captions, denied)

    def _teach(self, asked: list[list[str]], lengths: list[int], noise: Tensor, captions: list[str]):
        """States (steps + 1,L,C) of rows that are each asked for in one or several sentences, and what they lack."""
        least = round(self.config.min_seconds * FPS) // STRIDE
        plans = [
            windows.plan(wordings.shared(length, [1.0] * len(said), least), self.momug.longest)
            for said, length in zip(asked, lengths, strict=True)
        ]
        said = [sentences[w.prompt] for sentences, plan in zip(asked, plans, strict=True) for w in plan]
        sizes = torch.tensor([w.stop - w.start for plan in plans for w in plan], device=self.device)
        words, mask = self._read_texts(said)
        nothing = words[:, :1], torch.zeros_like(mask[:, :1])
        every, seen, at = self.teacher_steps // self.few_steps, [], 0

        def on_step(index: int) -> None:
            nonlocal at
            at = index

        def predict(x_t: Tensor, t: int) -> Tensor:
            if at % every == 0:
                seen.append(x_t)
            cuts = [x_t[row, w.start : w.stop] for row, plan in enumerate(plans) for w in plan]
            cut = torch.nn.utils.rnn.pad_sequence(cuts, batch_first=True)
            times = torch.full((len(cut),), t, device=self.device)
            with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.get("bf16", True)):
                one = self.momug.head(cut, times, sizes, words, mask)
                other = self.momug.head(cut, times, sizes, *nothing)
            x0, made = torch.zeros_like(x_t), guided(one, other, self.config.guidance_scale, sizes)
            for row, (plan, part) in enumerate(zip(plans, made.split([len(plan) for plan in plans]), strict=True)):
                x0[row, : lengths[row]] = windows.scatter(part, plan, lengths[row])[0]
            return x0

        seen.append(ddim(predict, noise, self.alpha_bar, self.teacher_steps, on_step=on_step))
        states = [torch.stack([x[row, :length] for x in seen]) for row, length in enumerate(lengths)]
        decoded = self.momug.codec.decode(seen[-1]).cpu().numpy()
        denied = [
            len(choosing.score([caption], [0], features.decode(frames[: length * STRIDE]))[1])
            for caption, frames, length in zip(captions, decoded, lengths, strict=True)
        ]
        return [x.to("cpu", torch.float16) for x in states], np.array(denied)

    def _read_texts(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """Text states and mask of sentences, also of ones that no caption says."""
        self.cache.extend(self.momug.language_model, self.momug.tokenizer, sentences, self.device)
        words, mask = self.cache.batch(sentences, np.zeros(len(sentences), bool))
        return words.to(self.device), mask.to(self.device)

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "lr": learning_rate}]

    def _next_rows(self) -> np.ndarray:
        """Indices of courses of similar length."""
        if not self.order:
            count = len(self.drawn)
            drawn = self.random.choice(count, count, p=self.drawn)
            size = [self.train_courses.states[i].shape[1] for i in drawn] + self.random.uniform(-4, 4, count)
            self.order = np.array_split(drawn[np.argsort(size)], max(count // self.batch, 1))
            self.random.shuffle(self.order)
        return self.order.pop()

    def _single_loss(self) -> Tensor:
        """The same of one guided step of the teacher, on noised motion data: two readings instead of forty, and every
        caption's turn, but no more than the guidance is learnt."""
        rows, captions = self._next_batch()
        x0, lengths = pad([self.train_latents[i] for i in rows], self.device)
        step = torch.from_numpy(self.random.integers(0, self.few_steps, len(rows))).to(self.device)
        t = self.times.to(self.device)[step]
        x_t = add_noise(x0, torch.randn_like(x0), self.alpha_bar[t])
        words, mask = self._read_texts(captions)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.get("bf16", True)):
            with torch.no_grad():
                one = self.momug.head(x_t, t, lengths, words, mask)
                other = self.momug.head(x_t, t, lengths, words[:, :1], torch.zeros_like(mask[:, :1]))
                wanted = guided(one, other, self.config.guidance_scale, lengths)
            made = self.model(x_t, t, lengths, words, mask)
        return self._missed(made, wanted, lengths) + self._share * self._decoded_loss(made, wanted, lengths, t)

    @property
    def _share(self) -> float:
        return self.recipe.get("decoded", 0.0)

    def _missed(self, made: Tensor, wanted: Tensor, lengths: Tensor) -> Tensor:
        valid = (torch.arange(made.shape[1], device=self.device) < lengths[:, None]).float()
        error = F.mse_loss(made, wanted, reduction="none").mean(-1)
        return ((error * valid).sum(1) / valid.sum(1)).mean()

    def _course_loss(self, found: Courses, rows: np.ndarray, step: np.ndarray, decoded: float) -> Tensor:
        """Mean square of what the student's x0 misses at the steps (B,) of courses, and a share of the decoded loss."""
        now, lengths = pad([found.states[i][s].float() for i, s in zip(rows, step, strict=True)], self.device)
        then, _ = pad([found.states[i][s + 1].float() for i, s in zip(rows, step, strict=True)], self.device)
        step = torch.from_numpy(step).to(self.device)
        t = self.times.to(self.device)[step]
        last = (step == self.few_steps - 1)[:, None, None]
        after = self.alpha_bar[self.times.to(self.device)[step + 1]]
        x0 = torch.where(last, then, aim(now, then, self.alpha_bar[t], after))
        words, mask = self.cache.batch([found.captions[i] for i in rows], np.zeros(len(rows), bool))
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.get("bf16", True)):
            made = self.model(now, t, lengths, words.to(self.device), mask.to(self.device))
        loss = self._missed(made, x0, lengths)
        return loss + decoded * self._decoded_loss(made, x0, lengths, t) if decoded else loss

    def loss(self, model):
        if self.random.random() < self.single:
            loss = self._single_loss()
            return loss, {"loss": loss.item()}
        rows = self._next_rows()
        step = self.random.integers(0, self.few_steps, len(rows))
        loss = self._course_loss(self.train_courses, rows, step, self._share)
        return loss, {"loss": loss.item()}

    def validate(self, model) -> dict[str, float]:
        """The loss at each step of courses of held-out sentences."""
        found, order = self.val_courses, np.arange(len(self.val_courses.states))
        figures: dict[str, float] = {}
        for step in range(self.few_steps):
            total = 0.0
            for begin in range(0, len(order), self.batch):
                rows = order[begin : begin + self.batch]
                total += self._course_loss(found, rows, np.full(len(rows), step), 0.0).item() * len(rows)
            figures[f"val_{step}"] = total / len(order)
        return {"score": sum(figures.values()) / self.few_steps, **figures}

    def export(self, model, folder: Path, record: dict) -> None:
        self.momug.shortcut = few.changes(model)
        super().export(model, folder, record)


def _append(found: Courses, more: Courses) -> None:
    found.states += more.states
    found.captions += more.captions
    found.denied = np.concatenate([found.denied, more.denied])


def _write(found: Courses, path: Path) -> None:
    tensors = {
        "states": torch.cat([x.flatten(0, 1) for x in found.states]),
        "sizes": torch.tensor([x.shape[:2] for x in found.states]),
        "denied": torch.from_numpy(found.denied),
    }
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"captions": json.dumps(found.captions)})
    temporary.replace(path)


def _read(path: Path) -> Courses:
    with safe_open(path, "pt") as file:
        captions, sizes = json.loads(file.metadata()["captions"]), file.get_tensor("sizes").tolist()
        flat = file.get_tensor("states").split([steps * length for steps, length in sizes])
        states = [x.unflatten(0, size) for x, size in zip(flat, sizes, strict=True)]
        return Courses(states, captions, file.get_tensor("denied").numpy())

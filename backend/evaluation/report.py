"""``python -m backend evaluate``: does the model do what is asked, does it move like the capture, does it caption?

Own measurements with our own evaluator on own data: nothing here is comparable with published FID or R-precision
tables. Every figure of the model stands beside the same figure of real motion, the codec's reconstruction, the training
motion whose caption is nearest, a random training motion and the mean pose.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from backend import models, requests
from backend.errors import BackendError
from backend.evaluation import captioning, metrics, page
from backend.evaluation.evaluator import load_evaluator
from backend.evaluation.prompts import FRESH, PROMPTS, Prompt, generate, judge, rates
from backend.evaluation.proof import Judge
from backend.evaluation.references import References, generated, reconstructed
from backend.evaluation.retargeted import on_second_body
from backend.evaluation.wording import Meaning
from backend.motion.quality import metrics as quality
from backend.motion.skeleton import Motion
from backend.training.dataset import load_windows

log = logging.getLogger(__name__)
SCHEMA = 1
VARIATIONS = 4  # motions of a sentence for the multimodality
RANKS = 32


def evaluate(
    name: str,
    data: Path,
    split: str = "test",
    device: str = "auto",
    seeds: int = 5,
    preset: str | None = None,
    captions: bool = True,
    evaluator: Path | None = None,
    prompts: tuple[Prompt, ...] = PROMPTS,
) -> tuple[dict, dict]:
    """Measure a model on one split of a built data set.

    seeds: how often each sentence and each prompt is generated; a seed also takes another caption of every window.
    Returns the record (plain numbers, see backend/evaluation/README.md) and what the HTML report draws:
    {"prompts": [(Prompt, {row: Motion})], "ranks": {row: share of right captions among the best 1..32}}.
    Raises BackendError when the model, the evaluator, the data or a library is missing.
    """
    if seeds < 1:
        raise BackendError("bad_request", "At least one seed is needed.")
    about = requests.available_model(name, models.describe())
    captions = captions and bool(about["captions"])
    if captions:
        captioning.check_libraries()
    judging = load_evaluator(evaluator)
    windows = load_windows(data, split, keep_motions=True)
    train = load_windows(data, "train", keep_motions=True)
    meaning = Meaning([c for row in train.rows for c in row["captions"]])
    model = models.load(name, device)
    training = judging.embed_features(train.features)
    bench = Bench(Judge(judging, windows, meaning, training), training)
    references = References(train, meaning)
    frames = [m.frames for m in windows.motions]
    rebuilt = reconstructed(model, windows) if hasattr(model, "codec") else None
    after = {"real": after_retargeting(windows.motions)} | ({"codec": after_retargeting(rebuilt)} if rebuilt else {})
    for seed in range(seeds):
        sentences = bench.judge.sentences(seed)
        bench.add("real", windows.motions, sentences, after["real"])
        if rebuilt:
            bench.add("codec", rebuilt, sentences, after["codec"])
        made = generated(model, sentences, frames, seed, preset)
        bench.add(name, made, sentences, after_retargeting(made))
        bench.add("retrieval", references.retrieved(sentences, frames, seed), sentences)
        bench.add("random", references.random(frames, seed), sentences)
        bench.add("mean pose", references.mean_pose(frames), sentences)
        found = ", ".join(f"{row} {100 * figures[seed]['R@3']:.0f} %" for row, figures in bench.found.items())
        log.info("seed %d of %d, R@3 of 32: %s", seed + 1, seeds, found)
    record = {
        "schema": SCHEMA,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "model": name,
        "preset": preset or about.get("default_preset", ""),
        "split": split,
        "windows": len(windows),
        "training_windows": len(train),
        "seeds": seeds,
        "evaluator": {"sha256": judging.sha256, "dimensions": len(bench.judge.projection.axes)},
        "rows": bench.rows(),
    }
    if rebuilt:
        record["codec"] = codec_errors(windows.motions, rebuilt)
    log.info("%s: multimodality and %d prompts", name, len(prompts))
    record["multimodality"] = _multimodality(model, bench.judge, preset)
    record["prompts"], drawn = _prompts(model, name, references, prompts, seeds, preset)
    record["fresh"], _ = _prompts(model, name, references, FRESH, seeds, preset)
    passing = record["prompts"]["rates"]
    log.info("prompts obeyed: %s", ", ".join(f"{row} {100 * r['passed']['mean']:.0f} %" for row, r in passing.items()))
    if captions:
        log.info("%s: captions", name)
        known = [row["captions"] for row in train.rows]
        record["captions"] = captioning.table(model, bench.judge, bench.real, known, training)
    return record, {"prompts": drawn, "ranks": {row: list(v) for row, v in bench.curves.items()}}


class Bench:
    """Figures of each row, collected seed by seed."""

    def __init__(self, judge: Judge, training: np.ndarray):
        self.judge, self.training = judge, training
        self.real = judge.evaluator.embed_motions(judge.windows.motions)
        self.found: dict[str, list[dict[str, float]]] = {}
        self.curves: dict[str, np.ndarray] = {}
        self.intervals: dict[str, list[float]] = {}

    def add(self, row: str, motions: list[Motion], sentences: list[str], further: dict | None = None) -> None:
        """Measure one seed's motions, one for each window of the split, made for ``sentences``; add ``further``."""
        embedded = self.judge.evaluator.embed_motions(motions)
        projected, real = self.judge.projection(embedded), self.judge.projection(self.real)
        figures = self.judge.retrieval(embedded, sentences) | {
            "frechet": metrics.frechet_distance(projected, real),
            "diversity": metrics.diversity(embedded),
            "nearest_training": metrics.nearest(embedded, self.training),
        }
        figures |= _animators(motions, "motion") | (further or {})
        if row not in self.found:
            self.intervals[row] = metrics.bootstrap(projected, real)
            similarity = embedded @ self.judge.evaluator.embed_texts(sentences).T
            same = self.judge.meaning.said_of(sentences, self.judge.known).T >= Meaning.SAME
            rank = metrics.ranks(similarity, same)
            self.curves[row] = np.array([(rank <= k).mean() for k in range(1, RANKS + 1)])
        self.found.setdefault(row, []).append(figures)

    def rows(self) -> dict[str, dict]:
        """Mean and half of the 95 % interval over seeds of every figure; "frechet_bootstrap" is of the first seed."""
        return {
            row: {key: metrics.interval([f[key] for f in seeds]) for key in seeds[0]}
            | {"frechet_bootstrap": self.intervals[row]}
            for row, seeds in self.found.items()
        }


def after_retargeting(motions: list[Motion]) -> dict[str, float]:
    """The animator's figures on another body, after the add-on's retargeting and foot lock: {"after_jerk": ...}."""
    return _animators([on_second_body(m) for m in motions], "after")


def _animators(motions: list[Motion], prefix: str) -> dict[str, float]:
    figures = [quality(m) for m in motions]
    return {f"{prefix}_{key}": float(np.mean([f[key] for f in figures])) for key in figures[0]}


def _multimodality(model, judge: Judge, preset: str | None, most: int = 12) -> float:
    """Mean distance between motions of one sentence, over some sentences of the split."""
    chosen = np.linspace(0, len(judge.known) - 1, min(most, len(judge.known))).astype(int)
    asked = tuple(Prompt("", judge.known[i][0], 4.0, lambda t: True) for i in chosen)
    made = generate(model, asked, VARIATIONS, preset=preset)
    return metrics.multimodality(np.stack([judge.evaluator.embed_motions(motions) for motions in made]))


def _prompts(model, name: str, references: References, prompts, seeds: int, preset: str | None) -> tuple[dict, list]:
    """Pass rates with intervals over seeds, of the model and of what the training set would answer; every prompt."""
    frames = [round(30 * p.seconds) for p in prompts]
    texts = [p.text for p in prompts]
    made = {name: generate(model, prompts, seeds, preset=preset)}
    for row, answer in (
        ("retrieval", lambda seed: references.retrieved(texts, frames, seed)),
        ("random", lambda seed: references.random(frames, seed)),
    ):
        made[row] = [list(motions) for motions in zip(*(answer(seed) for seed in range(seeds)), strict=True)]
    made["mean pose"] = [[m] for m in references.mean_pose(frames)]
    result: dict = {"rates": {}, "each": []}
    for row, motions in made.items():
        judged = judge(prompts, motions)
        count = len(motions[0])
        each = [rates([_only(j, k) for j in judged]) for k in range(count)]
        keys = sorted({key for found in each for key in found})
        result["rates"][row] = {k: metrics.interval([f[k] for f in each if k in f]) for k in keys}
        if row == name:
            result["each"] = judged
    drawn = [
        (prompt, {row: made[row][i][0] for row in (name, "retrieval")}, result["each"][i])
        for i, prompt in enumerate(prompts)
    ]
    return result, drawn


def _only(row: dict, seed: int) -> dict:
    kept = row | {"passed": row["passed"][seed : seed + 1]}
    return kept | ({"wrong_side": row["wrong_side"][seed : seed + 1]} if "wrong_side" in row else {})


def codec_errors(real: list[Motion], rebuilt: list[Motion]) -> dict[str, float]:
    """Millimetres and degrees: joints relative to the pelvis, local rotations, pelvis path."""
    position, rotation, path = [], [], []
    for a, b in zip(real, rebuilt, strict=True):
        frames = min(a.frames, b.frames)
        a, b = a.slice(0, frames), b.slice(0, frames)
        a.translation[:, [0, 2]] -= a.translation[0, [0, 2]]
        b.translation[:, [0, 2]] -= b.translation[0, [0, 2]]
        ja, jb = a.joints(), b.joints()
        position.append(np.linalg.norm((ja - ja[:, :1]) - (jb - jb[:, :1]), axis=-1).mean())
        dots = np.abs((a.rotations * b.rotations).sum(-1)).clip(0, 1)
        rotation.append(np.degrees(2 * np.arccos(dots)).mean())
        path.append(np.linalg.norm(ja[:, 0] - jb[:, 0], axis=-1).mean())
    return {
        "mpjpe_mm": round(1000 * float(np.mean(position)), 2),
        "rotation_degrees": round(float(np.mean(rotation)), 3),
        "path_mm": round(1000 * float(np.mean(path)), 1),
    }


def text_table(record: dict) -> str:
    """The record as Markdown: retrieval, motion, prompts and captions, one row each."""
    lines = [
        f"{record['model']} ({record['preset']}), {record['windows']} windows of the {record['split']} split, "
        f"{record['seeds']} seeds, evaluator {record['evaluator']['sha256'][:12]}, Fréchet in "
        f"{record['evaluator']['dimensions']} dimensions. Not comparable with published tables."
    ]

    def table(columns, rows: dict[str, dict]) -> None:
        columns = [c for c in columns if any(c[0] in row for row in rows.values())]
        lines.extend(["", "| | " + " | ".join(label + ", %" * (scale == 100) for _, label, scale in columns) + " |"])
        lines.append("|---" * (len(columns) + 1) + "|")
        for name, row in rows.items():
            cells = (page.number(row.get(key), scale) for key, _, scale in columns)
            lines.append(f"| {name} | {' | '.join(cells)} |")

    table(page.FIGURES, record["rows"])
    table(page.MOTION, record["rows"])
    table([(key, f"retargeted: {label}", scale) for key, label, scale in page.AFTER], page.retargeted(record["rows"]))
    rates = record["prompts"]["rates"]
    table([(k, k.removeprefix("passed_"), 100) for k in rates[record["model"]]], rates)
    fresh = record["fresh"]["rates"]
    table([("passed", f"{len(record['fresh']['each'])} prompts never tuned on", 100)], fresh)
    if "captions" in record:
        table(page.CAPTIONS, record["captions"]["rows"])
    low, high = record["rows"][record["model"]]["frechet_bootstrap"]
    lines += ["", f"Fréchet of the model, bootstrap 95 %: {low:.3f} to {high:.3f}; multimodality "
              f"{record['multimodality']:.3f}."]  # fmt: skip
    if "codec" in record:
        codec = record["codec"]
        lines.append(
            f"Codec: MPJPE {codec['mpjpe_mm']} mm, rotation {codec['rotation_degrees']} degrees, "
            f"path {codec['path_mm']} mm."
        )
    return "\n".join(lines)

"""``evaluate --prove``: before any model is judged, the judges are.

The evaluator is put to spoiled real motion, the checks of the prompts to real windows.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from backend.data.describe import swap_sides
from backend.evaluation import checks, corruptions, metrics
from backend.evaluation.evaluator import Evaluator, load_evaluator
from backend.evaluation.wording import Meaning
from backend.motion.quality import metrics as quality
from backend.motion.skeleton import Motion
from backend.training.dataset import Windows, load_windows

JITTER, SLIDE = (0.5, 1.0, 2.0, 4.0, 8.0), (0.1, 0.25, 0.5, 1.0, 2.0)
CAPTIONS = 4  # sentences of each window that are tried


class Judge:
    """The evaluator with one split: sentences, who means the same, and the real motions to compare with."""

    def __init__(self, evaluator: Evaluator, windows: Windows, meaning: Meaning, real: np.ndarray):
        self.evaluator, self.windows, self.meaning = evaluator, windows, meaning
        self.known = [row["captions"] for row in windows.rows]
        self.projection = metrics.Projection(real, samples=len(windows))

    def sentences(self, turn: int) -> list[str]:
        """One caption of every window; another one for every ``turn``."""
        return [captions[turn % len(captions)] for captions in self.known]

    def retrieval(self, motions: np.ndarray, sentences: list[str]) -> dict[str, float]:
        """R-precision of embedded motions (N,D) for the sentences they were made from, and their matching distance."""
        texts = self.evaluator.embed_texts(sentences)
        similarity = motions @ texts.T
        same = self.meaning.said_of(sentences, self.known).T >= Meaning.SAME
        result = metrics.r_precision(similarity, same)
        result |= {f"all_{k}": v for k, v in metrics.r_precision(similarity, same, None).items()}
        return result | {"matching": metrics.matching_distance(motions, texts)}

    def mean_retrieval(self, motions: np.ndarray) -> dict[str, float]:
        """``retrieval`` averaged over several captions of every window."""
        found = [self.retrieval(motions, self.sentences(turn)) for turn in range(CAPTIONS)]
        return {key: float(np.mean([f[key] for f in found])) for key in found[0]}


def prove(data: Path, split: str = "test", folder: Path | None = None) -> dict:
    """Real motion of ``split``, and the same motion spoiled in known ways, through the evaluator; then the checks.

    Returns {"sha256", "split", "windows", "dimensions", "rows": [{"name", "amount", R@k, all_R@k, "matching",
    "frechet", "skate_ratio", "jerk"}], "checks", "check_summary"}; the checks see the windows of all splits.
    Raises BackendError when data or weights are missing.
    """
    evaluator = load_evaluator(folder)
    windows = load_windows(data, split, keep_motions=True)
    train = load_windows(data, "train", keep_motions=True)
    meaning = Meaning([c for row in train.rows for c in row["captions"]])
    real = evaluator.embed_motions(windows.motions)
    judge = Judge(evaluator, windows, meaning, evaluator.embed_features(train.features))
    pose = corruptions.average_pose(train.motions)
    rows = [_row(judge, real, "real", 0, windows.motions)]

    def spoiled(name: str, amount: float, change: Callable[[Motion, int], Motion]) -> None:
        rows.append(_row(judge, real, name, amount, [change(m, i) for i, m in enumerate(windows.motions)]))

    for amount in JITTER:
        spoiled("jitter, degrees", amount, lambda m, i, amount=amount: corruptions.jitter(m, amount, i))
    for amount in SLIDE:
        spoiled("foot slide, m/s", amount, lambda m, i, amount=amount: corruptions.slide(m, amount, i))
    spoiled("time reversal", 1, lambda m, i: corruptions.reverse(m))
    spoiled("left/right flip", 1, lambda m, i: corruptions.flip(m))
    spoiled("mean pose", 1, lambda m, i: corruptions.mean_pose(m, *pose))
    shuffled = np.random.default_rng(0).permutation(len(windows))
    rows.append(_row(judge, real, "wrong caption", 1, [windows.motions[i] for i in shuffled]))
    everything = [train] + [load_windows(data, s, True) for s in ("val", "test")]
    motions = [m for w in everything for m in w.motions]
    checked = checks.table(motions, [row["captions"] for w in everything for row in w.rows])
    return {
        "sha256": evaluator.sha256,
        "split": split,
        "windows": len(windows),
        "dimensions": len(judge.projection.axes),
        "rows": rows,
        "sided": _sided(judge, real),
        "checks": checked,
        "check_summary": checks.summary(checked),
    }


def _row(judge: Judge, real: np.ndarray, name: str, amount: float, motions: list[Motion]) -> dict:
    embedded = judge.evaluator.embed_motions(motions)
    figures = [quality(m) for m in motions]
    return {
        "name": name,
        "amount": amount,
        **judge.mean_retrieval(embedded),
        "frechet": metrics.frechet_distance(judge.projection(embedded), judge.projection(real)),
        "skate_ratio": float(np.mean([f["skate_ratio"] for f in figures])),
        "jerk": float(np.mean([f["jerk"] for f in figures])),
    }


def _sided(judge: Judge, real: np.ndarray) -> dict:
    """How often a caption that names a side fits its motion better than the caption with the sides exchanged:
    {"captions", "right"}; chance is one half."""
    pairs = [(i, c) for i, known in enumerate(judge.known) for c in dict.fromkeys(known) if swap_sides(c) != c]
    if not pairs:
        return {"captions": 0, "right": None}
    motions = real[[i for i, _ in pairs]]
    own = (motions * judge.evaluator.embed_texts([c for _, c in pairs])).sum(1)
    swapped = (motions * judge.evaluator.embed_texts([swap_sides(c) for _, c in pairs])).sum(1)
    return {"captions": len(pairs), "right": float(np.mean(own > swapped))}


def text_table(record: dict) -> str:
    """The proof as two Markdown tables."""
    lines = [
        f"Evaluator {record['sha256'][:12]}, {record['windows']} windows of the {record['split']} split, Fréchet in "
        f"{record['dimensions']} dimensions, four captions a window.",
        "",
        "| motion | R@1 | R@2 | R@3 | all R@1 | all R@3 | matching | Fréchet | skate | jerk |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        name = (
            row["name"]
            if row["name"] == "real" or row["amount"] == 1 and "," not in row["name"]
            else (f"{row['name'].split(',')[0]} {row['amount']:g}{row['name'].split(',')[1]}")
        )
        shares = " | ".join(f"{100 * row[k]:.0f} %" for k in ("R@1", "R@2", "R@3", "all_R@1", "all_R@3"))
        lines.append(
            f"| {name} | {shares} | {row['matching']:.3f} | {row['frechet']:.3f} | {row['skate_ratio']:.2f} | "
            f"{row['jerk']:.0f} |"
        )
    chance = " | ".join(f"{100 * k / metrics.GALLERY:.0f} %" for k in (1, 2, 3))
    lines += [f"| chance | {chance} | | | | | | |", ""]
    sided = record["sided"]
    if sided["right"] is not None:
        lines += [
            f"Of {sided['captions']} captions that name a side, {100 * sided['right']:.0f} % fit their motion better "
            "than the same caption with the sides exchanged (chance 50 %).",
            "",
        ]
    lines += ["| checks of | prompts (with real windows) | windows that say it pass | mirrored pass | others pass |"]
    lines += ["|---|---|---|---|---|"]
    share = lambda v: "" if v is None else f"{100 * v:.0f} %"  # noqa: E731
    for name, row in record["check_summary"].items():
        lines.append(
            f"| {name} | {row['prompts']} ({row['seen']}) | {share(row['says'])} | {share(row['mirrored'])} | "
            f"{share(row['else'])} |"
        )
    return "\n".join(lines)

"""How good are captions: BLEU, ROUGE-L and CIDEr from kept libraries, the action words, truth, and retrieval."""

import re
from collections import Counter
from importlib import import_module

import numpy as np

from backend.data.describe import action_words, contradicts
from backend.data.measure import measure
from backend.errors import BackendError
from backend.evaluation import metrics
from backend.evaluation.evaluator import Evaluator
from backend.evaluation.proof import Judge
from backend.evaluation.wording import Meaning
from backend.models.interface import MotionModel


def check_libraries() -> None:
    """Raises BackendError ``bad_request`` when the extra packages of caption scores are not installed."""
    try:
        for module in ("nltk.translate.bleu_score", "pycocoevalcap.cider.cider", "rouge_score.rouge_scorer"):
            import_module(module)
    except ImportError as error:
        raise BackendError(
            "bad_request",
            f"Scores of captions need the package {error.name.split('.')[0]}, which is not installed.",
            "Pass --no-captions, or: python -m pip install --no-deps -r backend/requirements-evaluation.txt",
        ) from error


def word_scores(said: list[str], wanted: list[list[str]]) -> dict[str, float]:
    """BLEU-1 and BLEU-4 (Papineni et al. 2002, corpus), ROUGE-L (Lin 2004, F of the best reference) and CIDEr-D
    (Vedantam et al. 2015, weights from these references) of sentences against several references each."""
    check_libraries()
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
    from pycocoevalcap.cider.cider import Cider
    from rouge_score.rouge_scorer import RougeScorer

    said, wanted = [_plain(s) for s in said], [[_plain(s) for s in group] for group in wanted]
    hypotheses, references = [s.split() for s in said], [[s.split() for s in group] for group in wanted]
    smoothing = SmoothingFunction().method1
    rouge = RougeScorer(["rougeL"])
    cider, _ = Cider().compute_score(dict(enumerate(wanted)), {i: [s] for i, s in enumerate(said)})
    return {
        "bleu1": float(corpus_bleu(references, hypotheses, (1.0,), smoothing)),
        "bleu4": float(corpus_bleu(references, hypotheses, (0.25,) * 4, smoothing)),
        "rouge_l": float(np.mean([rouge.score_multi(g, s)["rougeL"].fmeasure for g, s in zip(wanted, said)])),  # noqa: B905
        "cider": float(cider),
    }


def _plain(sentence: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", sentence.lower()))


def action_scores(said: list[str], wanted: list[list[str]]) -> dict[str, float]:
    """``action_named``: the sentence names an action that the window's own captions name; ``actions_right``: the share
    of the actions it names that they name too."""
    named, share = [], []
    for sentence, group in zip(said, wanted, strict=True):
        words, known = action_words([sentence]), action_words(group)
        named.append(bool(words & known))
        share.append(len(words & known) / len(words) if words else 0.0)
    return {"action_named": float(np.mean(named)), "actions_right": float(np.mean(share))}


def truth(said: list[str], figures: list[dict]) -> float:
    """Share of sentences that the measured motion (:func:`backend.data.measure.measure`) does not contradict."""
    return float(np.mean([not contradicts(s, m) for s, m in zip(said, figures, strict=True)]))


def retrieval(
    evaluator: Evaluator, meaning: Meaning, said: list[str], real: np.ndarray, known: list[list[str]]
) -> dict:
    """How often the sentence finds its own motion among the embedded ones (N,D): R@k of 32 and of all."""
    similarity = evaluator.embed_texts(said) @ real.T
    same = meaning.said_of(said, known) >= Meaning.SAME
    result = metrics.r_precision(similarity, same)
    return result | {f"all_{k}": v for k, v in metrics.r_precision(similarity, same, None).items()}


def score(said: list[str], figures: list[dict], known: list[list[str]], judge: Judge, real: np.ndarray) -> dict:
    """Every caption figure of one set of sentences; ``figures``: what was measured of each window, ``known``: the
    captions that it has."""
    return {
        **word_scores(said, known),
        **action_scores(said, known),
        "true": truth(said, figures),
        **retrieval(judge.evaluator, judge.meaning, said, real, known),
        "different": len(set(said)),
    }


def table(
    model: MotionModel, judge: Judge, real: np.ndarray, train_captions: list[list[str]], train: np.ndarray
) -> dict:
    """Caption figures of the model beside those of: another caption of the same window (``real``, scored against the
    rest), the caption of the training motion that the evaluator finds most alike (``retrieval``), one drawn blindly
    (``random``) and the training set's most frequent one (``most_common``)."""
    motions, known = judge.windows.motions, judge.known
    figures = [measure(m) for m in motions]
    random = np.random.default_rng(0)
    quiet = lambda phase, step, total: None  # noqa: E731
    said = [model.caption(m, quiet, lambda: False) for m in motions]
    nearest = (real @ train.T).argmax(1)
    counted = Counter(c for group in train_captions for c in group)
    answers = {
        "model": said,
        "retrieval": [train_captions[i][0] for i in nearest],
        "random": [train_captions[i][0] for i in random.integers(0, len(train_captions), len(motions))],
        "most_common": [counted.most_common(1)[0][0]] * len(motions),
    }
    rows = {"real": score([k[0] for k in known], figures, [k[1:] or k for k in known], judge, real)}
    rows |= {name: score(found, figures, known, judge, real) for name, found in answers.items()}
    picks = range(0, len(motions), max(len(motions) // 16, 1))
    examples = [{"clip": judge.windows.rows[i]["id"], "said": said[i], "wanted": known[i][0]} for i in picks]
    return {"rows": rows, "examples": examples}

"""``python -m backend evaluate``: does the model do what is asked, does it move like the capture, does it caption?

Own measurements on own data: nothing here is comparable with published FID or R-precision tables. Every figure stands
beside the same figure for real motion and for the codec's reconstruction.
"""

from pathlib import Path

import numpy as np
import torch

from backend import models
from backend.data.describe import action_words
from backend.evaluation.prompts import PROMPTS, adherence
from backend.models.interface import GenerateRequest
from backend.motion import features
from backend.motion.quality import metrics
from backend.motion.skeleton import Motion
from backend.training.dataset import load_windows


def evaluate(name: str, data: Path, split: str = "test", device: str = "auto", seeds: int = 3) -> dict:
    """Measure a model on one split of a built data set.

    Returns prompt adherence by preset, motion figures (jerk in m/s^3, skate...) of real, reconstructed and generated
    motion, codec errors, and how often a caption names an action that the window's own captions name. The caption
    figures stand beside ``most_common``: the same score for always answering the split's most frequent action.
    """
    model = models.load(name, device)
    windows = load_windows(data, split, keep_motions=True)
    rebuilt = [features.decode(_reconstruct(model, w)) for w in windows.features]
    made, prompts = [], {}
    for preset in [p["name"] for p in models.describe_one(name)["presets"]]:
        prompts[preset] = adherence(model, seeds, preset=preset)
    for prompt in PROMPTS:
        request = GenerateRequest(prompt.text, prompt.seconds, seed=100)
        made += model.generate(request, _quiet, lambda: False).motions
    report = {
        "model": name,
        "split": split,
        "windows": len(windows),
        "prompts": prompts,
        "motion": {
            "real": _mean_quality(windows.motions),
            "reconstructed": _mean_quality(rebuilt),
            "generated": _mean_quality(made),
        },
        "codec": _codec_errors(windows.motions, rebuilt),
    }
    if models.describe_one(name)["captions"]:
        report["captions"] = _captions(model, windows)
    return report


def _quiet(phase: str, step: int, total: int) -> None:
    """Evaluation reports once, at its end."""


@torch.no_grad()
def _reconstruct(model, window: np.ndarray) -> np.ndarray:
    trimmed = torch.from_numpy(window[: len(window) // 4 * 4]).to(model.device)
    return model.codec.decode(model.codec.encode(trimmed[None]))[0].cpu().numpy()


def _mean_quality(motions: list[Motion]) -> dict[str, float]:
    rows = [metrics(motion) for motion in motions]
    return {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}


def _codec_errors(real: list[Motion], rebuilt: list[Motion]) -> dict[str, float]:
    """Millimetres and degrees: joints relative to the pelvis, local rotations, pelvis path."""
    position, rotation, path = [], [], []
    for a, b in zip(real, rebuilt, strict=True):
        frames = min(a.frames, b.frames)
        a, b = a.slice(0, frames), b.slice(0, frames)
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


def _captions(model, windows) -> dict:
    wanted = [action_words(row["captions"]) for row in windows.rows]
    said = [model.caption(motion, _quiet, lambda: False) for motion in windows.motions]
    counted = [bool(words & action_words([sentence])) for words, sentence in zip(wanted, said, strict=True)]
    common = max({w for words in wanted for w in words}, key=lambda word: sum(word in words for words in wanted))
    return {
        "action_named": round(float(np.mean(counted)), 4),
        "most_common": {"word": common, "action_named": round(float(np.mean([common in w for w in wanted])), 4)},
        "different_sentences": len(set(said)),
        "examples": [
            {"clip": row["id"], "said": s, "wanted": row["captions"][0]}
            for row, s in list(zip(windows.rows, said, strict=True))[:: max(len(said) // 12, 1)]
        ],
    }

"""A second round for motions that miss what their sentence says: asked for in other words, or one action at a time."""

from collections.abc import Callable
from dataclasses import replace

from backend.models import choosing, wordings
from backend.models.interface import Cancelled, GenerateRequest, MotionModel, Progress
from backend.motion.skeleton import Motion
from backend.protocol import FPS

TRIES = 4  # of each other way of asking
Make = Callable[[list[str], int, list[int]], list[list[Motion]]]


def improve(
    sentences: list[str],
    seeds: list[int],
    tried: list[list[Motion]],
    make: Make,
    score: choosing.Score = choosing.score,
) -> None:
    """Append further tries to those of ``tried`` (one list for each sentence and seed, motions of one length) of which
    the best still misses something that can be measured.

    make: sentences that follow one another, frames and seeds -> ``TRIES`` motions of so many frames for each seed.
    """
    for way in range(wordings.MOST):
        missing = [i for i, motions in enumerate(tried) if choosing.lacking(sentences[i], motions, score)]
        for sentence in dict.fromkeys(sentences[i] for i in missing):
            ways = wordings.others(sentence)
            rows = [i for i in missing if sentences[i] == sentence]
            if len(ways) <= way or not rows:
                continue
            for frames in dict.fromkeys(tried[i][0].frames for i in rows):
                same = [i for i in rows if tried[i][0].frames == frames]
                made = make(ways[way], frames, [seeds[i] for i in same])
                for i, motions in zip(same, made, strict=True):
                    tried[i] += motions


def by_requests(model: MotionModel, request: GenerateRequest, progress: Progress, cancelled: Cancelled) -> Make:
    """Further tries at ``request`` by asking ``model`` itself; several sentences get equal parts of the frames.

    Nothing is made where a sentence would get less than the shortest motion of the model.
    """
    least = round(model.config.min_seconds * FPS)

    def make(sentences: list[str], frames: int, seeds: list[int]) -> list[list[Motion]]:
        if frames < least * len(sentences):
            return [[] for _ in seeds]
        lengths = wordings.shared(frames, [1.0] * len(sentences), least)
        timeline = [(s, length / FPS) for s, length in zip(sentences, lengths, strict=True)]
        words = {"seconds": frames / FPS} if len(sentences) == 1 else {"timeline": timeline}
        asked = replace(request, prompt=sentences[0], preset="fast", variations=TRIES, **words)
        made = []
        for seed in seeds:
            result = model.generate(
                replace(asked, seed=seed), lambda _phase, step, total: progress("again", step, total), cancelled
            )
            made.append([motion.slice(0, min(frames, motion.frames)) for motion in result.motions])
        return made

    return make

"""A motion that streams for minutes: does it keep up with the clock, does it stay as good as it began?"""

import time
from dataclasses import dataclass, field

import numpy as np

from backend.codecs.streaming import join
from backend.models.interface import GenerateRequest
from backend.motion.quality import metrics as quality
from backend.motion.skeleton import Motion
from backend.process import resident_memory

SECTION = 10.0  # seconds of motion that are measured together
SPARE = 2.0  # seconds that the frames shall be ahead of playback
# what a director might call, twenty seconds each
SENTENCES = (
    "a person walks forward",
    "a person walks forward and turns left",
    "a person runs forward",
    "a person walks backward",
    "a person waves with the right hand",
    "a person walks forward and turns right",
    "a person jumps up",
    "a person stands still",
)
FIGURES = ("skate_ratio", "contact_speed", "jerk", "pops", "penetration", "float", "forward_speed")


@dataclass
class Clock:
    """A watcher that notes when each piece came and what it cost; the sentence changes with the frames."""

    sentences: tuple[str, ...]
    hold: int  # frames of a sentence
    pieces: list[Motion] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)  # seconds of processor time so far
    memory: list[int] = field(default_factory=list)
    frames: int = 0

    def emit(self, motion: Motion) -> None:
        self.times.append(time.perf_counter())
        self.worked.append(time.process_time())
        self.pieces.append(motion)
        if self.frames // (SECTION * motion.fps) != (self.frames + motion.frames) // (SECTION * motion.fps):
            self.memory.append(resident_memory() or 0)
        self.frames += motion.frames

    def prompt(self) -> str:
        return self.sentences[self.frames // self.hold % len(self.sentences)]

    def back_to(self, starts: list[int]) -> None:
        return None

    def stopped(self) -> bool:
        return False


def endurance(
    model, seconds: float = 300.0, sentences: tuple[str, ...] = SENTENCES, hold: float = 20.0, seed: int = 0, **settings
) -> dict:
    """Stream ``seconds`` of motion without waiting for anybody, and measure it in sections of ten seconds.

    Returns plain numbers: ``first_ms`` from the request to the first frames; ``latent_ms`` and ``processor_ms`` (of all
    threads: what can be compared on a busy machine) {"p50", "p99", "worst"}; ``fps`` sustained; ``filled``: seconds
    from the request until the frames were ``SPARE`` seconds ahead of a playback that began half a second after it, None
    when they never were; ``ahead``: the least lead from then on, None likewise; ``sections``: quality figures,
    milliseconds a latent and resident megabytes of each.
    """
    watcher = Clock(sentences, round(hold * 30))
    request = GenerateRequest(sentences[0], seconds=seconds, seed=seed, **settings)
    began = time.perf_counter()
    model.stream(request, watcher, lambda *step: None, lambda: False)
    times = np.array(watcher.times) - began
    spans = 1000 * np.diff(times)
    made = np.cumsum([piece.frames for piece in watcher.pieces])
    # a frame is late when its playback time comes before it does
    ahead = np.concatenate([[0], made[:-1]]) / 30 + 0.5 - times
    full = np.flatnonzero(ahead >= SPARE)
    motion = join(watcher.pieces)
    sections = []
    for start in range(0, motion.frames, round(SECTION * 30)):
        stop = min(start + round(SECTION * 30), motion.frames)
        of_these = spans[np.searchsorted(made, start + 1) : max(np.searchsorted(made, stop), 1)]
        figures = quality(motion.slice(start, stop))
        sections.append(
            {
                "seconds": start / 30,
                "sentence": sentences[start // watcher.hold % len(sentences)],
                **{name: figures[name] for name in FIGURES},
                "latent_ms": float(np.median(of_these)) if len(of_these) else 0.0,
            }
        )
    for row, held in zip(sections, watcher.memory, strict=False):
        row["megabytes"] = round(held / 2**20)
    return {
        "seconds": motion.seconds,
        "first_ms": float(1000 * times[0]),
        "latent_ms": _spread(spans),
        "processor_ms": _spread(1000 * np.diff(watcher.worked)),
        "fps": float(motion.frames / times[-1]),
        "filled": float(times[full[0]]) if len(full) else None,
        "ahead": float(ahead[full[0] :].min()) if len(full) else None,
        "sections": sections,
    }


def _spread(spans: np.ndarray) -> dict[str, float]:
    return {
        "p50": float(np.percentile(spans, 50)),
        "p99": float(np.percentile(spans, 99)),
        "worst": float(spans.max()),
    }


def text_table(record: dict) -> str:
    """The record as Markdown."""
    spans = record["latent_ms"]
    spare = f"the frames were never {SPARE:g} s ahead of playback"
    if record["filled"] is not None:
        spare = f"{SPARE:g} s ahead of playback after {record['filled']:.1f} s, then at least {record['ahead']:.2f} s"
    lines = [
        f"{record['seconds']:.0f} s of motion at {record['fps']:.0f} frames a second; first frames after "
        f"{record['first_ms']:.0f} ms; a latent (four frames) takes {spans['p50']:.1f} ms (p50), {spans['p99']:.1f} "
        f"(p99), {spans['worst']:.0f} (worst), {record['processor_ms']['p50']:.1f} ms of processor time; {spare}.",
        "",
        "| from, s | sentence | skate ratio | toe speed | jerk | pops | m/s forward | ms a latent | MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['seconds']:.0f} | {row['sentence']} | {row['skate_ratio']:.2f} | {row['contact_speed']:.2f} | "
        f"{row['jerk']:.0f} | {row['pops']:.2f} | {row['forward_speed']:.2f} | {row['latent_ms']:.1f} | "
        f"{row.get('megabytes', '')} |"
        for row in record["sections"]
    ]
    return "\n".join(lines)

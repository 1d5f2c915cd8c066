"""``python -m tests.throughput``: clips a second by batch size and length, and the size of a clip by format.

Not a test: it takes some minutes and needs the backend's interpreter and the real weights. Processor seconds are told
beside those of the clock, which other programs lengthen.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from backend import models
from backend.models.interface import GenerateRequest
from backend.motion import formats

PROMPTS = ("a person walks forward", "a person runs in a circle", "someone sits down", "a person waves with both hands",
           "a person jumps", "someone kicks with the left leg", "a person walks back", "someone turns")  # fmt: skip


def requests(count: int, seconds: float, preset: str, first: int) -> list[GenerateRequest]:
    return [GenerateRequest(PROMPTS[i % len(PROMPTS)], seconds, first + i, preset=preset) for i in range(count)]


def measure(model, count: int, seconds: float, preset: str, rounds: int) -> dict:
    """Processor and clock seconds a clip of batches of ``count``, the quickest of some rounds after a first."""
    found = []
    for number in range(rounds + 1):
        processor, clock = time.process_time(), time.perf_counter()
        wanted = requests(count, seconds, preset, 100 * number)
        model.generate_batch(wanted, lambda *step: None, lambda: False)
        found.append((time.process_time() - processor, time.perf_counter() - clock))
    best = [min(column) / count for column in zip(*found[1:], strict=True)]
    return {"batch": count, "seconds": seconds, "preset": preset, "cpu s": round(best[0], 3), "s": round(best[1], 3)}


def sizes(model) -> dict[str, int]:
    """Bytes of a clip of 4 s in each format that the backend writes."""
    motion = model.generate(requests(1, 4.0, "fast", 1)[0], lambda *step: None, lambda: False).motions[0]
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for suffix in formats.WRITERS:
            formats.write(Path(folder) / f"clip{suffix}", motion)
            found[suffix] = (Path(folder) / f"clip{suffix}").stat().st_size
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="momug")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--presets", nargs="+", default=["fast"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 4.0, 8.0])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    model = models.load(options.model, options.device)
    for preset in options.presets:
        for seconds in options.seconds:
            for count in options.batches:
                print(json.dumps(measure(model, count, seconds, preset, options.rounds)), flush=True)
    print(json.dumps({"bytes of 4 s": sizes(model)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the processor could do at best, and how near a model comes: run by the backend's own Python (``bench.py`` does).

Prints one JSON list of rows (what, value, unit, limit, note). The rates are those of PyTorch's own matrix product and
copy on this computer in the same minutes, the work is counted from the operations that a request really makes and the
weights that it reads, and both are set against seconds of the processor, which other work changes little. The
limit is the larger of the two.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn

from backend import models
from backend.models.interface import GenerateRequest

PROMPT = "a person walks forward"
BATCHES = (1, 2, 4, 8)
SECONDS = 10.0


def best(what: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """(wall seconds, processor seconds) of the cheapest of several calls."""
    found = []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        what()
        found.append((time.perf_counter() - began, time.process_time() - worked))
    return min(found, key=lambda one: one[1])


def matrix_rate(dtype: torch.dtype, size: int = 1024) -> float:
    """Floating point operations of a square matrix product in a second of one processor core."""
    a, b = (torch.randn(size, size).to(dtype) for _ in "ab")
    return 2 * size**3 / best(lambda: a @ b, 5)[1]


def memory_rate() -> float:
    """Bytes that are read and written in a second of one core when an array larger than the caches is copied."""
    a, b = torch.zeros(32 << 20), torch.ones(32 << 20)
    return 2 * a.nbytes / best(lambda: a.copy_(b), 5)[1]


class Work:
    """Counts what linear layers and convolutions do inside it: ``read`` bytes of weights, and ``operations`` by type.
    Attention among tokens is not counted: less than a tenth for these lengths."""

    def __enter__(self) -> "Work":
        self.read, self.operations = 0, Counter()
        self.hook = nn.modules.module.register_module_forward_hook(self._count)
        return self

    def _count(self, module: nn.Module, _given: tuple, made: object) -> None:
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            self.read += module.weight.nbytes
            self.operations[module.weight.dtype] += 2 * made.numel() * module.weight[0].numel()

    def __exit__(self, *error: object) -> None:
        self.hook.remove()


def nothing(*_step: object) -> None:
    pass


def no() -> bool:
    return False


def model_rows(name: str, times: int) -> list[dict]:
    rows = []
    rates = {dtype: matrix_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    bytes_rate = memory_rate()
    told = {str(dtype).removeprefix("torch."): round(rate / 1e9) for dtype, rate in rates.items()}
    rows.append(
        row(
            "matrix product of 1024 x 1024, float32",
            rates[torch.float32] / 1e9,
            "GFLOP/s",
            f"in a second of one core: {told}",
        )
    )
    rows.append(row("copy of 128 MiB, read and written", bytes_rate / 1e9, "GB/s"))
    model = models.load(name)

    def request(preset: str | None, seed: int = 1) -> GenerateRequest:
        return GenerateRequest(PROMPT, seconds=SECONDS, seed=seed, preset=preset)

    def against(what: str, done: Callable[[], object]) -> None:
        done()  # what is made once is not counted
        with Work() as work:
            done()
        wall, worked = best(done, times)
        computing = sum(count / rates[dtype] for dtype, count in work.operations.items())
        reading = work.read / bytes_rate
        note = (
            f"{work.operations.total() / 1e9:.0f} GFLOP: at least {computing:.3f} s of a core; {work.read / 1e9:.1f} "
            f"GB of weights: {reading:.3f}; took {worked:.3f}, in {wall:.3f} s"
        )
        rows.append(row(f"{name}: {what}, times its limit", worked / max(computing, reading), "x", note))

    known = models.describe_one(name)
    for preset in known["presets"]:
        asked = request(preset["name"])
        against(f"{preset['name']}, 10 s", lambda asked=asked: model.generate(asked, nothing, no))
    if known["captions"]:
        motion = model.generate(request("fast"), nothing, no).motions[0]
        against("caption", lambda: model.caption(motion, nothing, no))
    if hasattr(model, "generate_batch"):
        for size in BATCHES:
            asked = [request("fast", seed) for seed in range(size)]
            wall, worked = best(lambda asked=asked: model.generate_batch(asked, nothing, no), times)
            note = f"{worked / size:.3f} s of the processor a clip"
            rows.append(row(f"{name}: clips of 10 s a minute, {size} at once, fast", 60 * size / wall, "clips", note))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    rows.append(row(f"{name}: most memory of all this", peak, "MiB"))
    return rows


def row(what: str, value: float, unit: str, note: str = "", limit: float | None = None) -> dict:
    return {"what": what, "value": round(value, 4), "unit": unit, "limit": limit, "note": note}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="momug")
    parser.add_argument("--times", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(model_rows(options.model, options.times)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

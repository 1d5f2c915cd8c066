"""Stands in for ``python -m backend style train``, and serves like the fake backend otherwise. Standard library only.

Run as ``fake_trainer.py MODE serve`` or ``fake_trainer.py MODE style train ...``; MODE is "ok", "slow" or "fails".
"""

import json
import os
import runpy
import sys
import time
from pathlib import Path


def train(mode: str, arguments: list[str]) -> None:
    """Check what the add-on wrote down, write a curve, say how it ended."""
    told = dict(zip(arguments[::2], arguments[1::2], strict=False))
    source, run = Path(told["--source"]), Path(told["--out"])
    rows = [json.loads(line) for line in (source / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all((source / row["file"]).is_file() and row["captions"] for row in rows)
    total = int(told["--steps"])
    for step in range(1, total + 1):
        with open(run / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": 1 / step, "steps_per_s": 4.0}) + "\n")
        if mode == "fails" and step == 2:
            print("None of the motions can be learnt from.", file=sys.stderr)
            sys.exit(1)
        time.sleep(60 if mode == "slow" and step == 2 else 0.02)
    Path(os.environ["MOMUG_FAKE_MARK"]).write_text(json.dumps([arguments, rows]), encoding="utf-8")
    print(json.dumps({"step": total, "windows": 2 * len(rows), "notes": []}))


if __name__ == "__main__":
    chosen, rest = sys.argv[1], sys.argv[2:]
    if rest[:2] == ["style", "train"]:
        train(chosen, rest[2:])
    else:
        sys.argv = ["fake_backend.py"]
        runpy.run_path(str(Path(__file__).with_name("fake_backend.py")), run_name="__main__")

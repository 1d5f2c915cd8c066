"""A backend that obeys the protocol without a model, and misbehaves on demand. Standard library only.

Run it in place of ``python -m backend serve``: ``python tests/fake_backend.py [--mode MODE] [--steps N] [--delay S]``;
the environment variables MOMUG_FAKE_MODE, MOMUG_FAKE_STEPS and MOMUG_FAKE_DELAY do the same; MOMUG_FAKE_LLAMO
installs LLaMo too. The motion is a procedural
walk (a run when the prompt says so) that depends only on prompt, seconds and seed. Given poses and places are met by
jumping there; a timeline is its prompts one after another. A stream sends eight frames at a time, ``--delay`` apart.

Modes: ``ok``; ``garbage_start`` and ``garbage_job`` (bytes that are no frame, instead of hello / of the result);
``die_start``, ``die_job`` (exit code 3), ``die_once`` (the first process that gets a job dies: MOMUG_FAKE_MARK names a
file that remembers it); ``no_hello``; ``hang`` (says hello, then never answers anything); ``deaf`` (ignores cancel and
never ends a job, but answers pings); ``huge`` (a frame length above the limit); ``nan`` and ``shapes`` (a result with
such arrays); ``odd_fields`` (a good result whose side remarks are of the wrong kind); ``other_version`` (a hello of
major version 99); ``error`` (every job fails with an error message); ``noisy`` (writes much to stderr, works
otherwise); ``stream_skips``, ``stream_floods``, ``stream_nan`` and ``stream_shapes`` (after three pieces: a hole, more
than there is room for, such arrays); ``stream_dies`` (exit code 3 after 60 frames).
"""

import argparse
import math
import os
import random
import struct
import sys
import threading
import time
from array import array
from pathlib import Path
from queue import Queue

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from backend import protocol  # noqa: E402

JOINT = {name: index for index, name in enumerate(protocol.JOINTS)}
MODES = (
    "ok", "garbage_start", "garbage_job", "die_start", "die_job", "die_once", "no_hello", "hang", "deaf", "huge", "nan",
    "shapes", "odd_fields", "other_version", "error", "noisy", "stream_skips", "stream_floods", "stream_nan",
    "stream_shapes", "stream_dies",
)  # fmt: skip
MODELS = [
    {
        "name": name,
        "label": label,
        "fps": 30.0,
        "joints": 22,
        "min_seconds": 1.0,
        "max_seconds": 10.0,
        "default_steps": 10,
        "conditions": ["text", "timeline", "poses", "loop"],
        "presets": [{"name": "fast", "steps": 5}, {"name": "quality", "steps": 20}],
        "streams": True,
        "stream_seconds": 600.0,
        "available": available,
        "reason": "" if available else "Its checkpoint is not installed.",
    }
    for name, label, available in (("momug", "MoMug", True), ("llamo", "LLaMo", "MOMUG_FAKE_LLAMO" in os.environ))
]


def available(name: object) -> bool:
    return all(model["available"] for model in MODELS if model["name"] == name)


def axis_rotation(axis: int, radians: float) -> tuple[float, float, float, float]:
    """Quaternion wxyz of a rotation about one axis (0 = X, 1 = Y, 2 = Z)."""
    quaternion = [math.cos(radians / 2), 0.0, 0.0, 0.0]
    quaternion[1 + axis] = math.sin(radians / 2)
    return tuple(quaternion)


def walk(prompt: str, seconds: float, seed: int, first: int = 0) -> dict[str, protocol.Array]:
    """rotations (T,22,4), translation (T,3) and contacts (T,4) float32 of a walk along +Z that starts at the origin,
    from frame ``first`` of it on."""
    style = random.Random(f"{prompt}/{seed}")
    running = "run" in prompt.lower()
    speed = (3.0 if running else 1.2) * style.uniform(0.9, 1.1)
    stride = (0.75 if running else 0.45) * style.uniform(0.9, 1.1)
    cadence = 2 * math.pi * (1.4 if running else 0.9)
    frames = round(seconds * protocol.FPS)
    rotations, translation, contacts = array("f"), array("f"), array("f")
    for frame in range(first, first + frames):
        t = frame / protocol.FPS
        phase = cadence * t
        pose = {
            "left_hip": axis_rotation(0, -stride * math.sin(phase)),
            "right_hip": axis_rotation(0, stride * math.sin(phase)),
            "left_knee": axis_rotation(0, stride * (1 + math.cos(phase))),
            "right_knee": axis_rotation(0, stride * (1 - math.cos(phase))),
            "left_shoulder": axis_rotation(2, -1.3),
            "right_shoulder": axis_rotation(2, 1.3),
            "spine3": axis_rotation(1, 0.1 * math.sin(phase)),
        }
        for name in protocol.JOINTS:
            rotations.extend(pose.get(name, (1.0, 0.0, 0.0, 0.0)))
        translation.extend((0.0, protocol.REST_PELVIS_HEIGHT + 0.02 * math.cos(2 * phase), speed * t))
        left = 1.0 if math.sin(phase) > 0 else 0.0
        contacts.extend((left, left, 1.0 - left, 1.0 - left))
    return {
        "rotations": protocol.Array("float32", (frames, 22, 4), rotations.tobytes()),
        "translation": protocol.Array("float32", (frames, 3), translation.tobytes()),
        "contacts": protocol.Array("float32", (frames, 4), contacts.tobytes()),
    }


def timeline(entries: list[dict], seed: int) -> tuple[dict[str, protocol.Array], list[int]]:
    """The walks of several prompts joined (each goes on where the last one ended), and the first frame of each."""
    parts, starts, frames, way = [], [], 0, 0.0
    for entry in entries:
        part = walk(entry["prompt"], entry["seconds"] or 3.0, seed)
        moved = array("f", part["translation"].data)
        for index in range(2, len(moved), 3):
            moved[index] += way
        way = moved[-1]
        starts.append(frames)
        frames += part["translation"].shape[0]
        parts.append({**part, "translation": part["translation"]._replace(data=moved.tobytes())})
    joined = {}
    for name, first in parts[0].items():
        data = b"".join(bytes(part[name].data) for part in parts)
        joined[name] = protocol.Array("float32", (frames, *first.shape[1:]), data)
    return joined, starts


def meet(motion: dict[str, protocol.Array], wanted: dict[str, protocol.Array]) -> dict[str, protocol.Array]:
    """The motion with what ``target/...`` arrays of the same length give put in its place."""
    met = dict(motion)
    pairs = (("rotations", "target/joints", 4), ("translation", "target/place", 1))
    for name, mask, size in pairs:
        given = wanted[f"target/{name}"]
        values = array("f", motion[name].data)
        asked = array("f" if given.dtype == "float32" else "d", given.data)
        for index, yes in enumerate(bytes(wanted[mask].data)):
            if yes:
                values[index * size : (index + 1) * size] = array("f", asked[index * size : (index + 1) * size])
        met[name] = motion[name]._replace(data=values.tobytes())
    return met


class Job(threading.Event):
    """A request in the queue; the event is set when it was cancelled."""

    def __init__(self, message: protocol.Message):
        super().__init__()
        self.message = message
        self.prompt = message.header.get("prompt")  # of a stream, which is steered
        self.played, self.stopped = 0, False
        self.keep: int | None = None  # frames that a new prompt leaves


class FakeBackend:
    def __init__(self, mode: str, steps: int, delay: float):
        self.mode, self.steps, self.delay = mode, steps, delay
        self.output = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self.lock = threading.Lock()
        self.queue: Queue[Job] = Queue()
        self.jobs: dict[int, Job] = {}
        self.loaded: str | None = None

    def send(self, kind: str, number: int, arrays=None, **fields):
        self.raw(b"".join(protocol.encode({"type": kind, "id": number, **fields}, arrays)))

    def raw(self, data: bytes):
        with self.lock:
            view = memoryview(data)
            while view:
                view = view[self.output.write(view) :]

    def start(self):
        if self.mode == "die_start":
            print("the fake backend was told to die at its start", file=sys.stderr, flush=True)
            os._exit(3)
        if self.mode == "garbage_start":
            self.raw(b"Loading the model, please wait...\n" * 10)
        elif self.mode != "no_hello":
            self.send(
                protocol.HELLO,
                0,
                protocol=[99, 0] if self.mode == "other_version" else list(protocol.VERSION),
                backend_version="fake",
                device="cpu",
                capabilities={"models": MODELS, "captions": True},
            )
        if self.mode == "noisy":
            for line in range(2000):
                print(f"noise {line}", file=sys.stderr, flush=True)
        threading.Thread(target=self.work, daemon=True).start()
        reader = protocol.FrameReader(sys.stdin.buffer.raw)
        while (message := reader.read()) is not None:
            if self.mode not in ("hang", "no_hello", "garbage_start"):
                self.receive(message)
        os._exit(0)

    def receive(self, message: protocol.Message):
        kind, number = message.type, message.id
        if kind == protocol.PING:
            self.send(protocol.PONG, number, model=self.loaded, device="cpu", precision="float32", memory=345_000_000)
        elif kind == protocol.SHUTDOWN:
            self.send(protocol.ACK, number)
            os._exit(0)
        elif kind in (protocol.STEER, protocol.STOP, protocol.PLAYED):
            job = self.jobs.get(message.header.get("target"))
            if job is not None and kind == protocol.PLAYED:
                job.played = message.header["frames"]
            elif job is not None:
                job.prompt = message.header.get("prompt", job.prompt)
                job.keep = message.header.get("keep", job.keep)
                job.stopped = kind == protocol.STOP
                self.send(protocol.ACK, number)
        elif kind == protocol.CANCEL:
            self.send(protocol.ACK, number)
            if message.header.get("target") in self.jobs and self.mode != "deaf":
                self.jobs[message.header["target"]].set()
        else:
            self.send(protocol.ACK, number)
            self.jobs[number] = Job(message)
            self.queue.put(self.jobs[number])

    def die_if_told(self):
        mark = os.environ.get("MOMUG_FAKE_MARK", "")
        if self.mode == "die_once" and Path(mark).exists():
            return
        if self.mode in ("die_job", "die_once"):
            if self.mode == "die_once":
                Path(mark).write_text("died", encoding="utf-8")
            print("the fake backend was told to die in a job", file=sys.stderr, flush=True)
            os._exit(3)

    def work(self):
        while True:
            job = self.queue.get()
            number = job.message.id
            if not self.run_steps(job):
                self.send(
                    protocol.ERROR, number, code="cancelled", message="The job was cancelled.", hint="", retryable=True
                )
            elif self.mode == "error" or not available(job.message.header.get("model")):
                label = "MoMug" if self.mode == "error" else "LLaMo"
                self.send(
                    protocol.ERROR,
                    number,
                    code="checkpoint_missing",
                    message=f"The checkpoint of {label} is not there.",
                    hint="Install it again.",
                    retryable=False,
                )
            elif self.mode == "garbage_job":
                self.raw(b"Traceback (most recent call last): oh no\n" * 10)
            elif self.mode == "huge":
                self.raw(struct.pack(">II", 0xFFFFFFF0, 100) + b"{}" * 50)
            elif job.message.type == protocol.STREAM:
                self.stream(job)
            else:
                self.answer(job.message)
            del self.jobs[number]

    def run_steps(self, job: Job) -> bool:
        # a model is loaded while a prompt is typed: that does not take as long as a long job
        steps = min(self.steps, 4) if job.message.type == protocol.LOAD else self.steps
        for step in range(1, steps + 1):
            if job.wait(self.delay):
                return False
            self.send(protocol.PROGRESS, job.message.id, phase="denoise", step=step, total=steps)
            if step * 2 >= steps:
                self.die_if_told()
        while self.mode == "deaf":
            time.sleep(0.05)
        return not job.is_set()

    def answer(self, message: protocol.Message):
        header = message.header
        model = header.get("model", "momug")
        self.loaded = None if message.type == protocol.UNLOAD else model
        common = {"model": model, "warnings": [], "timings": {"denoise": self.steps * self.delay}}
        if self.mode == "odd_fields":
            common = {"model": 5, "warnings": 3, "timings": [1, 2]}
        if message.type == protocol.CAPTION:
            frames = message.arrays["rotations"].shape[0]
            self.send(protocol.RESULT, message.id, text=f"a person walks forward for {frames} frames.", **common)
        elif message.type == protocol.GENERATE:
            self.answer_generate(message, common)
        elif message.type == protocol.READ:
            header["prompt"] = header["path"]  # every file holds a walk
            self.answer_generate(message, common)
        else:
            self.send(protocol.RESULT, message.id, **common)

    def stream(self, job: Job):
        header, number = job.message.header, job.message.id
        seed = 7 if header.get("seed") is None else header["seed"]
        wanted = round(header["seconds"] * protocol.FPS) if header.get("seconds") else 10**9
        offsets = protocol.Array(
            "float32", (22, 3), array("f", [x for xyz in protocol.REST_OFFSETS for x in xyz]).tobytes()
        )
        sent, way, prompts, ways = 0, 0.0, [], {}
        while sent < wanted and not job.stopped:
            room = (header.get("ahead") or protocol.AHEAD) - 8 + (10**6 if self.mode == "stream_floods" else 0)
            if job.wait(self.delay):
                self.send(protocol.ERROR, number, code="cancelled", message="The job was cancelled.", hint="")
                return
            if job.keep is not None:
                back = min(start for start in [*ways, sent] if job.keep <= start <= sent)
                sent, way, job.keep = back, ways.get(back, way), None
                prompts = [part for part in prompts if part["first"] < sent]
            if sent > job.played + room:
                continue
            frames, ways[sent] = min(8, wanted - sent), way
            if not prompts or prompts[-1]["prompt"] != job.prompt:
                prompts.append({"first": sent, "prompt": job.prompt})
            begin = array("f", walk(job.prompt, 1 / protocol.FPS, seed, sent)["translation"].data)[2]
            piece = walk(job.prompt, frames / protocol.FPS, seed, sent)
            path = array("f", piece["translation"].data)
            for index in range(2, len(path), 3):
                path[index] += way - begin
            end = array("f", walk(job.prompt, 1 / protocol.FPS, seed, sent + frames)["translation"].data)[2]
            way += end - begin
            if self.mode == "stream_nan" and sent >= 24:
                path[1] = math.nan
            piece["translation"] = piece["translation"]._replace(data=path.tobytes())
            if self.mode == "stream_shapes" and sent >= 24:
                piece["contacts"] = piece["contacts"]._replace(shape=(frames * 4,))
            hole = 4 if self.mode == "stream_skips" and sent >= 24 else 0
            told = {"first": sent + hole, "frames": frames, "fps": float(protocol.FPS), "prompt": job.prompt}
            self.send(protocol.PARTIAL, number, {**piece, "rest_offsets": offsets}, **told)
            sent += frames
            self.send(protocol.PROGRESS, number, phase="stream", step=sent, total=0 if wanted > sent else sent)
            if self.mode == "stream_dies" and sent >= 60:
                print("the fake backend was told to die in a stream", file=sys.stderr, flush=True)
                os._exit(3)
        fields = {"frames": sent, "seed": seed, "prompts": prompts, "model": header.get("model"), "warnings": []}
        self.send(protocol.RESULT, number, timings={"stream": 0.0}, **fields)

    def answer_generate(self, message: protocol.Message, common: dict):
        if "somersault" in str(message.header.get("prompt")):
            common = common | {"warnings": ["The motion may not do all that was asked."]}
        header = message.header
        seconds = header.get("seconds") or 3.0
        seed = header.get("seed")
        seed = 7 if seed is None else seed
        offsets = array("f", [number for offset in protocol.REST_OFFSETS for number in offset])
        arrays = {"rest_offsets": protocol.Array("float32", (22, 3), offsets.tobytes())}
        motions, starts = [], [0]
        entries = header.get("timeline") or []
        if "target/rotations" in message.arrays:
            seconds = message.arrays["target/rotations"].shape[0] / protocol.FPS
        for variation in range(header.get("variations") or 1):
            if entries:
                motion, starts = timeline(entries, seed + variation)
                seconds = motion["translation"].shape[0] / protocol.FPS
            else:
                motion = walk(header["prompt"], seconds, seed + variation)
            if "target/rotations" in message.arrays:
                motion = meet(motion, message.arrays)
            if self.mode == "nan":
                translation = bytearray(motion["translation"].data)
                translation[4:8] = struct.pack("<f", math.nan)
                motion["translation"] = motion["translation"]._replace(data=bytes(translation))
            if self.mode == "shapes":
                motion["rotations"] = motion["rotations"]._replace(shape=(motion["rotations"].shape[0] * 22, 4))
            arrays.update({f"{variation}/{name}": value for name, value in motion.items()})
            frames = motion["translation"].shape[0]
            motions.append({"seed": seed + variation, "frames": frames, "fps": float(protocol.FPS)})
        self.send(
            protocol.RESULT,
            message.id,
            arrays,
            motions=motions,
            seconds=seconds,
            prompt=header.get("prompt", ""),
            segments=starts,
            **common,
        )


def main():
    environment = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, default=environment("MOMUG_FAKE_MODE", "ok"))
    parser.add_argument("--steps", type=int, default=int(environment("MOMUG_FAKE_STEPS", "4")))
    parser.add_argument("--delay", type=float, default=float(environment("MOMUG_FAKE_DELAY", "0.01")))
    arguments = parser.parse_args()
    FakeBackend(arguments.mode, arguments.steps, arguments.delay).start()


if __name__ == "__main__":
    main()

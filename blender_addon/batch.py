"""Tables of jobs to animated characters, and folders of animations to captions, without a window.

``python -m blender_addon.batch --rig RIG --jobs jobs.csv --out DIR --formats blend,fbx,glb,bvh,npz`` with a Blender
Python, or ``blender -b rig.blend --python batch.py -- --jobs jobs.csv --out DIR``; after the same beginnings
``caption-batch DIR --out FILE``. docs/batch.md tells of the table, and of the manifest by which a run goes on.
"""

import argparse
import importlib
import os
import re
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ADDON = Path(__file__).resolve().parent
FORMATS = ("blend", "fbx", "glb", "bvh", "npz", "npy")
CAPTION_BATCH = "caption-batch"
DESCRIBED = (".blend", ".bvh", ".fbx", ".glb", ".gltf", ".vrm")
SOME_FAILED = 3  # exit code, as of ``python -m backend batch``
# what no other job would survive either
FATAL = ("no_backend", "bad_command", "no_hello", "version")
FPS = 30
GIVEN = ("rotations", "translation", "joints", "place")  # arrays of a file of given poses
MAX_GIVEN = 64 << 20  # bytes


class Stop(Exception):
    """The run as a whole cannot go on; the text is one sentence."""


def parse(arguments: "list[str] | None" = None) -> argparse.Namespace:
    """The options of a command line; of Blender's own, what follows two dashes."""
    if arguments is None:
        arguments = sys.argv[1:]
        if "--" in arguments:
            arguments = arguments[arguments.index("--") + 1 :]
    parser = argparse.ArgumentParser(prog="python -m blender_addon.batch", description=__doc__.splitlines()[0])
    captions = bool(arguments) and arguments[0] == CAPTION_BATCH
    if captions:
        arguments = arguments[1:]
        parser.prog += f" {CAPTION_BATCH}"
        parser.add_argument("folder", type=Path, metavar="DIR", help=f"files with {', '.join(DESCRIBED)}")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="captions.jsonl or captions.csv")
    else:
        parser.add_argument("--jobs", type=Path, required=True, metavar="FILE", help=".csv, .json or .jsonl")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR")
        parser.add_argument("--rig", type=Path, metavar="FILE", help="for rows without one (default: the open file)")
        parser.add_argument("--armature", default="", metavar="NAME", help="which one of the file's armatures")
        parser.add_argument("--formats", default="blend", metavar="A,B", help=f"of {', '.join(FORMATS)}")
        parser.add_argument("--motions", type=Path, metavar="DIR", help="take DIR/<name>.npz instead of the model")
    parser.add_argument("--model", default="momug")
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if isinstance(value, Path):  # Blender takes only whole paths, and counts others from the open file
            setattr(options, name, value.expanduser().absolute())
    options.captions = captions
    return options


def load_addon():
    """The add-on that this file lies in, registered; the one that runs already, where Blender has started it."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve() == ADDON / "__init__.py" and hasattr(module, "bl_info"):
            addon = module
            break
    else:
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ADDON]
        sys.path.insert(0, str(ADDON.parent))
        addon = importlib.import_module(ADDON.name)
    import bpy

    if not hasattr(bpy.types.WindowManager, "momug") and not hasattr(bpy.types.Scene, "momug"):
        addon.register()
    return addon


class Tools:
    """The add-on's modules, by whatever name the add-on is installed."""

    def __init__(self, package: str):
        self.api, self.ask, self.runtime = (
            importlib.import_module(f"{package}.{name}") for name in ("api", "ask", "runtime")
        )
        self.Options = importlib.import_module(f"{package}.scene.takes").Options
        self.import_rig = importlib.import_module(f"{package}.scene.import_rig").import_rig
        self.mannequin = importlib.import_module(f"{package}.scene.mannequin")
        self.export_blend = importlib.import_module(f"{package}.scene.export").blend
        self.compat = importlib.import_module(f"{package}.scene.compat")
        self.animations = importlib.import_module(f"{package}.convert").animations
        self.RigError = importlib.import_module(f"{package}.rig").RigError
        # the backend's shared part lies in the packaged add-on, or beside it in a checkout
        backend = importlib.import_module(f"{package}.client").protocol.__name__.rpartition(".")[0]
        self.jobs = importlib.import_module(f"{backend}.batch.jobs")
        self.manifest = importlib.import_module(f"{backend}.batch.manifest")
        self.captions = importlib.import_module(f"{backend}.batch.captions")


def empty_file() -> None:
    """Nothing but a scene at 30 fps; preferences and add-ons stay as they are."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = FPS, 1.0


class Rigs:
    """Characters, each prepared once as a .blend file that every job opens afresh."""

    def __init__(self, tools: Tools, folder: Path, armature: str):
        self.tools, self.folder, self.armature = tools, folder, armature
        self.ready: dict[str, tuple[Path, str]] = {}

    def open(self, rig: str):
        """The armature of ``rig`` ("" is the mannequin), nothing of the job before around it. Raises RigError."""
        import bpy

        if rig not in self.ready:
            self.ready[rig] = self._prepare(rig)
        file, name = self.ready[rig]
        bpy.ops.wm.open_mainfile(filepath=str(file), load_ui=False)
        armature = bpy.data.objects[name]
        bpy.context.view_layer.objects.active = armature
        return armature

    def _prepare(self, rig: str) -> tuple[Path, str]:
        import bpy

        if rig.lower().endswith(".blend"):
            try:
                bpy.ops.wm.open_mainfile(filepath=rig, load_ui=False)
            except RuntimeError as error:
                raise self.tools.RigError(f"Blender could not open '{Path(rig).name}'.") from error
            return Path(rig), self._choose(rig).name
        empty_file()
        made = self.tools.import_rig(rig) if rig else self.tools.mannequin.add()
        name = self._choose(rig).name if self.armature else made.name
        file = self.folder / f"rig{len(self.ready)}.blend"
        bpy.ops.wm.save_as_mainfile(filepath=str(file), check_existing=False)
        return file, name

    def _choose(self, rig: str):
        """The armature of the open file that is meant: by its name, the active one, else the first that is usable."""
        import bpy

        found = [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]
        if self.armature:
            found = [thing for thing in found if thing.name == self.armature]
        active = bpy.context.view_layer.objects.active
        found.sort(key=lambda thing: thing != active)
        for thing in found:
            try:
                self.tools.api.bone_map(thing)
            except self.tools.api.Error:
                continue
            return thing
        if not found:
            called = f" called '{self.armature}'" if self.armature else ""
            raise self.tools.RigError(f"'{Path(rig).name}' holds no armature{called}.")
        return found[0]


def animate_all(options: argparse.Namespace, tools: Tools, say) -> "tuple[int, int, dict[str, str]]":
    """Do what is not done yet of a table: (done now, done earlier, why the others failed). Raises Stop."""
    import bpy

    formats = [part.strip().lower() for part in options.formats.split(",") if part.strip()]
    if not formats or set(formats) - set(FORMATS):
        raise Stop(f"The formats have to be some of {', '.join(FORMATS)}.")
    default = str(options.rig.resolve()) if options.rig else bpy.data.filepath
    states, failed, done, earlier = tools.manifest, {}, 0, 0
    try:
        table = tools.jobs.read(options.jobs, options.model)
        with (
            tempfile.TemporaryDirectory(prefix="momug-", ignore_cleanup_errors=True) as folder,
            states.Manifest(options.out / states.NAME) as book,
        ):
            rigs = Rigs(tools, Path(folder), options.armature)
            book.add(states.begin("animate", jobs=len(table), formats=formats))
            # jobs of one character side by side: it is prepared once, and its file stays in memory
            for job in sorted(table, key=lambda job: job.rig or default):
                record = {"job": job.name, "seed": job.request.get("seed")}
                try:
                    rig, motion = _inputs(job, default, options.motions, tools)
                    record["input"] = _key(job, rig, motion, formats, tools)
                    if book.is_done(job.name, record["input"]) and all(
                        states.same_size(options.out / output["file"], output)
                        for output in book.last[job.name]["outputs"]
                    ):
                        earlier += 1
                        continue
                    book.add({**record, "state": states.RUNNING})
                    states.clear_parts({(options.out / job.name).parent})
                    began = time.monotonic()
                    armature = rigs.open(rig)
                    frames = _animate(job, armature, motion, tools)
                    outputs = [_export(options.out, f"{job.name}.{kind}", armature, tools) for kind in formats]
                    took = {**tools.api.timings(), "job": time.monotonic() - began}
                    took = {phase: round(seconds, 4) for phase, seconds in took.items()}
                    book.add({**record, "state": states.DONE, "frames": frames, "outputs": outputs, "seconds": took})
                    done += 1
                    say(f"{job.name}: {frames} frames, {took['job']:.1f} s")
                except (tools.api.Error, tools.RigError) as error:
                    if getattr(error, "code", "") in FATAL:
                        raise Stop(" ".join(filter(None, (str(error), getattr(error, "hint", ""))))) from error
                    failed[job.name] = str(error)
                    book.add({**record, "state": states.FAILED, "message": str(error)})
                    say(f"{job.name} failed: {error}")
    except (tools.jobs.JobsError, states.Busy) as error:
        raise Stop(str(error)) from error
    except OSError as error:
        raise Stop(f"{error.filename or options.out} could not be used: {error.strerror}.") from error
    return done, earlier, failed


def _inputs(job, default: str, motions: "Path | None", tools: Tools) -> "tuple[str, Path | None]":
    """The character and the motion file of a job. Raises RigError."""
    rig, motion = job.rig or default, motions / f"{job.name}.npz" if motions else None
    problem = job.problem
    if not problem and motion is not None and not motion.is_file():
        problem = f"There is no motion {motion}."
    if not problem and rig and not Path(rig).is_file():
        problem = f"There is no file at {rig}."
    if problem:
        raise tools.RigError(problem)
    return rig, motion


def _key(job, rig: str, motion: "Path | None", formats: "list[str]", tools: Tools) -> str:
    files = [tools.jobs.file_hash(str(path)) if path else "" for path in (rig, motion)]
    return job.key(files, sorted(formats), job.options, tools.jobs.weights(job.model) if motion is None else "")


def _animate(job, armature, motion: "Path | None", tools: Tools) -> int:
    """Put the job's motion on the armature and the timeline around it; the number of frames."""
    if motion is not None:
        options = {"loop": True} if job.request.get("loop") else {}
        action = tools.api.import_motion(motion, armature, frame_start=1, **{**options, **job.options})
    else:
        request = dict(job.request)
        timeline = [(part.get("prompt"), part.get("seconds")) for part in request.pop("timeline", [])] or None
        prompt = request.pop("prompt", "")
        if job.target:
            action = _meet(job, armature, prompt, request, timeline, tools)
            return _framed(armature, action, tools)
        action = tools.api.animate(
            armature, prompt, timeline=timeline, model=job.model, frame_start=1, **{**request, **job.options}
        )
    return _framed(armature, action, tools)


def _meet(job, armature, prompt: str, request: dict, timeline: "list | None", tools: Tools):
    """The action of a job whose poses are given on the canonical skeleton. Feet stay where those poses have them."""
    loop = {"loop": True} if request.pop("loop", False) else {}
    try:
        options = tools.Options(**{"foot_lock": False, **loop, **job.options})
    except TypeError as error:
        raise tools.api.Error("bad_request", "There is no such option of a motion.", str(error)) from error
    fields = tools.ask.checked(prompt, model=job.model, timeline=timeline, wordless=True, **request)
    task = tools.ask.send(armature, fields, tools.ask.Place(1, 0, options), arrays=_given(Path(job.target), tools))
    return tools.runtime.wait(task)[0]


def _given(path: Path, tools: Tools) -> dict:
    """The arrays of a file of given poses, as a generate message carries them; the backend checks what they say."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_GIVEN:
                raise ValueError("it is too large")
        with np.load(path, allow_pickle=False) as archive:
            return {f"target/{name}": archive[name] for name in GIVEN if name in archive.files}
    except (OSError, ValueError, KeyError, MemoryError, zipfile.BadZipFile, EOFError) as error:
        raise tools.RigError(f"'{path.name}' could not be read as given poses.") from error


def _framed(armature, action, tools: Tools) -> int:
    """Accept the action and put the timeline around it; the number of frames."""
    import bpy

    tools.api.accept(armature)
    first, last = (int(round(frame)) for frame in action.frame_range)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = first, last
    return last - first + 1


def _export(out: Path, name: str, armature, tools: Tools) -> dict:
    """One file, there whole or not at all: {"file", "sha256", "bytes"}. Raises api.Error, or OSError of the disk."""
    try:
        with tools.manifest.replacing(out / name) as part:
            if part.suffix == ".blend":
                tools.export_blend(part)
            else:
                tools.api.export(armature, part)
            digest = tools.jobs.file_hash(part)
            return {"file": name, "sha256": digest, "bytes": part.stat().st_size}
    except (tools.api.Error, tools.RigError):
        with tools.manifest.replacing(out / ".momug-probe") as probe:  # OSError: the disk is to blame, not the job
            probe.write_bytes(bytes(1 << 20))
        (out / ".momug-probe").unlink()
        raise


# --- captions


def caption_all(options: argparse.Namespace, tools: Tools, say) -> "tuple[int, int, dict[str, str]]":
    """Describe every animation of every file of a folder. Raises Stop."""
    captions = tools.captions

    def describe(path: Path) -> "list[dict]":
        try:
            return _describe(path, options.model, tools)
        except (tools.api.Error, tools.RigError) as error:
            if getattr(error, "code", "") in FATAL:
                raise Stop(" ".join(filter(None, (str(error), getattr(error, "hint", ""))))) from error
            raise captions.Refused(str(error)) from error

    try:
        weights = tools.jobs.weights(options.model)
        return captions.run(options.folder, options.out, DESCRIBED, describe, weights, say)
    except (captions.Refused, tools.manifest.Busy) as error:
        raise Stop(str(error)) from error
    except OSError as error:
        raise Stop(f"{error.filename or options.out} could not be used: {error.strerror}.") from error


def _describe(path: Path, model: str, tools: Tools) -> "list[dict]":
    """A row for each animation of each armature of a file. Raises api.Error and RigError when there is none at all."""
    import bpy

    if path.suffix.lower() == ".blend":
        try:
            bpy.ops.wm.open_mainfile(filepath=str(path.resolve()), load_ui=False)
        except RuntimeError as error:
            raise tools.RigError(f"Blender could not open '{path.name}'.") from error
        armatures = [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]
    else:
        empty_file()
        _bvh_rate(path)
        armatures = [tools.import_rig(path)]
    if not armatures:
        raise tools.RigError(f"'{path.name}' holds no armature.")
    rows, told = [], None
    described = set()
    fps = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
    for armature in armatures:
        played = tools.animations(armature)
        loose = {action.name: action for action in bpy.data.actions if _plays(action, armature, tools)}
        for name, action in [*played.items(), *loose.items()]:
            if action.name in described:
                continue
            try:
                text = tools.api.caption(action, armature=armature, model=model)
            except tools.api.Error as error:
                if error.code in FATAL:
                    raise
                told = error
                continue
            described.add(action.name)
            seconds = round((action.frame_range[1] - action.frame_range[0] + 1) / fps, 3)
            rows.append({"armature": armature.name, "animation": name, "seconds": seconds, "caption": text})
    if not rows:
        raise told or tools.RigError(f"'{path.name}' holds no animation of its armature.")
    return rows


def _plays(action, armature, tools: Tools) -> bool:
    """Does an action, used or not, move bones of ``armature``?"""
    names = (re.match(r'pose\.bones\["([^"]+)"\]', curve.data_path) for curve in tools.compat.fcurves(action, armature))
    return any(name and name[1] in armature.pose.bones for name in names)


def _bvh_rate(path: Path) -> None:
    """Let the scene run at a .bvh file's own rate: Blender's importer makes every row one frame."""
    import bpy

    if path.suffix.lower() != ".bvh":
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = re.match(r"\s*Frame Time:\s*([0-9.eE+-]+)", line)
            if found:
                break
        else:
            return
    try:
        rate = 1 / float(found[1])
    except (ValueError, ZeroDivisionError):
        return
    if 1 <= rate <= 1000:
        render = bpy.context.scene.render
        render.fps = round(rate)
        render.fps_base = render.fps / rate


def main(arguments: "list[str] | None" = None) -> int:
    """Run one batch; returns the exit code: 0, 3 when some jobs failed, 1 when the run stopped."""
    options = parse(arguments)
    tools = Tools(load_addon().__name__)
    try:
        work = caption_all if options.captions else animate_all
        done, earlier, failed = work(options, tools, lambda line: print(line, flush=True))
    except Stop as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        tools.api.shutdown()
    print(f"{done} done, {earlier} were done already, {len(failed)} failed", flush=True)
    return SOME_FAILED if failed else 0


if __name__ == "__main__":
    code = main()
    # bpy as a module may hang while Python takes it apart
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

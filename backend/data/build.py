"""From folders of capture to a data set of captioned windows: find, read, clean and cut, sort out, augment, describe.

What comes out is described in :mod:`backend.data.store`; beside it lie ``splits.json`` (which clip is on which side),
``provenance.jsonl`` (where each window comes from) and ``statistics.json``. A window starts at x = z = 0, facing +Z.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backend.data import augment, blender, clean, cuts, duplicates, ground, rows, splits, summary
from backend.data.clips import Clip, find_clips
from backend.data.cuts import Cut
from backend.data.splits import SPLITS
from backend.data.store import Batch, Work, write_rows, write_split
from backend.errors import BackendError
from backend.motion import formats
from backend.motion.skeleton import Motion

IDLE_SHARE = 0.05
SEED = 0
Progress = Callable[[str], None]


@dataclass
class Split:
    """Windows of one split: motions and rows in the same order."""

    motions: list[Motion] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)

    def add(self, window: tuple[Motion, dict]) -> None:
        self.motions.append(window[0])
        self.rows.append(window[1])


def build(
    sources: list[Path],
    out: Path,
    recipe: str = "shippable",
    progress: Progress = print,
    blender_python: str | Path | None = None,
    splits_file: Path | None = None,
    more: bool = True,
) -> dict:
    """Build the data set in ``out``; returns the statistics that it also writes to ``statistics.json``.

    recipe 'shippable' uses only clips whose licence lets a trained model be given away; 'noncommercial' uses all.
    blender_python: a Python with ``bpy`` (or a Blender) that reads GLB and FBX clips; without it and without
    ``MOMUG_BLENDER_PYTHON`` they are left out. splits_file: splits of clips to keep (default: those of the data set
    that is already in ``out``). more: augment the training split. A build that was interrupted goes on where it was.
    Raises BackendError('bad_request' or 'bad_file').
    """
    out = Path(out)
    problems: list[str] = []
    dropped: Counter = Counter()
    clips = find_clips([Path(s) for s in sources], recipe, problems)
    fixed = splits.load(splits_file or out / splits.FILE) if splits_file or (out / splits.FILE).is_file() else {}
    python = blender.interpreter(blender_python)
    out.mkdir(parents=True, exist_ok=True)
    work = Work(out / ".work")
    steps = summary.Steps(progress)
    steps.clips("found", clips)
    motions = _read(clips, python, work, problems, progress)
    for clip in clips:
        if clip.skip:
            dropped["clip: " + clip.skip] += 1
    clips = [clip for clip in clips if clip.id in motions]
    if not clips:
        raise BackendError("bad_file", "No usable motion was found in " + ", ".join(str(s) for s in sources) + ".")
    steps.clips("licence and quality allow it, readable", clips)

    named = frozenset(clip.id for clip in clips if clip.name)
    copies = duplicates.find(motions, progress)
    gone = duplicates.redundant(copies, motions, named)
    side, notes = splits.assign(clips, [(c.first, c.second) for c in copies], fixed)
    dropped["clip: a copy of another"] += len(gone)
    clips = [clip for clip in clips if clip.id not in gone]
    steps.clips("without copies", clips)

    windows = _cut(clips, motions, side, dropped, steps)
    gates: Counter = Counter()
    good = _sound(windows, dropped, gates)
    if not good:
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common(3) if count)
        raise BackendError("bad_file", f"No window of the {len(clips)} clips can be used: {why or 'too short'}.")
    steps.windows("sound", good)
    idle = {i for s in SPLITS for i in cuts.idle_beyond([c for c in good if side[c.clip.id] == s], IDLE_SHARE)}
    dropped["window: idle, beyond the share of 5 %"] += len(idle)
    good = [cut for cut in good if cut.id not in idle]
    steps.windows("idle capped", good)

    known = {clip.id: clip for clip in clips}
    data = {name: Split() for name in SPLITS}
    for number, cut in enumerate(good, 1):
        for mirrored in (False, True) if side[cut.clip.id] == "train" else (False,):
            data[side[cut.clip.id]].add(rows.of_cut(cut, side[cut.clip.id], mirrored, known))
        _tell(progress, "described", number, len(good))
    if more:
        _augment(data["train"], {cut.id: cut for cut in good}, known, work, gates, dropped, progress)
    steps.rows("described and augmented", [row for name in SPLITS for row in data[name].rows if not row["mirrored"]])
    steps.rows("mirrored", [row for name in SPLITS for row in data[name].rows])

    sources_of = [rows.provenance(row, known) for name in SPLITS for row in data[name].rows]
    for name in SPLITS:
        write_split(out, name, data[name].motions, data[name].rows)
    write_rows(out / "provenance.jsonl", sources_of)
    splits.save(out / splits.FILE, fixed | side)
    statistics = {
        "recipe": recipe,
        "splits": {name: summary.of_split(data[name].motions, data[name].rows) for name in SPLITS},
        "steps": steps.table,
        "clips_used": len(clips),
        "gates": summary.pass_rates(gates),
        "copies": [f"{c.first} = {c.second}" + ("" if c.whole else " (in part)") for c in copies],
        "splits_changed": notes,
        "dropped": dict(dropped.most_common()),
        "unreadable": problems,
    }
    (out / "statistics.json").write_text(json.dumps(statistics, indent=1, ensure_ascii=False), encoding="utf-8")
    work.clear()
    return statistics


def _tell(progress: Progress, what: str, number: int, total: int) -> None:
    if number % 500 == 0 or number == total:
        progress(f"{what} {number}/{total}")


def _read(
    clips: list[Clip], python: Path | None, work: Work, problems: list[str], progress: Progress
) -> dict[str, Motion]:
    """The canonical motion of every clip that can be read, by its id; a file that cannot is told in ``problems``."""
    reasons = _through_blender(clips, python, progress)
    wanted = [clip for clip in clips if not clip.skip]
    found = {}
    for number, clip in enumerate(wanted, 1):
        try:
            if clip.id in reasons:
                raise BackendError("bad_file", reasons[clip.id])
            motions, _ = work.batch(_key(clip), lambda clip=clip: ([_read_clip(clip)], {}))
            found[clip.id] = motions[0]
            clip.seconds = motions[0].seconds
        except (BackendError, OSError) as error:
            problems.append(f"{clip.id}: {error}")
            clip.skip = "could not be read"
        _tell(progress, "read", number, len(wanted))
    return found


def _through_blender(clips: list[Clip], python: Path | None, progress: Progress) -> dict[str, str]:
    """Point the clips that Blender has to read at their converted files; returns {clip id: why it could not}."""
    wanted = [clip for clip in clips if clip.format in blender.FORMATS and not clip.skip]
    if python is None:
        for clip in wanted:
            clip.skip = f"format {clip.format} needs a Blender Python"
    if python is None or not wanted:
        return {}
    done, failed = blender.convert([(c.id, c.path, c.animation) for c in wanted], python, progress)
    for clip in wanted:
        if clip.id in done:
            # the key times of the file are in it: the rate that the list tells is no longer needed
            clip.path, clip.fps = done[clip.id], None
    return failed


def _key(clip: Clip) -> str:
    """All that the motion of a clip depends on."""
    files = [path for path in (clip.path, clip.skeleton) if path]
    stamps = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.is_file()]
    return f"{clip.id} {clip.fps} {clip.format} {stamps}"


def _read_clip(clip: Clip) -> Motion:
    options = {}
    if clip.fps:
        options["source_fps"] = clip.fps
    if clip.skeleton:
        options["skeleton"] = clip.skeleton
    motion = formats.read(clip.path, **options)
    if clip.format in blender.FORMATS:
        motion = clean.without_rest_frame(motion)
    return ground.levelled(clean.repair(motion))


def _cut(
    clips: list[Clip], motions: dict[str, Motion], side: dict[str, str], dropped: Counter, steps: summary.Steps
) -> list[Cut]:
    """All windows, in the order of the clips; characters' clips give theirs by name."""
    found: list[Cut] = []
    for clip in clips:
        if not clip.name:
            found += cuts.windows(clip, motions[clip.id], side[clip.id] == "train", dropped)
    found += cuts.pieces({clip.id: (clip, motions[clip.id]) for clip in clips if clip.name}, dropped)
    steps.windows("cut into windows, rests left out", found)
    return found


def _sound(windows: list[Cut], dropped: Counter, gates: Counter) -> list[Cut]:
    """The windows without faults that pass the gates; both are counted by kind and reason."""
    good = []
    for cut in windows:
        reason = cuts.why_not(cut)
        gates[f"{cut.kind}: made"] += 1
        gates[f"{cut.kind}: {reason.removeprefix('gate: ') if reason else 'passed'}"] += 1
        if reason:
            dropped["window: " + reason] += 1
        else:
            good.append(cut)
    return good


def _augment(
    train: Split,
    windows: dict[str, Cut],
    clips: dict[str, Clip],
    work: Work,
    gates: Counter,
    dropped: Counter,
    progress: Progress,
) -> None:
    """Add augmented windows and their mirror images to the training split. windows, clips: by their ids."""
    real = [
        augment.Window(motion, row)
        for motion, row in zip(train.motions, train.rows, strict=True)
        if not row["mirrored"]
    ]
    by_id = {window.row["id"]: window.row for window in real}
    contents = hashlib.sha256(json.dumps([window.row for window in real]).encode()).hexdigest()
    for kind in augment.KINDS:
        progress(f"augmenting: {kind}")

        def make(kind: str = kind) -> Batch:
            report: Counter = Counter()
            made = list(augment.augmented(real, SEED, report, {kind: augment.BUDGET[kind]}))
            facts = [asdict(a) | {"motion": None, "sources": [row["id"] for row in a.sources]} for a in made]
            return [a.motion for a in made], {"made": facts, "report": report}

        motions, facts = work.batch(f"{kind} {contents}", make)
        gates.update(facts["report"])
        for number, (motion, made) in enumerate(zip(motions, facts["made"], strict=True)):
            parts = [augment.Part(**part) for part in made["parts"]]
            sources = [by_id[id_] for id_ in made["sources"]]
            whole = augment.Augmented(motion, made["kind"], sources, parts, made["recipe"])
            both = [rows.of_augmented(whole, number, mirrored, windows, clips) for mirrored in (False, True)]
            if None in both:
                dropped[f"window: {kind}, nothing true to say"] += 1
            else:
                for window in both:
                    train.add(window)
            _tell(progress, f"described {kind}", number + 1, len(motions))

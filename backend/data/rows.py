"""The line of a window in the data set: what it is called, what it is made of, what is said and measured of it."""

from backend.data import clean, describe
from backend.data.augment import Augmented
from backend.data.clips import Clip
from backend.data.cuts import Cut, seed_of, sentences
from backend.data.measure import measure
from backend.motion.skeleton import Motion

FEWEST = 6  # sentences a window
# repositories whose figures are far from a person in build or stance: their windows are drawn less often
WEIGHTS = {"sketchpunklabs/kaykit_char": 0.35}


def of_cut(cut: Cut, split: str, mirrored: bool, clips: dict[str, Clip]) -> tuple[Motion, dict]:
    """Motion and row of a captured window, or of its mirror image."""
    motion = clean.place(clean.mirrored(cut.motion)) if mirrored else cut.motion
    m = measure(motion)
    plain = [] if cut.kind == "piece" else cut.clip.descriptions
    human = sentences(cut, mirrored) if cut.kind == "real" else []
    named = [describe.swap_sides(t) if mirrored else t for t in cut.texts]
    seed = seed_of(f"{cut.id} {mirrored}")
    texts = describe.captions(motion, plain, human, seed, m, named, cut.alone)
    phrases = describe.phrases(motion, plain, seed, m, named, cut.alone)
    done = {"extended": ["gait cycle repeated"], "piece": ["loop repeated or pieces joined"]}.get(cut.kind, [])
    used = [{"clip": id_, "frames": [cut.start, cut.stop] if id_ == cut.clip.id else None} for id_ in cut.clips]
    row = _row(cut.id, cut.kind, split, mirrored, [clips[id_] for id_ in cut.clips], cut.start, cut.stop)
    row |= {"captions": texts, "phrases": phrases, "labels": m}
    return motion, row | {"provenance": {"parts": used, "done": done}}


def of_augmented(
    made: Augmented, number: int, mirrored: bool, cuts: dict[str, Cut], clips: dict[str, Clip]
) -> tuple[Motion, dict] | None:
    """Motion and row of an augmented window of the training split, or None when nothing true can be said of it."""
    motion = clean.place(clean.mirrored(made.motion) if mirrored else made.motion)
    m = measure(motion)
    id_ = f"{made.sources[0]['id']}*{made.kind}{number}"
    seed = seed_of(f"{id_} {mirrored}")
    first = cuts[made.sources[0]["id"]]
    parts = [_part_phrases(made, part, cuts, mirrored, seed) for part in made.parts]
    if made.kind == "joined":
        texts, phrases = describe.joined_captions(parts, seed), [p for part in parts for p in part]
    elif made.kind == "composed":
        texts, phrases = describe.composed_captions(parts[0], parts[1], seed), parts[0] + parts[1]
    else:
        same = made.kind == "speed"
        plain = first.clip.descriptions if same and first.kind != "piece" else []
        human = sentences(first, mirrored) if same and first.kind == "real" else []
        named = [describe.swap_sides(t) if mirrored else t for t in first.texts] if same else []
        texts = describe.captions(motion, plain, human, seed, m, named, first.alone and same)
        phrases = describe.phrases(motion, plain, seed, m, named, first.alone and same)
    texts = [text for text in texts if not describe.contradicts(text, m)]
    if len(texts) < FEWEST and made.kind in ("joined", "composed"):
        texts = list(dict.fromkeys(texts + describe.captions(motion, [], [], seed, m)))[: FEWEST + 2]
    if not texts:
        return None
    used_clips = list(dict.fromkeys(c for source in made.sources for c in source["sources"]))
    row = _row(id_, made.kind, "train", mirrored, [clips[c] for c in used_clips], 0, motion.frames)
    used = []
    for part in made.parts:
        source = made.sources[part.source]
        frames = [source["start"] + part.source_start, source["start"] + part.source_stop]
        used.append({"clip": source["clip"], "window": source["id"], "frames": frames, "role": part.role})
    done = [made.kind + "".join(f" {k}={v}" for k, v in sorted(made.recipe.items()))]
    row["weight"] = min(source["weight"] for source in made.sources)
    row |= {"captions": texts, "phrases": phrases, "labels": m}
    return motion, row | {"provenance": {"parts": used, "done": done}}


def _part_phrases(made: Augmented, part, cuts: dict[str, Cut], mirrored: bool, seed: int) -> list[str]:
    phrases = part.phrases
    if not phrases:
        source = cuts[made.sources[part.source]["id"]]
        descriptions = [] if source.kind == "piece" else source.clip.descriptions
        phrases = describe.phrases(clean.place(made.motion.slice(part.start, part.stop)), descriptions, seed)
    return [describe.swap_sides(phrase) for phrase in phrases] if mirrored else list(phrases)


def _row(id_: str, kind: str, split: str, mirrored: bool, clips: list[Clip], start: int, stop: int) -> dict:
    return {
        "id": id_ + ("m" if mirrored else ""),
        "clip": clips[0].id,
        "sources": [clip.id for clip in clips],
        "start": start,
        "end": stop,
        "split": split,
        "mirrored": mirrored,
        "kind": kind,
        "weight": min(WEIGHTS.get(clip.source, 1.0) for clip in clips),
        "licence": "; ".join(dict.fromkeys(clip.licence for clip in clips)),
        "source": "; ".join(dict.fromkeys(clip.source for clip in clips)),
    }


def provenance(row: dict, clips: dict[str, Clip]) -> dict:
    """Where a window comes from, for ``provenance.jsonl``: clips with repository, licence and frames (30 fps), and what
    was done to them. Takes the key ``provenance`` out of the row."""
    facts = row.pop("provenance")
    parts = [
        part | {"repository": clips[part["clip"]].source, "licence": clips[part["clip"]].licence}
        for part in facts["parts"]
    ]
    done = ["to the canonical skeleton at 30 fps", "cut", *facts["done"], *(["mirrored"] if row["mirrored"] else [])]
    return {"id": row["id"], "clips": parts, "done": done}

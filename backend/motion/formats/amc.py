"""Acclaim ASF skeletons and AMC motions, as the CMU database uses them.

A bone's channels turn it about its own axes C (the bone's ``axis`` entry): with channels rx ry rz its rotation against
the rest pose is C Rz Ry Rx C^-1, in world axes, and it accumulates down the chain. A joint here carries the name of
the bone that starts in it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import rotations as rot
from backend.motion.canonical import MAX_JOINTS, to_canonical
from backend.motion.formats import textfile
from backend.motion.joint_matching import SourceMotion
from backend.motion.skeleton import Motion
from backend.protocol import FPS

CMU_FPS = 120.0
CHANNELS = {"tx", "ty", "tz", "rx", "ry", "rz", "l"}


@dataclass
class Bone:
    """direction (3,) unit, length in file units, axes C (3,3), dof such as ['rx', 'ry', 'rz']."""

    name: str
    direction: np.ndarray
    length: float
    axes: np.ndarray
    dof: list[str]


@dataclass
class Skeleton:
    """root_order: the root's channels in file order; parents: bone name to parent name; bones in hierarchy order."""

    root_order: list[str]
    root_axes: np.ndarray
    bones: list[Bone]
    parents: dict[str, str]


def read_skeleton(path: Path) -> Skeleton:
    """An .asf file. Raises BackendError('bad_file')."""
    bones: dict[str, Bone] = {}
    parents: dict[str, str] = {}
    root_order, root_axis, root_orientation = ["tx", "ty", "tz", "rx", "ry", "rz"], "XYZ", np.zeros(3)
    section, entry, degrees = "", {}, True
    for number, line in enumerate(textfile.load(path).splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        key, rest = words[0].lower(), words[1:]
        if key.startswith(":"):
            section = key[1:]
        elif section == "units" and key == "angle":
            degrees = rest[:1] != ["rad"]
        elif section == "root":
            if key == "order":
                root_order = _channels(path, number, rest)
            elif key == "axis" and rest:
                root_axis = _axis_order(path, number, rest[0])
            elif key == "orientation":
                root_orientation = textfile.number_rows(path, [" ".join(rest)], number, 3)[0]
        elif section == "bonedata":
            if key == "begin":
                entry = {}
            elif key == "end":
                if not {"name", "direction", "length"} <= set(entry):
                    raise textfile.bad_line(path, number, "a bone needs a name, a direction and a length")
                bones[entry["name"]] = _bone(entry, degrees)
            elif key == "name" and rest:
                entry["name"] = rest[0]
            elif key == "direction":
                entry["direction"] = textfile.number_rows(path, [" ".join(rest)], number, 3)[0]
            elif key == "length":
                entry["length"] = float(textfile.number_rows(path, [" ".join(rest)], number, 1)[0, 0])
            elif key == "axis":
                entry["axis"] = textfile.number_rows(path, [" ".join(rest[:3])], number, 3)[0]
                entry["axis_order"] = _axis_order(path, number, rest[3] if len(rest) > 3 else "XYZ")
            elif key == "dof":
                entry["dof"] = _channels(path, number, rest)
        elif section == "hierarchy" and key not in ("begin", "end"):
            for child in rest:
                parents[child] = words[0]
    if not bones or not parents or len(bones) > MAX_JOINTS:
        raise BackendError("bad_file", f"{path.name}: no skeleton with a hierarchy was found in the file.")
    ordered: list[Bone] = []
    done = {"root"}
    # parents before children, whatever the order in the file
    while len(ordered) < len(bones):
        ready = [b for b in bones.values() if b.name not in done and parents.get(b.name) in done]
        if not ready:
            lost = [name for name in bones if name not in done]
            raise BackendError("bad_file", f"{path.name}: bones without a way to the root: {', '.join(lost[:5])}.")
        ordered += ready
        done |= {b.name for b in ready}
    axes = rot.euler_to_matrix(root_orientation[::-1], root_axis[::-1])
    return Skeleton(root_order, axes, ordered, parents)


def _channels(path: Path, number: int, words: list[str]) -> list[str]:
    channels = [w.lower() for w in words]
    if len(set(channels)) < len(channels) or not set(channels) <= CHANNELS:
        raise textfile.bad_line(path, number, f"channels that cannot be understood: {' '.join(words)[:40]!r}")
    return channels


def _axis_order(path: Path, number: int, word: str) -> str:
    if sorted(word.upper()) != ["X", "Y", "Z"]:
        raise textfile.bad_line(path, number, f"{word[:20]!r} is no order of axes")
    return word.upper()


def _bone(entry: dict, degrees: bool) -> Bone:
    axis = entry.get("axis", np.zeros(3))
    axis = axis if degrees else np.degrees(axis)
    # 'XYZ' turns about X first: C = Rz Ry Rx
    axes = rot.euler_to_matrix(axis[::-1], entry.get("axis_order", "XYZ")[::-1])
    direction = np.asarray(entry["direction"])
    norm = np.linalg.norm(direction)
    return Bone(entry["name"], direction / norm if norm > 0 else direction, entry["length"], axes, entry.get("dof", []))


def read_channels(path: Path, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """An .amc file as {bone or 'root': (T, number of its channels)} in file order. Raises BackendError('bad_file')."""
    lines = textfile.load(path).splitlines()
    widths = {"root": len(skeleton.root_order)} | {b.name: len(b.dof) for b in skeleton.bones if b.dof}
    text: dict[str, list[str]] = {name: [] for name in widths}
    where: dict[str, list[int]] = {name: [] for name in widths}
    frames = 0
    degrees = True
    for number, line in enumerate(lines, 1):
        name, _, values = line.strip().partition(" ")
        if not name or name[0] in "#:":
            degrees = degrees and name.upper() != ":RADIANS"
        elif name.isdigit() and not values:
            _check_frame(path, number, text, frames)
            frames += 1
        elif name not in text:
            raise textfile.bad_line(path, number, f"the skeleton has no moving bone {name[:20]!r}")
        elif frames == 0:
            raise textfile.bad_line(path, number, "values before the first frame number")
        else:
            text[name].append(values)
            where[name].append(number)
    _check_frame(path, len(lines), text, frames)
    if not frames:
        raise BackendError("bad_file", f"{path.name}: there are no frames in the file.")
    result = {}
    for name, rows in text.items():
        if not rows:
            result[name] = np.zeros((frames, widths[name]))
            continue
        try:
            data = np.array(" ".join(rows).split(), dtype=np.float64).reshape(frames, widths[name])
            if not np.isfinite(data).all():
                raise ValueError("not finite")
        except ValueError:
            for row, number in zip(rows, where[name], strict=True):
                textfile.number_rows(path, [row], number, widths[name])
            raise BackendError("bad_file", f"{path.name}: the values of {name} could not be read.") from None
        if not degrees:
            keep = 3 if name == "root" else 0
            data[:, keep:] = np.degrees(data[:, keep:])
        result[name] = data
    return result


def _check_frame(path: Path, number: int, text: dict[str, list[str]], frames: int) -> None:
    for name, rows in text.items():
        if len(rows) != frames and (rows or name == "root"):
            raise textfile.bad_line(path, number, f"frame {frames} has {len(rows) - frames + 1} entries for {name}")


def pose(skeleton: Skeleton, channels: dict[str, np.ndarray], fps: float, name: str = "") -> SourceMotion:
    """World rotations and joint positions from channels, in the file's axes and unit."""
    frames = len(channels["root"])
    names = ["root"] + [b.name for b in skeleton.bones]
    index = {joint: i for i, joint in enumerate(names)}
    parents = [-1] + [index[skeleton.parents[b.name]] for b in skeleton.bones]
    offsets = np.zeros((len(names), 3))
    world = np.empty((frames, len(names), 3, 3))
    positions = np.zeros((frames, len(names), 3))
    turn = [c for c in skeleton.root_order if c.startswith("r")]
    local = _channel_rotation(channels["root"], skeleton.root_order, turn)
    world[:, 0] = skeleton.root_axes @ local @ skeleton.root_axes.T
    for column, channel in enumerate(skeleton.root_order):
        if channel.startswith("t"):
            positions[:, 0, "xyz".index(channel[1])] = channels["root"][:, column]
    for i, bone in enumerate(skeleton.bones, 1):
        parent = parents[i]
        if parent > 0:
            before = skeleton.bones[parent - 1]
            offsets[i] = before.direction * before.length
        if bone.dof:
            local = _channel_rotation(channels[bone.name], bone.dof, [c for c in bone.dof if c.startswith("r")])
            world[:, i] = world[:, parent] @ (bone.axes @ local @ bone.axes.T)
        else:
            world[:, i] = world[:, parent]
        positions[:, i] = positions[:, parent] + world[:, parent] @ offsets[i]
    return SourceMotion(names, parents, offsets, world, positions, fps, name)


def _channel_rotation(values: np.ndarray, dof: list[str], turn: list[str]) -> np.ndarray:
    # channels rx ry rz turn about x first: Rz Ry Rx
    columns = [dof.index(c) for c in reversed(turn)]
    return rot.euler_to_matrix(values[:, columns], "".join(c[1] for c in reversed(turn)))


def find_skeleton(path: Path) -> Path:
    """The .asf that belongs to an .amc: same name, the subject's number, or the only one in the folder."""
    stems = [path.stem, path.stem.split("_")[0]]
    folders = [path.parent, path.parent / "asf", path.parent.parent / "asf"]
    for folder in folders:
        for stem in stems:
            if (folder / f"{stem}.asf").is_file():
                return folder / f"{stem}.asf"
    only = sorted(path.parent.glob("*.asf"))
    if len(only) == 1:
        return only[0]
    raise BackendError("bad_file", f"{path.name}: its skeleton was not found.", f"Put {stems[1]}.asf beside the file.")


def read(path: Path, fps: float = FPS, source_fps: float | None = None, skeleton: str | Path | None = None) -> Motion:
    """An AMC file with its ASF on the canonical skeleton. AMC does not say its rate: CMU's 120 unless told."""
    path = Path(path)
    bones = read_skeleton(Path(skeleton) if skeleton else find_skeleton(path))
    return to_canonical(pose(bones, read_channels(path, bones), source_fps or CMU_FPS, path.name), fps)

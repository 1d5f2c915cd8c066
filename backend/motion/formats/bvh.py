"""BVH: read any hierarchy with channels as declared, write canonical motions.

End sites are kept as joints, because they tell the length and direction of the last bone.

Written files are Y up, in centimetres (what animation tools expect), with rotation channels Zrotation Yrotation
Xrotation, and hold the canonical joint names; reading such a file gives the same motion back.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import rotations as rot
from backend.motion.canonical import MAX_FRAMES, MAX_JOINTS, to_canonical
from backend.motion.contacts import foot_contacts
from backend.motion.formats import textfile
from backend.motion.joint_matching import SourceMotion
from backend.motion.skeleton import Motion
from backend.protocol import FPS, JOINTS, PARENTS

CENTIMETRES = 100.0
MAX_SAMPLES = 10_000_000  # frames times joints: as matrices they take 0.7 GB
MAX_VALUE = 1e7  # no length, in whatever unit, is longer
# where the bone of a joint without child ends, from that joint in the rest pose (metres); only for display
END_SITES = {
    "head": (0.0, 0.20, 0.0),
    "left_foot": (0.0, 0.0, 0.08),
    "right_foot": (0.0, 0.0, 0.08),
    "left_wrist": (0.16, 0.0, 0.0),
    "right_wrist": (-0.16, 0.0, 0.0),
}


@dataclass
class Hierarchy:
    """The skeleton part of a file: per joint name, parent index, offset (file unit) and channel names.

    An end site is a joint named after the one it belongs to ('hand end'), without channels.
    """

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)
    ends: set[int] = field(default_factory=set)

    def add(self, name: str, parent: int) -> None:
        """Append a joint; a name that is taken gets a number."""
        unique, count = name, 1
        while unique in self.taken:
            count += 1
            unique = f"{name}#{count}"
        self.taken.add(unique)
        self.names.append(unique)
        self.parents.append(parent)
        self.offsets.append([0.0, 0.0, 0.0])
        self.channels.append([])

    def __post_init__(self):
        self.taken = set(self.names)


def read_source(path: Path, source_fps: float | None = None) -> SourceMotion:
    """A BVH file as world rotations and positions in its own axes and unit. Raises BackendError('bad_file')."""
    lines = textfile.load(path).splitlines()
    hierarchy, at = _parse_hierarchy(path, lines)
    frames, seconds, at = _parse_motion_head(path, lines, at)
    width = sum(len(c) for c in hierarchy.channels)
    if width == 0:
        raise BackendError("bad_file", f"{path.name}: no joint has CHANNELS, so nothing moves.")
    if frames * len(hierarchy.names) > MAX_SAMPLES:
        size = f"{frames} frames of {len(hierarchy.names)} joints"
        raise BackendError("bad_file", f"{path.name}: {size} are too much to read at once.", "Cut the file in pieces.")
    values = textfile.number_rows(path, lines[at:], at + 1, width, frames)
    if len(values) < frames:
        raise textfile.bad_line(
            path, len(lines), f"the file ends after {len(values)} of the {frames} frames that it announces"
        )
    return _pose(path, hierarchy, values, source_fps or 1.0 / seconds)


def read(path: Path, fps: float = FPS, source_fps: float | None = None, up: str | None = None) -> Motion:
    """A BVH file on the canonical skeleton (see :func:`backend.motion.canonical.to_canonical`)."""
    source = read_source(Path(path), source_fps)
    if up is None and _is_own(source):
        return _own(source, fps)
    return to_canonical(source, fps, up=up)


def _parse_hierarchy(path: Path, lines: list[str]) -> tuple[Hierarchy, int]:
    result = Hierarchy()
    stack: list[int] = []
    pending: int | None = None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].upper() == "HIERARCHY":
            continue
        key = words[0].upper()
        if key in ("ROOT", "JOINT", "END"):
            if len(words) < 2:
                raise textfile.bad_line(path, number, "a joint without a name")
            if pending is not None:
                raise textfile.bad_line(path, number, "a joint before the last one was opened with a bracket")
            if key == "ROOT" and stack:
                raise textfile.bad_line(path, number, "a ROOT inside of a joint")
            if key == "ROOT" and result.names:
                raise textfile.bad_line(path, number, "a second ROOT; files with one skeleton can be read")
            if key != "ROOT" and not stack:
                raise textfile.bad_line(path, number, f"a {words[0]} outside of a ROOT")
            if len(result.names) >= MAX_JOINTS:
                raise textfile.bad_line(path, number, f"more than {MAX_JOINTS} joints")
            pending = len(result.names)
            name = " ".join(words[1:]) if key != "END" else f"{result.names[stack[-1]]} end"
            result.add(name, stack[-1] if stack else -1)
            if key == "END":
                result.ends.add(pending)
        elif key == "{":
            if pending is None:
                raise textfile.bad_line(path, number, "a bracket without a joint")
            stack.append(pending)
            pending = None
        elif key == "}":
            if not stack or pending is not None:
                raise textfile.bad_line(path, number, "a closing bracket too many")
            stack.pop()
        elif key == "OFFSET":
            if not stack:
                raise textfile.bad_line(path, number, "an OFFSET outside of a joint")
            values = textfile.number_rows(path, [" ".join(words[1:])], number, 3)[0]
            if np.abs(values).max() > MAX_VALUE:
                raise textfile.bad_line(path, number, "an OFFSET that is too large")
            result.offsets[stack[-1]] = values.tolist()
        elif key == "CHANNELS":
            names = [w.lower() for w in words[2:]]
            known = words[1:2] == [str(len(names))] and all(_is_channel(n) for n in names)
            if not stack or not known or len(set(names)) < len(names):
                raise textfile.bad_line(path, number, "channels that cannot be understood")
            result.channels[stack[-1]] = names
        elif key == "MOTION":
            if stack or pending is not None or not result.names:
                raise textfile.bad_line(path, number, "the hierarchy is not complete")
            return result, number
        else:
            raise textfile.bad_line(path, number, f"{words[0][:20]!r} does not belong here")
    raise BackendError("bad_file", f"{path.name}: there is no MOTION part; the file is not a BVH or was cut off.")


def _is_channel(name: str) -> bool:
    return name[:1] in "xyz" and name[1:] in ("rotation", "position")


def _parse_motion_head(path: Path, lines: list[str], at: int) -> tuple[int, float, int]:
    frames = seconds = None
    for number in range(at, min(at + 10, len(lines))):
        line = lines[number].strip()
        key, _, value = line.partition(":")
        try:
            if key.lower() == "frames":
                frames = int(value)
            elif key.lower() == "frame time":
                seconds = float(value)
        except ValueError:
            raise textfile.bad_line(path, number + 1, f"{value.strip()[:20]!r} is not a number") from None
        if frames is not None and not 1 <= frames <= MAX_FRAMES:
            raise textfile.bad_line(path, number + 1, f"{frames} frames; between 1 and {MAX_FRAMES} can be read")
        if seconds is not None and not 1e-4 < seconds < 10:
            raise textfile.bad_line(path, number + 1, f"frames of {seconds} s cannot be right")
        if frames is not None and seconds is not None:
            return frames, seconds, number + 1
    raise textfile.bad_line(path, at, "'Frames' and 'Frame Time' are missing")


def _pose(path: Path, hierarchy: Hierarchy, values: np.ndarray, fps: float) -> SourceMotion:
    frames, count = len(values), len(hierarchy.names)
    world = np.empty((frames, count, 3, 3))
    positions = np.empty((frames, count, 3))
    offsets = np.asarray(hierarchy.offsets)
    column = 0
    for j, channels in enumerate(hierarchy.channels):
        parent = hierarchy.parents[j]
        place = np.broadcast_to(offsets[j], (frames, 3)).copy()
        order, columns = "", []
        for name in channels:
            if name.endswith("position"):
                # position channels are absolute in the parent's frame, they replace the offset
                place[:, "xyz".index(name[0])] = values[:, column]
            else:
                order += name[0]
                columns.append(column)
            column += 1
        if parent >= 0 and len(columns) <= len(channels) - 3:
            # the file moves the joint itself: where it mostly is, is its offset
            offsets[j] = np.median(place, axis=0)
        local = rot.euler_to_matrix(values[:, columns], order) if order else np.broadcast_to(np.eye(3), (frames, 3, 3))
        if parent < 0:
            world[:, j], positions[:, j] = local, place
        else:
            world[:, j] = world[:, parent] @ local
            positions[:, j] = positions[:, parent] + (world[:, parent] @ place[..., None])[..., 0]
    if not offsets[1:].any():
        raise BackendError("bad_file", f"{path.name}: all joint offsets are zero.")
    ends = frozenset(hierarchy.ends)
    return SourceMotion(hierarchy.names, hierarchy.parents, offsets, world, positions, fps, path.name, ends)


def _is_own(source: SourceMotion) -> bool:
    """Whether :func:`write` made the file: our names, Y up, a body in centimetres."""
    if not set(JOINTS) <= set(source.names):
        return False
    legs = source.offsets[[source.names.index(joint) for joint in ("left_knee", "left_ankle")]].sum(0)
    return 0.3 < -legs[1] / CENTIMETRES < 2.0


def _own(source: SourceMotion, fps: float) -> Motion:
    """A file written by :func:`write`: nothing to map, no floor to find."""
    order = [source.names.index(joint) for joint in JOINTS]
    world = source.rotations[:, order]
    local = world.copy()
    for j, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, j] = np.swapaxes(world[:, parent], -1, -2) @ world[:, j]
    quaternions = rot.continuous(rot.matrix_to_quaternion(local))
    translation = source.positions[:, order[0]] / CENTIMETRES
    offsets = source.offsets[order] / CENTIMETRES
    offsets[0] = 0
    if abs(source.fps - fps) > 1e-2:
        quaternions = rot.resample_quaternions(quaternions, source.fps, fps)
        translation = rot.resample_vectors(translation, source.fps, fps)
    motion = Motion(quaternions, translation, offsets, float(fps))
    motion.contacts = foot_contacts(motion.joints(), motion.fps)
    return motion


def write(path: Path, motion: Motion) -> None:
    """Save a canonical motion: centimetres, Y up, ZYX rotation channels, end sites at head, hands and toes."""
    children: dict[int, list[int]] = {}
    for j, parent in enumerate(PARENTS):
        children.setdefault(parent, []).append(j)
    lines, order = ["HIERARCHY"], []

    def emit(j: int, depth: int) -> None:
        tab = "\t" * depth
        order.append(j)
        offset = motion.rest_offsets[j] * CENTIMETRES if j else np.zeros(3)
        lines.append(f"{tab}{'JOINT' if depth else 'ROOT'} {JOINTS[j]}")
        lines.append(tab + "{")
        lines.append(f"{tab}\tOFFSET {offset[0]:.6f} {offset[1]:.6f} {offset[2]:.6f}")
        place = "" if depth else "Xposition Yposition Zposition "
        lines.append(f"{tab}\tCHANNELS {3 if depth else 6} {place}Zrotation Yrotation Xrotation")
        for child in children.get(j, []):
            emit(child, depth + 1)
        if j not in children:
            end = np.asarray(END_SITES[JOINTS[j]]) * CENTIMETRES
            lines.extend([f"{tab}\tEnd Site", tab + "\t{", f"{tab}\t\tOFFSET {end[0]} {end[1]} {end[2]}", tab + "\t}"])
        lines.append(tab + "}")

    emit(0, 0)
    lines += ["MOTION", f"Frames: {motion.frames}", f"Frame Time: {1.0 / motion.fps:.9f}"]
    angles = rot.matrix_to_euler(rot.quaternion_to_matrix(motion.rotations.astype(np.float64)), "ZYX")
    angles = np.degrees(np.unwrap(np.radians(angles), axis=0))
    table = np.concatenate([motion.translation * CENTIMETRES, angles[:, order].reshape(motion.frames, -1)], axis=1)
    lines += [" ".join(f"{value:.6f}" for value in row) for row in table]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

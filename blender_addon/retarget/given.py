"""What a motion has to meet, as it crosses the pipe: poses, joints and places at some of its frames."""

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from ..rig import canonical
from . import rotations as rot
from .motion import CanonicalMotion

_LARGEST = 20_000  # frames; keeps a damaged file from filling the memory


@dataclass
class Given:
    """Parts of a canonical motion of T frames at 30 fps; everything that is not given is free.

    rotations: (T,22,4) local unit quaternions wxyz, the pelvis in the world; joints: (T,22) bool, which are given.
    translation: (T,3) of the pelvis in metres, Y up; place: (T,3) bool, which coordinates are given.
    """

    rotations: np.ndarray
    joints: np.ndarray
    translation: np.ndarray
    place: np.ndarray

    @classmethod
    def nothing(cls, frames: int) -> "Given":
        """``frames`` frames of which nothing is given yet."""
        count = len(canonical.JOINTS)
        rotations = np.zeros((frames, count, 4))
        rotations[..., 0] = 1.0
        translation = np.zeros((frames, 3))
        translation[:, 1] = canonical.REST_PELVIS_HEIGHT
        return cls(rotations, np.zeros((frames, count), bool), translation, np.zeros((frames, 3), bool))

    @property
    def frames(self) -> int:
        return len(self.rotations)

    @property
    def anchored(self) -> bool:
        """Whether it says where the motion happens: a place on the floor."""
        return bool(self.place[:, [0, 2]].any())

    def __bool__(self) -> bool:
        return bool(self.joints.any() or self.place.any())

    def poses(self, at: "np.ndarray | slice | int", motion: CanonicalMotion, joints: "list[int] | None" = None) -> None:
        """Give the poses of ``motion`` at the frames ``at``, one each; places only with the pelvis.

        joints: numbers of the joints that are given, all when None.
        """
        chosen = list(range(len(canonical.JOINTS))) if joints is None else list(joints)
        frames = np.atleast_1d(np.arange(self.frames)[at])
        self.rotations[np.ix_(frames, chosen)] = motion.rotations[:, chosen]
        self.joints[np.ix_(frames, chosen)] = True
        if 0 in chosen:
            self.translation[frames], self.place[frames] = motion.translation, True

    def path(self, at: np.ndarray, ground: np.ndarray) -> None:
        """Give where the pelvis is over the ground at the frames ``at`` (K,): x, z (K,2) in metres."""
        self.translation[at, 0], self.translation[at, 2] = ground[:, 0], ground[:, 1]
        self.place[at, 0] = self.place[at, 2] = True

    def take_over(self, at: int, other: "Given", start: int, frames: int) -> None:
        """Give what ``other`` gives at ``frames`` frames from ``start`` on, from the frame ``at`` on."""
        here, there = slice(at, at + frames), slice(start, start + frames)
        for name in ("rotations", "joints", "translation", "place"):
            getattr(self, name)[here] = getattr(other, name)[there]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a ``generate`` message."""
        return {
            "target/rotations": self.rotations.astype(np.float32),
            "target/translation": self.translation.astype(np.float32),
            "target/joints": self.joints.astype(np.uint8),
            "target/place": self.place.astype(np.uint8),
        }

    def pack(self) -> str:
        """As text, to be stored with what was made from it."""
        parts = [np.ascontiguousarray(array).tobytes() for array in self.arrays().values()]
        return f"{self.frames}:{base64.b64encode(zlib.compress(b''.join(parts), 6)).decode('ascii')}"

    @classmethod
    def unpack(cls, text: str) -> "Given":
        """What :meth:`pack` made. Raises ValueError for anything else."""
        told, _, packed = text.partition(":")
        frames, count = int(told), len(canonical.JOINTS)
        if not 0 < frames <= _LARGEST:
            raise ValueError(f"{frames} frames")
        sizes = (frames * count * 16, frames * 12, frames * count, frames * 3)
        try:
            data = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), sum(sizes))
        except zlib.error as error:
            raise ValueError("what is stored is damaged") from error
        if len(data) != sum(sizes):
            raise ValueError(f"{len(data)} bytes")
        ends = np.cumsum((0, *sizes))
        rotations, translation, joints, place = (data[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True))
        return cls(
            np.frombuffer(rotations, "<f4").reshape(frames, count, 4).astype(np.float64),
            np.frombuffer(joints, np.uint8).reshape(frames, count).astype(bool),
            np.frombuffer(translation, "<f4").reshape(frames, 3).astype(np.float64),
            np.frombuffer(place, np.uint8).reshape(frames, 3).astype(bool),
        )


def sampled(motion: CanonicalMotion, positions: np.ndarray) -> CanonicalMotion:
    """``motion`` at fractional frame numbers (K,), held at its ends; its rate is of no meaning then."""
    position = np.clip(np.asarray(positions, dtype=np.float64), 0.0, motion.frames - 1)
    low = np.minimum(position.astype(int), max(motion.frames - 2, 0))
    high = np.minimum(low + 1, motion.frames - 1)
    share = position - low
    rotations, line = motion.rotations.astype(np.float64), share[:, None]
    return CanonicalMotion(
        rot.slerp(rotations[low], rotations[high], share[:, None]),
        motion.translation[low] * (1 - line) + motion.translation[high] * line,
        motion.rest_offsets,
        motion.fps,
        motion.contacts[low] * (1 - line) + motion.contacts[high] * line,
    )


def part(motion: CanonicalMotion, start: int, stop: int) -> CanonicalMotion:
    """Frames ``start`` to ``stop`` (exclusive) of a motion."""
    cut = slice(start, stop)
    return CanonicalMotion(
        motion.rotations[cut], motion.translation[cut], motion.rest_offsets, motion.fps, motion.contacts[cut]
    )


def replaced(motion: CanonicalMotion, start: int, piece: CanonicalMotion) -> CanonicalMotion:
    """``motion`` with its frames from ``start`` on replaced by those of ``piece``, as far as that goes."""
    changed = {name: np.array(getattr(motion, name)) for name in ("rotations", "translation", "contacts")}
    for name, values in changed.items():
        values[start : start + piece.frames] = getattr(piece, name)
    return CanonicalMotion(
        changed["rotations"], changed["translation"], motion.rest_offsets, motion.fps, changed["contacts"]
    )


def along(points: np.ndarray, count: int) -> np.ndarray:
    """``count`` points (count,k) at equal distances along a polyline (n,k)."""
    points = np.asarray(points, dtype=np.float64)
    lengths = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=-1)))
    at = np.linspace(0.0, lengths[-1], count)
    return np.stack([np.interp(at, lengths, points[:, axis]) for axis in range(points.shape[1])], -1)


def length(points: np.ndarray) -> float:
    """Length of a polyline (n,k)."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=-1).sum())

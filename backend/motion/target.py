"""What a motion has to meet, frame by frame: poses, joints, places."""

from dataclasses import dataclass

import numpy as np

from backend.errors import BackendError
from backend.motion.skeleton import CANONICAL_OFFSETS, Motion
from backend.protocol import FPS


@dataclass
class Target:
    """Given parts of a canonical motion at 30 fps; everything that is not given is free.

    rotations (T,22,4) local unit quaternions wxyz, pelvis in the world; joints (T,22) bool: which of them are given.
    translation (T,3) pelvis in metres, Y up; place (T,3) bool: which coordinates are given.
    """

    rotations: np.ndarray
    joints: np.ndarray
    translation: np.ndarray
    place: np.ndarray

    @classmethod
    def empty(cls, frames: int) -> "Target":
        """A target that asks for nothing."""
        rotations = np.zeros((frames, 22, 4))
        rotations[..., 0] = 1.0
        translation = np.zeros((frames, 3))
        translation[:, 1] = -CANONICAL_OFFSETS[[4, 7, 10]].sum(0)[1]
        return cls(rotations, np.zeros((frames, 22), bool), translation, np.zeros((frames, 3), bool))

    @property
    def frames(self) -> int:
        return len(self.rotations)

    @property
    def anchored(self) -> bool:
        """Whether it fixes where the motion happens: a place on the floor or a heading."""
        return bool(self.joints[:, 0].any() or self.place[:, [0, 2]].any())

    def __bool__(self) -> bool:
        return bool(self.joints.any() or self.place.any())

    def arrays(self) -> dict[str, np.ndarray]:
        """As the ``target/...`` arrays of a generate message."""
        fields = {"rotations": self.rotations, "translation": self.translation}
        masks = {"joints": self.joints, "place": self.place}
        found = {f"target/{name}": array.astype(np.float32) for name, array in fields.items()}
        return found | {f"target/{name}": array.astype(np.uint8) for name, array in masks.items()}


def of_poses(poses: list[tuple[float, Motion]], seconds: float) -> Target:
    """A target of ``seconds`` that asks for poses, the first frames of motions, at times in seconds: all rotations, the
    heading among them, and the height over the ground; where they happen is free.

    Raises BackendError ``bad_request`` for a time outside the motion and for two poses at one time.
    """
    target = Target.empty(max(1, round(seconds * FPS)))
    taken: dict[int, float] = {}
    for at, motion in poses:
        if not 0 <= at <= seconds:
            raise BackendError("bad_request", f"The pose at {at:g} s lies outside the motion of {seconds:g} s.")
        frame = min(round(at * FPS), target.frames - 1)
        if frame in taken:
            told = f"The poses at {taken[frame]:g} s and {at:g} s are at the same time: both are frame {frame}."
            raise BackendError("bad_request", told, "Give one of them another time.")
        taken[frame] = at
        target.rotations[frame], target.translation[frame] = motion.rotations[0], motion.translation[0]
        target.joints[frame], target.place[frame, 1] = True, True
    return target

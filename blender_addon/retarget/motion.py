"""The canonical motion on the add-on's side: what crosses the pipe, and resampling."""

from dataclasses import dataclass, field

import numpy as np

from ..rig import canonical
from . import rotations as rot


@dataclass
class BodyMotion:
    """What a file says for an SMPL body itself: see ``retarget.smpl``. Y up, as many frames a second as the motion.

    joints: n names of SMPL-X joints. rotations: (T,n,4) local wxyz, counted from the body's zero pose. translation:
    (T,3) metres, of the whole body.
    """

    joints: tuple[str, ...]
    rotations: np.ndarray
    translation: np.ndarray


@dataclass
class CanonicalMotion:
    """One motion on the canonical skeleton: 22 joints in SMPL order, metres, Y up, T-pose rest facing +Z, left +X.

    rotations: (T,22,4) float32 local unit quaternions wxyz; joint 0 is the pelvis in the world.
    translation: (T,3) float32 world position of the pelvis joint in metres.
    rest_offsets: (22,3) float32 offsets from the parent joint in the T-pose, metres.
    fps: frames per second.
    contacts: (T,4) float32 in 0..1: left ankle, left ball of the foot, right ankle, right ball on the ground.
    body: the same motion as its file has it for an SMPL body, or None; whatever changes the motion leaves it behind.
    """

    rotations: np.ndarray
    translation: np.ndarray
    rest_offsets: np.ndarray = field(default_factory=lambda: canonical.REST_OFFSETS.astype(np.float32))
    fps: float = canonical.FPS
    contacts: np.ndarray | None = None
    body: BodyMotion | None = None

    def __post_init__(self):
        self.rotations = np.asarray(self.rotations, dtype=np.float32)
        self.translation = np.asarray(self.translation, dtype=np.float32)
        self.rest_offsets = np.asarray(self.rest_offsets, dtype=np.float32)
        frames, joints = len(self.rotations), len(canonical.JOINTS)
        if frames < 1 or self.rotations.shape != (frames, joints, 4) or self.translation.shape != (frames, 3):
            raise ValueError(
                f"a motion needs rotations (T,{joints},4) and translation (T,3), "
                f"not {self.rotations.shape} and {self.translation.shape}"
            )
        if self.rest_offsets.shape != (joints, 3):
            raise ValueError(f"rest offsets must be ({joints},3), not {self.rest_offsets.shape}")
        if self.contacts is None:
            self.contacts = np.zeros((frames, 4), dtype=np.float32)
        self.contacts = np.asarray(self.contacts, dtype=np.float32)
        if self.contacts.shape != (frames, 4):
            raise ValueError(f"contacts must be ({frames},4), not {self.contacts.shape}")
        finite = np.isfinite(self.rotations).all() and np.isfinite(self.translation).all()
        if not finite:
            raise ValueError("the motion holds numbers that are not finite")

    @property
    def frames(self) -> int:
        return len(self.rotations)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    def global_rotations(self) -> np.ndarray:
        """World rotations (T,22,4) wxyz float64 of every joint, Y up."""
        local = rot.normalise(self.rotations.astype(np.float64))
        world = np.empty_like(local)
        for joint, parent in enumerate(canonical.PARENTS):
            world[:, joint] = local[:, joint] if parent < 0 else rot.multiply(world[:, parent], local[:, joint])
        return world

    def joints(self, world: np.ndarray | None = None) -> np.ndarray:
        """World joint positions (T,22,3) float64 in metres, Y up; ``world`` saves computing global rotations."""
        world = self.global_rotations() if world is None else world
        positions = np.empty(world.shape[:2] + (3,))
        positions[:, 0] = self.translation
        for joint, parent in enumerate(canonical.PARENTS):
            if parent >= 0:
                offset = rot.rotate(world[:, parent], self.rest_offsets[joint].astype(np.float64))
                positions[:, joint] = positions[:, parent] + offset
        return positions

    def resample(self, fps: float) -> "CanonicalMotion":
        """The same motion at another rate: rotations by slerp, positions and contacts linearly.

        The first and last moment stay where they are in time; the count of frames becomes
        ``round((T-1) * fps / self.fps) + 1``.
        """
        if fps <= 0:
            raise ValueError("frames per second must be positive")
        if abs(fps - self.fps) < 1e-6 or self.frames == 1:
            return CanonicalMotion(self.rotations, self.translation, self.rest_offsets, fps, self.contacts)
        count = int(round((self.frames - 1) * fps / self.fps)) + 1
        position = np.minimum(np.arange(count) * (self.fps / fps), self.frames - 1)
        low = np.minimum(position.astype(int), self.frames - 2)
        share = position - low
        rotations = self.rotations.astype(np.float64)
        linear = share[:, None]
        return CanonicalMotion(
            rot.slerp(rotations[low], rotations[low + 1], share[:, None]),
            self.translation[low] * (1 - linear) + self.translation[low + 1] * linear,
            self.rest_offsets,
            fps,
            self.contacts[low] * (1 - linear) + self.contacts[low + 1] * linear,
        )

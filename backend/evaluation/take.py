"""What a motion did, read from its joints: the questions that the checked prompts ask.

Written apart from the describer that captions the training data (only the smoothed curves of ``Tracks`` are shared), so
that a check is a second opinion on a motion and not the rule that made its caption. Metres, seconds, degrees, 30 fps;
left and counter-clockwise are positive.
"""

from functools import cached_property

import numpy as np

from backend.data.measure import Tracks, runs, smooth
from backend.motion.skeleton import JOINT_INDEX as J
from backend.motion.skeleton import Motion

SIDES = ("left", "right")
Stretch = tuple[int, int]  # frames start..stop


def other(side: str) -> str:
    return "right" if side == "left" else "left"


class Take:
    """One motion to be judged. Stretches are (start, stop) in frames."""

    def __init__(self, motion: Motion):
        self.t = t = Tracks(motion)
        self.fps, self.frames, self.joints = t.fps, t.frames, t.joints
        self.speed, self.lean, self.height = t.speed, smooth(t.lean, 5), smooth(t.height, 5)
        self.ahead, self.aside = t.velocity[:, 0], t.velocity[:, 1]  # m/s in the body's own heading

    # travel -------------------------------------------------------------------------------------------------
    def way(self, start: int = 0, stop: int | None = None) -> tuple[float, float, float]:
        """Metres (forward, left, in all) that the pelvis went, forward and left in its own heading."""
        part = slice(start, stop)
        return tuple(float(v[part].sum() / self.fps) for v in (self.ahead, self.aside, self.speed))

    @property
    def pace(self) -> float:
        """Mean speed in m/s of the frames that travel; 0 when none does."""
        moving = self.speed > 0.3
        return float(self.speed[moving].mean()) if moving.any() else 0.0

    def goes(self, direction: str, least: float = 0.6, start: int = 0, stop: int | None = None) -> bool:
        """Whether the way leads forward, backward, left or right in the body's own heading, by ``least`` metres."""
        forward, left, path = self.way(start, stop)
        along = {"forward": forward, "backward": -forward, "left": left, "right": -left}[direction]
        return along > least and along > 0.7 * np.hypot(forward, left) and along > 0.35 * path

    def steps(self, direction: str) -> bool:
        """A small displacement that leads backward, left or right more than any other way."""
        forward, left, _ = self.way()
        along = {"backward": -forward, "left": left, "right": -left}[direction]
        return along > 0.15 and along > 0.69 * np.hypot(forward, left)

    def turn(self, start: int = 0, stop: int | None = None) -> float:
        """Change of heading in degrees, left positive, between the first and the last quarter second."""
        yaw = self.t.yaw[start:stop]
        edge = max(1, min(8, len(yaw) // 4))
        return float(yaw[-edge:].mean() - yaw[:edge].mean()) if len(yaw) else 0.0

    @property
    def upright(self) -> bool:
        return float(np.percentile(self.height, 10)) > 0.75

    @property
    def stays(self) -> bool:
        """Ends within 70 cm of where it began and wanders little."""
        moved = self.joints[-1, 0] - self.joints[0, 0]
        return float(np.hypot(moved[0], moved[2])) < 0.7 and self.way()[2] < 2.0

    def walks(self, start: int = 0, stop: int | None = None) -> bool:
        """Goes forward at a walking pace."""
        return self.goes("forward", 0.8, start, stop) and 0.3 < self.pace < 2.2

    # jumps, low postures, bends -----------------------------------------------------------------------------
    @cached_property
    def jumps(self) -> list[Stretch]:
        """Flights off both feet that lift the pelvis more than a stride of running does."""
        level = min(float(np.median(self.height)), 0.95)
        return [
            (a, b)
            for a, b in runs(self.t.lowest > 0.05, 4)
            if self.t.height[a:b].max() - level > 0.09 and self.t.lowest[a:b].max() > 0.09 and b - a < 1.3 * self.fps
        ]

    @property
    def rise(self) -> float:
        """How far the highest jump lifts the pelvis over standing height."""
        return max((float(self.t.height[a:b].max()) for a, b in self.jumps), default=0.0) - 0.94

    def low(self, height: float = 0.76, least: float = 0.2) -> list[Stretch]:
        """Stretches of at least ``least`` seconds with the pelvis under ``height``; gaps of a quarter second join."""
        found: list[list[int]] = []
        for a, b in runs(self.height < height, 2):
            if found and a - found[-1][1] < 0.25 * self.fps:
                found[-1][1] = b
            else:
                found.append([a, b])
        return [(a, b) for a, b in found if b - a >= least * self.fps]

    @property
    def starts_up(self) -> bool:
        return float(self.height[: max(2, self.frames // 8)].mean()) > 0.8

    @property
    def ends_up(self) -> bool:
        return float(self.height[-max(2, self.frames // 8) :].mean()) > 0.8

    @property
    def ends_low(self) -> bool:
        return float(self.height[-max(2, self.frames // 8) :].mean()) < 0.76

    @property
    def bends(self) -> list[Stretch]:
        """Stretches with the trunk more than 45 degrees from upright and the hips still over the knees."""
        return runs((self.lean > 45) & (self.t.up > 0) & (self.height > 0.5), 5)

    @property
    def reaches_down(self) -> bool:
        """A hand comes below knee height."""
        return float(self.joints[:, [J["left_wrist"], J["right_wrist"]], 1].min()) < 0.5

    # arms ---------------------------------------------------------------------------------------------------
    def _arm(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        return self.joints[:, J[f"{side}_shoulder"]], self.joints[:, J[f"{side}_wrist"]]

    def raised(self, side: str, over: str = "shoulder", least: float = 0.25) -> list[Stretch]:
        """Stretches with the wrist above shoulder or head."""
        wrist = self.joints[:, J[f"{side}_wrist"], 1]
        mark = self.joints[:, J[f"{side}_shoulder" if over == "shoulder" else "head"], 1]
        return runs(wrist > mark + 0.05, round(least * self.fps))

    def hangs(self, side: str) -> bool:
        """The hand is never clearly above its shoulder."""
        return not self.raised(side, least=0.15)

    def only_raises(self, side: str) -> bool:
        return bool(self.raised(side)) and self.hangs(other(side))

    def lowers(self, side: str) -> bool:
        """Up first, hanging at the end."""
        shoulder, wrist = self._arm(side)
        up = self.raised(side)
        return bool(up) and up[0][0] < self.frames / 2 and float(wrist[-3:, 1].mean() - shoulder[-3:, 1].mean()) < -0.15

    def swings(self, side: str) -> int:
        """How often a raised hand turns back: half swings of at least 6 cm, the longest series."""
        shoulder, wrist = self._arm(side)
        elbow = self.joints[:, J[f"{side}_elbow"], 1]
        best = 0
        for a, b in runs((wrist[:, 1] > elbow + 0.03) & (wrist[:, 1] > shoulder[:, 1] - 0.15), round(0.6 * self.fps)):
            path = (wrist - shoulder)[a:b]
            path = path - smooth(path, round(self.fps))
            offset = path @ np.linalg.svd(path, full_matrices=False)[2][0]
            signs = np.sign(offset[np.abs(offset) > 0.03])
            best = max(best, int((np.diff(signs) != 0).sum()))
        return best

    def waves(self, side: str) -> bool:
        return self.swings(side) >= 3

    def punches(self, side: str) -> int:
        """Arms shot out at chest to head height: the wrist leaves the shoulder faster than 1.8 m/s."""
        shoulder, wrist = self._arm(side)
        reach = np.linalg.norm(wrist - shoulder, axis=1)
        quick = np.gradient(reach) * self.fps > 1.8
        level = np.abs(wrist[:, 1] - shoulder[:, 1]) < 0.35
        return sum(1 for a, b in runs(quick & level, 2) if reach[a : b + 4].max() > 0.38)

    @property
    def spread(self) -> bool:
        """Both arms held out straight at about shoulder height for half a second."""
        out = np.ones(self.frames, dtype=bool)
        for side in SIDES:
            shoulder, wrist = self._arm(side)
            out &= (np.linalg.norm(wrist - shoulder, axis=1) > 0.42) & (np.abs(wrist - shoulder)[:, 1] < 0.22)
        return bool(runs(out, round(0.5 * self.fps)))

    @property
    def hand_motion(self) -> float:
        """Mean speed of the wrists against the pelvis, m/s."""
        return float(self.t.relative_speed[:, [J["left_wrist"], J["right_wrist"]]].mean())

    # legs ---------------------------------------------------------------------------------------------------
    def kicks(self, side: str) -> int:
        """Swings of one foot to knee height, faster than 2.5 m/s against the pelvis, while the other one stands."""
        ankle, stand = self.joints[:, J[f"{side}_ankle"]], self.joints[:, J[f"{other(side)}_ankle"], 1]
        quick = smooth((self.t.relative_speed[:, J[f"{side}_ankle"]] > 2.5).astype(float), 9) > 0
        found = runs(quick & (ankle[:, 1] > 0.36) & (ankle[:, 1] > stand + 0.25) & (self.speed < 1.8), 2)
        return sum(1 for i, (a, _) in enumerate(found) if not i or a - found[i - 1][1] > 0.4 * self.fps)

    def one_leg(self, side: str) -> float:
        """Longest time in seconds on this leg with the other foot well off the floor."""
        free = self.joints[:, J[f"{other(side)}_ankle"], 1]
        stand = self.joints[:, J[f"{side}_ankle"], 1]
        return max((b - a for a, b in runs((free > 0.25) & (stand < 0.2) & (self.speed < 0.6))), default=0) / self.fps

    # order --------------------------------------------------------------------------------------------------
    def settles(self, least: float = 0.5) -> int | None:
        """The frame from which it stands: travel before, then slower than 0.35 m/s to the end."""
        quick = np.flatnonzero(self.speed > 0.35)
        if not len(quick) or self.frames - quick[-1] < least * self.fps:
            return None
        return int(quick[-1]) + 1

    def sets_off(self, least: float = 0.5) -> int | None:
        """The frame at which it starts to travel after standing for at least ``least`` seconds."""
        quick = np.flatnonzero(self.speed > 0.45)
        return int(quick[0]) if len(quick) and quick[0] >= least * self.fps else None

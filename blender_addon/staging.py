"""Where a motion is to go, and what was there: the rig, the surroundings of the range, the way back."""

import logging
from dataclasses import replace

import bpy
import numpy as np

from .retarget import CanonicalMotion, RigAnimation, close_loop, key_masks, pinning, retarget, smpl, splicing
from .rig import BoneMap, Rig, RigError
from .scene import armature as armatures
from .scene import capture, compat, keys, splice
from .scene.takes import ACTION, Options

log = logging.getLogger(__package__)

_POSE = ("location", "rotation_quaternion", "rotation_euler", "rotation_axis_angle", "scale")


class Stage:
    """Where a motion is to go: the rig, what is on it already, and what the options make of the motion.

    anchors: as in ``Take``, for a motion that was placed before; found out when None. pins: as in ``Take``.
    """

    def __init__(
        self,
        armature,
        scene,
        options: Options,
        first: int,
        frames: int,
        only,
        anchors: "list | None" = None,
        pins: "list | None" = None,
    ):
        self.armature, self.options, self.first, self.frames, self.only = armature, options, first, frames, only
        self.given_pins = pins or []
        self.pins = [] if options.loop else self.given_pins  # a loop is cut where it closes best: its frames move
        self.mapping: BoneMap = armatures.bone_map(armature).require()
        self.rig: Rig = armatures.read_rig(armature)
        self.fps = capture.scene_fps(scene)
        self.action = capture.active_action(armature)
        data = armature.animation_data
        strips = data is not None and any(not track.mute and len(track.strips) for track in data.nla_tracks)
        self.content = self.action is not None or strips
        self.anchors = anchors

    def animation(self, motion: CanonicalMotion) -> RigAnimation:
        """The motion as this rig will show it."""
        given = motion
        if self.options.loop:
            motion = close_loop(motion)
        motion = splicing.fitted(motion, self.frames, self.fps) if self.frames else motion.resample(self.fps)
        if self.anchors is None:
            self.anchors = [None, None]
            if self.options.destination != ACTION and self.content:
                self.anchors = self._surroundings(self.first + motion.frames - 1)
        start, end = (splicing.Stand(*anchor) if anchor else None for anchor in self.anchors)
        motion = splicing.placed(motion, start, end)
        options = self.options
        round_trip = options.loop and motion.frames > 2
        animation = retarget(
            splicing.three_rounds(motion, options.in_place) if round_trip else motion,
            self.rig,
            self.mapping,
            self.fps,
            foot_lock=options.foot_lock,
            in_place=options.in_place,
            clear_hands=options.clear_hands,
            ik_legs=options.ik_legs,
            ik_arms=options.ik_arms,
        )
        for warning in animation.warnings:
            log.warning("%s: %s", self.armature.name, warning)
        animation = _middle_round(animation, motion.frames) if round_trip else animation
        body = smpl.find(self.rig, self.mapping) if given.body is not None else None
        if body is not None:
            whole = not (options.foot_lock or options.clear_hands or options.loop)
            moved = options.in_place or bool(self.pins) or any(self.anchors)
            smpl.drive(animation, given, self.rig, body, whole=whole, moved=moved)
        return animation

    def channels(self, animation: RigAnimation) -> list:
        """What gets keys."""
        only = None if self.only is None else set(self.only)
        wanted = keys.channels(self.armature, animation, only)
        if not wanted:
            raise RigError("None of the chosen bones carries a joint, so there is nothing to key.")
        changed = self._meet(animation, wanted)
        if self.options.reduce:
            modes = {channel.bone: channel.mode for channel in wanted if channel.mode}
            masks = key_masks(animation, self.rig, modes, self.options.reduce_degrees, self.options.reduce_cm)
            for channel in wanted:
                if channel.keep is None:
                    channel.keep = masks.get((channel.bone, "rotation" if channel.mode else "location"))
        for channel in wanted:
            if channel.path in changed and channel.keep is not None:
                channel.keep = channel.keep | changed[channel.path]
        return wanted

    @property
    def kept(self) -> frozenset:
        """The frames of the scene at which the artist's own keys stay, where they have some."""
        return frozenset(self.first + frame for frame, _ in self.pins)

    def pins_on(self, wanted: list) -> list:
        """The pins as far as ``wanted`` channels show them: what is worth keeping."""
        paths = {channel.path for channel in wanted}
        return [
            [frame, {path: row for path, row in values.items() if path in paths}] for frame, values in self.given_pins
        ]

    def _meet(self, animation: RigAnimation, wanted: list) -> dict:
        """Let ``wanted`` channels meet the pins exactly; data path -> the frames (T,) that this may have changed."""
        pins = sorted((pin for pin in self.pins if 0 <= pin[0] < animation.frames), key=lambda pin: pin[0])
        changed = {}
        for channel in wanted:
            if channel.hold or (self.options.in_place and not channel.mode):
                continue
            met = [
                (frame, values[channel.path])
                for frame, values in pins
                if len(values.get(channel.path, ())) == channel.values.shape[1]
            ]
            if met:
                frames = np.array([frame for frame, _ in met])
                channel.values = pinning.pinned(
                    channel.mode, channel.values, frames, np.array([values for _, values in met])
                )
                changed[channel.path] = pinning.near(animation.frames, frames)
        return changed

    @property
    def start(self) -> "splicing.Stand | None":
        """Where the figure stands at the first frame, for a motion that goes on from there."""
        if self.options.destination == ACTION or not self.content:
            return None
        before = self._surroundings(self.first)[0]
        return splicing.Stand(*before) if before else None

    def _surroundings(self, last: int) -> list:
        """What stands at the ends of the range, where something is keyed beyond them."""
        if self.action is None:
            return [self._standing(self.first), None]
        bones = {name for names in self.mapping.joints.values() for name in names}
        there = splice.curves_of(self.armature, self.action)
        before, after = splice.keyed_around(there, bones, self.first, last)
        if not before and not after:  # a single pose, or keys inside the range only
            before = bool(there)
        return [self._standing(self.first) if before else None, self._standing(last) if after else None]

    def _standing(self, frame: int) -> list:
        stand = splicing.Stand.of(capture.capture(self.armature, self.action, (frame, frame), None))
        return [list(stand.position), stand.heading]


def _middle_round(animation: RigAnimation, frames: int) -> RigAnimation:
    """The round in the middle of ``splicing.three_rounds``."""
    middle = slice(frames - 1, 2 * frames - 1)
    return replace(
        animation,
        rotations=animation.rotations[middle],
        root_location=animation.root_location[middle],
        locations={bone: path[middle] for bone, path in animation.locations.items()},
        travel=None if animation.travel is None else animation.travel[middle] - animation.travel[middle.start],
    )


class Guard:
    """What was on the armature, to be brought back when something fails."""

    def __init__(self, armature):
        self.armature = armature
        data = armature.animation_data
        self.former = data.action if data is not None else None
        self.slot = data.action_slot if compat.SLOTTED and data is not None else None
        self.record = {
            "slot": compat.slot_name(armature),
            "fake_user": self.former is not None and self.former.use_fake_user,
            "animated": data is not None,
        }
        self.tracks = {track.name for track in data.nla_tracks} if data is not None else set()
        self.actions = {action.name_full for action in bpy.data.actions}
        self.pose = {bone.name: {name: list(getattr(bone, name)) for name in _POSE} for bone in armature.pose.bones}

    def undo(self) -> None:
        data = self.armature.animation_data
        for track in [track for track in data.nla_tracks if track.name not in self.tracks] if data is not None else ():
            data.nla_tracks.remove(track)
        bring_back(self.armature, self.former, self.record, self.pose)
        for action in [action for action in bpy.data.actions if action.name_full not in self.actions]:
            bpy.data.actions.remove(action)


def bring_back(armature: bpy.types.Object, former: "bpy.types.Action | None", record: dict, pose: dict) -> None:
    """The action, slot and pose that were there before a take; the track that took the action goes."""
    data = armature.animation_data
    pushed = data.nla_tracks.get(record.get("pushed", "")) if data is not None else None
    if pushed is not None and all(strip.action == former for strip in pushed.strips):
        data.nla_tracks.remove(pushed)
    if former is not None:
        compat.assign(armature, former, compat.slot_named(former, record.get("slot", "")))
        former.use_fake_user = bool(record.get("fake_user"))
    elif data is not None:
        compat.assign(armature, None)
        if not record.get("animated", True) and not data.nla_tracks and not data.drivers:
            armature.animation_data_clear()
    for name, values in pose.items():
        bone = armature.pose.bones.get(name)
        if bone is not None:
            for attribute, value in values.items():
                setattr(bone, attribute, value)

"""Bones to canonical joints."""

from .bones import Bone, BoneMap


def match(bones: list[Bone]) -> BoneMap:
    """Map ``bones`` (armature order, parents first) onto the canonical joints."""
    raise NotImplementedError

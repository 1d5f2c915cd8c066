"""The hierarchy of an armature's bones, with their rest positions and their names in a common form."""

import numpy as np

from .bones import Bone
from .names import Names, is_end


class Tree:
    """Bones by name, who hangs from whom, and where they are.

    head: name -> (3,) rest head in armature space. order: parents before children; place: name -> position in it.
    heads: (n,3) in that order. size: the largest extent of all heads.
    span: name -> distance to the parent's head.
    """

    def __init__(self, bones: list[Bone]):
        self.bones = {bone.name: bone for bone in bones}
        self.order = [bone.name for bone in bones]
        self.place = {name: i for i, name in enumerate(self.order)}
        self.parent = {bone.name: bone.parent for bone in bones}
        self.children: dict[str | None, list[str]] = {}
        self.depth: dict[str | None, int] = {None: -1}
        for bone in bones:
            self.children.setdefault(bone.parent, []).append(bone.name)
            self.depth[bone.name] = self.depth[bone.parent] + 1
        self.head = {bone.name: bone.head for bone in bones}
        self.heads = np.array([bone.head for bone in bones]).reshape(-1, 3)
        self.size = float(np.ptp(self.heads, axis=0).max()) if len(bones) else 0.0
        above = [self.place[bone.parent] if bone.parent is not None else i for i, bone in enumerate(bones)]
        spans = np.linalg.norm(self.heads - self.heads[above], axis=-1) if len(bones) else np.zeros(0)
        self.span = dict(zip(self.order, spans.tolist(), strict=True))
        self.names = Names(self.order)
        self.key = self.names.key

    def path(self, name: str, above: str | None = None) -> list[str]:
        """``name`` and its ancestors, from the root (or from below the ancestor ``above``) down to ``name``."""
        chain = []
        current: str | None = name
        while current is not None and current != above:
            chain.append(current)
            current = self.parent[current]
        return chain[::-1]

    def below(self, name: str, ancestor: str) -> bool:
        while self.depth[name] > self.depth[ancestor]:
            name = self.parent[name]
            if name == ancestor:
                return True
        return False

    def subtree(self, name: str) -> list[str]:
        """``name`` and everything below it, parents before children."""
        found = [name]
        for each in found:
            found += self.children.get(each, [])
        return found

    def meeting(self, *names: str) -> str | None:
        """The lowest bone that all ``names`` hang from (or are)."""
        paths = [self.path(name) for name in names]
        last = None
        for level in zip(*paths, strict=False):
            if len(set(level)) > 1:
                break
            last = level[0]
        return last

    def between(self, upper: str, lower: str) -> list[str]:
        """Bones strictly between an ancestor and its descendant, from the top down."""
        return self.path(lower, above=upper)[:-1]

    def highest(self, values: np.ndarray) -> np.ndarray:
        """For every bone, in order, the largest of ``values`` (n,) in its subtree."""
        best = np.array(values, dtype=float)
        for name in reversed(self.order):
            parent = self.parent[name]
            if parent is not None:
                best[self.place[parent]] = max(best[self.place[parent]], best[self.place[name]])
        return best

    def distance(self, a: str, b: str) -> float:
        return float(np.linalg.norm(self.head[a] - self.head[b]))

    def is_leaf_end(self, name: str) -> bool:
        """A bone without children whose name says that it is only the end of another."""
        return not self.children.get(name) and is_end(name)

"""Finding motion again by what is said of it: words, ranking, and an index of files. No bpy."""

from .search import Entry, rank
from .words import lemma, lemmas, tags

__all__ = ["Entry", "lemma", "lemmas", "rank", "tags"]

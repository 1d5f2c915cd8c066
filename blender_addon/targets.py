"""Names for datablocks that outlive them: a result comes seconds after the request, and the artist did not wait."""

import bpy

_COLLECTIONS = ((bpy.types.Object, "objects"), (bpy.types.Action, "actions"), (bpy.types.Scene, "scenes"))

# Counts the files that were opened in this Blender; a datablock of another file is never the same one
_file_generation = 0


def next_file() -> None:
    """Another file is being opened: everything known so far belongs to the past."""
    global _file_generation
    _file_generation += 1


class Target:
    """Finds the same datablock again after undo and renaming, and finds nothing when it is gone.

    Blender gives every datablock a session number that undo keeps. Where Python cannot see it (before 4.2) the name
    has to do.
    """

    def __init__(self, datablock: bpy.types.ID):
        self.collection = next(name for kind, name in _COLLECTIONS if isinstance(datablock, kind))
        self.uid = getattr(datablock, "session_uid", None)
        self.name = datablock.name
        self.library = datablock.library.filepath if datablock.library else None
        self.generation = _file_generation

    def resolve(self):
        """The datablock as it is now, or None when it is gone, left every scene, or another file was opened."""
        if self.generation != _file_generation:
            return None
        for datablock in getattr(bpy.data, self.collection):
            if self.uid is not None:
                same = datablock.session_uid == self.uid
            else:
                library = datablock.library.filepath if datablock.library else None
                same = datablock.name == self.name and library == self.library
            if same:
                return None if self.collection == "objects" and not datablock.users_scene else datablock
        return None

"""What was written for a take: which curves and bones, from which motion, and whether it is still as it was written."""

from .retarget import CanonicalMotion, RigAnimation
from .rig import RigError
from .scene import posing, splice, takes
from .scene.takes import Take


def note(armature, action, take: Take, animation: RigAnimation) -> None:
    """Record what was written into an action of our own."""
    take.curves = [list(curve_id) for curve_id in splice.curves_of(armature, action)]
    take.bones = bones_of(take.curves)
    take.written = digest(armature, action, take)
    takes.put(action, take)


def bones_of(curves: list) -> list[str]:
    """The bones of curves, [data path, array index], each once."""
    found = (posing.bone_of(path) for path, _ in curves)
    return list(dict.fromkeys(bone[0] for bone in found if bone))


def digest(armature, action, take: Take) -> int:
    """A number of the keys of ``take`` as they are now; see ``Take.written``."""
    done = splice.Splice(take.first, take.last, dict.fromkeys(map(tuple, take.curves)))
    return splice.digest(armature, action, done)


def take_of(action, take_id: str) -> Take:
    """The take with that id in ``action``."""
    return next(take for take in takes.read(action) if take.id == take_id)


def stored_motion(action, take: Take, index: "int | None" = None) -> CanonicalMotion:
    """The canonical motion of a variation of a take, of the one that is shown when None. Raises RigError."""
    if index is None:
        index = take.shown
    motion = takes.motion(action, take.id, index)
    if motion is None:
        raise RigError(f"The motion behind '{action.name}' is not stored with it any more.")
    return motion


def edited(armature, action) -> bool:
    """Has the artist changed keys of any take in ``action``?"""
    return any(digest(armature, action, take) != take.written for take in takes.read(action))


def check_unedited(armature, action, take: Take) -> None:
    """Raises RigError when the artist has changed keys of ``take`` since."""
    if digest(armature, action, take) != take.written:
        raise RigError(f"Keys of '{action.name}' were changed by hand since; making it again would lose that.")

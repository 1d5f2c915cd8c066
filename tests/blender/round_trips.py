"""Motion onto an armature and back, for the tests of retargeting in Blender."""

import numpy as np
from figures import wild

from blender_addon.retarget import retarget
from blender_addon.retarget import rotations as rot
from blender_addon.rig import canonical
from blender_addon.scene import armature as armatures
from blender_addon.scene import capture, keys

FRAMES = 20


def motion():
    """Large turns of everything, feet near the floor."""
    return wild(FRAMES, size=70.0)


def animate(armature, wanted=None, **options):
    rig, mapping = armatures.read_rig(armature), armatures.bone_map(armature).require()
    animation = retarget(wanted or motion(), rig, mapping, 30.0, foot_lock=False, **options)
    keys.write_action(armature, animation, "motion", 1)
    return animation


def differences(armature, wanted) -> tuple[float, float, float]:
    """Degrees between joints that the rig has, millimetres between joints whose parents it has, and of the root."""
    back = capture.capture(armature, fps=None)
    mapping = armatures.bone_map(armature)
    known = [bool(mapping.joints.get(joint)) for joint in canonical.JOINTS]
    whole = list(known)
    for joint, parent in enumerate(canonical.PARENTS):
        whole[joint] = parent < 0 or (whole[parent] and known[parent])
    degrees = np.degrees(rot.angle(back.global_rotations(), wanted.global_rotations()))[:, known].max()
    apart = np.linalg.norm(back.joints() - wanted.joints(), axis=-1)[:, whole].max()
    return float(degrees), 1000 * float(apart), 1000 * float(np.abs(back.translation - wanted.translation).max())


def round_trip(armature, wanted=None) -> None:
    wanted = wanted or motion()
    animate(armature, wanted)
    degrees, joints, root = differences(armature, wanted)
    assert degrees < 0.5 and joints < 2.0 and root < 2.0, (degrees, joints, root)

"""The floor of a capture: level, and under the feet."""

import numpy as np

from backend.motion import rotations as rot
from backend.motion.canonical import put_on_floor
from backend.motion.contacts import REST_HEIGHTS, foot_contacts
from backend.motion.skeleton import CONTACT_JOINTS, Motion

SLOW = 0.3  # m/s; a foot that is slower stands
LEAST_TRAVEL = 1.2  # metres between the places where feet stand, so that a slope can be told
LEAST_TILT, MOST_TILT = 0.3, 2.5  # degrees; less does not matter, more is no floor of a studio
MOST_REST = 0.015  # metres; three of four standing feet are nearer to the plane than that, the others roll
RIDGE = 0.2  # metres; pulls the slope across a straight path to level


def tilt(motion: Motion) -> tuple[float, float, float] | None:
    """Slopes along x and z (metres a metre) and height at the origin of the plane that the feet stand on, or None.

    None where the feet do not travel, stand on steps, or the plane is level anyway.
    """
    feet = motion.joints()[:, list(CONTACT_JOINTS)].astype(np.float64)
    if motion.frames < 3:
        return None
    speed = np.linalg.norm(np.gradient(feet, axis=0), axis=-1) * motion.fps
    standing = speed < SLOW
    points = feet[standing]
    height = (feet[..., 1] - REST_HEIGHTS)[standing]
    if len(points) < 20 or np.linalg.norm(np.ptp(points[:, [0, 2]], axis=0)) < LEAST_TRAVEL:
        return None
    middle = points[:, [0, 2]].mean(0)
    table = np.concatenate([points[:, [0, 2]] - middle, np.ones((len(points), 1))], 1)
    ridge = np.diag([1.0, 1.0, 0.0]) * RIDGE**2 * len(points)
    weight = np.ones(len(points))
    for _ in range(8):
        # feet that stand on something else, or are only slow, count little
        found = np.linalg.solve((table * weight[:, None]).T @ table + ridge, (table * weight[:, None]).T @ height)
        rest = np.abs(height - table @ found)
        weight = 0.005 / np.maximum(rest, 0.005)
    slope = np.degrees(np.arctan(np.linalg.norm(found[:2])))
    if not LEAST_TILT < slope < MOST_TILT or np.percentile(rest, 75) > MOST_REST:
        return None
    return float(found[0]), float(found[1]), float(found[2] - found[:2] @ middle)


def levelled(motion: Motion) -> Motion:
    """The motion turned so that the plane its feet stand on is level, and put on the floor; contacts found anew.

    Some capture volumes are tilted by a degree: over four metres the floor climbs by 8 cm, the feet seem to float and
    lose their contacts. A motion on level ground is returned as it is.
    """
    plane = tilt(motion)
    if plane is None:
        return motion
    a, b, c = plane
    normal = np.array([-a, 1.0, -b]) / np.sqrt(1 + a * a + b * b)
    turn = rot.matrix_to_quaternion(rot.minimal_rotation(normal, np.array([0.0, 1.0, 0.0])))
    rotations = motion.rotations.astype(np.float64)
    rotations[:, 0] = rot.quaternion_multiply(turn, rotations[:, 0])
    origin = np.array([0.0, c, 0.0])
    translation = rot.quaternion_rotate(turn, motion.translation.astype(np.float64) - origin)
    result = Motion(rotations, translation, motion.rest_offsets, motion.fps)
    put_on_floor(result)
    result.contacts = foot_contacts(result.joints(), result.fps)
    # where feet hang still in the air the plane is wrong, and they lose the floor that they had
    return result if result.contacts.mean() > motion.contacts.mean() - 0.01 else motion

"""HumanML3D's 263 numbers a frame, to and from joint positions, as its published scripts define them.

Guo et al., "Generating Diverse and Natural 3D Human Motions from Text", CVPR 2022. Positions are (T,22,3) in SMPL
order, metres, Y up, 20 frames a second. T frames of positions make T - 1 frames of features.

| block    | width | content                                                                                   |
|----------|-------|-------------------------------------------------------------------------------------------|
| turn     | 1     | half the change of heading to the next frame, radians                                     |
| velocity | 2     | root x, z movement to the next frame, in the next frame's heading, metres                 |
| height   | 1     | root height                                                                               |
| position | 63    | the other joints in the heading frame, root at x = z = 0                                  |
| rotation | 126   | 6D (first two columns) rotations of joints 1 to 21 by shortest-arc inverse kinematics     |
| speed    | 66    | movement of all joints to the next frame, in this frame's heading                         |
| contact  | 4     | left ankle, left toe, right ankle, right toe: moves less than sqrt(0.002) m a frame       |

The positions are the truth; the rotations know no twist and are not read back here.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from backend.motion import rest_pose
from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, SMPL_REST, Motion, global_rotations
from backend.protocol import JOINTS, PARENTS

FPS = 20.0
WIDTH = 263
BLOCKS = {
    "turn": slice(0, 1),
    "velocity": slice(1, 3),
    "height": slice(3, 4),
    "position": slice(4, 67),
    "rotation": slice(67, 193),
    "speed": slice(193, 259),
    "contact": slice(259, 263),
}
CONTACT = 0.002  # square of the distance in metres that a resting foot moves in a frame
SMOOTH = 20  # frames: spread of the Gaussian over the heading
CHAINS = ((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20))
# the direction of each bone without rotation: arms hang
DIRECTIONS = np.array(
    [
        (0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0),
        (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, -1, 0), (0, -1, 0),
        (0, -1, 0), (0, -1, 0), (0, -1, 0), (0, -1, 0),
    ],
    dtype=np.float64,
)  # fmt: skip


def decode(features: np.ndarray) -> np.ndarray:
    """Joint positions (T,22,3) from features (T,263): the first frame at x = z = 0 and facing +Z."""
    features = np.asarray(features, dtype=np.float64)
    heading = np.concatenate([[0.0], np.cumsum(features[:-1, 0])])
    moved = np.zeros((len(features), 3))
    moved[1:, [0, 2]] = features[:-1, BLOCKS["velocity"]]
    root = np.cumsum(_from_heading(heading, moved), axis=0)
    joints = np.zeros((len(features), 22, 3))
    joints[:, 1:] = _from_heading(heading[:, None], features[:, BLOCKS["position"]].reshape(-1, 21, 3))
    joints += root[:, None]
    joints[:, 0, 1] = features[:, 3]
    return joints


def encode(joints: np.ndarray, place: bool = True) -> np.ndarray:
    """Features (T-1,263) float32 from joint positions (T,22,3), T at least 2.

    place: first put the lowest joint on the floor and the first frame at x = z = 0, facing +Z, as the data set has it.
    """
    joints = placed(joints) if place else np.asarray(joints, dtype=np.float64)
    forward = _forward(joints, joints[:, 1] - joints[:, 2])
    quaternions = _inverse_kinematics(joints, forward)
    root = quaternions[:, 0]
    heading = np.arctan2(root[:, 2], root[:, 0])
    turn = rot.quaternion_multiply(root[1:], rot.quaternion_conjugate(root[:-1]))[:, 2]
    movement = np.diff(joints, axis=0)
    local = joints - joints[:, :1] * [1, 0, 1]
    features = np.empty((len(joints) - 1, WIDTH), dtype=np.float32)
    features[:, 0] = np.arcsin(np.clip(turn, -1, 1))
    features[:, BLOCKS["velocity"]] = _to_heading(heading[1:], movement[:, 0])[:, [0, 2]]
    features[:, 3] = joints[:-1, 0, 1]
    features[:, BLOCKS["position"]] = _to_heading(heading[:, None], local)[:-1, 1:].reshape(-1, 63)
    six = np.swapaxes(rot.quaternion_to_matrix(quaternions[:-1, 1:])[..., :2], -1, -2)
    features[:, BLOCKS["rotation"]] = six.reshape(-1, 126)
    features[:, BLOCKS["speed"]] = _to_heading(heading[:-1, None], movement).reshape(-1, 66)
    features[:, BLOCKS["contact"]] = (movement[:, [7, 10, 8, 11]] ** 2).sum(-1) < CONTACT
    return features


def placed(joints: np.ndarray) -> np.ndarray:
    """Positions (T,22,3) on the floor, the first frame at x = z = 0 and facing +Z."""
    joints = np.array(joints, dtype=np.float64)
    joints[..., 1] -= joints[..., 1].min()
    joints -= joints[0, 0] * [1, 0, 1]
    across = joints[0, 2] - joints[0, 1] + joints[0, 17] - joints[0, 16]
    # forward is up x (left to right): seen from above, right turned by 90 degrees to the left
    forward = np.cross([0.0, 1.0, 0.0], across)
    return _to_heading(-0.5 * np.arctan2(forward[0], forward[2]), joints)


def smpl_joints(motion: Motion) -> np.ndarray:
    """Joint positions (T,22,3) of a canonical motion on the SMPL body: its bones, its rest pose, the path scaled.

    The data set puts every motion on the body of one of its clips; ``SMPL_REST`` differs from it by a few millimetres.
    """
    places = np.zeros((22, 3))
    for j, parent in enumerate(PARENTS[1:], 1):
        places[j] = places[parent] + SMPL_REST[j]
    correction = rest_pose.correction(places, JOINT_INDEX)
    world = global_rotations(motion.rotations.astype(np.float64))
    world = world @ np.stack([correction[joint].T for joint in JOINTS])
    ours = rest_pose.leg_length(motion.joints()[0], JOINT_INDEX)
    hips = [JOINT_INDEX["left_hip"], JOINT_INDEX["right_hip"]]
    joints = np.zeros((motion.frames, 22, 3))
    # the legs start in the same place, as when such a file is read
    middle = motion.joints()[:, hips].mean(1) * (rest_pose.leg_length(places, JOINT_INDEX) / ours)
    joints[:, 0] = middle - world[:, 0] @ SMPL_REST[hips].mean(0)
    for j, parent in enumerate(PARENTS[1:], 1):
        joints[:, j] = joints[:, parent] + world[:, parent] @ SMPL_REST[j]
    return joints


def _half_turn(heading: np.ndarray) -> np.ndarray:
    """Quaternions of ``heading`` as the features count it: half the angle about +Y."""
    zero = np.zeros_like(heading)
    return np.stack([np.cos(heading), zero, np.sin(heading), zero], -1)


def _to_heading(heading: np.ndarray, v: np.ndarray) -> np.ndarray:
    return rot.quaternion_rotate(_half_turn(np.asarray(heading, dtype=np.float64)), v)


def _from_heading(heading: np.ndarray, v: np.ndarray) -> np.ndarray:
    return rot.quaternion_rotate(_half_turn(-np.asarray(heading, dtype=np.float64)), v)


def _forward(joints: np.ndarray, hips: np.ndarray) -> np.ndarray:
    """Facing (T,3), smoothed. The published script has the hips the wrong way round here, and all data is made so:
    what counts is how much further the shoulders reach to the right than the hips."""
    across = _unit(hips + joints[:, 17] - joints[:, 16])
    forward = np.cross([0.0, 1.0, 0.0], across)
    return _unit(gaussian_filter1d(forward, SMOOTH, axis=0, mode="nearest"))


def _inverse_kinematics(joints: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Quaternions (T,22,4): the root's turns the facing to +Z (no turn in the first frame), the others follow the
    chains by shortest arcs, each chain starting from the root's."""
    quaternions = np.zeros((len(joints), 22, 4))
    quaternions[..., 0] = 1
    root = _between(forward, np.array([0.0, 0.0, 1.0]))
    root[0] = [1, 0, 0, 0]
    quaternions[:, 0] = root
    for chain in CHAINS:
        above = root
        for parent, joint in zip(chain, chain[1:], strict=False):
            world = _between(DIRECTIONS[joint], _unit(joints[:, joint] - joints[:, parent]))
            quaternions[:, joint] = rot.quaternion_multiply(rot.quaternion_conjugate(above), world)
            above = world
    return quaternions


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shortest-arc quaternions (T,4) from unit vectors a to b."""
    a, b = np.broadcast_arrays(a, b)
    w = 1 + (a * b).sum(-1, keepdims=True)
    return _unit(np.concatenate([w, np.cross(a, b)], -1))


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)

"""The pipe between add-on and backend: messages, framing, version, and the skeleton that motions are carried on.

Standard library only: this is the single source for both sides.
"""

FPS = 30

# 22 joints in SMPL order
JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

# T-pose, metres, Y up, facing +Z, left is +X; each joint's offset from its parent. A plain adult of our own, 1.75 m.
REST_OFFSETS = (
    (0.0, 0.0, 0.0),
    (0.09, -0.08, 0.0),
    (-0.09, -0.08, 0.0),
    (0.0, 0.11, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, 0.13, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, 0.06, 0.0),
    (0.0, -0.06, 0.13),
    (0.0, -0.06, 0.13),
    (0.0, 0.20, -0.01),
    (0.06, 0.13, -0.01),
    (-0.06, 0.13, -0.01),
    (0.0, 0.10, 0.02),
    (0.12, 0.02, 0.0),
    (-0.12, 0.02, 0.0),
    (0.27, 0.0, 0.0),
    (-0.27, 0.0, 0.0),
    (0.25, 0.0, 0.0),
    (-0.25, 0.0, 0.0),
)
# Height of the pelvis when the rest pose stands with the balls of the feet at y = 0
REST_PELVIS_HEIGHT = 0.96

"""Our own figure: an artist's mannequin, made of lofted parts and joint spheres on the canonical skeleton.

Every part belongs to one bone, the way a wooden mannequin moves; spheres fill the joints. T-pose, facing -Y, soles on
the floor.
"""

import bpy
import numpy as np

from ..rig import canonical

# Blender's Z up and facing -Y from canonical Y up and facing +Z
_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_BODY, _JOINT = 0, 1
_MATERIALS = (("Mannequin Body", (0.80, 0.71, 0.58, 1.0), 0.55), ("Mannequin Joints", (0.13, 0.19, 0.26, 1.0), 0.4))
# Bones without a child joint: where they end, metres, from the head (Blender axes, left side)
_ENDS = {"head": (0.0, 0.0, 0.2), "wrist": (0.17, 0.0, 0.0), "foot": (0.0, -0.075, 0.0)}
_CHILDREN = {"pelvis": "spine1", "spine3": "neck"}


def joint_positions() -> dict[str, np.ndarray]:
    """Joint name -> (3,) position in Blender's axes, metres."""
    rest = canonical.rest_positions() + np.array([0.0, canonical.REST_PELVIS_HEIGHT, 0.0])
    return dict(zip(canonical.JOINTS, rest @ _AXES.T, strict=True))


def add(collection: bpy.types.Collection | None = None, name: str = "Mannequin") -> bpy.types.Object:
    """Add the mannequin at the world origin: an armature with canonical joint names and a skinned mesh child.

    Linked to ``collection`` (the scene's active collection when None); becomes the only selected and the active object.
    Returns the armature object.
    """
    context = bpy.context
    if context.object is not None and context.object.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    (collection or context.collection).objects.link(armature)
    context.view_layer.update()
    if armature.name not in context.view_layer.objects:
        context.scene.collection.objects.link(armature)
    for other in list(context.selected_objects):
        other.select_set(False)
    context.view_layer.objects.active = armature
    armature.select_set(True)
    _add_bones(armature)
    armature.data.display_type = "STICK"
    parts = _build()
    body = bpy.data.objects.new(f"{name} Body", _mesh(f"{name} Body", parts))
    for owner in armature.users_collection:
        owner.objects.link(body)
    body.parent = armature
    for bone, indices in parts.groups.items():
        body.vertex_groups.new(name=bone).add(indices, 1.0, "REPLACE")
    body.modifiers.new("Armature", "ARMATURE").object = armature
    return armature


def _add_bones(armature: bpy.types.Object) -> None:
    positions = joint_positions()
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        bones = armature.data.edit_bones
        for joint, parent in zip(canonical.JOINTS, canonical.PARENTS, strict=True):
            bone = bones.new(joint)
            bone.head = positions[joint]
            bone.tail = _tail(joint, positions)
            # Knees and elbows then bend about their own X axis; spines and legs have Z to the front, arms Z up
            role = joint.split("_")[-1]
            bone.align_roll((0.0, 0.0, 1.0) if role in ("collar", "shoulder", "elbow", "wrist", "ankle", "foot")
                            else (0.0, -1.0, 0.0))  # fmt: skip
            if parent >= 0:
                bone.parent = bones[canonical.JOINTS[parent]]
                bone.use_connect = False
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")


def _tail(joint: str, positions: dict[str, np.ndarray]) -> np.ndarray:
    role = joint.split("_")[-1]
    if role in _ENDS:
        side = -1.0 if joint.startswith("right") else 1.0
        return positions[joint] + np.array(_ENDS[role]) * np.array([side, 1.0, 1.0])
    children = [canonical.JOINTS[i] for i, p in enumerate(canonical.PARENTS) if p == canonical.INDEX[joint]]
    return positions[_CHILDREN.get(joint, children[0])]


class _Parts:
    """Collects vertices, faces, and which bone and material each belongs to."""

    def __init__(self):
        self.vertices: list[np.ndarray] = []
        self.faces: list[list[int]] = []
        self.materials: list[int] = []
        self.groups: dict[str, list[int]] = {}
        self.count = 0

    def add(self, bone: str, points: np.ndarray, faces: list[list[int]], material: int) -> None:
        self.vertices.append(points)
        self.faces += [[self.count + i for i in face] for face in faces]
        self.materials += [material] * len(faces)
        self.groups.setdefault(bone, []).extend(range(self.count, self.count + len(points)))
        self.count += len(points)

    def loft(self, bone, centres, radii, across, sides=16, material=_BODY, square=2.0, floor=None) -> None:
        """A closed body through elliptic rings.

        centres: (n,3). radii: (n,2) half widths along the two ``across`` directions (2,3). square: exponent of the
        superellipse, 2 round, larger boxier. floor: no point lies below this height. Both ends close with rounded caps.
        """
        centres, radii, across = (np.asarray(a, dtype=float) for a in (centres, radii, across))
        centres, radii = _round_ends(centres, radii)
        angles = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
        cosine, sine = np.cos(angles), np.sin(angles)
        u = np.sign(cosine) * np.abs(cosine) ** (2.0 / square)
        v = np.sign(sine) * np.abs(sine) ** (2.0 / square)
        rings = centres[:, None] + (radii[:, :1] * u)[..., None] * across[0] + (radii[:, 1:] * v)[..., None] * across[1]
        count = len(centres)
        points = rings.reshape(-1, 3)
        if floor is not None:
            points[:, 2] = np.maximum(points[:, 2], floor)
        faces = [
            [r * sides + s, r * sides + (s + 1) % sides, (r + 1) * sides + (s + 1) % sides, (r + 1) * sides + s]
            for r in range(count - 1)
            for s in range(sides)
        ]
        faces.append(list(range(sides))[::-1])
        faces.append([(count - 1) * sides + s for s in range(sides)])
        # Rings run counter-clockwise seen against the direction of the loft when the axes are right-handed
        if np.cross(across[0], across[1]) @ (centres[-1] - centres[0]) < 0:
            faces = [face[::-1] for face in faces]
        self.add(bone, points, faces, material)

    def ball(self, bone: str, centre, radius, sides: int = 16, rings: int = 9) -> None:
        """A joint sphere; ``radius`` a number or half sizes (3,)."""
        radius = np.broadcast_to(np.asarray(radius, dtype=float), 3)
        angles = np.linspace(-np.pi / 2, np.pi / 2, rings + 2)[1:-1]
        centres = np.asarray(centre, dtype=float) + np.outer(np.sin(angles) * radius[2], [0, 0, 1])
        turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        circle = np.stack([np.cos(turn) * radius[0], np.sin(turn) * radius[1], np.zeros(sides)], -1)
        points = (centres[:, None] + np.cos(angles)[:, None, None] * circle).reshape(-1, 3)
        poles = np.asarray(centre, dtype=float) + np.array([[0, 0, -radius[2]], [0, 0, radius[2]]])
        top = rings * sides
        faces = [
            [r * sides + s, r * sides + (s + 1) % sides, (r + 1) * sides + (s + 1) % sides, (r + 1) * sides + s]
            for r in range(rings - 1)
            for s in range(sides)
        ]
        faces += [[top, (s + 1) % sides, s] for s in range(sides)]
        last = (rings - 1) * sides
        faces += [[top + 1, last + s, last + (s + 1) % sides] for s in range(sides)]
        self.add(bone, np.concatenate([points, poles]), faces, _JOINT)


def _round_ends(centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add three shrinking rings at both ends, a third of the end's radius deep."""

    def cap(centre, radius, direction):
        depth = 0.45 * radius.min()
        steps = np.array([0.5, 0.8, 0.97])
        return [(centre + direction * depth * s, radius * np.sqrt(1.0 - s * s)) for s in steps]

    start = cap(centres[0], radii[0], _unit(centres[0] - centres[1]))[::-1]
    end = cap(centres[-1], radii[-1], _unit(centres[-1] - centres[-2]))
    rows = start + list(zip(centres, radii, strict=True)) + end
    return np.array([c for c, _ in rows]), np.array([r for _, r in rows])


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


X, Y, Z = np.eye(3)


def _build() -> _Parts:
    parts = _Parts()
    at = joint_positions()
    _trunk(parts, at)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _arm(parts, at, side, sign)
        _leg(parts, at, side, sign)
    return parts


def _column(rows) -> tuple[np.ndarray, np.ndarray]:
    """Centres and radii of a loft from rows (height, y, half width, half depth)."""
    rows = np.asarray(rows, dtype=float)
    return np.stack([np.zeros(len(rows)), rows[:, 1], rows[:, 0]], -1), rows[:, 2:]


def _trunk(parts: _Parts, at: dict[str, np.ndarray]) -> None:
    pelvis = [(0.862, 0.012, 0.070, 0.078), (0.890, 0.012, 0.130, 0.100), (0.930, 0.010, 0.158, 0.110),
              (0.970, 0.006, 0.150, 0.104), (1.010, 0.002, 0.126, 0.090), (1.030, 0.0, 0.112, 0.082)]  # fmt: skip
    parts.loft("pelvis", *_column(pelvis), (X, Y), sides=24, square=2.3)
    parts.ball("spine1", at["spine1"] + 0.005 * Z, (0.108, 0.082, 0.075), sides=24, rings=11)
    waist = [(1.118, -0.002, 0.108, 0.080), (1.150, -0.004, 0.120, 0.088), (1.185, -0.004, 0.126, 0.094),
             (1.200, -0.003, 0.124, 0.092)]  # fmt: skip
    parts.loft("spine2", *_column(waist), (X, Y), sides=24, square=2.3)
    chest = [(1.215, -0.002, 0.122, 0.090), (1.250, -0.004, 0.140, 0.104), (1.300, -0.006, 0.156, 0.114),
             (1.350, -0.004, 0.160, 0.114), (1.395, 0.002, 0.150, 0.102), (1.430, 0.008, 0.115, 0.080),
             (1.450, 0.010, 0.075, 0.060)]  # fmt: skip
    parts.loft("spine3", *_column(chest), (X, Y), sides=24, square=2.4)
    neck = [(1.445, 0.012, 0.052, 0.054), (1.490, 0.006, 0.046, 0.048), (1.560, -0.006, 0.045, 0.047)]
    parts.loft("neck", *_column(neck), (X, Y), sides=16, material=_JOINT)
    # An egg with a jaw: the widest ring sits high and back, the chin low and forward
    head = [(1.546, -0.034, 0.026, 0.030), (1.560, -0.030, 0.044, 0.054), (1.585, -0.024, 0.058, 0.074),
            (1.620, -0.017, 0.069, 0.088), (1.660, -0.011, 0.076, 0.096), (1.695, -0.007, 0.076, 0.096),
            (1.722, -0.004, 0.068, 0.086), (1.742, -0.002, 0.053, 0.067), (1.754, -0.001, 0.034, 0.043)]  # fmt: skip
    parts.loft("head", *_column(head), (X, Y), sides=24, square=2.1)
    # A nose shows where the figure looks
    parts.loft("head", [(0, -0.098, 1.668), (0, -0.104, 1.650), (0, -0.107, 1.632), (0, -0.104, 1.622)],
               [(0.006, 0.010), (0.010, 0.014), (0.014, 0.017), (0.011, 0.012)], (X, Y), sides=12)  # fmt: skip


def _arm(parts: _Parts, at: dict[str, np.ndarray], side: str, sign: float) -> None:
    collar, shoulder, elbow, wrist = (at[f"{side}_{joint}"] for joint in ("collar", "shoulder", "elbow", "wrist"))
    along, across = sign * X, (Y, Z)
    parts.loft(f"{side}_collar",
               [collar + 0.012 * Z, collar + sign * 0.05 * X + 0.014 * Z, shoulder - sign * 0.025 * X],
               [(0.060, 0.046), (0.056, 0.048), (0.050, 0.048)], across, sides=16)  # fmt: skip
    parts.ball(f"{side}_shoulder", shoulder + sign * 0.004 * X, 0.056)

    def run(start, rows):
        return [start + along * r[0] for r in rows], [r[1:] for r in rows]

    upper = [(0.048, 0.043, 0.045), (0.085, 0.047, 0.050), (0.130, 0.045, 0.047), (0.190, 0.038, 0.039),
             (0.232, 0.035, 0.034)]  # fmt: skip
    parts.loft(f"{side}_shoulder", *run(shoulder, upper), across)
    parts.ball(f"{side}_elbow", elbow, 0.037)
    lower = [(0.033, 0.034, 0.033), (0.075, 0.040, 0.037), (0.120, 0.036, 0.033), (0.180, 0.028, 0.025),
             (0.222, 0.025, 0.021)]  # fmt: skip
    parts.loft(f"{side}_elbow", *run(elbow, lower), across)
    parts.ball(f"{side}_wrist", wrist, (0.026, 0.025, 0.022), sides=14, rings=7)
    palm = [(0.022, 0.024, 0.017), (0.045, 0.035, 0.016), (0.075, 0.041, 0.015), (0.096, 0.040, 0.013)]
    parts.loft(f"{side}_wrist", *run(wrist, palm), across, square=2.8)
    fingers = [(-0.0295, 0.064, 0.0098), (-0.0095, 0.074, 0.0102), (0.0105, 0.068, 0.0098), (0.030, 0.052, 0.0088)]
    for y, length, thick in fingers:
        root = wrist + along * 0.098 + Y * y
        rows = [(0.0, thick, thick), (length * 0.55, thick * 0.95, thick * 0.92), (length, thick * 0.75, thick * 0.7)]
        parts.loft(f"{side}_wrist", *run(root, rows), across, sides=10)
    root = wrist + along * 0.034 + Y * -0.030 + Z * -0.006
    tip = wrist + along * 0.092 + Y * -0.066 + Z * -0.014
    aim = _unit(tip - root)
    sideways = _unit(np.cross(Z, aim))
    thumb = [(0.0135, 0.0135), (0.0115, 0.011), (0.0085, 0.008)]
    bones = [root, root + 0.6 * (tip - root), tip]
    parts.loft(f"{side}_wrist", bones, thumb, (sideways, np.cross(aim, sideways)), sides=10)


def _leg(parts: _Parts, at: dict[str, np.ndarray], side: str, sign: float) -> None:
    hip, knee, ankle, ball = (at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle", "foot"))

    def run(start, rows):
        """Rows: distance below ``start``, x outwards, y, half width, half depth."""
        return [start + np.array([sign * r[1], r[2], -r[0]]) for r in rows], [r[3:] for r in rows]

    parts.ball(f"{side}_hip", hip + np.array([sign * 0.006, 0.004, -0.004]), 0.078)
    thigh = [(0.058, 0.004, 0.002, 0.070, 0.078), (0.110, 0.004, 0.000, 0.073, 0.081),
             (0.190, 0.003, -0.004, 0.066, 0.073), (0.280, 0.001, -0.004, 0.055, 0.060),
             (0.365, 0.0, -0.002, 0.047, 0.050)]  # fmt: skip
    parts.loft(f"{side}_hip", *run(hip, thigh), (X, Y), sides=18)
    parts.ball(f"{side}_knee", knee, (0.048, 0.050, 0.050))
    shin = [(0.044, 0.0, 0.000, 0.043, 0.046), (0.090, 0.0, 0.008, 0.047, 0.052), (0.150, 0.0, 0.012, 0.047, 0.053),
            (0.230, 0.0, 0.008, 0.038, 0.042), (0.320, 0.0, 0.002, 0.029, 0.032),
            (0.368, 0.0, 0.0, 0.028, 0.031)]  # fmt: skip
    parts.loft(f"{side}_knee", *run(knee, shin), (X, Y), sides=18)
    parts.ball(f"{side}_ankle", ankle + 0.004 * Z, (0.034, 0.036, 0.036))

    def sole(bone, start, rows):
        """Rows: distance forward of ``start``, x outwards, half width, height of the top; soles lie on the floor."""
        centres = [np.array([start[0] + sign * r[1], start[1] - r[0], r[3] * 0.45]) for r in rows]
        parts.loft(bone, centres, [(r[2], r[3] * 0.55) for r in rows], (X, Z), sides=18, square=2.6, floor=0.0)

    sole(f"{side}_ankle", ankle,
         [(-0.050, 0.0, 0.026, 0.046), (-0.035, 0.0, 0.033, 0.060), (0.0, 0.0, 0.036, 0.072),
          (0.045, 0.002, 0.037, 0.066), (0.090, 0.004, 0.042, 0.052), (0.122, 0.005, 0.045, 0.044)])  # fmt: skip
    sole(f"{side}_foot", ball,
         [(0.008, 0.005, 0.045, 0.040), (0.035, 0.004, 0.044, 0.035), (0.060, 0.001, 0.036, 0.028)])  # fmt: skip


def _mesh(name: str, parts: _Parts) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(np.concatenate(parts.vertices).tolist(), [], parts.faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(parts.faces))
    for title, colour, roughness in _MATERIALS:
        mesh.materials.append(_material(title, colour, roughness))
    mesh.polygons.foreach_set("material_index", parts.materials)
    mesh.update()
    return mesh


def _material(title: str, colour: tuple, roughness: float) -> bpy.types.Material:
    material = bpy.data.materials.get(title)
    if material is not None:
        return material
    material = bpy.data.materials.new(title)
    material.diffuse_color = colour
    material.roughness = roughness
    if material.node_tree is None:
        material.use_nodes = True
    shader = material.node_tree.nodes.get("Principled BSDF")
    if shader is not None:
        shader.inputs["Base Color"].default_value = colour
        shader.inputs["Roughness"].default_value = roughness
    return material

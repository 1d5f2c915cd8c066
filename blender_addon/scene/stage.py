"""What surrounds a character in a picture: floor, path, camera, label, light; and sticks for one without a mesh."""

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..retarget.rest_pose import analyse
from ..rig import Rig, canonical, match

# Collections of bpy.data that a picture adds to
KINDS = ("objects", "meshes", "curves", "cameras", "materials", "worlds")

_BACKGROUND = (0.56, 0.565, 0.57)
_FLOOR = ((0.86, 0.87, 0.88, 1.0), (1.0, 1.0, 1.0, 1.0))
_PATH = (0.90, 0.42, 0.16, 1.0)
_INK = (0.01, 0.01, 0.012, 1.0)
_STICKS = ((0.80, 0.71, 0.58, 1.0), (0.20, 0.45, 0.75, 1.0), (0.80, 0.28, 0.22, 1.0))
# Seen from the front left, a little from above
_AZIMUTH, _ELEVATION = np.radians(52.0), np.radians(14.0)


class Measures:
    """Size, ground and path of a character, world units.

    path: (T,3) the pelvis on the floor. height: from floor to the top of the head. facing: (3,) at rest.
    """

    def __init__(self, rig: Rig, matrices: np.ndarray, body: list[bpy.types.Object]):
        linear, moved = rig.object_matrix[:3, :3], rig.object_matrix[:3, 3]
        heads = rig.rest[:, :3, 3] @ linear.T + moved
        mapping = match(rig.bones)
        self.mapping = mapping if mapping.error is None else None
        if self.mapping:
            rest = analyse(rig, mapping)
            self.facing, self.ground, self.unit = rest.frame[:, 2], rest.ground, rest.scale
            root = rig.index[mapping.bone("pelvis")]
            self.height = 1.78 * rest.scale
        else:
            self.facing = np.array([0.0, -1.0, 0.0])
            self.ground, top = heads[:, 2].min(), heads[:, 2].max()
            self.height = max(top - self.ground, 1e-6) * 1.1
            self.unit = self.height / 1.78
            root = 0
        tops = [(item.matrix_world @ Vector(corner)).z for item in body for corner in item.bound_box]
        tops.append(heads[:, 2].max())
        # Props that tower over the figure do not count
        self.height = min(max(max(tops) - self.ground, 0.9 * self.height), 2.5 * self.height)
        self.path = matrices[:, root, :3, 3] @ linear.T + moved
        self.path[:, 2] = self.ground
        self.lift = np.ptp(matrices[:, root, :3, 3] @ linear[2])


def _object(scene: bpy.types.Scene, name: str, data) -> bpy.types.Object:
    item = bpy.data.objects.new(f"MoMug {name}", data)
    scene.collection.objects.link(item)
    return item


def _material(name: str, colour: tuple) -> bpy.types.Material:
    material = bpy.data.materials.new(f"MoMug {name}")
    material.diffuse_color = colour
    material.roughness = 0.9
    return material


def _mesh(name: str, points: np.ndarray, faces: list, materials: list, indices=None) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(f"MoMug {name}")
    mesh.from_pydata(np.asarray(points, dtype=float).tolist(), [], faces)
    for material in materials:
        mesh.materials.append(material)
    if indices is not None:
        mesh.polygons.foreach_set("material_index", indices)
    mesh.update()
    return mesh


def furnish(scene: bpy.types.Scene, measures: Measures) -> None:
    """A checkered floor under the whole path, and the path as a ribbon on it."""
    tile = 0.5 * measures.unit
    low = np.floor((measures.path[:, :2].min(0) - 4.5 * measures.height) / tile).astype(int)
    high = np.ceil((measures.path[:, :2].max(0) + 4.5 * measures.height) / tile).astype(int)
    # A motion that travels very far gets larger tiles rather than millions of them
    step = max(1, int(np.ceil((high - low).max() / 120)))
    xs, ys = (np.arange(low[k], high[k] + step, step) for k in (0, 1))
    grid = np.stack(np.meshgrid(xs, ys, indexing="ij"), -1).reshape(-1, 2) * tile
    points = np.concatenate([grid, np.full((len(grid), 1), measures.ground - 0.002 * measures.unit)], -1)
    across = len(ys)
    cells = [(i, j) for i in range(len(xs) - 1) for j in range(across - 1)]
    faces = [[i * across + j, (i + 1) * across + j, (i + 1) * across + j + 1, i * across + j + 1] for i, j in cells]
    parity = [int((xs[i] // step + ys[j] // step) % 2) for i, j in cells]
    floors = [_material("floor", _FLOOR[0]), _material("floor light", _FLOOR[1])]
    _object(scene, "floor", _mesh("floor", points, faces, floors, parity))
    path = measures.path
    travelled = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum()
    if travelled > 0.1 * measures.unit:
        _object(scene, "path", _ribbon(path, 0.028 * measures.unit, measures.unit))


def _ribbon(path: np.ndarray, half: float, unit: float) -> bpy.types.Mesh:
    keep = [0]
    for i in range(1, len(path)):
        if np.linalg.norm(path[i] - path[keep[-1]]) > 0.03 * unit:
            keep.append(i)
    points = path[keep]
    along = np.gradient(points, axis=0) if len(points) > 1 else np.array([[0.0, 1.0, 0.0]])
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    side = np.stack([-along[:, 1], along[:, 0], np.zeros(len(along))], -1) * half
    lifted = points + np.array([0.0, 0.0, 0.002 * unit])
    vertices = np.concatenate([lifted - side, lifted + side])
    count = len(points)
    faces = [[i, i + 1, count + i + 1, count + i] for i in range(count - 1)]
    return _mesh("path", vertices, faces, [_material("path", _PATH)])


def camera(scene: bpy.types.Scene, measures: Measures) -> tuple[bpy.types.Object, bpy.types.Object]:
    """The orthographic camera and the label that hangs in front of it."""
    data = bpy.data.cameras.new("MoMug camera")
    data.type = "ORTHO"
    data.clip_start, data.clip_end = 0.01 * measures.unit, 100.0 * measures.height
    item = _object(scene, "camera", data)
    scene.camera = item
    label = text(scene, item, "0")
    return item, label


def aim(item: bpy.types.Object, centre: np.ndarray, measures: Measures) -> None:
    """Look at the figure above ``centre`` (on the floor), with room for raised arms, jumps and the label."""
    tall = measures.height * 1.28 + min(measures.lift, measures.height)
    front = Vector(measures.facing)
    right = front.cross(Vector((0, 0, 1))).normalized()
    direction = (front * np.cos(_AZIMUTH) - right * np.sin(_AZIMUTH)) * np.cos(_ELEVATION)
    direction += Vector((0, 0, 1)) * np.sin(_ELEVATION)
    target = Vector(centre) + Vector((0, 0, 1)) * tall * 0.41
    back = direction.normalized()
    side = Vector((0, 0, 1)).cross(back).normalized()
    up = back.cross(side)
    rotation = Matrix((side, up, back)).transposed()
    item.matrix_world = Matrix.Translation(target + back * measures.height * 6.0) @ rotation.to_4x4()
    item.data.ortho_scale = tall
    label = next(child for child in item.children if child.type == "FONT")
    scene = item.users_scene[0]
    wide = tall * scene.render.resolution_x / scene.render.resolution_y
    wide, high = (wide, tall) if wide < tall else (tall, tall * scene.render.resolution_y / scene.render.resolution_x)
    label.data.size = 0.05 * high
    label.location = (-0.46 * wide, -0.47 * high, -measures.unit)


def text(scene: bpy.types.Scene, parent: bpy.types.Object, body: str) -> bpy.types.Object:
    """Text that hangs before the camera."""
    data = bpy.data.curves.new("MoMug text", "FONT")
    data.body = body
    data.materials.append(_material("ink", _INK))
    item = _object(scene, "text", data)
    item.display.show_shadows = False
    item.parent = parent
    return item


def look(scene: bpy.types.Scene, size: tuple[int, int]) -> None:
    """Workbench with studio light, shadows, cavities and outlines on a light background."""
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.film_transparent = False
    scene.render.use_file_extension = False
    scene.view_settings.view_transform = "Standard"
    # Workbench's studio light leaves a floor dim that is seen from low above
    scene.view_settings.exposure = 0.7
    world = bpy.data.worlds.new("MoMug world")
    world.color = _BACKGROUND
    scene.world = world
    display = scene.display
    display.render_aa = "8"
    # Workbench counts this direction with Y up
    display.light_direction = (0.35, 0.85, 0.4)
    display.shadow_focus = 0.4
    shading = display.shading
    shading.light = "STUDIO"
    shading.color_type = "MATERIAL"
    shading.background_type = "WORLD"
    shading.show_shadows = True
    shading.shadow_intensity = 0.35
    shading.show_cavity = True
    shading.cavity_type = "BOTH"
    shading.cavity_ridge_factor = 0.6
    shading.cavity_valley_factor = 1.0
    shading.show_object_outline = False
    shading.show_specular_highlight = True


def sticks(armature: bpy.types.Object, rig: Rig, measures: Measures) -> bpy.types.Object:
    """Bones as tapered sticks (left blue, right red) for a character that has no mesh."""
    points, faces, colours, groups = [], [], [], {}

    def add(bone: str, start: np.ndarray, end: np.ndarray, colour: int) -> None:
        along = end - start
        length = float(np.linalg.norm(along))
        if length < 1e-9:
            return
        along /= length
        side = np.cross(along, np.eye(3)[np.abs(along).argmin()])
        side /= np.linalg.norm(side)
        other = np.cross(along, side)
        wide = 0.14 * length + 0.008 * size
        wide = min(wide, 0.035 * size)
        ring = [start + along * min(wide, 0.3 * length) + wide * d for d in (side, other, -side, -other)]
        first = len(points)
        points.extend([start, *ring, end])
        for k in range(4):
            a, b = first + 1 + k, first + 1 + (k + 1) % 4
            faces.extend([[first, b, a], [first + 5, a, b]])
        colours.extend([colour] * 8)
        groups.setdefault(bone, []).extend(range(first, first + 6))

    size = measures.height / max(float(np.abs(np.linalg.det(rig.object_matrix[:3, :3])) ** (1 / 3)), 1e-9)
    mapping = measures.mapping
    if mapping:
        for joint, parent in zip(canonical.JOINTS, canonical.PARENTS, strict=True):
            end = mapping.bone(joint)
            while parent >= 0 and not mapping.bone(canonical.JOINTS[parent]):
                parent = canonical.PARENTS[parent]
            if end is None:
                continue
            colour = 1 if joint.startswith("left") else 2 if joint.startswith("right") else 0
            if parent >= 0:
                start = mapping.bone(canonical.JOINTS[parent])
                add(start, rig.bones[rig.index[start]].head, rig.bones[rig.index[end]].head, colour)
            following = [canonical.JOINTS[i] for i, p in enumerate(canonical.PARENTS) if canonical.JOINTS[p] == joint]
            if not any(mapping.bone(name) for name in following):
                bone = rig.bones[rig.index[end]]
                add(end, bone.head, bone.tail, colour)
    else:
        for bone in rig.bones:
            add(bone.name, bone.head, bone.tail, 0)
    materials = [_material(f"sticks {k}", colour) for k, colour in enumerate(_STICKS)]
    item = bpy.data.objects.new("MoMug sticks", _mesh("sticks", points, faces, materials, colours))
    for bone, indices in groups.items():
        item.vertex_groups.new(name=bone).add(indices, 1.0, "REPLACE")
    item.parent = armature
    item.modifiers.new("Armature", "ARMATURE").object = armature
    return item

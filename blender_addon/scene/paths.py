"""A way over the ground to follow: a curve object, or objects to pass one after another."""

import bpy
import numpy as np

from ..retarget import floor, splicing
from ..rig import RigError
from .armature import bone_map, read_rig
from .poses import Pose

MAX_POINTS = 20_000


def curve_points(curve: bpy.types.Object) -> np.ndarray:
    """World points (n,3) along the first spline of a curve object, in its direction. Raises RigError.

    The shape is read without bevel and without modifiers.
    """
    if curve is None or curve.type != "CURVE":
        raise RigError("The path has to be a curve object.")
    if not curve.data.splines:
        raise RigError(f"The curve '{curve.name}' has no points.")
    data = curve.data.copy()
    holder = bpy.data.objects.new("momug path", data)
    try:
        data.bevel_depth = data.extrude = data.offset = 0.0
        data.bevel_object = data.taper_object = None
        for spline in list(data.splines)[1:]:
            data.splines.remove(spline)
        mesh = holder.to_mesh()
        points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
        mesh.vertices.foreach_get("co", points)
        holder.to_mesh_clear()
        cyclic = data.splines[0].use_cyclic_u
    finally:
        bpy.data.objects.remove(holder)
        bpy.data.curves.remove(data)
    points = points.reshape(-1, 3).astype(np.float64)
    if not 2 <= len(points) <= MAX_POINTS:
        raise RigError(
            f"The curve '{curve.name}' cannot be followed: its points are too few or too many ({len(points)})."
        )
    if cyclic:
        points = np.concatenate([points, points[:1]])
    world = np.array(curve.matrix_world)
    return points @ world[:3, :3].T + world[:3, 3]


def waypoints(collection: bpy.types.Collection) -> np.ndarray:
    """World places (n,3) of the objects of a collection, in the order of their names. Raises RigError."""
    places = [list(thing.matrix_world.translation) for thing in sorted(collection.objects, key=lambda one: one.name)]
    if len(places) < 2:
        raise RigError(f"The collection '{collection.name}' needs at least two objects as waypoints.")
    return np.array(places)


def in_front(armature: bpy.types.Object, pose: Pose) -> tuple[np.ndarray, np.ndarray, float]:
    """World point (3,) on the floor below the hips of a pose, the unit vector (3,) that it faces, and world units in a
    metre of the figure. Raises RigError."""
    rig, mapping = read_rig(armature), bone_map(armature).require()
    x, _, z = pose.translation
    heading = splicing.heading(pose.rotations[0])
    ahead = (x + np.sin(heading), 0.0, z + np.cos(heading))
    start, end = floor.world_points(rig, mapping, np.array([(x, 0.0, z), ahead]))
    scale = float(np.linalg.norm(end - start))
    return start, (end - start) / scale, scale


def add_curve(name: str, start: np.ndarray, forward: np.ndarray, length: float) -> bpy.types.Object:
    """A new straight Bezier curve of three points on the ground from ``start`` (3,) along ``forward`` (3,), linked."""
    data = bpy.data.curves.new(name, "CURVE")
    data.dimensions = "3D"
    spline = data.splines.new("BEZIER")
    spline.bezier_points.add(2)
    for index, point in enumerate(spline.bezier_points):
        point.co = start + forward * (length * index / 2)
        point.handle_left_type = point.handle_right_type = "AUTO"
    made = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(made)
    return made

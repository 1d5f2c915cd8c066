"""The mannequin: bones, skin, and how it stands."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import empty  # noqa: E402

from blender_addon.rig import canonical  # noqa: E402
from blender_addon.scene import mannequin  # noqa: E402


@pytest.fixture
def figure():
    empty()
    return mannequin.add()


def body_of(armature):
    return next(child for child in armature.children if child.type == "MESH")


def test_bones_are_the_canonical_joints(figure):
    want = mannequin.joint_positions()
    assert {bone.name for bone in figure.data.bones} == set(canonical.JOINTS)
    for joint, parent in zip(canonical.JOINTS, canonical.PARENTS, strict=True):
        bone = figure.data.bones[joint]
        assert np.allclose(bone.head_local, want[joint], atol=1e-6)
        assert (bone.parent.name if bone.parent else None) == (canonical.JOINTS[parent] if parent >= 0 else None)
    assert figure.data.bones["left_knee"].head_local.x > 0, "left is +X"
    assert figure.data.bones["left_foot"].head_local.y < figure.data.bones["left_ankle"].head_local.y, "faces -Y"


def test_rolls_mirror_and_bend_about_one_axis(figure):
    for bone in figure.data.bones:
        if not bone.name.startswith("left_"):
            continue
        other = figure.data.bones["right" + bone.name[4:]]
        a, b = np.array(bone.matrix_local)[:3, :3], np.array(other.matrix_local)[:3, :3]
        mirror = np.diag([-1.0, 1.0, 1.0])
        assert np.allclose(mirror @ a @ mirror, b, atol=1e-5)


def test_the_skin_is_complete_and_stands_on_the_floor(figure):
    body = body_of(figure)
    mesh = body.data
    points = np.array([vertex.co[:] for vertex in mesh.vertices])
    assert abs(points[:, 2].min()) < 1e-6
    assert 1.7 < points[:, 2].max() < 1.8
    assert np.isclose(points[:, 0].min(), -points[:, 0].max(), atol=1e-4)
    assert len(mesh.materials) == 2 and {p.material_index for p in mesh.polygons} == {0, 1}
    weights = np.array([sum(group.weight for group in vertex.groups) for vertex in mesh.vertices])
    assert np.allclose(weights, 1.0)
    assert {group.name for group in body.vertex_groups} == set(canonical.JOINTS)
    assert len(mesh.vertices) < 12_000


def test_faces_look_outwards(figure):
    """Each closed part encloses a positive volume."""
    mesh = body_of(figure).data
    points = np.array([vertex.co[:] for vertex in mesh.vertices])
    parent = list(range(len(points)))

    def find(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for polygon in mesh.polygons:
        first = find(polygon.vertices[0])
        for vertex in polygon.vertices[1:]:
            parent[find(vertex)] = first
    volumes: dict[int, float] = {}
    for polygon in mesh.polygons:
        corners = points[list(polygon.vertices)]
        volume = sum(np.dot(corners[0], np.cross(corners[i], corners[i + 1])) for i in range(1, len(corners) - 1)) / 6
        volumes[find(polygon.vertices[0])] = volumes.get(find(polygon.vertices[0]), 0.0) + volume
    assert len(volumes) > 40
    assert min(volumes.values()) > 0


def test_adding_selects_it_and_goes_where_told():
    empty()
    folder = bpy.data.collections.new("cast")
    bpy.context.scene.collection.children.link(folder)
    first = mannequin.add(folder, "Ann")
    second = mannequin.add()
    assert first.name in folder.objects and body_of(first).name in folder.objects
    assert bpy.context.view_layer.objects.active == second
    assert bpy.context.selected_objects == [second]
    assert len({m.name for o in (first, second) for m in body_of(o).data.materials}) == 2, "materials are shared"

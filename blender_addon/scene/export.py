"""Motion out of Blender: BVH, glTF, FBX, SMPL-X npz, and a copy of the scene."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import bpy
import numpy as np

from .. import retarget
from ..retarget import CanonicalMotion, controls, smpl
from ..retarget import rotations as rot
from ..rig import BoneMap, Rig, RigError, canonical
from . import baked, stored_map
from .armature import read_rig
from .capture import active_action, frame_span, is_animated, poses, scene_fps
from .console import quiet
from .files import reason, replacing

log = logging.getLogger(__name__)

# Blender's Z up to BVH's Y up: x stays, z becomes y, y becomes -z
_TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def bvh(armature: bpy.types.Object, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write the armature's animation as BVH: Y up, world units, every bone of the tree that holds the pelvis; of a
    control rig the figure of its deform bones.

    Joints have no rest rotation (offsets carry the rest pose), rotations are in Z X Y order. Bones other than the root
    get position channels only when they move against their parent. ``frame_range`` as in :func:`capture`.
    """
    path = Path(path)
    rig, frames, matrices = poses(armature, None, frame_range)
    mapping = stored_map.bone_map(armature, rig.bones)
    plan = controls.find(rig, mapping) if mapping.error is None else None
    if plan is not None:
        body = controls.figure(rig, plan.figure)
        rig, matrices = body, controls.figure_pose(rig, plan, body, matrices)
    tree = _tree(rig, mapping)
    linear = rig.object_matrix[:3, :3]
    heads = matrices[:, :, :3, 3] @ linear.T + rig.object_matrix[:3, 3]
    rest_heads = rig.rest[:, :3, 3] @ linear.T + rig.object_matrix[:3, 3]
    object_rotation = rot.from_matrix(linear / np.linalg.norm(linear, axis=0))
    up = rot.from_matrix(_TO_Y_UP)
    axes = matrices[:, :, :3, :3]
    axes = axes / np.maximum(np.linalg.norm(axes, axis=-2, keepdims=True), 1e-12)
    now = rot.multiply(object_rotation, rot.from_matrix(axes))
    at_rest = rot.multiply(object_rotation, rot.from_matrix(rig.rest[:, :3, :3]))
    turns = rot.multiply(rot.multiply(up, rot.multiply(now, rot.conjugate(at_rest))), rot.conjugate(up))
    heads, rest_heads = heads @ _TO_Y_UP.T, rest_heads @ _TO_Y_UP.T
    size = np.ptp(rest_heads, axis=0).max()

    lines = ["HIERARCHY"]
    columns: list[np.ndarray] = []
    names = _names(rig, tree)
    children: dict[int, list[int]] = {i: [] for i in tree}
    for i in tree[1:]:
        children[rig.parents[i]].append(i)

    def write(i: int, depth: int) -> None:
        pad = "  " * depth
        parent = rig.parents[i] if depth else -1
        if parent < 0:
            offset, place, local = np.zeros(3), heads[:, i], turns[:, i]
        else:
            offset = rest_heads[i] - rest_heads[parent]
            place = rot.rotate(rot.conjugate(turns[:, parent]), heads[:, i] - heads[:, parent])
            local = rot.multiply(rot.conjugate(turns[:, parent]), turns[:, i])
        lines.append(f"{pad}{'JOINT' if depth else 'ROOT'} {names[i]}")
        lines.append(pad + "{")
        lines.append(f"{pad}  OFFSET {_numbers(offset)}")
        moves = parent < 0 or np.abs(place - offset).max() > 1e-4 * size
        position = "6 Xposition Yposition Zposition" if moves else "3"
        lines.append(f"{pad}  CHANNELS {position} Zrotation Xrotation Yrotation")
        if moves:
            columns.append(place)
        columns.append(np.degrees(rot.to_euler(rot.continuous(local), "YXZ"))[:, [2, 0, 1]])
        for child in children[i]:
            write(child, depth + 1)
        if not children[i]:
            tail = (rig.bones[i].tail - rig.bones[i].head) @ linear.T @ _TO_Y_UP.T
            lines.extend([f"{pad}  End Site", pad + "  {", f"{pad}    OFFSET {_numbers(tail)}", pad + "  }"])
        lines.append(pad + "}")

    write(tree[0], 0)
    lines += ["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1.0 / scene_fps():.9f}"]
    lines += [_numbers(row) for row in np.concatenate(columns, -1)]
    _write(path, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))
    return path


def _numbers(row: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in row)


def _tree(rig: Rig, mapping: BoneMap) -> list[int]:
    """Indices of the bones in the tree of the pelvis (of the largest tree when there is no map), parents first."""
    top: list[int] = []
    for i, parent in enumerate(rig.parents):
        top.append(i if parent < 0 else top[parent])
    pelvis = mapping.bone("pelvis") if mapping.error is None else None
    root = top[rig.index[pelvis]] if pelvis else max(set(top), key=top.count)
    return [i for i in range(len(top)) if top[i] == root]


def _names(rig: Rig, tree: list[int]) -> dict[int, str]:
    """Bone names as BVH can hold them (no spaces), still different from each other."""
    names: dict[int, str] = {}
    for i in tree:
        name = "_".join(rig.bones[i].name.split()) or "bone"
        while name in names.values():
            name += "_"
        names[i] = name
    return names


def npz(
    armature: bpy.types.Object,
    path: str | Path,
    action: bpy.types.Action | None = None,
    frame_range: tuple[int, int] | None = None,
) -> Path:
    """Write the animation as an SMPL-X / AMASS file, Y up.

    ``poses`` (T,165) axis-angle counted from the body's zero pose, ``trans`` (T,3), ``betas``, ``gender``,
    ``mocap_frame_rate``, ``up_axis``. An SMPL armature gives its own rotations, hands and face included, at the scene's
    frame rate; others give the canonical motion at 30 fps, with our own ``rest_offsets`` (22,3), ``contacts`` (T,4) and
    ``zero_pose``.
    """
    rig, _, matrices = poses(armature, action, frame_range, mapped=True)
    mapping = stored_map.bone_map(armature, rig.bones).require()
    body = smpl.find(rig, mapping)
    if body is None:
        motion = retarget.capture(rig, mapping, matrices, scene_fps()).resample(canonical.FPS)
        return save_npz(motion, path)
    rig, _, matrices = poses(armature, action, frame_range)
    own = smpl.read(rig, body, matrices)
    return _save(Path(path), own.joints, own.rotations, own.translation, scene_fps(), {})


def save_npz(motion: CanonicalMotion, path: str | Path) -> Path:
    """Write canonical motion with the keys that :func:`npz` lists. Raises RigError when it cannot be written."""
    rotations, translation = smpl.from_canonical(motion)
    ours = {"rest_offsets": motion.rest_offsets, "contacts": motion.contacts, "zero_pose": np.array("SMPL")}
    return _save(Path(path), canonical.JOINTS, rotations, translation, motion.fps, ours)


def _save(
    path: Path, joints: tuple[str, ...], rotations: np.ndarray, translation: np.ndarray, fps: float, more: dict
) -> Path:
    turns = np.zeros((len(rotations), len(smpl.JOINTS), 3), dtype=np.float32)
    turns[:, [smpl.JOINTS.index(joint) for joint in joints]] = rot.to_axis_angle(rotations)

    def save(part: Path) -> None:
        with open(part, "wb") as file:
            np.savez_compressed(
                file,
                poses=turns.reshape(len(turns), -1),
                trans=translation.astype(np.float32),
                betas=np.zeros(16, dtype=np.float32),
                gender=np.array("neutral"),
                mocap_frame_rate=np.array(fps, dtype=np.float64),
                up_axis=np.array("Y"),
                **more,
            )

    _write(path, save)
    return path


def glb(armature: bpy.types.Object, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write the armature, its skinned meshes and what moves it now as binary glTF; of a control rig a
    plain armature of the bones that deform, baked."""
    path = Path(path).with_suffix(".glb")
    with _only(armature, frame_range):
        _call(
            "gltf",
            path,
            export_format="GLB",
            use_selection=True,
            export_animations=True,
            # a baked scene where strips play, or where only a part is wanted; else the active action as it is
            export_animation_mode="SCENE" if frame_range or active_action(armature) is None else "ACTIVE_ACTIONS",
            export_anim_scene_split_object=False,
            export_frame_range=bool(frame_range) or active_action(armature) is None,
            export_force_sampling=True,
            export_optimize_animation_size=False,
            export_current_frame=False,
        )
    return path


def fbx(armature: bpy.types.Object, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write the armature, its skinned meshes and what moves it now as FBX; of a control rig a plain armature
    of the bones that deform, baked."""
    path = Path(path).with_suffix(".fbx")
    with _only(armature, frame_range):
        _call(
            "fbx",
            path,
            use_selection=True,
            object_types={"ARMATURE", "MESH"},
            add_leaf_bones=False,
            bake_anim=True,
            bake_anim_use_all_bones=True,
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
            bake_anim_simplify_factor=0.0,
        )
    return path


def blend(path: str | Path) -> Path:
    """Save a copy of the current file; the open file keeps its name."""
    path = Path(path).with_suffix(".blend")
    _write(path, lambda part: bpy.ops.wm.save_as_mainfile(filepath=str(part), copy=True, check_existing=False))
    return path


def _write(path: Path, save: Callable[[Path], object]) -> None:
    """``save`` writes a file that then takes the place of ``path``. Raises RigError."""
    try:
        with replacing(path) as part:
            save(part)
    except (OSError, RuntimeError) as error:
        log.warning("writing %s failed", path, exc_info=error)
        raise RigError(f"Could not write {path}: {reason(error)}.") from error


def _call(kind: str, path: Path, **options) -> None:
    """Blender's own exporter with the options that this version knows."""
    operator = getattr(bpy.ops.export_scene, kind)
    try:
        known = operator.get_rna_type().properties.keys()
    except KeyError as error:
        raise RigError(f"Blender's {kind} exporter is switched off; enable it in the preferences.") from error
    options = {name: value for name, value in options.items() if name in known}
    with quiet():
        _write(path, lambda part: operator(filepath=str(part), check_existing=False, **options))


@contextmanager
def _only(armature: bpy.types.Object, frame_range: tuple[int, int] | None = None):
    """Select the armature and the meshes it moves, the timeline on the range (its action's); all is put back.

    Of a control rig, a copy with the deforming bones alone.
    """
    if not is_animated(armature):
        raise RigError(f"'{armature.name}' has no animation yet.")
    first, last = frame_span(active_action(armature), frame_range)
    if last < first:
        raise RigError("The frame range ends before it starts.")
    context = bpy.context
    scene = context.scene
    if context.object is not None and context.object.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    selected, active = list(context.selected_objects), context.view_layer.objects.active
    span, frame = (scene.frame_start, scene.frame_end), (scene.frame_current, scene.frame_subframe)
    rig = read_rig(armature)
    mapping = stored_map.bone_map(armature, rig.bones)
    moved = skins(armature)
    with ExitStack() as stack:
        try:
            shown = armature
            if baked.can_bake(rig, mapping):
                shown = stack.enter_context(baked.plain_copy(armature, mapping, (first, last), moved))
                moved = skins(shown)
            for other in list(context.selected_objects):
                other.select_set(False)
            for member in (shown, *moved):
                member.select_set(True)
            context.view_layer.objects.active = shown
            scene.frame_start, scene.frame_end = first, last
            yield
        finally:
            scene.frame_start, scene.frame_end = span
            scene.frame_set(frame[0], subframe=frame[1])  # an exporter that fails leaves another one
            stack.close()
            for other in list(context.selected_objects):
                other.select_set(False)
            for other in selected:
                other.select_set(True)
            context.view_layer.objects.active = active


def skins(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """The visible mesh objects of the current scene that the armature moves."""
    found = []
    bpy.context.view_layer.update()
    for item in bpy.context.view_layer.objects:
        if item.type != "MESH" or not item.data.polygons or item.hide_render:
            continue
        moved = any(m.type == "ARMATURE" and m.object == armature for m in item.modifiers)
        if moved or (item.parent == armature and item.parent_type in {"BONE", "ARMATURE"}):
            found.append(item)
    return found

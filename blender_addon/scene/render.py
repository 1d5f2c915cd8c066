"""Pictures of a motion: a contact sheet drawn by Workbench, which needs no window and no GPU (Mesa's software GL does).

A scene of our own is built beside the artist's, the character is linked into it, and everything made for the picture is
removed again.
"""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ..rig import Rig, RigError
from . import stage
from .capture import poses, scene_fps
from .console import quiet
from .export import skins

_TITLE_PIXELS = 56
_GAP = 3


def contact_sheet(
    armature: bpy.types.Object,
    path: str | Path,
    frames: list[int] | None = None,
    columns: int | None = None,
    size: tuple[int, int] = (320, 400),
    title: str = "",
) -> Path:
    """Render poses of ``armature`` at ``frames`` (eight over its action when None) into one PNG.

    columns: pictures in a row (up to eight in one row, else two rows). size: of one picture, pixels. The camera
    follows the figure over a floor grid of half its leg length; its path lies on the floor. A character without a mesh
    is drawn as sticks. Raises RigError when there is no animation or Blender cannot draw here.
    """
    path = Path(path).with_suffix(".png")
    rig, known, matrices = poses(armature)
    if frames is None:
        frames = [int(round(f)) for f in np.linspace(known[0], known[-1], min(8, len(known)))]
    frames = [int(np.clip(frame, known[0], known[-1])) for frame in frames]
    if not frames:
        raise RigError("A contact sheet needs at least one frame.")
    columns = columns or (len(frames) if len(frames) <= 5 else -(-len(frames) // 2))
    measures = stage.Measures(rig, matrices, skins(armature))
    source = bpy.context.scene
    with _scene(armature, rig, measures, size) as (scene, camera, label):
        cells = []
        for frame in frames:
            # Blender poses a character for the picture by the frame of the window's scene, whatever is rendered
            source.frame_set(frame)
            scene.frame_set(frame)
            centre = measures.path[frame - known[0]]
            stage.aim(camera, centre, measures)
            label.data.body = f"{frame}   {(frame - known[0]) / scene_fps():.1f} s"
            cells.append(_pixels(scene, size))
        sheet = _grid(cells, columns)
        if title:
            sheet = np.concatenate([sheet, _title(scene, camera, title, sheet.shape[1], measures)])
    _save(sheet, path)
    return path


def _grid(cells: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures (h,w,4), bottom row first, as a grid read from the top left, with a white gap between them."""
    height, width = cells[0].shape[:2]
    rows = -(-len(cells) // columns)
    sheet = np.ones((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 4), dtype=np.float32)
    for i, cell in enumerate(cells):
        bottom = (rows - 1 - i // columns) * (height + _GAP)
        left = (i % columns) * (width + _GAP)
        sheet[bottom : bottom + height, left : left + width] = cell
    return sheet


@contextmanager
def _scene(armature: bpy.types.Object, rig: Rig, measures: "stage.Measures", size: tuple[int, int]):
    """A temporary scene with the character, floor, path, camera and label; all of it is removed afterwards."""
    before = {kind: set(getattr(bpy.data, kind)) for kind in stage.KINDS}
    source = bpy.context.scene
    now = source.frame_current, source.frame_subframe
    scene = bpy.data.scenes.new("MoMug sheet")
    try:
        body = skins(armature)
        for item in [armature, *body]:
            scene.collection.objects.link(item)
        if not body:
            scene.collection.objects.link(stage.sticks(armature, rig, measures))
        stage.furnish(scene, measures)
        camera, label = stage.camera(scene, measures)
        stage.look(scene, size)
        yield scene, camera, label
    finally:
        bpy.data.scenes.remove(scene)
        source.frame_set(now[0], subframe=now[1])
        for kind in stage.KINDS:
            collection = getattr(bpy.data, kind)
            for item in set(collection) - before[kind]:
                collection.remove(item)


def _pixels(scene: bpy.types.Scene, size: tuple[int, int]) -> np.ndarray:
    """Render ``scene``: (height,width,4) float32, bottom row first."""
    scene.render.resolution_x, scene.render.resolution_y = size
    with tempfile.TemporaryDirectory(prefix="momug-") as folder:
        file = Path(folder) / "cell.png"
        scene.render.filepath = str(file)
        try:
            with quiet():
                bpy.ops.render.render(write_still=True, scene=scene.name)
        except RuntimeError as error:
            raise RigError(_CANNOT_DRAW) from error
        if not file.is_file():
            raise RigError(_CANNOT_DRAW)
        image = bpy.data.images.load(str(file))
        try:
            pixels = np.empty(len(image.pixels), dtype=np.float32)
            image.pixels.foreach_get(pixels)
            return pixels.reshape(image.size[1], image.size[0], 4)
        finally:
            bpy.data.images.remove(image)


_CANNOT_DRAW = (
    "Blender cannot draw pictures here: it needs OpenGL (on a machine without a graphics card, Mesa's software "
    "OpenGL and EGL libraries)."
)


def _title(scene, camera, title: str, width: int, measures: "stage.Measures") -> np.ndarray:
    """The title as a strip of pixels."""
    restore = [item for item in scene.collection.all_objects if not item.hide_render and item is not camera]
    for item in restore:
        item.hide_render = True
    try:
        text = stage.text(scene, camera, " ".join(title.split())[:120])
        aspect = width / _TITLE_PIXELS
        text.data.align_x, text.data.align_y = "CENTER", "CENTER"
        camera.data.ortho_scale = 2.0 * aspect
        text.location = (0.0, 0.0, -measures.unit)
        text.data.size = 1.0
        bpy.context.view_layer.update()
        scene.view_layers[0].update()
        long = max(text.dimensions.x, 1e-6)
        text.data.size = min(1.0, 1.9 * aspect / long)
        return _pixels(scene, (width, _TITLE_PIXELS))
    finally:
        for item in restore:
            item.hide_render = False


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = bpy.data.images.new("MoMug sheet", pixels.shape[1], pixels.shape[0])
    try:
        image.pixels.foreach_set(np.ascontiguousarray(pixels, dtype=np.float32).ravel())
        image.filepath_raw = str(path)
        image.file_format = "PNG"
        image.save()
    except RuntimeError as error:
        raise RigError(f"Could not write {path}.") from error
    finally:
        bpy.data.images.remove(image)

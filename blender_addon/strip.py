"""The blocks of the timeline as a strip below the keys of the timeline and the dope sheet."""

import bpy

from . import commit, properties, service
from .client import protocol
from .scene import capture, compat

HEIGHT = 20  # pixels, before the scale of the interface
ABOVE = 22  # over the lower edge, where the scroll bar is
GUESS = 4.0  # seconds of a block whose length the model decides
_FILL, _CHOSEN, _LINE = (0.20, 0.38, 0.55, 0.85), (0.29, 0.55, 0.78, 0.95), (0.08, 0.08, 0.08, 1.0)
_WORDS = (0.95, 0.95, 0.95, 1.0)
_handle = None


def blocks(context) -> "list[tuple[float, float, str, bool]]":
    """(first frame, end, text, whether it is the chosen one) of what the strip shows: the blocks of the list, from the
    start frame on; where the motion on the armature has the same blocks, as long as they came out."""
    settings = properties.get(context.scene)
    if not settings.show_strip or not settings.blocks:
        return []
    fps = capture.scene_fps(context.scene)
    lengths = [GUESS if block.auto else block.seconds for block in settings.blocks]
    start = float(settings.timeline_start)
    found = commit.current(properties.chosen_armature(context))
    recipe = commit.recipe(found) if found is not None else {}
    parts = recipe.get("timeline") or []
    asked = [(None if block.auto else round(block.seconds, 3)) for block in settings.blocks]
    made = [None if part["seconds"] is None else round(part["seconds"], 3) for part in parts]
    if asked == made:
        ends = [*(part["first"] for part in parts[1:]), recipe["seconds"] * protocol.FPS]
        lengths = [(end - part["first"]) / protocol.FPS for part, end in zip(parts, ends, strict=True)]
        start = float(found.take.first)
    shown, at = [], start
    for index, (block, seconds) in enumerate(zip(settings.blocks, lengths, strict=True)):
        shown.append((at, at + seconds * fps, block.prompt, index == settings.block_index))
        at += seconds * fps
    return shown


def _draw() -> None:
    """Called by Blender while it draws; nothing may pass, or it is called no more."""
    global _handle
    try:
        _draw_blocks(bpy.context)
    except Exception:
        service.log.exception("the strip of the timeline cannot be drawn")
        unregister()


def _draw_blocks(context) -> None:
    shown = blocks(context)
    if not shown or context.space_data is None or context.space_data.type != "DOPESHEET_EDITOR":
        return
    import blf  # not in background builds

    region, scale = context.region, context.preferences.system.ui_scale or 1.0
    low, high = ABOVE * scale, (ABOVE + HEIGHT) * scale
    to_region = region.view2d.view_to_region
    font = 0
    _set_size(blf, font, 11 * scale)
    for first, end, text, chosen in shown:
        left, right = (to_region(frame, 0, clip=False)[0] for frame in (first, end))
        if right < 0 or left > region.width:
            continue
        _rectangle(left, low, right, high, _LINE)
        _rectangle(left + 1, low + 1, right - 1, high - 1, _CHOSEN if chosen else _FILL)
        start = max(left, 0) + 5 * scale
        room = min(right, region.width) - start - 4 * scale
        words = _fitted(blf, font, text, room)
        if words:
            blf.color(font, *_WORDS)
            blf.position(font, start, low + 6 * scale, 0)
            blf.draw(font, words)


def _rectangle(left: float, low: float, right: float, high: float, colour: tuple) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    corners = [(left, low), (right, low), (right, high), (left, high)]
    shader = gpu.shader.from_builtin(compat.flat_shader())
    gpu.state.blend_set("ALPHA")
    shader.bind()
    shader.uniform_float("color", colour)
    batch_for_shader(shader, "TRIS", {"pos": corners}, indices=[(0, 1, 2), (0, 2, 3)]).draw(shader)
    gpu.state.blend_set("NONE")


def _set_size(blf, font: int, size: float) -> None:
    try:
        blf.size(font, size)
    except TypeError:  # before 3.6 it wants the dots per inch as well
        blf.size(font, int(size), 72)


def _fitted(blf, font: int, text: str, room: float) -> str:
    if blf.dimensions(font, text)[0] <= room:
        return text
    while text and blf.dimensions(font, f"{text}…")[0] > room:
        text = text[:-1]
    return f"{text}…" if text else ""


def redraw() -> None:
    """Let timelines and dope sheets draw again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "DOPESHEET_EDITOR":
                area.tag_redraw()


def register():
    global _handle
    if _handle is None and not bpy.app.background:
        _handle = bpy.types.SpaceDopeSheetEditor.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def unregister():
    global _handle
    if _handle is not None:
        bpy.types.SpaceDopeSheetEditor.draw_handler_remove(_handle, "WINDOW")
        _handle = None

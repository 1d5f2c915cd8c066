"""Runs inside Blender and answers questions of tests/gui/window.py over two pipes; presses nothing itself.

``blender --python reporter.py -- QUESTIONS ANSWERS``, the numbers of two open file descriptors. A question is one line
of JSON: {"ask": EXPRESSION}, or {"do": STATEMENTS} for what has to lie ready before the first click (a character, which
backend is started). A question waits for one round of Blender's own event handling, so that the answer comes after the
mouse and key events that were sent before it.
"""

import json
import math
import os
import queue
import sys
import threading
import traceback

import addon_utils
import bpy

_questions, _answers = (int(number) for number in sys.argv[sys.argv.index("--") + 1 :][:2])
_new, _waiting = queue.SimpleQueue(), []
_told: "list[str]" = []
_drawn: "dict[str, int]" = {}  # panel -> how often its body was drawn; "" -> how often the sidebar was


def addon(name: str = ""):
    """A module of the add-on."""
    return sys.modules["momug" + (f".{name}" if name else "")]


def area(kind: str = "VIEW_3D"):
    """The largest area of a kind in the first window; None without one."""
    areas = [area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == kind]
    return max(areas, key=lambda area: area.width * area.height, default=None)


def region(kind: str = "UI", editor: str = "VIEW_3D"):
    return next(region for region in area(editor).regions if region.type == kind)


def box(kind: str = "UI", editor: str = "VIEW_3D") -> "list[int]":
    """Left, top, width, height of a region, in pixels of the screen."""
    window, found = bpy.context.window_manager.windows[0], region(kind, editor)
    return [found.x, window.height - found.y - found.height, found.width, found.height]


def hover() -> str:
    """What the button under the mouse does: its operator as Python writes it, or the path of its property."""
    manager = bpy.context.window_manager
    with bpy.context.temp_override(window=manager.windows[0], area=area(), region=region()):
        if bpy.ops.ui.copy_python_command_button.poll():
            bpy.ops.ui.copy_python_command_button()
        elif bpy.ops.ui.copy_data_path_button.poll():
            bpy.ops.ui.copy_data_path_button(full_path=True)
        else:
            return ""
    return manager.clipboard


def drawn() -> "dict[str, int]":
    """How often the body of each panel of the add-on was drawn so far; with "" the sidebar itself, and the
    file browser's line with the path."""
    return dict(_drawn)


def sections() -> "list[str]":
    """The panels that have a header in the sidebar now, from the top; not what is inside them."""
    manager = bpy.context.window_manager
    with bpy.context.temp_override(window=manager.windows[0], area=area(), region=region()):
        shown = [cls for cls in _panels() if not hasattr(cls, "bl_parent_id")]
        shown = [cls for cls in shown if not hasattr(cls, "poll") or cls.poll(bpy.context)]
    return [cls.__name__ for cls in sorted(shown, key=lambda cls: cls.bl_order)]


def _panels() -> list:
    return [cls for cls in addon("panels").CLASSES if issubclass(cls, bpy.types.Panel)]


def armature():
    return addon("properties").chosen_armature(bpy.context)


def take() -> "list | None":
    """The state, first and last frame of the motion that is shown, and how many variations there are."""
    found = addon("commit").current(armature()) if armature() is not None else None
    if found is None:
        return None
    return [found.take.state, found.take.first, found.take.last, addon("commit").variations(found)[1]]


def status() -> str:
    """What the panel says."""
    told = addon("runtime").status()
    return f"{told.message} {told.hint}".strip()


def progress() -> "list | None":
    """Text and fraction of the progress bar; None when nothing runs."""
    task = addon("runtime").active()
    return None if task is None else [task.phase_text, task.fraction]


def live() -> "list | None":
    """State, frames that have played, what the panel says and the sentence that is followed of the motion that plays
    while it is made; None when there is none."""
    playing = addon("live").active()
    return None if playing is None else [playing.state, playing.head + 1, playing.words(), playing.prompt]


def backend() -> "int | None":
    """The process of the model."""
    session = addon("service").current()
    link = session._link if session is not None else None
    return link.process.pid if link is not None and link.process is not None else None


def facts() -> dict:
    """What a request that failed or was cancelled must not change."""
    scene = bpy.context.scene
    return {
        "actions": sorted(action.name for action in bpy.data.actions),
        "objects": sorted(thing.name for thing in bpy.data.objects),
        "active": {
            thing.name: thing.animation_data.action.name
            for thing in bpy.data.objects
            if thing.animation_data and thing.animation_data.action
        },
        "range": [scene.frame_start, scene.frame_end, scene.frame_current],
        "fps": [scene.render.fps, scene.render.fps_base],
    }


def hand(name: str = "left_wrist") -> "list[float]":
    """Where a bone of the armature is now, in the world."""
    figure = armature()
    bone = addon("results").map_health(figure).mapping.bone(name)
    return list(figure.matrix_world @ figure.pose.bones[bone].head)


JOINTS = [f"{side}_{joint}" for side in ("left", "right") for joint in ("ankle", "shoulder", "elbow", "wrist")]


def here():
    """The 3D view, for operators."""
    return bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area(), region=region("WINDOW"))


def shown(frame: int) -> "dict[str, list[float]]":
    """Where the joints are at a frame, in the world."""
    bpy.context.scene.frame_set(frame)
    return {name: hand(name) for name in ("pelvis", *JOINTS)}


def heights() -> "dict[str, float]":
    """The same heights now, and that of the lowest bone."""
    figure = armature()
    ends = [figure.matrix_world @ end for bone in figure.pose.bones for end in (bone.head, bone.tail)]
    return {name: hand(name)[2] for name in ("pelvis", *JOINTS)} | {"ground": min(end.z for end in ends)}


def twists(frame: int) -> "dict[str, float]":
    """How far, in degrees, the bones of the arms are turned about their own length against their rest."""
    bpy.context.scene.frame_set(frame)
    figure, mapping = armature(), addon("results").map_health(armature()).mapping
    bases = {name: figure.pose.bones[mapping.bone(name)].matrix_basis.to_quaternion() for name in JOINTS}
    turned = {name: math.degrees(2 * math.atan2(basis.y, basis.w)) for name, basis in bases.items()}
    return {name: (turn + 180) % 360 - 180 for name, turn in turned.items() if "ankle" not in name}


def solid() -> None:
    """Show the armature, with its mesh, from the side and the front, in full."""
    space = area().spaces.active
    space.shading.type, space.overlay.show_overlays = "SOLID", True
    armature().show_in_front = True
    with here():
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_orbit(type="ORBITRIGHT", angle=0.7)
        bpy.ops.view3d.view_selected()


def told_while_working() -> "list[str]":
    """What the progress bar said each time the sidebar was drawn, since this was asked last."""
    told = list(_told)
    _told.clear()
    return told


def _count(name: str):
    def drawing(_panel, _context):
        _drawn[name] = _drawn.get(name, 0) + 1
        task = addon("runtime").active()
        if task is not None and not name:
            _told.append(task.phase_text)

    return drawing


def _listen():
    with open(_questions, encoding="utf-8") as pipe:
        for line in pipe:
            _new.put(json.loads(line))
    os._exit(0)  # the test is over


def _tick() -> float:
    for question in _waiting:
        _answer(question)
    _waiting.clear()
    while not _new.empty():
        _waiting.append(_new.get())
    return 0.005


def _answer(question: dict) -> None:
    try:
        if "do" in question:
            exec(question["do"], globals())
            answer = {"value": None}
        else:
            answer = {"value": eval(question["ask"], globals())}
        text = json.dumps(answer)
    except Exception:
        text = json.dumps({"error": traceback.format_exc()})
    os.write(_answers, (text + "\n").encode("utf-8"))


def _start():
    addon_utils.enable("momug", default_set=True)
    for cls in _panels():
        cls.append(_count(cls.__name__))
    sidebar = _count("")
    bpy.types.SpaceView3D.draw_handler_add(lambda: sidebar(None, None), (), "UI", "POST_PIXEL")
    path = _count("path of the file browser")
    bpy.types.SpaceFileBrowser.draw_handler_add(lambda: path(None, None), (), "UI", "POST_PIXEL")
    bpy.context.preferences.view.show_splash = False
    # every processor cycle counts where no graphics card is
    bpy.context.preferences.system.viewport_aa = "OFF"
    for screen in bpy.data.screens:
        for space in (area.spaces.active for area in screen.areas if area.type == "VIEW_3D"):
            space.shading.type = "WIREFRAME"
            space.overlay.show_overlays = False
    bpy.app.timers.register(_tick, persistent=True)
    threading.Thread(target=_listen, daemon=True).start()


_start()

"""Blender with a window on a screen of its own, used as a person uses it: by mouse and keys.

The pointer and the keyboard are xdotool's. Blender has no list of its buttons' places, so a button is found the way a
person finds it: the pointer moves over the panel until the button under it is the wanted one (see reporter.hover).
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = ("Xvfb", "blender", "xdotool")
WIDTH, HEIGHT = 1100, 1300
TABS = 22  # pixels of the column of tabs
PATIENCE = 60.0  # seconds for anything: only a hang takes that long
FIRST_HEADER, HEADER = 15, 28  # pixels from the sidebar's top to the first header, from one closed section to the next
STEP = 14  # pixels between two looks of the pointer; a button is 20 high
AROUND = 20  # looks up and down from where a button was met, before any further away


class Lost(AssertionError):
    """What was waited for did not come, or what was looked for is not in the sidebar."""


def missing() -> str:
    """Why no window can be had here, in a sentence; empty when one can."""
    absent = [program for program in PROGRAMS if not shutil.which(program)]
    return f"not installed: {', '.join(absent)} (Debian: apt-get install blender xvfb xdotool)" if absent else ""


@contextlib.contextmanager
def screen(width: int, height: int) -> Iterator[str]:
    """A virtual screen; its name for DISPLAY."""
    reader, writer = os.pipe()
    command = [
        "Xvfb",
        "-displayfd",
        str(writer),
        "-screen",
        "0",
        f"{width}x{height}x24",
        "-nolisten",
        "tcp",
        "-terminate",
    ]
    server = subprocess.Popen(command, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with open(reader, encoding="ascii") as pipe:
            number = pipe.readline().strip()  # written once the screen is there; empty when the server died
        if not number:
            raise Lost("Xvfb did not start")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


class Window:
    """One Blender 3.4 or newer, with the add-on in the folder ``addon`` and factory settings otherwise."""

    def __init__(
        self,
        display: str,
        folder: Path,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        addon: Path = ROOT / "blender_addon",
        **variables: str,
    ):
        self.folder = folder
        self.size = size
        addons = folder / "scripts" / "addons"
        addons.mkdir(parents=True)
        (addons / "momug").symlink_to(addon)
        here = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "WAYLAND_DISPLAY")}
        beside = str(Path(shutil.which("blender")).parent)  # Debian's Blender takes the Python that PATH finds first
        self.env = {
            **here,
            "PATH": beside + os.pathsep + here.get("PATH", ""),
            "DISPLAY": display,
            "BLENDER_USER_SCRIPTS": str(folder / "scripts"),
            "BLENDER_USER_CONFIG": str(folder / "config"),
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        questions, self._questions = os.pipe()
        self._answers, answers = os.pipe()
        command = ["blender", "--factory-startup", "--window-geometry", "0", "0", str(size[0]), str(size[1])]
        command += ["--python-exit-code", "1", "--python", str(HERE / "reporter.py"), "--"]
        self.log = folder / "blender.log"
        with open(self.log, "wb") as log:
            self.blender = subprocess.Popen(
                [*command, str(questions), str(answers)],
                cwd=folder,
                env=self.env,
                pass_fds=[questions, answers],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        os.close(questions)
        os.close(answers)
        self._replies = open(self._answers, encoding="utf-8")
        self._places: dict[str, tuple[int, int]] = {}  # what the pointer met so far, and where
        self._pressed: tuple[int, int] | None = None  # where the last button was
        self.ask("None")  # it is there

    def close(self) -> None:
        os.close(self._questions)  # the reporter ends Blender
        try:
            self.blender.wait(10)
        except subprocess.TimeoutExpired:
            self.blender.kill()
            self.blender.wait()
        self._replies.close()

    def fresh(self) -> None:
        """An empty file with the window as it is; what ran is stopped."""
        self.xdotool("key", "Escape")
        self.do("addon('runtime').configure()")
        empty = self.folder / "empty.blend"  # new files by Blender's own means would lose the add-on's preferences
        if not empty.exists():
            self.do("[bpy.data.objects.remove(thing) for thing in list(bpy.data.objects)]")
            self.do(f"bpy.ops.wm.save_as_mainfile(filepath={str(empty)!r}, copy=True)")
        self.do(f"bpy.ops.wm.open_mainfile(filepath={str(empty)!r}, load_ui=False)")
        self.until("bpy.context.window_manager.windows[0].screen is not None")

    # --- questions

    def console(self) -> str:
        """What Blender printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ask(self, expression: str):
        """The value of a Python expression inside Blender, with the names of reporter.py."""
        return self._say({"ask": expression})

    def do(self, statements: str) -> None:
        """Make something ready that is not under test."""
        self._say({"do": statements})

    def _say(self, question: dict):
        os.write(self._questions, (json.dumps(question) + "\n").encode("utf-8"))
        line = self._replies.readline()
        if not line:
            raise Lost("Blender has ended\n" + self.console()[-3000:])
        answer = json.loads(line)
        if "error" in answer:
            raise Lost(f"{question}\n{answer['error']}")
        return answer["value"]

    def until(self, expression: str, wanted: Callable = bool, patience: float = PATIENCE):
        """Wait until the expression has a value that is ``wanted``; returns that."""
        end = time.monotonic() + patience
        while not wanted(value := self.ask(expression)):
            if time.monotonic() > end:
                raise Lost(f"waited {patience:.0f} s in vain for {expression}, it is {value!r}")
        return value

    # --- hands

    def xdotool(self, *words: object) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self.env, check=True, timeout=PATIENCE)

    def point(self, x: int, y: int) -> None:
        self.xdotool("mousemove", x, y)

    def click(self, x: int, y: int, button: int = 1) -> None:
        self.point(x - 1, y)
        self.ask("None")  # Blender has seen the pointer come
        self.point(x, y)
        self.ask("None")  # and has left the button beside it
        self.xdotool("click", button)
        self.ask("None")

    def key(self, *keys: str) -> None:
        """Press keys over the 3D view, away from its sidebar."""
        left, top, width, height = self.ask("box('WINDOW')")
        self.point(left + width // 3, top + height // 2)
        self.ask("None")
        self.xdotool("key", *keys)
        self.ask("None")

    # --- the sidebar

    def resize(self, width: int) -> None:
        """Drag the sidebar's left edge until it is ``width`` pixels wide, tabs included, or as near as it gets."""
        left, top, now, height = self.ask("box()")
        y = top + height // 2
        self.point(left + 20, y)
        self.ask("None")
        self.point(left, y)
        self.ask("None")
        self.xdotool("mousedown", 1)
        for x in (left + (now - width) // 2, left + now - width):
            self.ask("None")
            self.point(x, y)
        self.ask("None")
        self.xdotool("mouseup", 1)
        self.ask("None")
        self._places.clear()
        self.redrawn()

    def open_sidebar(self) -> None:
        """Key N, and the tab MoMug."""
        self.key("n")
        left, top, width, height = self.until("box()", lambda box: box[2] > 100)
        for y in range(top + height // 3, top, -14):  # the tabs of add-ons are the lowest
            self.click(left + width - 8, y)
            if self.redrawn():
                return
        raise Lost("the sidebar has no tab MoMug")

    def redrawn(self) -> set[str]:
        """Names of the add-on's panels that are open, after one more drawing of the sidebar."""
        before = self.ask("drawn()")
        self.do("region().tag_redraw()")
        after = self.until("drawn()", lambda now: now.get("", 0) > before.get("", 0))
        return {name for name in after if name.startswith("MOMUG") and after[name] != before.get(name)}

    def collapse(self) -> None:
        """Close every section: above a section all are closed already, so its header is at a known place."""
        shown = self.redrawn()
        for name in self.ask("sections()"):
            if name in shown:
                self._click_header(name)

    def expand(self, *names: str) -> None:
        """Open these sections and no others. A panel inside a section comes after it."""
        self.collapse()
        sections = self.ask("sections()")
        for name in sorted((name for name in names if name in sections), key=sections.index, reverse=True):
            self._click_header(name)
        shown = self.redrawn()
        for name in names:
            if name not in shown:
                self._search_header(name)

    def _click_header(self, name: str) -> None:
        left, top, width, _ = self.ask("box()")
        self.click(left + width // 3, top + FIRST_HEADER + HEADER * self.ask("sections()").index(name))

    def _search_header(self, name: str) -> None:
        """Click down the sidebar where no button is, until the panel opens; what closes is opened again."""
        left, top, width, height = self.ask("box()")
        before, x = self.redrawn(), left + width // 3
        for y in range(top + FIRST_HEADER + HEADER, top + height, HEADER // 3):
            self.point(x, y)
            if self.ask("hover()"):
                continue
            self.click(x, y)
            now = self.redrawn()
            if name in now:
                return
            if now != before:
                self.click(x, y)
        raise Lost(f"no header of {name} in the sidebar")

    def find(self, wanted: str) -> tuple[int, int]:
        """Where on the screen the button is whose operator or property contains ``wanted``. Looks first near where it
        was met the last time, or else near what was pressed last."""
        left, top, width, height = self.ask("box()")
        inside = width - TABS
        columns = [left + int(inside * place) for place in (0.4, 0.8, 0.15, 0.6, 0.88, 0.93)]
        rows = list(range(top + 4, top + height, STEP))
        met = [place for told, place in self._places.items() if wanted in told]
        if near := met[-1] if met else self._pressed:
            rows.sort(key=lambda row: abs(row - near[1]))
        if met:
            columns = [near[0], *columns]
            rows = [near[1], *rows]
        around = AROUND if near else len(rows)
        for x, y in [(x, y) for part in (rows[:around], rows[around:]) for x in columns for y in part]:
            self.point(x, y)
            told = self.ask("hover()")
            if told:
                self._places.pop(told, None)
                self._places[told] = x, y
            if wanted in told:
                return x, y
        raise Lost(f"no button '{wanted}' in the sidebar")

    def press(self, wanted: str) -> None:
        """Click the button whose operator or property contains ``wanted``."""
        self._pressed = self.find(wanted)
        self.click(*self._pressed)

    def type_into(self, wanted: str, text: str) -> None:
        """Replace the text of a field."""
        self.press(wanted)
        self.write(text)

    def write(self, text: str) -> None:
        """Replace the text of the field that has the cursor."""
        self.xdotool("key", "ctrl+a", "BackSpace")
        self.xdotool("type", "--delay", "2", text)
        self.xdotool("key", "Return")
        self.ask("None")

    def picture(self, file: Path, sidebar: bool = True) -> None:
        """The sidebar without its tabs, or the whole window, as a PNG."""
        left, top, width, height = self.ask("box()") if sidebar else (0, 0, *self.size)
        crop = f"{width - TABS if sidebar else width}x{height}+{left}+{top}"
        subprocess.run(["import", "-window", "root", "-crop", crop, "+repage", str(file)], env=self.env, check=True)


@contextlib.contextmanager
def opened(
    size: tuple[int, int] = (WIDTH, HEIGHT), addon: Path = ROOT / "blender_addon", **variables: str
) -> Iterator[Window]:
    """A window on a screen of its own and with a folder of its own, closed afterwards."""
    temporary = tempfile.TemporaryDirectory(prefix="momug-window-", ignore_cleanup_errors=True)
    with temporary as folder, screen(*size) as display:
        window = Window(display, Path(folder), size, addon, **variables)
        try:
            yield window
        finally:
            window.close()

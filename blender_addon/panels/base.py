"""What the sections share: where they are drawn, and text that fits a narrow sidebar."""

from functools import lru_cache

import blf

from ..translations import tr, wrapped

# pixels at an interface scale of 1
TABS_AND_MARGINS = 22 + 32  # left and right of a line of text in a section
ICON, BOX = 34, 16
LEAST = 80
NARROW = 20  # letters across the sidebar


class Sidebar:
    """Mix-in: a panel in the "MoMug" tab of the 3D view."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "MoMug"


def columns(context) -> int:
    """How many characters of a label fit into the region."""
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    width = context.region.width if context.region else 280
    return max(16, int((width / scale - 60) / 6.6))  # the tabs and margins; a wide letter of the default font


def narrow(context) -> bool:
    """Is there no room for two words side by side?"""
    return columns(context) <= NARROW


def beside(layout, context):
    """Buttons side by side, or one above the other where there is no room for that."""
    return layout.column(align=True) if narrow(context) else layout.row(align=True)


def wide_icon(context, name: str) -> str:
    """The icon of a button with many words: in a narrow sidebar the words need its place."""
    return "NONE" if narrow(context) else name


def fitted(context, text: str, taken: int = 0) -> "list[str]":
    """``text`` in lines that fit the region's width, less ``taken`` pixels at an interface scale of 1."""
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    width = context.region.width if context.region else 280
    room = max(LEAST * scale, width - (TABS_AND_MARGINS + taken) * scale)
    return _lines(text, room, context.preferences.ui_styles[0].widget.points * scale)


@lru_cache(maxsize=512)
def _lines(text: str, room: float, size: float) -> "list[str]":
    blf.size(0, size)
    return wrapped(text, room, lambda line: blf.dimensions(0, line)[0])


def paragraph(layout, context, text: str, icon: str = "NONE", alert: bool = False, boxed: bool = False) -> None:
    """Draw ``text`` in as many lines as the sidebar's width needs; the icon stands before the first line."""
    lines = fitted(context, tr(text), (ICON if icon != "NONE" else 0) + (BOX if boxed else 0))
    column = layout.column(align=True)
    column.alert = alert
    column.scale_y = 0.85
    for index, line in enumerate(lines):
        if icon == "NONE":
            column.label(text=line, translate=False)
        else:
            column.label(text=line, icon=icon if index == 0 else "BLANK1", translate=False)

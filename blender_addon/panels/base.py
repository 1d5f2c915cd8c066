"""What the sections share: where they are drawn, and text that fits a narrow sidebar."""

from ..translations import tr, wrapped


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


def paragraph(layout, context, text: str, icon: str = "NONE", alert: bool = False, boxed: bool = False) -> None:
    """Draw ``text`` in as many lines as the sidebar's width needs; the icon stands before the first line."""
    lines = wrapped(tr(text), columns(context) - (4 if icon != "NONE" else 0) - (2 if boxed else 0))
    column = layout.column(align=True)
    column.alert = alert
    column.scale_y = 0.85
    for index, line in enumerate(lines):
        if icon == "NONE":
            column.label(text=line, translate=False)
        else:
            column.label(text=line, icon=icon if index == 0 else "BLANK1", translate=False)

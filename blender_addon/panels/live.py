"""The motion that plays while it is made: how far the model is ahead, another prompt, Stop."""

from .base import paragraph

_ICONS = {"playing": "PLAY", "waiting": "TIME"}


def draw(layout, context, live) -> None:
    """In place of the progress of other requests. live: a ``live.Live``."""
    column = layout.column(align=True)  # above the lines that come and go: the pointer is on its way to a button
    row = column.row(align=True)
    row.scale_y = 1.4
    row.operator("momug.steer", icon="FORWARD")
    row = column.row(align=True)
    row.operator("momug.stop", icon="SNAP_FACE")
    row.operator("momug.cancel", icon="CANCEL")
    column = layout.column(align=True)
    paragraph(column, context, live.words(), _ICONS.get(live.state, "SORTTIME"))
    if live.laid:
        paragraph(column, context, f"{live.buffered:.1f} s ahead, {live.rate:.0f} frames a second", "BLANK1")
    if live.prompt != live.asked:
        paragraph(column, context, f"Still: {live.prompt}", "BLANK1")

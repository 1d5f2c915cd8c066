"""Pictures of motions and curves as inline SVG, with nothing but text."""

from html import escape

import numpy as np

from backend.motion import rotations as rot
from backend.motion.skeleton import Motion
from backend.protocol import JOINTS, PARENTS

POSES = 9
LEFT, RIGHT, MIDDLE = "#c2410c", "#1d4ed8", "#334155"
PALETTE = ("#0f766e", "#64748b", "#c2410c", "#7c3aed", "#a3a3a3", "#ca8a04")
WIDTH, HEIGHT = 560, 132  # of one strip, pixels


def strip(motion: Motion, title: str = "") -> str:
    """Nine poses at equal times from left to right, seen from the front right, and the way of the pelvis from above.

    The figure's left limbs are orange, its right limbs blue; the way starts at the dot, and a step of the grid under it
    is one metre.
    """
    joints = motion.joints()
    picks = np.linspace(0, motion.frames - 1, POSES).round().astype(int)
    # turned by the first heading, so that every strip starts from the same side
    yaw = rot.heading(motion.rotations[0, 0])
    x = joints[..., 0] * np.cos(yaw) - joints[..., 2] * np.sin(yaw)
    z = joints[..., 0] * np.sin(yaw) + joints[..., 2] * np.cos(yaw)
    across = x * np.cos(0.9) + z * np.sin(0.9)  # the camera stands to the front right
    scale, floor = 58.0, HEIGHT - 12
    step = (WIDTH - HEIGHT) / POSES
    parts = [f'<line x1="0" y1="{floor}" x2="{WIDTH - HEIGHT}" y2="{floor}" stroke="#cbd5e1"/>']
    for n, frame in enumerate(picks):
        centre = step * (n + 0.5)
        column = centre + scale * (across[frame] - across[frame, 0])
        row = floor - scale * joints[frame, :, 1]
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                name = JOINTS[joint]
                colour = LEFT if name.startswith("left") else RIGHT if name.startswith("right") else MIDDLE
                parts.append(
                    f'<path d="M{column[parent]:.1f} {row[parent]:.1f}L{column[joint]:.1f} {row[joint]:.1f}" '
                    f'stroke="{colour}"/>'
                )
        head = JOINTS.index("head")
        parts.append(f'<circle cx="{column[head]:.1f}" cy="{row[head] - 6:.1f}" r="5" stroke="{MIDDLE}" fill="none"/>')
    parts.append(_path_from_above(x[:, 0], z[:, 0], WIDTH - HEIGHT + 6, 6, HEIGHT - 18))
    label = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="strip">{label}'
        f'<g stroke-width="2.4" stroke-linecap="round">{"".join(parts)}</g></svg>'
    )


def _path_from_above(x: np.ndarray, z: np.ndarray, left: float, top: float, size: float) -> str:
    """The pelvis' way, forward up and the figure's left to the left, in a square with a grid of metres."""
    side, ahead = -(x - x[0]), z - z[0]
    reach = max(1.0, float(np.abs(side).max()), float(np.abs(ahead).max())) * 1.1
    scale, middle = size / 2 / reach, (left + size / 2, top + size / 2)
    lines = []
    if reach < 6:
        for k in range(-int(reach), int(reach) + 1):
            u, v = middle[0] + k * scale, middle[1] + k * scale
            lines.append(f'<path d="M{u:.1f} {top}v{size}M{left} {v:.1f}h{size}" stroke="#e2e8f0" stroke-width="1"/>')
    points = " ".join(
        f"{middle[0] + a * scale:.1f},{middle[1] - b * scale:.1f}" for a, b in zip(side[::3], ahead[::3], strict=True)
    )
    lines.append(f'<polyline points="{points}" fill="none" stroke="{MIDDLE}" stroke-width="2"/>')
    lines.append(f'<circle cx="{middle[0]:.1f}" cy="{middle[1]:.1f}" r="3.2" fill="{MIDDLE}"/>')
    return "".join(lines)


def curves(series: dict[str, list[tuple[float, float]]], across: str, up: str, most: float = 1.0) -> str:
    """Lines (x, y) with y in 0..``most`` over a shared axis, with a legend; ``across`` and ``up`` name the axes."""
    width, height, left, bottom = 460, 250, 60, 36
    every = [x for points in series.values() for x, _ in points]
    low, high = min(every), max(every)
    at = lambda x: left + (x - low) / max(high - low, 1e-9) * (width - left - 130)  # noqa: E731
    row = lambda y: height - bottom - y / most * (height - bottom - 10)  # noqa: E731
    parts = []
    for k in range(5):
        y = most * k / 4
        text = f"{100 * y:.0f} %" if most == 1.0 else f"{y:.2g}"
        parts.append(f'<path d="M{left} {row(y):.1f}H{width - 130}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{left - 5}" y="{row(y) + 4:.1f}" text-anchor="end">{text}</text>')
    for x in (low, (low + high) / 2, high):
        parts.append(f'<text x="{at(x):.1f}" y="{height - bottom + 15}" text-anchor="middle">{x:g}</text>')
    for n, (name, points) in enumerate(series.items()):
        colour = PALETTE[n % len(PALETTE)]
        path = " ".join(f"{at(x):.1f},{row(min(y, most)):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<path d="M{width - 120} {20 + 18 * n}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{width - 97}" y="{24 + 18 * n}">{escape(name)}</text>')
    middle = (left + width - 130) / 2
    parts.append(f'<text x="{middle}" y="{height - 4}" text-anchor="middle">{escape(across)}</text>')
    parts.append(f'<text transform="translate(11 {height / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>')
    return f'<svg viewBox="0 0 {width} {height}" class="curves">{"".join(parts)}</svg>'


def bars(rows: dict[str, dict[str, float]]) -> str:
    """Horizontal bars 0..1: {label: {series: value}}; every series has one colour."""
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    thick = 9
    each = thick * len(names) + 8
    parts, y = [], 26
    for n, name in enumerate(names):
        parts.append(f'<rect x="{110 + 120 * n}" y="4" width="12" height="12" fill="{PALETTE[n]}"/>')
        parts.append(f'<text x="{127 + 120 * n}" y="14">{escape(name)}</text>')
    for label, values in rows.items():
        parts.append(f'<text x="100" y="{y + each / 2:.1f}" text-anchor="end">{escape(label)}</text>')
        for n, name in enumerate(names):
            if name in values:
                top, length = y + thick * n, 330 * values[name]
                parts.append(
                    f'<rect x="108" y="{top}" width="{length:.1f}" height="{thick - 1}" fill="{PALETTE[n]}"/>'
                    f'<text x="{112 + length:.1f}" y="{top + thick - 1.5}" class="small">'
                    f"{100 * values[name]:.0f}</text>"
                )
        y += each
    return f'<svg viewBox="0 0 480 {y + 4}" class="bars">{"".join(parts)}</svg>'

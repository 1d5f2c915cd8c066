"""Lines, circles and letters on an SVG or a PNG, with nothing but numpy; the two canvases have the same methods."""

import struct
import zlib
from html import escape
from pathlib import Path

import numpy as np

Colour = tuple[int, int, int]
# letters of 5 x 7 dots from space to tilde as on character displays: five columns each, lowest bit on top
_DOTS = bytes.fromhex(
    "000000000000005f00000007000700147f147f14242a7f2a12231308646236495620500008070300001c2241000041221c00"
    "2a1c7f1c2a08083e080800807030000808080808000060600020100804023e5149453e00427f400072494949462141494d33"
    "1814127f1027454545393c4a49493141211109073649494936464949291e0000140000004034000000081422411414141414"
    "00412214080201590906"
    "3e415d594e7c1211127c7f494949363e414141227f4141413e7f494949417f090909013e414151737f0808087f00417f4100"
    "2040413f017f081422417f404040407f021c027f7f0408107f3e4141413e7f090909063e4151215e7f091929462649494932"
    "03017f01033f4040403f1f2040201f3f4038403f6314081463030478040361594 94d43007f414141020408102000414141 7f"
    "04020102044040404040000307080020545478407f284444383844444428384444287f385454541800087e090218a4a49c78"
    "7f0804047800447d40002040403d007f1028440000417f40007c047804787c080404783844444438fc1824241818242418fc"
    "7c0804040848545454240404 3f44243c4020407c1c2040201c3c4030403c44281028444c9090907c4464544c440008364100"
    "000077000000413608000201020402".replace(" ", "")
)
_GLYPHS = (np.frombuffer(_DOTS, np.uint8).reshape(95, 5)[:, None, :] >> np.arange(8)[:, None] & 1).astype(bool)


class Svg:
    """A picture as SVG text."""

    def __init__(self, width: int, height: int):
        self.size = width, height
        self.parts: list[str] = []

    def line(self, a, b, colour: Colour, width: float = 1.0) -> None:
        """From a to b, (x, y) in pixels from the upper left."""
        self.parts.append(
            f'<path d="M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" stroke="{_hex(colour)}" stroke-width="{width:g}"/>'
        )

    def disc(self, centre, radius: float, colour: Colour) -> None:
        self.parts.append(
            f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius:.1f}" fill="{_hex(colour)}" stroke="none"/>'
        )

    def text(self, at, words: str, colour: Colour) -> None:
        """Words whose upper left corner is ``at``."""
        x, y = at[0], at[1] + 8
        style = f'fill="{_hex(colour)}" stroke="none" font-size="10" font-family="monospace"'
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>')

    def __str__(self) -> str:
        width, height = self.size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" stroke-linecap="round">'
        return head + "".join(self.parts) + "</svg>"


class Png:
    """A picture of pixels (height,width,3) uint8, white at first."""

    def __init__(self, width: int, height: int):
        self.pixels = np.full((height, width, 3), 255, dtype=np.uint8)

    def line(self, a, b, colour: Colour, width: float = 1.0) -> None:
        a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
        box, x, y = self._box(np.minimum(a, b) - width, np.maximum(a, b) + width)
        along = b - a
        share = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(along @ along, 1e-9), 0, 1)
        distance = np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1])
        self._blend(box, np.clip(width / 2 + 0.5 - distance, 0, 1), colour)

    def disc(self, centre, radius: float, colour: Colour) -> None:
        self.line(centre, centre, colour, 2 * radius)

    def text(self, at, words: str, colour: Colour) -> None:
        x, y = int(at[0]), int(at[1])
        for letter in words:
            code = ord(letter) - 32
            dots = _GLYPHS[code if 0 <= code < 95 else ord("?") - 32]
            part = self.pixels[y : y + 8, x : x + 5]
            part[dots[: part.shape[0], : part.shape[1]]] = colour
            x += 6

    def _box(self, low: np.ndarray, high: np.ndarray):
        height, width = self.pixels.shape[:2]
        x0, y0 = np.clip(np.floor(low).astype(int), 0, (width, height))
        x1, y1 = np.clip(np.ceil(high).astype(int) + 1, 0, (width, height))
        x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        return (slice(y0, y1), slice(x0, x1)), x, y

    def _blend(self, box, alpha: np.ndarray, colour: Colour) -> None:
        part = self.pixels[box]
        self.pixels[box] = np.round(part + alpha[..., None] * (np.asarray(colour) - part.astype(float))).astype(
            np.uint8
        )

    def save(self, path: Path) -> None:
        height, width = self.pixels.shape[:2]
        rows = np.concatenate([np.zeros((height, 1), np.uint8), self.pixels.reshape(height, -1)], 1).tobytes()
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows, 6)),
            (b"IEND", b""),
        ]
        with open(path, "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n")
            for name, data in chunks:
                file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def _hex(colour: Colour) -> str:
    return "#" + bytes(colour).hex()

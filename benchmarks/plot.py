"""Line plots as PNG files, with nothing but NumPy and zlib: enough for a figure in the docs."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FINER = 3
"""Everything is drawn so many times as large, and averaged: smooth edges."""

Colour = tuple[int, int, int]
INK, GREY, PALE = (30, 30, 30), (110, 110, 110), (225, 225, 225)
COLOURS: Sequence[Colour] = ((200, 60, 40), (30, 100, 190), (40, 150, 90), (150, 80, 170))

WIDTH, HEIGHT = 560, 400
LEFT, TOP, RIGHT, BOTTOM = 64, 44, 32, 46

# Seven rows of five dots, two hexadecimal digits each, from the top.
_FONT = dict(
    line.split()
    for line in """
    0 0e11131519110e  1 040c040404040e  2 0e11010204081f  3 1f02040201110e  4 02060a121f0202  5 1f101e0101110e
    6 0608101e11110e  7 1f010204080808  8 0e11110e11110e  9 0e11110f01020c  . 00000000000c0c  , 000000000c0408
    - 0000001f000000  ( 02040808080402  ) 08040202020408  / 00010204081000  : 000c0c000c0c00  a 00000e010f110f
    b 1010161911111e  c 00000e1010110e  d 01010d1311110f  e 00000e111f100e  f 0609081c080808  g 00000f110f010e
    h 10101619111111  i 04000c0404040e  j 0200060202120c  k 10101214181412  l 0c04040404040e  m 00001a15151111
    n 00001619111111  o 00000e1111110e  p 00001e111e1010  q 00000d130f0101  r 00001619101010  s 00000e100e011e
    t 08081c08080906  u 0000111111130d  v 00001111110a04  w 0000111115150a  x 0000110a040a11  y 000011110f010e
    z 00001f0204081f  µ 00001212121d10  = 00001f001f0000  + 0004041f040400  _ 0000000000001f
    """.strip()
    .replace("  ", "\n")
    .split("\n")
    if line.strip()
)


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over logarithmic axes. ``lines``: by name, points of x and y, both above 0."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def write_png(path: Path, charts: Sequence[Chart]) -> None:
    """Draw charts beside each other."""
    image = np.hstack([_drawn(chart) for chart in charts])
    high, wide, _ = image.shape
    raw = np.hstack([np.zeros((high, 1), np.uint8), image.reshape(high, wide * 3)]).tobytes()
    header = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


class _Canvas:
    def __init__(self) -> None:
        self._dots: NDArray[np.uint8] = np.full((HEIGHT * FINER, WIDTH * FINER, 3), 255, np.uint8)

    def image(self) -> NDArray[np.uint8]:
        """What was drawn, in its final size."""
        parts = self._dots.reshape(HEIGHT, FINER, WIDTH, FINER, 3)
        image: NDArray[np.uint8] = parts.mean(axis=(1, 3)).round().astype(np.uint8)
        return image

    def box(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        x0, y0, x1, y1 = (round(v * FINER) for v in (x, y, x + wide, y + high))
        self._dots[max(0, y0) : y1, max(0, x0) : x1] = colour

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: Colour) -> None:
        steps = max(2, int(FINER * 2 * math.dist(a, b)))
        for x, y in zip(np.linspace(a[0], b[0], steps), np.linspace(a[1], b[1], steps), strict=True):
            self.box(x - 1, y - 1, 2, 2, colour)

    def text(self, x: float, y: float, words: str, colour: Colour = INK, size: float = 1.34) -> None:
        """Words whose upper left corner is at a place; characters are 6 dots wide and 7 high."""
        for at, letter in enumerate(words.lower()):
            rows = bytes.fromhex(_FONT.get(letter, "00" * 7))
            for row, bits in enumerate(rows):
                for column in range(5):
                    if bits >> (4 - column) & 1:
                        self.box(x + (6 * at + column) * size, y + row * size, size, size, colour)


def _drawn(chart: Chart) -> NDArray[np.uint8]:
    canvas = _Canvas()
    points = [point for line in chart.lines.values() for point in line]
    xs, ys = _decades([x for x, _ in points]), _decades([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - xs[0]) / (xs[-1] - xs[0])
        up = (math.log10(y) - ys[0]) / (ys[-1] - ys[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    canvas.text(LEFT, 10, chart.title, size=1.67)
    canvas.text(LEFT - 8 - 8 * len(chart.up), 22, chart.up, GREY)
    canvas.text(WIDTH - RIGHT - 8 * len(chart.across), HEIGHT - 14, chart.across, GREY)
    for decade in xs:
        x, _ = place(10.0**decade, 10.0 ** ys[0])
        canvas.box(x, TOP, 1, HEIGHT - TOP - BOTTOM, PALE)
        canvas.text(x - 4 * len(_named(decade)), HEIGHT - BOTTOM + 8, _named(decade), GREY)
    for decade in ys:
        _, y = place(10.0 ** xs[0], 10.0**decade)
        canvas.box(LEFT, y, WIDTH - LEFT - RIGHT, 1, PALE)
        canvas.text(LEFT - 8 - 8 * len(_named(decade)), y - 5, _named(decade), GREY)
    for at, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[at % len(COLOURS)]
        places = [place(*point) for point in line]
        for a, b in pairwise(places):
            canvas.line(a, b, colour)
        for x, y in places:
            canvas.box(x - 3, y - 3, 6, 6, colour)
        canvas.text(LEFT + 12, TOP + 8 + 16 * at, name, colour)
    return canvas.image()


def _decades(values: Sequence[float]) -> range:
    """The powers of ten around some values."""
    return range(math.floor(math.log10(min(values))), max(1, math.ceil(math.log10(max(values)))) + 1)


def _named(decade: int) -> str:
    return f"{10**decade:,}" if decade >= 0 else f"{10.0**decade:g}"

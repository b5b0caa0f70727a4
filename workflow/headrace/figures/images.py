"""Small images as PNG, without an image library: grey, in colours, and heat maps on any background."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

GREY, RGB, INDEXED = 0, 2, 3
"""Colour types."""
CHANNELS = 3
MAX_LEVEL = 127
"""Of a heat map, to each side of 0."""


LABEL_PX, SPACE_PX, SCALE = 150, 8, 2
"""Of a drawing: the width of its labels, the space between strips, and the side of a strip's pixel."""

CONTROLS = dict.fromkeys({*range(32), 0x7F, 0xFFFE, 0xFFFF} - {9, 10, 13})
"""Characters that XML has no place for."""


@dataclass(frozen=True)
class Strip:
    """Images side by side."""

    label: str
    note: str
    """Below the label, smaller; "" where there is none."""
    pixels: NDArray[np.uint8]
    """(height, width), grey."""


def draw_strips(strips: Sequence[Strip], description: str) -> str:
    """Return strips below each other, each beside its label, as SVG with PNG inside."""
    lines, top = [], 0
    for strip in strips:
        height, width = (SCALE * side for side in strip.pixels.shape)
        middle = top + height / 2
        place = f'x="{LABEL_PX}" y="{top}" width="{width}" height="{height}"'
        lines.append(f'<image {place} style="image-rendering:pixelated" xlink:href="{image_uri(strip.pixels)}"/>')
        lines.append(f'<text y="{middle if strip.note else middle + 4:g}" font-size="13">{_as_xml(strip.label)}</text>')
        if strip.note:
            lines.append(f'<text y="{middle + 15:g}" font-size="11" fill="#5b6570">{_as_xml(strip.note)}</text>')
        top += height + SPACE_PX
    width = LABEL_PX + SCALE * max(strip.pixels.shape[1] for strip in strips)
    box = f'width="{width}" height="{top - SPACE_PX}" viewBox="0 0 {width} {top - SPACE_PX}"'
    about = (
        f'role="img" aria-label={quoteattr(description.translate(CONTROLS))} font-family="sans-serif" fill="#1d2329"'
    )
    body = "\n".join(lines)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg {names} {box} {about}>\n{body}\n</svg>\n"


def _as_xml(text: str) -> str:
    return escape(text.translate(CONTROLS))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Write an image as PNG: grey (height, width), or red, green and blue (height, width, 3).

    Source: "Portable Network Graphics (PNG) Specification", W3C, sections 5.3 (chunks) and 11.2.1 (IHDR).
    """
    return _encode(pixels, RGB if pixels.ndim == CHANNELS else GREY, [])


def encode_levels(levels: NDArray[np.int8], colours: Sequence[str]) -> bytes:
    """Write a heat map (height, width) of levels from -127 to 127 as PNG, transparent at 0.

    `colours` (#rrggbb) are those of the lowest and of the highest level; what lies between them and 0 lets the page
    through, so that strong is strong and weak is weak on white and on black. Sections 11.2.2 (PLTE), 11.3.2 (tRNS).
    """
    values = np.arange(-MAX_LEVEL, MAX_LEVEL + 1)
    red_green_blue = np.array([list(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)
    palette = red_green_blue[(values > 0).astype(int)]
    opacity = np.rint(np.abs(values) / MAX_LEVEL * 255).astype(np.uint8)
    places = (levels.astype(np.int16) + MAX_LEVEL).clip(0, 2 * MAX_LEVEL).astype(np.uint8)
    return _encode(places, INDEXED, [(b"PLTE", palette.tobytes()), (b"tRNS", opacity.tobytes())])


def _encode(pixels: NDArray[np.uint8], colour_type: int, palette: Sequence[tuple[bytes, bytes]]) -> bytes:
    height, width = pixels.shape[:2]
    numbers = pixels.reshape(height, -1)
    rows = np.zeros((height, numbers.shape[1] + 1), dtype=np.uint8)  # every row starts with its filter type: 0, none
    rows[:, 1:] = numbers
    # Behind the size: bit depth, colour type, compression, filter and interlace.
    header = struct.pack(">II", width, height) + bytes([8, colour_type, 0, 0, 0])
    chunks = [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_pack_chunk(kind, body) for kind, body in chunks)


def _pack_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def join_images(images: NDArray[Any], gap: int = 2) -> NDArray[np.uint8]:
    """Put images side by side: (samples, height, width) in [0, 1] to (height, samples * (width + gap) - gap) bytes."""
    num_samples, height, width = images.shape
    # NaN has no grey of its own; black is what a broken decoder's output looks like anyway.
    grey = np.nan_to_num(images.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    strip = np.full((height, num_samples, width + gap), 128, dtype=np.uint8)
    strip[:, :, :width] = np.rint(grey * 255).astype(np.uint8).transpose(1, 0, 2)
    return strip.reshape(height, -1)[:, : num_samples * (width + gap) - gap]


def join_pixels(images: NDArray[Any]) -> NDArray[Any]:
    """Put images side by side as they are: (samples, height, width, ...) to (height, samples * width, ...)."""
    return np.concatenate(list(images), axis=1)


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a grey or coloured image as a data URI."""
    return _as_uri(encode_png(pixels))


def levels_uri(levels: NDArray[np.int8], colours: Sequence[str]) -> str:
    """Return a heat map as a data URI; see `encode_levels`."""
    return _as_uri(encode_levels(levels, colours))


def _as_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")

"""Grey images as PNG, without an image library."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY_8_BIT = bytes([8, 0, 0, 0, 0])
"""Bit depth, colour type, compression, filter and interlace of the header chunk."""


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Write one grey image, (height, width), as PNG.

    Source: "Portable Network Graphics (PNG) Specification", W3C, sections 5.3 (chunks) and 11.2.1 (IHDR).
    """
    height, width = pixels.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # every row starts with its filter type: 0, none
    rows[:, 1:] = pixels
    header = struct.pack(">II", width, height) + GREY_8_BIT
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
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


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a grey image as a data URI."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")

"""Plain arrays: what they are called by content, and small ones in a file of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a few arrays to one safetensors file: no pickle, and any tool of the field reads it."""
    from safetensors.numpy import save_file

    save_file({name: np.asarray(values, order="C") for name, values in arrays.items()}, path)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file."""
    from safetensors.numpy import load_file

    return load_file(path)


def digest_array(values: np.ndarray) -> str:
    """SHA-256 of dtype, shape and bytes in C order: what is decoded, however it was compressed."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    digest = hashlib.sha256(f"{little.dtype.str}{list(values.shape)}\n".encode())
    # memoryview.cast knows neither empty arrays nor every dtype; as bytes all are alike.
    digest.update(little.reshape(-1).view(np.uint8).data if little.size else b"")
    return digest.hexdigest()

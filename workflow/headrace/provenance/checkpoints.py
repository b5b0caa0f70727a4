"""Checkpoints that are either whole or refused: written atomically, with their SHA-256, the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.logs import logger
from headrace.provenance.manifests import write_atomically

NEWEST, BEFORE = "checkpoint.pt", "checkpoint.before.pt"
_DIGEST_BYTES = 32


def save(folder: Path, state: dict[str, Any]) -> None:
    """Keep the state of a training."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    keep(folder, buffer.getvalue())


def load(folder: Path) -> dict[str, Any] | None:
    """The newest state of a training that is whole, or None. Bytes are checked before anything is decoded."""
    import torch

    for path, payload in kept(folder):
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            logger.warning("%s: holds more than numbers and was not used", path)
            continue
        return state
    return None


def save_arrays(folder: Path, arrays: dict[str, Any]) -> None:
    """Keep the state of a fit: arrays by name."""
    import numpy as np
    from safetensors.numpy import save as encode

    # Safetensors writes memory as it lies, and reads it in C order.
    keep(folder, encode({name: np.asarray(values, order="C") for name, values in arrays.items()}))


def load_arrays(folder: Path) -> dict[str, Any] | None:
    """The newest state of a fit that is whole, or None."""
    from safetensors.numpy import load as decode

    for _, payload in kept(folder):
        return decode(payload)
    return None


def keep(folder: Path, payload: bytes) -> None:
    """Write a checkpoint beside the one before it, unless that one is damaged: then the older whole one stays."""
    folder.mkdir(parents=True, exist_ok=True)
    newest = folder / NEWEST
    if _read_whole(newest) is not None:
        os.replace(newest, folder / BEFORE)
    write_atomically(newest, hashlib.sha256(payload).digest() + payload)


def kept(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """What the checkpoints that are whole hold, the newest first."""
    for path in (folder / NEWEST, folder / BEFORE):
        payload = _read_whole(path)
        if payload is not None:
            yield path, payload
        elif path.exists():
            logger.warning("%s: is damaged and was not used", path)


def _read_whole(path: Path) -> bytes | None:
    """What a file holds after its digest; None when it is missing, cut short or changed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    payload = content[_DIGEST_BYTES:]
    return payload if hashlib.sha256(payload).digest() == content[:_DIGEST_BYTES] else None


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(folder, ignore_errors=True)

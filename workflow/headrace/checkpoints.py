"""Checkpoints that are either whole or refused: written atomically, with their SHA-256, the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from headrace.logs import logger
from headrace.provenance import write_atomically

NEWEST, BEFORE = "checkpoint.pt", "checkpoint.before.pt"
_DIGEST_BYTES = 32


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside the one before it, unless that one is damaged: then the older whole one stays."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    newest = folder / NEWEST
    if _read_whole(newest) is not None:
        os.replace(newest, folder / BEFORE)
    write_atomically(newest, hashlib.sha256(payload).digest() + payload)


def load(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None. Bytes are checked before anything is decoded."""
    for path in (folder / NEWEST, folder / BEFORE):
        payload = _read_whole(path)
        if payload is None:
            if path.exists():
                logger.warning("%s: is damaged and was not used", path)
            continue
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            logger.warning("%s: holds more than numbers and was not used", path)
            continue
        return state
    return None


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

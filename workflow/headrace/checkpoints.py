"""Checkpoints that are either whole or refused: written atomically, with their SHA-256, the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from headrace.logs import logger
from headrace.provenance import write_atomically

NEWEST, BEFORE = "checkpoint.pt", "checkpoint.before.pt"
_DIGEST_BYTES = 32


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside the one before it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    newest = folder / NEWEST
    if newest.exists():
        os.replace(newest, folder / BEFORE)
    write_atomically(newest, hashlib.sha256(payload).digest() + payload)


def load(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None. Bytes are checked before anything is decoded."""
    for name in (NEWEST, BEFORE):
        path = folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        payload = content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != content[:_DIGEST_BYTES]:
            logger.warning("%s: is damaged and was not used", path)
            continue
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        return state
    return None


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(folder, ignore_errors=True)

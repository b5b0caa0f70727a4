"""Checkpoints are whole or refused: no flipped bit, no half file and no code comes out of one."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headrace.provenance import checkpoints
from headrace.provenance.checkpoints import BEFORE, NEWEST


def state(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "module": {"weight": torch.full((3, 2), float(epoch))}, "curves": [{"loss": 0.5}]}


def epoch_of(folder: Path) -> int | None:
    loaded = checkpoints.load(folder)
    if loaded is None:
        return None
    assert torch.equal(loaded["module"]["weight"], torch.full((3, 2), float(loaded["epoch"])))
    return int(loaded["epoch"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for epoch in (1, 2, 3):
        checkpoints.save(tmp_path / "run", state(epoch))
    return tmp_path / "run"


def flip(path: Path, position: int, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_the_newest_comes_back_and_the_one_before_is_kept(folder: Path) -> None:
    assert epoch_of(folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == sorted([NEWEST, BEFORE])
    (folder / NEWEST).unlink()
    assert epoch_of(folder) == 2


def test_nothing_comes_from_nothing(tmp_path: Path) -> None:
    assert checkpoints.load(tmp_path / "none") is None


def test_no_flipped_bit_is_used(folder: Path, log_lines: list[str]) -> None:
    whole = (folder / NEWEST).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(200):
        flip(folder / NEWEST, int(generator.integers(len(whole))), int(generator.integers(8)))
        assert epoch_of(folder) == 2
        (folder / NEWEST).write_bytes(whole)
    assert len(log_lines) == 200
    assert log_lines[0] == f"WARNING {folder / NEWEST}: is damaged and was not used"


@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_not_used(folder: Path, share: float, log_lines: list[str]) -> None:
    content = (folder / NEWEST).read_bytes()
    (folder / NEWEST).write_bytes(content[: int(len(content) * share)])
    assert epoch_of(folder) == 2
    assert log_lines == [f"WARNING {folder / NEWEST}: is damaged and was not used"]


def test_when_both_are_damaged_the_run_starts_again(folder: Path, log_lines: list[str]) -> None:
    flip(folder / NEWEST, 100)
    flip(folder / BEFORE, 100)
    assert checkpoints.load(folder) is None
    assert [line.rsplit("/", 1)[1] for line in log_lines] == [
        f"{name}: is damaged and was not used" for name in (NEWEST, BEFORE)
    ]


def test_a_damaged_newest_never_takes_the_place_of_a_whole_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(folder / NEWEST, 100)
    assert epoch_of(folder) == 2

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(folder, state(3))
    assert epoch_of(folder) == 2


def test_a_kill_while_writing_leaves_the_one_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(folder, state(4))
    assert epoch_of(folder) == 3


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "bare pickle"])
def test_code_in_a_checkpoint_is_never_run(folder: Path, archive: bool, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "payload"
    if archive:
        torch.save({"module": Payload(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"module": Payload(marker)}, protocol=2))
    content = path.read_bytes()
    (folder / NEWEST).write_bytes(hashlib.sha256(content).digest() + content)
    assert epoch_of(folder) == 2, "the one before is used"
    assert not marker.exists()


def test_a_finished_run_leaves_no_checkpoint(folder: Path) -> None:
    checkpoints.clear(folder)
    assert not folder.exists()
    checkpoints.clear(folder)

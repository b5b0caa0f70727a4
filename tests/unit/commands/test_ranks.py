"""One rank of a run: what it needs to be told."""

from pathlib import Path

import pytest

from headrace.__main__ import main
from headrace.errors import StageError
from headrace.training.distributed import take_device


def test_a_rank_is_started_by_torchrun_and_nobody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert main(["rank", str(tmp_path / "job.ok"), "run", "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "LOCAL_RANK is not set: ranks are started by torchrun, and that by `headrace train`\n"
    )


def test_every_rank_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for rank in (0, 1):
        take_device("cuda", rank)
    with pytest.raises(StageError, match="a rank finds no GPU of its own among 2; give the job one a rank"):
        take_device("cuda", 2)
    take_device("cpu", 5)
    assert taken == [0, 1]

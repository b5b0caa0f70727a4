"""The ranks of a run as processes: how they are started here and on several nodes."""

import signal
import sys
from pathlib import Path

import pytest

from headrace.errors import StageError
from headrace.schedulers.base import OwnJob, load_scheduler
from headrace.schedulers.pbs import scheduler as pbs
from headrace.training.launch import PORTS, launch, node_commands, port_of
from headrace.training.outcomes import RankDiedError
from headrace.tries.stopping import NEVER


def test_ctrl_c_is_an_interruption_again_once_the_ranks_have_ended(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    # Ranks that are told what they do not know: they end at once.
    with pytest.raises(RankDiedError, match=r"^rank 0 of 2 died \(exit code 2\)"):
        launch(["rank", "--unknown"], 2, tmp_path, NEVER)
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler


# Several nodes


def test_the_ranks_of_a_job_meet_at_a_port_that_follows_from_its_id() -> None:
    jobs = ["4711", "4711.server", "12345678", "77[3].pbs01", "local"]
    assert all(port_of(job) in PORTS for job in jobs)
    assert port_of("4711") == port_of("4711") == 15_000 + 4711
    assert port_of("4711") != port_of("4712")


def test_slurm_starts_a_torchrun_on_every_node() -> None:
    own = OwnJob("4711", nodes=("n1", "n2"))
    first, second = node_commands(load_scheduler("slurm"), own, ["rank", "a b.ok", "run"], 6)
    assert first == [
        "srun", "--overlap", "--nodes=1", "--ntasks=1", "--mem=0", "--cpu-bind=none", "--kill-on-bad-exit=1",
        "--nodelist=n1", sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--node-rank=0",
        "--nproc-per-node=3", "--rdzv-backend=static", "--master-addr=n1", "--master-port=19711", "--max-restarts=0",
        "-m", "headrace", "rank", "a b.ok", "run",
    ]  # fmt: skip
    assert [word for word in second if word not in first] == ["--nodelist=n2", "--node-rank=1"]


def test_pbs_starts_a_torchrun_on_every_node_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbs, "spawn_command", lambda node, command: ["pbsdsh", "-h", node, *command])
    own = OwnJob("12.server", nodes=("n1", "n2"))
    first, second = node_commands(load_scheduler("pbs"), own, ["rank"], 2)
    assert (first[:4], second[:4]) == (["pbsdsh", "-h", "n1", sys.executable], ["pbsdsh", "-h", "n2", sys.executable])
    assert "--master-port=15012" in first
    assert "--nproc-per-node=1" in second


def test_torchrun_knows_these_options() -> None:
    from torch.distributed.run import get_args_parser

    own = OwnJob("4711", nodes=("n1", "n2"))
    command = node_commands(load_scheduler("slurm"), own, ["rank", "job.ok", "run", "--into", "folder"], 4)[1]
    options = get_args_parser().parse_args(command[command.index("torch.distributed.run") + 1 :])
    assert (options.nnodes, options.nproc_per_node, options.node_rank, options.max_restarts) == ("2", "2", 1, 0)
    assert (options.master_addr, options.master_port, options.rdzv_backend) == ("n1", 19711, "static")
    assert (options.module, options.training_script) == (True, "headrace")
    assert options.training_script_args == ["rank", "job.ok", "run", "--into", "folder"]


def test_ranks_are_spread_equally_or_not_at_all() -> None:
    own = OwnJob("1", nodes=("n1", "n2"))
    with pytest.raises(StageError, match="world_size: 3 ranks cannot be spread equally over the 2 nodes"):
        node_commands(load_scheduler("slurm"), own, ["rank"], 3)

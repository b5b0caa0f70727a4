"""The test cluster does what the other tests take for granted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cluster import machine
from cluster.slurm import NODES, PARTITIONS, SlurmCluster
from cluster.switch import Switch

TESTS = Path(__file__).parents[1]
NOBODY = 65534


def processes_of(folder: Path) -> list[psutil.Process]:
    """What still runs for a cluster: daemons name its folder, jobs have it in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = [*process.cmdline(), process.environ().get("SLURM_CONF", "")]
            if any(str(folder) in word for word in told):
                found.append(process)
    return found


def start_for_a_person() -> tuple[subprocess.Popen[str], Path]:
    """Do what `make cluster` does, and give its process and folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "Ctrl-C takes everything down" in line:
            break
    return process, machine.LINK.readlink().parent


def test_every_partition_runs_jobs(slurm: SlurmCluster) -> None:
    assert slurm.node_states() == dict.fromkeys(NODES, "idle")
    jobs = {
        slurm.submit("echo $SLURMD_NODENAME $SLURM_JOB_PARTITION", f"--partition={name}"): name for name in PARTITIONS
    }
    for job, partition in jobs.items():
        assert slurm.wait_for_state(job) == "COMPLETED"
        node, told = slurm.output(job).split()
        assert told == partition
        assert node in (("g1", "g2") if partition == "gpu" else ("c1", "c2"))
        assert slurm.job(job)["nodes"] == node


def test_jobs_get_gpus_of_their_own(slurm: SlurmCluster) -> None:
    script = "sleep 1; echo $CUDA_VISIBLE_DEVICES"
    both = slurm.submit(script, "--partition=gpu", "--gpus=2", "--nodelist=g1")
    ones = [slurm.submit(script, "--partition=gpu", "--gpus=1", "--nodelist=g2") for _ in range(2)]
    assert {slurm.wait_for_state(job) for job in (both, *ones)} == {"COMPLETED"}
    assert slurm.output(both) == "0,1\n"
    assert {slurm.output(job) for job in ones} == {"0\n", "1\n"}


def test_other_users_submit_too(slurm: SlurmCluster) -> None:
    job = slurm.submit("id --user", user=NOBODY)
    assert slurm.wait_for_state(job) == "COMPLETED"
    assert slurm.output(job) == f"{NOBODY}\n"
    assert slurm.job(job)["user"] == "nobody"


def test_too_much_memory_is_fatal(slurm: SlurmCluster) -> None:
    hungry = "b'x' * (300 << 20); import time; time.sleep(30)"
    job = slurm.submit(f'{sys.executable} -c "x = {hungry}"', "--mem=100")
    # Only control groups can tell OUT_OF_MEMORY from other ends; without them the log says what happened.
    assert slurm.wait_for_state(job) == "FAILED"
    assert "exceeded memory limit" in slurm.output(job)


def test_urgent_jobs_take_the_place_of_others(slurm: SlurmCluster) -> None:
    whole_node = ("--nodelist=c1", "--cpus-per-task=4")
    meek = slurm.submit("echo start ${SLURM_RESTART_COUNT:-0}; sleep 30", "--partition=preempt", *whole_node)
    slurm.wait_for_state(meek, "RUNNING")
    slurm.wait_for(lambda: slurm.output(meek), what="the first line")
    urgent = slurm.submit("true", "--partition=urgent", *whole_node)
    assert slurm.wait_for_state(urgent) == "COMPLETED"
    slurm.wait_for(lambda: "start 1" in slurm.output(meek), what="the second start")
    assert slurm.job(meek)["restarts"] == 1


def test_killed_node_is_gone_with_all_that_ran_there(slurm: SlurmCluster) -> None:
    script = "setsid --fork sleep 987; sleep 988"
    job = slurm.submit(script, "--cpus-per-task=3")
    slurm.wait_for_state(job, "RUNNING")
    node = slurm.job(job)["nodes"]
    slurm.wait_for(lambda: len(sleepers()) == 2, what="both processes")
    slurm.kill_node(node)
    assert sleepers() == []
    slurm.wait_for(lambda: slurm.node_states()[node] == "down*", what=f"{node} to be down")
    slurm.wait_for(lambda: slurm.job(job)["nodes"] not in ("", node), what="a start elsewhere")
    assert slurm.job(job)["restarts"] == 1
    slurm.start_node(node)
    slurm.cancel_all()
    assert sleepers() == []
    assert slurm.node_states() == dict.fromkeys(NODES, "idle")
    assert slurm.jobs() == []


def sleepers() -> list[int]:
    """The processes that the killed node's job started."""
    marks = (["sleep", "987"], ["sleep", "988"])
    return [each.pid for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] in marks]


def test_controller_comes_back_with_its_jobs(slurm: SlurmCluster) -> None:
    job = slurm.submit("sleep 30")
    slurm.wait_for_state(job, "RUNNING")
    slurm.stop_controller()
    slurm.start_controller()
    assert slurm.state(job) == "RUNNING"


def test_down_leaves_nothing(slurm: SlurmCluster, switch: Switch) -> None:
    job = slurm.submit("setsid --fork sleep 60; sleep 60")
    slurm.wait_for_state(job, "RUNNING")
    assert processes_of(slurm.folder)
    switch.take_down()
    assert processes_of(slurm.folder) == []
    assert not slurm.folder.exists()
    assert not machine.LINK.is_symlink()


@pytest.mark.usefixtures("slurm")
def test_cluster_for_a_person_ends_with_its_terminal(switch: Switch) -> None:
    switch.take_down()
    process, folder = start_for_a_person()
    process.send_signal(signal.SIGINT)
    assert "The cluster is down." in process.communicate(timeout=30)[0]
    assert processes_of(folder) == []
    assert not folder.exists()
    assert not machine.LINK.is_symlink()


@pytest.mark.usefixtures("slurm")
def test_killed_owner_takes_the_cluster_down(switch: Switch) -> None:
    switch.take_down()
    process, folder = start_for_a_person()
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []
    assert not machine.LINK.is_symlink()
    # Had the keeper been killed as well, the link would still be there.
    machine.LINK.symlink_to(folder / "slurm.conf")
    with SlurmCluster() as cluster:
        assert cluster.folder != folder
        assert not folder.exists()


def test_cluster_of_the_machine_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = tmp_path / "slurm.conf"
    link.write_text("ClusterName=production\n")
    monkeypatch.setattr(machine, "LINK", link)
    with pytest.raises(machine.ClusterError, match="belongs to another SLURM"), SlurmCluster():
        pass
    assert link.read_text() == "ClusterName=production\n"


def test_accounting_remembers_jobs(slurm_accounting: SlurmCluster) -> None:
    job = slurm_accounting.submit("exit 3")
    assert slurm_accounting.wait_for_state(job) == "FAILED"
    columns = "--format=State,ExitCode,Account,Partition"
    command = ("sacct", f"--jobs={job}", "--allocations", "--noheader", "--parsable2", columns)
    row = "FAILED|3:0|research|cpu\n"
    slurm_accounting.wait_for(lambda: slurm_accounting.run(*command) == row, what="the job's whole record")
    with pytest.raises(machine.ClusterError, match="Invalid account"):
        slurm_accounting.submit("true", "--account=unheard-of")

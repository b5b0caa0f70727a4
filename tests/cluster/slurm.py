"""A real SLURM on the loopback device of this machine: up in a second, gone without a trace.

Each daemon is a process tree of its own, so that killing a node looks like a power cut.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import string
import subprocess
from pathlib import Path
from typing import Self

from cluster import accounting, machine
from cluster.client import Client
from cluster.machine import ClusterError, Daemon

HERE = Path(__file__).parent
NODES = {"c1": 0, "c2": 0, "g1": 2, "g2": 2}
"""Each node and its pretend GPUs."""
PARTITIONS = ("cpu", "gpu", "short", "preempt", "grace", "urgent")
NULL_DEVICE = os.makedev(1, 3)
START_TIMEOUT_S = 30
HEAL_TIMEOUT_S = 40


class SlurmCluster(Client):
    """A cluster for `with`; /etc/slurm/slurm.conf leads to it while it is up."""

    def __init__(self, accounting: bool = False) -> None:
        self.accounting = accounting
        self.daemons: dict[str, Daemon] = {}
        self.folder = Path()
        self.ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        machine.clear_stale()
        self.folder = machine.new_folder()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process of the cluster and remove its traces."""
        machine.unlink(self.folder)
        for daemon in reversed(self.daemons.values()):
            daemon.end()
        self.daemons.clear()
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        """Bring everything up, each after what it needs."""
        self._write_files()
        machine.link(self.folder)
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        for node in NODES:
            self._start_slurmd(node)
        try:
            self.wait_for(self._all_idle, START_TIMEOUT_S, "idle nodes")
        except (ClusterError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"{error}\n{self.tails()}") from None

    def _write_files(self) -> None:
        """Write the configuration, with ports that are free now, and the pretend GPUs."""
        for name in ("logs", "munge", "state", "spool", "gpus", "jobs", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(mode=0o755)
        (self.folder / "jobs").chmod(0o1777)
        names = ("controller_port", "accounting_port", *(f"{node}_port" for node in NODES))
        self.ports = dict(zip(names, machine.free_ports(len(names)), strict=True))
        values = {"folder": str(self.folder), "host": socket.gethostname(), **self.ports}
        values["accounting"] = string.Template(accounting.SETTINGS if self.accounting else "").substitute(values)
        for name in ("slurm.conf", "gres.conf", "slurmdbd.conf"):
            path = self.folder / name
            path.write_text(string.Template((HERE / name).read_text()).substitute(values))
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
        # CUDA_VISIBLE_DEVICES is only set for character devices.
        for number in range(2):
            os.mknod(self.folder / "gpus" / f"nvidia{number}", 0o666 | stat.S_IFCHR, NULL_DEVICE)

    def _start_munge(self) -> None:
        """Start munged with a key and a socket of its own."""
        folder = self.folder / "munge"
        key = folder / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        files = [f"--{name}-file={folder}/{name}" for name in ("key", "log", "pid", "seed")]
        command = ["munged", "--foreground", "--force", f"--socket={folder}/socket", *files]
        self.daemons["munged"] = Daemon("munged", command, self.folder)
        self.daemons["munged"].await_start((folder / "socket").exists)

    def _start_accounting(self) -> None:
        """Start the database and its daemon, and make the account that jobs may name."""
        self.daemons["mariadbd"] = accounting.start_database(self.folder)
        self.daemons["slurmdbd"] = accounting.start_slurmdbd(self.folder, self.ports["accounting_port"])
        for command in accounting.COMMANDS:
            self.run("sacctmgr", "--immediate", *command)

    def start_controller(self) -> None:
        """Start slurmctld, again if it was killed."""
        if "slurmctld" in self.daemons:
            self.daemons["slurmctld"].end()
        machine.link(self.folder)
        command = ["slurmctld", "-D"]
        self.daemons["slurmctld"] = Daemon("slurmctld", command, self.folder, unlink=str(machine.LINK))
        self.daemons["slurmctld"].await_start(lambda: machine.answers(self.ports["controller_port"]))

    def _start_slurmd(self, node: str) -> None:
        """Plug a node in."""
        if node in self.daemons:
            self.daemons[node].end()
        self.daemons[node] = Daemon(node, ["slurmd", "-D", "-N", node], self.folder)

    def stop_controller(self) -> None:
        """Stop slurmctld in peace; a killed one forgets what happened in its last five seconds."""
        self.run("scontrol", "shutdown", "slurmctld")
        self.daemons["slurmctld"].keeper.wait(machine.END_TIMEOUT_S)

    def kill_daemon(self, name: str) -> None:
        """Kill a daemon alone; jobs of a node go on running, as on one that lost its network."""
        self.daemons[name].kill()

    def kill_node(self, node: str) -> None:
        """Pull a node's plug: its daemon, its jobs and whatever they started are gone at once."""
        self.daemons[node].end()

    def start_node(self, node: str) -> None:
        """Plug a node in again, with nothing left of what ran there, and wait until it takes jobs."""
        self._start_slurmd(node)
        self.wait_for(lambda: self._is_up(node), HEAL_TIMEOUT_S, f"node {node}")

    def _is_up(self, node: str) -> bool:
        """Whether a node takes jobs; a drained one is given back."""
        state = self.node_states()[node]
        if "drain" in state:
            self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        return state in ("idle", "mixed", "allocated", "completing")

    def heal(self) -> None:
        """Bring back what a test killed."""
        if not self.daemons["slurmctld"].alive:
            self.start_controller()
        for node in NODES:
            if not self.daemons[node].alive:
                self._start_slurmd(node)
        for node in NODES:
            self.wait_for(lambda node=node: self._is_up(node), HEAL_TIMEOUT_S, f"node {node}")

    def cancel_all(self) -> None:
        """Heal what is broken, end every job at once and forget it: a fresh cluster for the next test."""
        self.heal()
        self.wait_for(self._cancel, HEAL_TIMEOUT_S, "the jobs to end")
        self.wait_for(self._all_idle, HEAL_TIMEOUT_S, "idle nodes")
        self._forgotten |= {job["id"] for job in self.jobs()}

    def _cancel(self) -> bool:
        """Cancel jobs, and kill at once what runs in them, as nobody needs a checkpoint now; true when none is left."""
        jobs = self.run("squeue", "--noheader", "--format=%i").split()
        if jobs:
            self.run("scancel", "--quiet", *jobs, check=False)
        for node in NODES:
            self.daemons[node].kill_jobs()
        return not jobs

    def _all_idle(self) -> bool:
        """Whether every node is up and free."""
        return set(self.node_states().values()) == {"idle"}

    def tails(self) -> str:
        """The last lines of every daemon."""
        return "\n".join(daemon.tail() for daemon in self.daemons.values())

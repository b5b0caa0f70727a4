"""What a test cluster takes from the machine: programs, ports, a folder, the one link in /etc, processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

KEEPER = Path(__file__).parent / "keeper.py"
LINK = Path("/etc/slurm/slurm.conf")
"""Where clients look; Snakemake's plugin removes SLURM_CONF from the environment, so nothing else will do."""
PREFIX = "headrace-slurm-"
PROGRAMS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm", "munged": "munge"}
ACCOUNTING_PROGRAMS = {
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
START_TIMEOUT_S = 60
END_TIMEOUT_S = 20


class ClusterError(RuntimeError):
    """The cluster did not do what was asked; the message says what its daemons wrote."""


def search_path() -> str:
    """Daemons lie in sbin, which not every PATH names."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def what_is_missing(accounting: bool = False) -> str | None:
    """Why this machine cannot have a cluster, or nothing."""
    wanted = PROGRAMS | (ACCOUNTING_PROGRAMS if accounting else {})
    packages = {package for program, package in wanted.items() if not shutil.which(program, path=search_path())}
    if packages:
        return f"the test cluster needs apt-get install --no-install-recommends {' '.join(sorted(packages))}"
    if not LINK.parent.is_dir():
        return f"SLURM here looks for its configuration elsewhere than in {LINK.parent}"
    if os.geteuid() != 0:
        return "SLURM's daemons and pretend GPUs need root"
    return None


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(port: int) -> bool:
    """Whether something listens on this port of the loopback device."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def link(folder: Path) -> None:
    """Let every client on this machine find the cluster in this folder, unless another was faster."""
    try:
        LINK.symlink_to(folder / "slurm.conf")
    except FileExistsError:
        if not LINK.is_symlink() or LINK.readlink().parent != folder:
            raise ClusterError(f"another test cluster was faster: only one can own {LINK}") from None


def unlink(folder: Path) -> None:
    """Hide the cluster in this folder again: clients wait long for one that does not answer."""
    if LINK.is_symlink() and LINK.readlink().parent == folder:
        LINK.unlink()


def owner_lives(folder: Path) -> bool:
    """Whether the process that made a cluster's folder is still there."""
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        pid, started = (folder / "owner").read_text().split()
        return abs(psutil.Process(int(pid)).create_time() - float(started)) < 2
    return False


def clear_stale() -> None:
    """Remove the link and the folders of clusters whose owner was killed; refuse to disturb anyone else's."""
    if LINK.is_symlink() or LINK.exists():
        target = LINK.readlink().parent if LINK.is_symlink() else LINK
        if not target.name.startswith(PREFIX):
            raise ClusterError(f"{LINK} belongs to another SLURM, which the test cluster would hide: not started")
        if owner_lives(target):
            raise ClusterError(f"another test cluster is up, in {target}: only one can own {LINK}")
        LINK.unlink()
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if (folder / "owner").exists() and not owner_lives(folder):
            shutil.rmtree(folder, ignore_errors=True)


def new_folder() -> Path:
    """A folder that every user may enter, as munge and the jobs of other users need."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)
    (folder / "owner.new").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    (folder / "owner.new").rename(folder / "owner")
    closed = [str(above) for above in folder.parents if not above.stat().st_mode & 0o001]
    if closed:
        shutil.rmtree(folder)
        raise ClusterError(f"other users cannot enter {closed[0]}: set TMPDIR to an open folder")
    return folder


def kill(processes: list[psutil.Process]) -> None:
    """Kill those that still live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Daemon:
    """One daemon below its keeper, with whatever it started."""

    def __init__(self, name: str, command: list[str], folder: Path, unlink: str = "-", **variables: str) -> None:
        self.name = name
        self.program = command[0]
        self.log = folder / "logs" / f"{name}.out"
        environment = {**os.environ, "PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf"), **variables}
        with self.log.open("ab") as log:
            self.keeper = subprocess.Popen(
                [sys.executable, str(KEEPER), unlink, str(folder), *command],
                cwd=folder,
                env=environment,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether the daemon itself is there; its jobs may outlive it."""
        return bool(self._below(lambda name: name == self.program))

    def kill(self) -> None:
        """Kill the daemon alone, and leave its jobs running."""
        kill(self._below(lambda name: name == self.program))

    def kill_jobs(self) -> None:
        """Kill what runs in a node's jobs or was left behind by them; SLURM then sees the jobs end."""
        kill(self._below(lambda name: name not in (self.program, "slurmstepd")))

    def _below(self, wanted: Callable[[str], bool]) -> list[psutil.Process]:
        """What lives below the keeper under such a name."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.keeper.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if wanted(process.name()) and process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def end(self) -> None:
        """Kill the daemon and everything that it ever started."""
        if not self.keeper.stdin.closed:
            with suppress(BrokenPipeError):
                self.keeper.stdin.write(b"\n")
            self.keeper.stdin.close()
        self.keeper.wait(END_TIMEOUT_S)

    def await_start(self, is_up: Callable[[], bool]) -> None:
        """Wait until the daemon is up; if it ends before that, tell what it wrote."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_up():
            if self.keeper.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"{self.name} did not come up\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, lines: int = 15) -> str:
        """The last lines that the daemon wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- {self.log.name}\n" + "\n".join(text.splitlines()[-lines:])

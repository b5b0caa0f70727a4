"""The accounting database of a test cluster: MariaDB on a unix socket, and SLURM's daemon before it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.machine import ClusterError, Daemon, answers, search_path

ACCOUNT = "research"
INSTALL_TIMEOUT_S = 120
SETTINGS = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$accounting_port
AccountingStoragePass=$folder/munge/socket
AccountingStorageEnforce=associations
AccountingStorageTRES=gres/gpu
"""
COMMANDS = (
    ["add", "cluster", "headrace"],
    ["add", "account", ACCOUNT, "cluster=headrace"],
    ["add", "user", "root", "nobody", f"account={ACCOUNT}", "cluster=headrace"],
    ["modify", "user", "root", "set", f"defaultaccount={ACCOUNT}"],
)
"""What sacctmgr is told."""
DATABASE_OPTIONS = [
    "--no-defaults",
    "--user=root",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=nosync",
    "--innodb-lock-wait-timeout=900",
]
"""Small, fast, and careless about power cuts."""


def start_database(folder: Path) -> Daemon:
    """Make an empty database, whose root is this machine's, and start MariaDB for it alone."""
    place = f"--datadir={folder}/database"
    identity = ["--auth-root-authentication-method=socket", "--auth-root-socket-user=root", "--skip-test-db"]
    done = subprocess.run(
        ["mariadb-install-db", *DATABASE_OPTIONS, place, *identity],
        env={"PATH": search_path()},
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    if done.returncode:
        raise ClusterError(f"mariadb-install-db failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    database_socket = folder / "database" / "socket"
    command = ["mariadbd", *DATABASE_OPTIONS, place, f"--socket={database_socket}", "--skip-networking"]
    daemon = Daemon("mariadbd", command, folder)
    daemon.await_start(database_socket.exists)
    return daemon


def start_slurmdbd(folder: Path, port: int) -> Daemon:
    """Start SLURM's accounting daemon; its library takes the database's socket from a variable."""
    daemon = Daemon("slurmdbd", ["slurmdbd", "-D"], folder, MYSQL_UNIX_PORT=str(folder / "database" / "socket"))
    daemon.await_start(lambda: answers(port))
    return daemon

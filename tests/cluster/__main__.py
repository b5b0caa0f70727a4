"""Bring the test cluster up for a person, until Ctrl-C: `make cluster`, or `make cluster ACCOUNTING=1`."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from cluster.machine import ClusterError, what_is_missing
from cluster.slurm import NODES, SlurmCluster

NEXT = """
Up after {seconds:.1f} s; files and logs are in {folder}. In another terminal:

    sinfo
    .venv/bin/headrace profile slurm
    .venv/bin/snakemake --profile slurm

Ctrl-C takes everything down.
"""


def main() -> int:
    """Start, tell what to do next, wait."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB, so that sacct works")
    accounting = parser.parse_args().accounting
    if missing := what_is_missing(accounting):
        print(missing, file=sys.stderr)
        return 2
    # SIGTERM takes the same way out as Ctrl-C, which whoever started this in the background may have switched off.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    begin = time.monotonic()
    try:
        with SlurmCluster(accounting) as cluster:
            gpus = ", ".join(f"{node} with {count} pretend GPUs" for node, count in NODES.items() if count)
            print(cluster.run("sinfo"), gpus, sep="\n")
            print(NEXT.format(seconds=time.monotonic() - begin, folder=cluster.folder), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("\nThe cluster is down.")
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

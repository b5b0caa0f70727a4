"""dask-jobqueue as a stage imports it."""

import subprocess
import sys

import pytest

LOOK = """
import signal
from headrace.provision.jobqueue import load_jobs
print(load_jobs({module!r}).{name}.__name__, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(("module", "name"), [("slurm", "SLURMJob"), ("pbs", "PBSJob"), ("core", "JobQueueCluster")])
def test_ctrl_c_stays_an_interruption(module: str, name: str) -> None:
    command = [sys.executable, "-c", LOOK.format(module=module, name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} True", "interrupted"]

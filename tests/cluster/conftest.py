"""A cluster for each test that asks for one: fresh as far as the test can see, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.slurm import SlurmCluster
from cluster.switch import Switch


@pytest.fixture(scope="session")
def switch() -> Iterator[Switch]:
    """What starts clusters, and takes the last one down."""
    switch = Switch()
    yield switch
    switch.take_down()


@pytest.fixture
def slurm(switch: Switch) -> Iterator[SlurmCluster]:
    """A cluster without accounting: sacct is there and knows nothing."""
    yield from switch.lend(accounting=False)


@pytest.fixture
def slurm_accounting(switch: Switch) -> Iterator[SlurmCluster]:
    """A cluster with accounting, where every job needs an account."""
    yield from switch.lend(accounting=True)

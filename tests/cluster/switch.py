"""Which of the clusters is up, while the tests run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster.machine import what_is_missing
from cluster.slurm import SlurmCluster


class Switch:
    """Only one cluster can be up, as /etc/slurm leads to one: the other kind has to go first."""

    def __init__(self) -> None:
        self.cluster: SlurmCluster | None = None

    def bring_up(self, accounting: bool) -> SlurmCluster:
        """Give the cluster of this kind; only a machine of our own has to have it."""
        if missing := what_is_missing(accounting):
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(missing)
        if self.cluster is None or self.cluster.accounting != accounting:
            self.take_down()
            self.cluster = SlurmCluster(accounting).__enter__()
        return self.cluster

    def take_down(self) -> None:
        """Leave no cluster."""
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None

    def lend(self, accounting: bool) -> Iterator[SlurmCluster]:
        """Give a cluster to one test, and clean up behind it; one that cannot be cleaned is taken down."""
        cluster = self.bring_up(accounting)
        yield cluster
        if self.cluster is not None:
            try:
                cluster.cancel_all()
            except BaseException:
                self.take_down()
                raise

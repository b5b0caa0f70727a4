"""What every folder of tests shares: the option that repairs generated files, the order, and Dask workers."""

import gc
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.clusters.base import ClusterSpec, Place
from headrace.registry import restore
from headrace.running.workers import Workers

CLUSTER = Path(__file__).parent / "cluster"
HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""How tests hear signals, whatever those before them did."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fix`."""
    parser.addoption("--fix", action="store_true", help="write generated files again instead of only comparing them")


def pytest_configure() -> None:
    """Whoever is started in the background hears no Ctrl-C, and neither would the programs under test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A stage that is called here listens to SIGTERM from then on, and some packages to Ctrl-C: no test after it."""
    yield
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs a cluster last, and what needs accounting at the very end: only one cluster can be up."""
    for item in items:
        if item.path.is_relative_to(CLUSTER):
            item.add_marker(pytest.mark.cluster)
    items.sort(key=lambda item: (bool(item.get_closest_marker("cluster")), "slurm_accounting" in names_of(item)))


def names_of(item: pytest.Item) -> list[str]:
    """The fixtures that a test takes."""
    return getattr(item, "fixturenames", [])


@pytest.fixture
def fix(request: pytest.FixtureRequest) -> bool:
    """Whether generated files are to be written again."""
    return bool(request.config.getoption("--fix"))


@contextmanager
def forgiving() -> Iterator[None]:
    """Dask leaves sockets to the garbage collector when workers come and go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def start_workers(workers: int, folder: Path) -> Iterator[Workers]:
    place = Place(folder / "logs", folder / "secrets")
    context = restore("clusters", {"kind": "local", "workers": workers}, ClusterSpec).open(place)
    with forgiving():
        opened = context.__enter__()
    yield opened
    with forgiving():
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    yield from start_workers(1, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    yield from start_workers(2, tmp_path_factory.mktemp("two"))


@pytest.fixture
def sockets_may_leak() -> Iterator[None]:
    """For tests that kill workers."""
    with forgiving():
        yield

"""What every folder of tests shares: the option that repairs generated files, and the order."""

from pathlib import Path

import pytest

CLUSTER = Path(__file__).parent / "cluster"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fix`."""
    parser.addoption("--fix", action="store_true", help="write generated files again instead of only comparing them")


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

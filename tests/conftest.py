"""What every folder of tests shares: the option that repairs generated files."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fix`."""
    parser.addoption("--fix", action="store_true", help="write generated files again instead of only comparing them")


@pytest.fixture
def fix(request: pytest.FixtureRequest) -> bool:
    """Whether generated files are to be written again."""
    return bool(request.config.getoption("--fix"))

"""Every kind that the package has, with parameters that make it small."""

from collections.abc import Callable
from typing import Any

import pytest

from headrace.config import Kind
from headrace.registry import load_kind

EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("preprocessing", "truncated_svd"): {"rank": 3},
}
"""Parameters for the fields that a kind requires."""


def example_of(group: str, kind: str, **more: Any) -> Kind:
    spec = load_kind(group, kind)
    example = EXAMPLES.get((group, kind), {})
    required = {name for name, field in spec.model_fields.items() if field.is_required()} - {"kind"}
    missing = sorted(required - example.keys())
    if missing:
        pytest.fail(f"{group}/{kind}.py requires {', '.join(missing)}: add an example to EXAMPLES in {__file__}")
    return spec.model_validate({"kind": kind, **example, **more})


@pytest.fixture(scope="session")
def make_example() -> Callable[..., Any]:
    """(group, kind, **parameters) -> the kind's Spec, with examples where it requires parameters."""
    return example_of

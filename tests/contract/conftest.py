"""Every kind that the package has, with parameters that make it small."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

import sample_fits as fits
from headrace.experiments.config import Kind
from headrace.registry import load_kind
from sample_files import make_files

EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("datasets", "synthetic_classification"): {"num_samples": 300},
    ("datasets", "synthetic_graph"): {"num_nodes": 300},
    ("datasets", "synthetic_images"): {"num_samples": 300},
    ("datasets", "synthetic_sequences"): {"num_samples": 300},
    ("datasets", "synthetic_sparse_topics"): {"num_samples": 300},
    ("corruptions", "blur"): {"strengths": (1.0,)},
    ("corruptions", "contrast"): {"strengths": (0.5,)},
    ("corruptions", "missing"): {"strengths": (0.3,)},
    ("corruptions", "noise"): {"strengths": (0.5,)},
}
"""Parameters for the fields that a kind requires."""


def example_of(group: str, kind: str, *, files: Mapping[str, dict[str, Any]], **more: Any) -> Kind:
    spec = load_kind(group, kind)
    example = (
        EXAMPLES.get((group, kind), {})
        | (fits.EXAMPLES.get(kind, {}) if group == "preprocessing" else {})
        | (files.get(kind, {}) if group == "datasets" else {})
    )
    required = {name for name, field in spec.model_fields.items() if field.is_required()} - {"kind"}
    missing = sorted(required - example.keys())
    if missing:
        pytest.fail(f"{group}/{kind}.py requires {', '.join(missing)}: add an example to EXAMPLES in {__file__}")
    return spec.model_validate({"kind": kind, **example, **more})


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Kind of dataset -> parameters that name files."""
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="session")
def make_example(example_files: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    """(group, kind, **parameters) -> the kind's Spec, with examples where it requires parameters."""
    return partial(example_of, files=example_files)

"""A kind is a file; nothing else can be named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import registry
from headrace.errors import InputError
from headrace.experiments.config import Kind
from headrace.registry import GROUPS, list_kinds, load_kind, restore, suggest
from sample_fits import EXAMPLES

KINDS = [(group, kind) for group in GROUPS for kind in list_kinds(group)]
GRID = {"path": "x", "inputs": "field"}
REQUIRED = {
    **{kind: {"path": "x"} for kind in ("csv", "idx", "image_folder", "matrix_market", "npy", "parquet", "svmlight")},
    **dict.fromkeys(("hdf5", "netcdf", "npz", "zarr"), GRID),
    "text_lines": {"path": "x"},
    "text_stream": {"path": "x", "context": 3},
    "time_series": {"path": "x", "look_back": 2, "horizon": 1},
    **{kind: {"strengths": (0.5, 0.1)} for kind in ("blur", "contrast", "missing", "noise")},
    **EXAMPLES,
}


def test_every_file_is_a_kind_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("resnet.py", "alexnet.py", "base.py", "__init__.py", "_draft.py", "notes.md"):
        (tmp_path / "models" / name).touch()
    assert list_kinds.__wrapped__("models") == ("alexnet", "resnet")


@pytest.mark.parametrize(("group", "kind"), KINDS)
def test_every_kind_has_a_spec_that_says_what_it_is(group, kind):
    spec = load_kind(group, kind)
    assert issubclass(spec, Kind)
    assert spec.__doc__
    assert spec.__module__ == f"headrace.{group}.{kind}"


@pytest.mark.parametrize(("group", "kind"), KINDS)
def test_a_spec_comes_back_from_json_as_it_was(group, kind):
    spec = load_kind(group, kind).model_validate({"kind": kind, **REQUIRED.get(kind, {})})
    assert restore(group, spec.model_dump(mode="json"), Kind) == spec


@pytest.mark.parametrize(
    "name", ["base", "__init__", "_draft", "../base", "base.py", "fnn.py", "os", "", ".", "FNN", "fnn ", "a\nb", "*"]
)
def test_what_no_file_defines_is_refused(name):
    with pytest.raises(InputError) as caught:
        load_kind("models", name)
    (problem,) = caught.value.problems
    assert problem.startswith(f"unknown kind {name!r}; allowed: {', '.join(list_kinds('models'))}")


@given(st.text())
def test_no_text_brings_anything_but_a_kind(name):
    if name in list_kinds("models"):
        return
    with pytest.raises(InputError):
        load_kind("models", name)


def test_a_near_miss_is_suggested():
    with pytest.raises(InputError, match=r"\(did you mean 'standardize'\?\)"):
        load_kind("preprocessing", "standardise")
    assert suggest("learning_rat", ["learning_rate", "dropout"]) == " (did you mean 'learning_rate'?)"
    assert suggest("zzz", ["learning_rate", "dropout"]) == ""

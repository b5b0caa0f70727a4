"""Indicators of codes, against scikit-learn."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder

from headrace.blocks import Ragged
from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from headrace.experiments.yaml_files import tuples
from headrace.preprocessing.base import StepSpec
from headrace.registry import load_kind
from sample_fits import Sample, dense_sample, fit_apply, step


def coded(values: np.ndarray, num_codes: int) -> Sample:
    known: dict[str, Any] = {"dims": tuple(f"axis_{i}" for i in range(values.ndim - 1)), "dtype": values.dtype.name}
    info = DataInfo(tasks=("density",), num_samples=len(values), shape=values.shape[1:], num_codes=num_codes, **known)
    return Sample(values, info, len(values))


def table(values: Any, num_train: int | None = None, **known: Any) -> Sample:
    return dense_sample(np.array(values, np.float32), num_train, **known)


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    num_codes=st.integers(1, 300),
    dtype=st.sampled_from([np.uint8, np.int32, np.int64]),
    num_blocks=st.integers(1, 5),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=40)
def test_every_code_becomes_a_row_of_the_identity(
    shape: list[int], num_codes: int, dtype: Any, num_blocks: int, seed: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, min(num_codes, 256), shape).astype(dtype)
    sample, spec = coded(codes, num_codes), step("one_hot")
    found = sample.apply(spec, spec.fit(sample.fit_data(min(num_blocks, len(codes)))))
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.eye(num_codes)[codes])
    described = spec.describe(sample.info, len(codes))
    assert described.shape == found.shape[1:]
    assert len(described.dims) == len(described.shape)
    assert (described.num_codes, described.unit_interval) == (0, True)


def test_the_bytes_of_texts_become_steps() -> None:
    texts = [b"hello", b"", b"\xff\x00"]
    block = Ragged.of([np.frombuffer(text, np.uint8) for text in texts], np.uint8)
    info = DataInfo(
        tasks=("density",), num_samples=3, shape=(), dims=(), layout="ragged", dtype="uint8", num_values=7, longest=5,
        num_codes=256,
    )  # fmt: skip
    sample, spec = Sample(block, info, 3), step("one_hot")
    found = sample.apply(spec, spec.fit(sample.fit_data(3)), [1])
    assert isinstance(found, Ragged)
    assert found.lengths.tolist() == [5, 0, 2]
    assert np.array_equal(found.values, np.eye(256, dtype=np.float32)[list(b"".join(texts))])
    described = spec.describe(info, 3)
    assert (described.layout, described.shape, described.num_values, described.longest) == ("ragged", (256,), 7, 5)


def test_codes_that_training_lacks_have_their_place() -> None:
    codes = coded(np.array([[0], [1], [6]]), 7)
    sample, spec = Sample(codes.inputs, codes.info, 2), step("one_hot")
    found = sample.apply(spec, spec.fit(sample.fit_data(2)))
    assert np.array_equal(found, np.eye(7)[[0, 1, 6]][:, None])


# Columns of tables


@given(
    categories=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    others=st.integers(0, 3),
    num_blocks=st.integers(1, 5),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=40)
def test_columns_match_scikit_learn(categories: list[int], others: int, num_blocks: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    width = len(categories) + others
    values = generator.normal(size=(30, width)).astype(np.float32)
    positions = generator.permutation(width)[: len(categories)].tolist()
    for position, number in zip(positions, categories, strict=True):
        values[:, position] = generator.integers(0, number, 30)
    pairs = sorted(zip(positions, categories, strict=True))
    encoder = OneHotEncoder(categories=[np.arange(number) for _, number in pairs], sparse_output=False)
    encoded = encoder.fit_transform(values[:, [position for position, _ in pairs]])
    rest = [column for column in range(width) if column not in positions]
    # The pairs may stand in any order.
    spec = step("one_hot", columns=list(zip(positions, categories, strict=True)))
    found = fit_apply(spec, values, num_blocks)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.concatenate([values[:, rest], encoded.astype(np.float32)], axis=1))
    info = dense_sample(values).info
    assert spec.describe(info, 30).shape == (found.shape[1],)
    assert spec.describe(info, 30).unit_interval == (others == 0)


def test_what_is_no_code_becomes_zeros() -> None:
    sample = table([[0, 9], [2, 9], [np.nan, 9], [3, 9], [-1, 9], [1.5, 9]], 4, has_missing=True)
    spec = step("one_hot", columns=[(0, 3)])
    found = sample.apply(spec, spec.fit(sample.fit_data(2)))
    assert np.array_equal(found, [[9, 1, 0, 0], [9, 0, 0, 1], *[[9, 0, 0, 0]] * 4])


def test_missing_numbers_of_other_columns_stay_missing() -> None:
    sample = table([[0, np.nan], [1, 5]], has_missing=True)
    found = fit_apply(step("one_hot", columns=[(0, 2)]), sample)
    assert np.array_equal(found, [[np.nan, 1, 0], [5, 0, 1]], equal_nan=True)
    assert step("one_hot", columns=[(0, 2)]).describe(sample.info, 2).has_missing
    assert not step("one_hot", columns=[(0, 2), (1, 6)]).describe(sample.info, 2).has_missing


def test_a_column_of_measurements_is_refused_when_it_is_read() -> None:
    sample = table([[0, 0.5], [1, 1], [1, 2.25], [0, 3]])
    with pytest.raises(StageError, match=r"^one_hot: column 1 is no column of codes: 2 of its numbers .* not whole"):
        step("one_hot", columns=[(0, 2), (1, 4)]).fit(sample.fit_data(4))


def test_columns_are_read_from_yaml_and_json_alike() -> None:
    spec = load_kind("preprocessing", "one_hot")
    read = spec.model_validate(tuples({"kind": "one_hot", "columns": [[2, 5], [7, 12]]}))
    assert read == spec.model_validate_json(json.dumps(read.model_dump(mode="json")))
    assert read == step("one_hot", columns=[[2, 5], [7, 12]])


# Refusals

TABLE = DataInfo(tasks=("density",), num_samples=9, shape=(4,), dims=("feature",))
CODES = DataInfo(tasks=("density",), num_samples=9, shape=(4,), dims=("step",), num_codes=7, dtype="int64")


def large(num_codes: int) -> DataInfo:
    return DataInfo(tasks=("density",), num_samples=9, shape=(4,), dims=("step",), num_codes=num_codes, dtype="int64")


@pytest.mark.parametrize(
    ("spec", "info", "message"),
    [
        (step("one_hot"), TABLE, r"kind: one_hot reads codes, not measurements; allowed: .*"),
        (step("one_hot"), large(4097), r"kind: one_hot would make 4097 numbers of every code; allowed: 4096 codes"),
        (step("one_hot", columns=[(0, 2)]), CODES, r"columns: are those of a table of numbers, .*"),
        (step("one_hot", columns=[(4, 2)]), TABLE, r"columns: there is no column 4; allowed: 0 to 3"),
        (step("one_hot", columns=[(1, 2), (1, 3)]), TABLE, r"columns: has column 1 twice; .*"),
        (step("one_hot", columns=[(0, 4000), (1, 97)]), TABLE, r"columns: make 4097 indicators; allowed: 4096 in all"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(spec: StepSpec, info: DataInfo, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        spec.describe(info, 9)


def test_the_largest_numbers_of_codes_are_allowed() -> None:
    assert step("one_hot").describe(large(4096), 9).shape == (4, 4096)
    assert step("one_hot", columns=[(0, 4000), (1, 96)]).describe(TABLE, 9).shape == (2 + 4096,)

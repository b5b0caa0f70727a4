"""Every kind of preprocessing step keeps what it describes, block by block, and learns from what it is given alone."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.blocks import Block, Ragged, num_rows
from headrace.preprocessing.base import IterativeSpec, StepSpec
from headrace.registry import list_kinds
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays, save_arrays
from sample_fits import EXAMPLES, Sample, as_dense, make_samples, step

SAMPLES = make_samples()
Case = tuple[StepSpec, Sample]


def fits(spec: StepSpec, sample: Sample) -> bool:
    """Whether a step can work on a sample, by its own word."""
    has = {"target": sample.target is not None, "graph": sample.adjacency is not None}
    if sample.info.layout not in spec.reads or not all(has[need] for need in spec.needs):
        return False
    if (sample.info.num_codes and not spec.reads_codes) or (sample.info.has_missing and not spec.reads_missing):
        return False
    try:
        spec.describe(sample.info, sample.num_train)
    except ValueError:
        return False
    return True


SPECS = {kind: step(kind, **EXAMPLES.get(kind, {})) for kind in list_kinds("preprocessing")}
CASES = {
    f"{kind}-{name}": (spec, sample)
    for kind, spec in SPECS.items()
    for name, sample in SAMPLES.items()
    if fits(spec, sample)
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
iterative = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if isinstance(case[0], IterativeSpec)],
    ids=[name for name, case in CASES.items() if isinstance(case[0], IterativeSpec)],
)
row_by_row = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if "graph" not in case[0].needs],
    ids=[name for name, case in CASES.items() if "graph" not in case[0].needs],
)


@pytest.mark.parametrize("kind", list_kinds("preprocessing"))
def test_there_is_a_sample_for_every_kind(kind: str) -> None:
    assert any(name.startswith(f"{kind}-") for name in CASES)


def layout_of(block: Block) -> str:
    return "dense" if isinstance(block, np.ndarray) else "ragged" if isinstance(block, Ragged) else "sparse"


@every_case
def test_what_comes_out_is_what_was_described(case: Case) -> None:
    spec, sample = case
    described = spec.describe(sample.info, sample.num_train)
    applied = sample.apply(spec, spec.fit(sample.fit_data()))
    assert num_rows(applied) == num_rows(sample.inputs)
    values = applied.values if isinstance(applied, Ragged) else applied
    assert layout_of(applied) == described.layout
    assert values.shape[1:] == described.shape
    assert values.dtype == np.dtype(described.dtype)
    assert len(described.dims) == len(described.shape)
    numbers = as_dense(applied)
    if described.num_codes:
        assert numbers.dtype.kind in "iu"
        assert numbers.min() >= 0
        assert numbers.max() < described.num_codes
    else:
        assert numbers.dtype == np.float32
        assert np.isfinite(numbers).all()
    if described.unit_interval:
        assert numbers.min() >= 0
        assert numbers.max() <= 1
    kept = ("tasks", "num_samples", "class_names", "class_counts", "num_targets")
    assert all(getattr(described, name) == getattr(sample.info, name) for name in kept)
    if isinstance(applied, Ragged) and described.longest:
        assert applied.lengths.max() <= described.longest


@every_case
def test_a_row_does_not_depend_on_its_neighbours(case: Case) -> None:
    spec, sample = case
    state = spec.fit(sample.fit_data())
    whole = as_dense(sample.apply(spec, state))
    for borders in ([1], [30], [79], [7, 61]):
        cut = as_dense(sample.apply(spec, state, borders))
        assert cut.shape == whole.shape
        assert np.abs(cut.astype(float) - whole).max() <= 1e-6 * max(1, np.abs(whole).max())


@every_case
def test_applying_changes_no_input(case: Case) -> None:
    spec, sample = case
    before = as_dense(sample.inputs).copy()
    sample.apply(spec, spec.fit(sample.fit_data()))
    assert np.array_equal(as_dense(sample.inputs), before, equal_nan=True)


@every_case
def test_a_state_is_arrays_that_safetensors_can_hold(case: Case, tmp_path: Path) -> None:
    spec, sample = case
    state = spec.fit(sample.fit_data())
    assert all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in state.items())
    save_arrays(tmp_path / "state.safetensors", state)
    back = load_arrays(tmp_path / "state.safetensors")
    assert {name: array.dtype for name, array in back.items()} == {name: array.dtype for name, array in state.items()}
    assert np.array_equal(as_dense(sample.apply(spec, back)), as_dense(sample.apply(spec, state)))


def bits(state: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


@every_case
def test_fitting_twice_gives_the_same_bits(case: Case) -> None:
    spec, sample = case
    np.random.seed(1)
    one = spec.fit(sample.fit_data())
    np.random.seed(2)
    assert bits(one) == bits(spec.fit(sample.fit_data()))


@every_case
def test_the_cut_of_the_blocks_changes_no_more_than_rounding(case: Case) -> None:
    spec, sample = case
    one, other = (as_dense(sample.apply(spec, spec.fit(sample.fit_data(num)))).astype(float) for num in (1, 7))
    assert np.abs(one - other).max() <= 1e-4 * max(1, np.abs(one).max())


@row_by_row
def test_nothing_but_the_training_rows_is_learned_from(case: Case) -> None:
    spec, sample = case
    state = spec.fit(sample.fit_data())
    blind = Sample(sample.inputs, sample.info, sample.num_train, sample.target, sample.adjacency)
    data = blind.fit_data()
    object.__setattr__(data, "all_inputs", None)
    assert bits(spec.fit(data)) == bits(state)


@iterative
def test_an_iterative_fit_leaves_a_trace_that_ends_in_what_is_said(case: Case) -> None:
    spec, sample = case
    assert isinstance(spec, IterativeSpec)
    data = sample.fit_data()
    spec.fit(data)
    found = data.progress.convergence
    assert found is not None
    assert found.trace
    assert [line["iteration"] for line in found.trace] == list(range(1, len(found.trace) + 1))
    assert len(found.trace) <= spec.max_iterations
    assert found.converged
    assert found.measure


@iterative
def test_an_iterative_fit_that_was_killed_goes_on_to_the_same_bits(case: Case, tmp_path: Path) -> None:
    spec, sample = case
    assert isinstance(spec, IterativeSpec)
    whole = sample.fit_data()
    expected = bits(spec.fit(whole))
    total = len(whole.progress.trace)
    for after in sorted({1, total // 2, total} - {0}):
        data = sample.fit_data(folder=tmp_path / str(after), every_s=0.0)
        note = data.progress.note

        def killed_after(value: float, state: Any, *, note: Any = note, data: Any = data, after: int = after) -> None:
            note(value, state)
            if len(data.progress.trace) == after:
                raise KeyboardInterrupt

        data.progress.note = killed_after  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            spec.fit(data)
        again = sample.fit_data(folder=tmp_path / str(after), every_s=0.0)
        assert bits(spec.fit(again)) == expected
        assert [line["value"] for line in again.progress.trace] == [line["value"] for line in whole.progress.trace]


@every_case
def test_parameters_survive_json(case: Case) -> None:
    spec, _ = case
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


FIRST = {case[0].kind: case for case in reversed(CASES.values()) if isinstance(case[0], IterativeSpec)}


@pytest.mark.usefixtures("sockets_may_leak")
@pytest.mark.parametrize("case", FIRST.values(), ids=FIRST)
def test_a_worker_killed_in_an_iterative_fit_changes_nothing(case: Case, two_workers: Workers) -> None:
    spec, sample = case
    assert isinstance(spec, IterativeSpec)
    expected = sample.fit_data(workers=two_workers)
    state = bits(spec.fit(expected))
    data = sample.fit_data(workers=two_workers)
    note, killed = data.progress.note, []

    def kill_then_note(value: float, more: Any) -> None:
        note(value, more)
        if not killed:
            killed.append(two_workers.addresses[-1])
            (pid,) = two_workers.client.run(os.getpid, workers=killed).values()
            os.kill(pid, signal.SIGKILL)

    data.progress.note = kill_then_note  # type: ignore[method-assign]
    try:
        assert bits(spec.fit(data)) == state
    finally:
        while set(killed) & set(two_workers.addresses):
            time.sleep(0.1)
        two_workers.client.wait_for_workers(2, timeout=180)
    assert killed
    assert [line["value"] for line in data.progress.trace] == [line["value"] for line in expected.progress.trace]

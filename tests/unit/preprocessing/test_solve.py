"""Samples solved for, against numpy; what is refused before and during; and the file that decides the result."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import io, sparse

from headrace.datasets.base import DataInfo
from headrace.errors import InputError, StageError
from headrace.experiments.reading import check_experiment
from headrace.planning.artifacts import Artifact
from headrace.planning.plan import Plan, Site
from headrace.preprocessing.base import StepSpec
from headrace.stages import preprocess
from headrace.stores.layout import choose_layout
from sample_fits import Sample, dense_sample, fit_apply, step
from sample_stores import write_store
from sample_systems import rectangular, symmetric

BLUR = Path(__file__).parents[3] / "configs/data/blur12.mtx"
POSITIVE = symmetric(np.geomspace(1, 0.05, 12))
INDEFINITE = symmetric(np.geomspace(1, 0.05, 12) * np.where(np.arange(12) % 2, -1, 1))


def write(path: Path, matrix: Any, **options: Any) -> str:
    io.mmwrite(path, sparse.coo_array(matrix), **options)
    return str(path)


def right_sides(num_rows: int, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(num_rows, *shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("method", "matrix"), [("cg", POSITIVE), ("minres", POSITIVE), ("minres", INDEFINITE), ("lsqr", INDEFINITE)]
)
def test_solutions_match_numpy(tmp_path: Path, method: str, matrix: np.ndarray, layout: str, dtype: type) -> None:
    values = right_sides(50, (12,), dtype)
    values[np.abs(values) < 0.5] = 0
    values[7] = 0
    spec = step("solve", matrix=write(tmp_path / "a.mtx", matrix), method=method, tolerance=1e-9)
    sample: Sample | np.ndarray = values
    if layout == "sparse":
        info = DataInfo(("density",), 50, (12,), ("term",), layout="sparse", num_values=int((values != 0).sum()))
        sample = Sample(sparse.csr_array(values), info, 50)
    found = fit_apply(spec, sample)
    assert found.dtype == np.float32
    expected = np.linalg.solve(matrix, values.astype(np.float64).T).T
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()
    assert not found[7].any()


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("columns", [5, 30])
def test_rectangular_systems_give_least_squares(tmp_path: Path, columns: int, damping: float) -> None:
    matrix = rectangular(12, columns, np.linspace(1, 2, min(12, columns)))
    values = right_sides(40, (3, 4))
    spec = step("solve", matrix=write(tmp_path / "a.mtx", matrix), method="lsqr", damping=damping, tolerance=1e-10)
    stacked = np.vstack([matrix, damping * np.eye(columns)])
    right = np.vstack([values.reshape(40, 12).T, np.zeros((columns, 40))])
    expected = np.linalg.lstsq(stacked, right, rcond=1e-12)[0].T
    found = fit_apply(spec, values)
    assert found.shape == (40, columns)
    assert found == pytest.approx(expected, abs=1e-5)
    described = spec.describe(dense_sample(values).info, 40)
    assert (described.shape, described.dims, described.dtype) == ((columns,), ("component",), "float32")


def test_a_blur_is_undone_and_images_keep_their_shape() -> None:
    images = right_sides(30, (3, 4), np.float64)
    blur = io.mmread(BLUR).toarray()
    blurred = (images.reshape(30, 12) @ blur.T).reshape(images.shape)
    for method in ("cg", "minres", "lsqr"):
        spec = step("solve", matrix=str(BLUR), method=method, tolerance=1e-9)
        found = fit_apply(spec, blurred)
        assert found == pytest.approx(images, abs=1e-5)
        described = spec.describe(dense_sample(blurred, unit_interval=True).info, 20)
        assert (described.shape, described.dims) == ((3, 4), ("height", "width"))
        assert not described.unit_interval


@pytest.mark.parametrize("method", ["cg", "minres", "lsqr"])
def test_the_tolerance_bounds_every_residual(tmp_path: Path, method: str) -> None:
    matrix = symmetric(np.geomspace(1, 0.01, 40))
    values = right_sides(30, (40,)) * np.geomspace(1e-20, 1e20, 30, dtype=np.float32)[:, None]
    spec = step("solve", matrix=write(tmp_path / "a.mtx", matrix, precision=17), method=method, tolerance=1e-3)
    data = dense_sample(values, 20).fit_data()
    found = spec.apply(values, spec.fit(data), slice(0, 30))
    assert isinstance(found, np.ndarray)
    right = values.astype(np.float64)
    residual = right - found.astype(np.float64) @ matrix.T
    left = np.linalg.norm(residual, axis=1) / np.linalg.norm(right, axis=1)
    if method == "lsqr":
        normal = np.linalg.norm(residual @ matrix, axis=1) / np.linalg.norm(residual, axis=1) / np.linalg.norm(matrix)
        left = np.minimum(left, normal)
    # Rounding x to float32 adds up to 1e-5.
    assert 1e-4 < left.max() < 1.02e-3
    assert data.progress.convergence is not None
    assert data.progress.convergence.value == pytest.approx(left[:20].max(), abs=2e-5)


@given(
    num_rows=st.integers(1, 12),
    borders=st.lists(st.integers(1, 11), max_size=4),
    method=st.sampled_from(["cg", "minres", "lsqr"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_has_the_same_bits_in_any_block(num_rows: int, borders: list[int], method: str, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(num_rows, 12)).astype(np.float32)
    spec = step("solve", matrix=str(BLUR), method=method, tolerance=1e-4)
    sample = dense_sample(values)
    state = spec.fit(sample.fit_data())
    whole = sample.apply(spec, state)
    cut = sample.apply(spec, state, sorted({border for border in borders if border < num_rows}))
    assert isinstance(whole, np.ndarray)
    assert isinstance(cut, np.ndarray)
    assert cut.tobytes() == whole.tobytes()


def test_large_blocks_are_solved_for_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.preprocessing import solve

    values = right_sides(50, (12,))
    spec = step("solve", matrix=str(BLUR))
    state = spec.fit(dense_sample(values).fit_data())
    expected = spec.apply(values, state, slice(0, 50))
    whole = dense_sample(values).fit_data(1)
    spec.fit(whole)
    monkeypatch.setattr(solve, "PIECE", 100)
    assert isinstance(expected, np.ndarray)
    found = spec.apply(values, state, slice(0, 50))
    assert isinstance(found, np.ndarray)
    assert found.tobytes() == expected.tobytes()
    pieces = dense_sample(values).fit_data(1)
    spec.fit(pieces)
    assert [line["value"] for line in pieces.progress.trace] == [line["value"] for line in whole.progress.trace]


def test_the_trace_is_that_of_the_worst_training_row(tmp_path: Path) -> None:
    matrix = np.diag(np.linspace(1, 10, 12))
    values = np.zeros((9, 12), np.float32)
    values[:8, 0] = 1
    values[3] = 1
    values[8] = np.geomspace(1, 1e6, 12)
    path = write(tmp_path / "a.mtx", matrix)
    traces = []
    for rows, num_blocks in ((values[:8], 1), (values[:8], 5), (values[3:4], 1)):
        data = dense_sample(rows).fit_data(num_blocks)
        step("solve", matrix=path, method="minres").fit(data)
        traces.append([line["value"] for line in data.progress.trace])
    assert traces[0] == traces[1] == traces[2]
    # The last row is none of the training split.
    data = dense_sample(values, 8).fit_data(3)
    step("solve", matrix=path, method="minres").fit(data)
    assert [line["value"] for line in data.progress.trace] == traces[0]


def test_what_does_not_converge_is_said_or_refused(tmp_path: Path) -> None:
    matrix = write(tmp_path / "a.mtx", symmetric(np.geomspace(1, 1e-5, 40)))
    sample = dense_sample(right_sides(10, (40,)), 6)
    data = sample.fit_data()
    step("solve", matrix=matrix, max_iterations=3).fit(data)
    assert data.progress.convergence is not None
    assert not data.progress.convergence.converged
    assert data.progress.convergence.value == pytest.approx(data.progress.trace[-1]["value"])
    strict = step("solve", matrix=matrix, max_iterations=3, on_no_convergence="error")
    with pytest.raises(StageError, match=r"^solve: relative residual.* after 3 iterations, above tolerance = 1e-06"):
        strict.fit(sample.fit_data())
    state = step("solve", matrix=matrix, max_iterations=3).fit(sample.fit_data())
    with pytest.raises(StageError, match=r"^solve: row 7: relative residual [-0-9.e]+ is above tolerance"):
        strict.apply(np.asarray(sample.inputs)[7:], state, slice(7, 10))


# Refused when an experiment is checked


def info_of(*shape: int) -> DataInfo:
    return DataInfo(("density",), 50, shape, ("a", "b")[: len(shape)])


def test_descriptions_read_the_first_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mtx"
    header = b"%%MatrixMarket matrix coordinate real general\n% a comment\n12 7 9\nno numbers"
    for content in (header, gzip.compress(header)):
        path.write_bytes(content)
        assert step("solve", matrix=str(path)).describe(info_of(3, 4), 20).shape == (7,)


@pytest.mark.parametrize(
    ("shape", "method", "matrix", "why"),
    [
        (
            (11,),
            "lsqr",
            POSITIVE,
            r"^matrix: \S+a\.mtx has 12 rows, and a sample 11 numbers; allowed: a matrix with a row",
        ),
        ((1,), "lsqr", POSITIVE, r"^matrix: \S+ has 12 rows, and a sample 1 number; allowed"),
        (
            (12,),
            "cg",
            rectangular(12, 7, np.ones(7)),
            r"^matrix: \S+ is 12 x 7, and cg needs as many rows as columns; a",
        ),
        ((12,), "minres", rectangular(12, 20, np.ones(7)), r"^matrix: \S+ is 12 x 20, and minres needs"),
    ],
)
def test_matrices_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, shape: tuple[int, ...], method: str, matrix: np.ndarray, why: str
) -> None:
    spec = step("solve", matrix=write(tmp_path / "a.mtx", matrix), method=method)
    with pytest.raises(ValueError, match=why) as caught:
        spec.describe(info_of(*shape), 20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, r"^matrix: \S+a\.mtx: no such file \(looked in /"),
        (b"", r"^matrix: \S+a\.mtx: does not begin with"),
        (
            b"%%MatrixMarket matrix array real general\n12 12\n1\n",
            r"^matrix: \S+a\.mtx: holds a matrix in `array` format",
        ),
        (b"%%MatrixMarket matrix coordinate real general\n12\n", r"^matrix: \S+a\.mtx: has no line with rows, columns"),
    ],
)
def test_files_that_are_none_are_refused_in_one_line(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "a.mtx").write_bytes(content)
    with pytest.raises(ValueError, match=why) as caught:
        step("solve", matrix=str(tmp_path / "a.mtx")).describe(info_of(12), 20)
    assert "\n" not in str(caught.value)


def test_damping_is_for_lsqr() -> None:
    with pytest.raises(ValueError, match="damping: means nothing with method: cg; allowed with lsqr"):
        step("solve", matrix=str(BLUR), method="cg", damping=0.1)
    assert step("solve", matrix=str(BLUR), method="cg", damping=0.0)


# Refused by the fit


def lines(text: str) -> bytes:
    return b"%%MatrixMarket matrix coordinate real general\n" + text.encode()


@pytest.mark.parametrize(
    ("method", "content", "why"),
    [
        ("cg", lines("2 2 3\n1 1 2\n2 2 2\n1 2 1\n"), r"^solve: matrix: \S+a\.mtx is not symmetric; say method: lsqr$"),
        ("minres", lines("2 2 3\n1 1 2\n2 2 2\n1 2 1\n"), "is not symmetric"),
        (
            "cg",
            lines("2 2 2\n1 1 2\n2 2 -2\n"),
            r"^solve: matrix: \S+: the matrix is not positive definite: number 2 .*",
        ),
        (
            "cg",
            lines("2 2 4\n1 1 1\n2 2 1\n1 2 2\n2 1 2\n"),
            r"not positive definite, or too close.*; say method: lsqr$",
        ),
        ("lsqr", lines("2 2 2\n1 1 nan\n2 2 2\n"), r"^solve: matrix: \S+a\.mtx holds what is no finite number$"),
        ("lsqr", lines("2 2 90\n1 1 1\n"), r"^solve: matrix: \S+a\.mtx: claims 2 rows, 2 columns and 90 stored"),
        ("lsqr", lines("2 2 2\n1 1 x\n2 2 1\n"), r"^solve: matrix: \S+a\.mtx: cannot be read as Matrix Market"),
    ],
)
def test_what_the_method_cannot_work_on_is_refused(tmp_path: Path, method: str, content: bytes, why: str) -> None:
    (tmp_path / "a.mtx").write_bytes(content)
    values = np.array([[1, -1], [2, 0.5]], np.float32)
    with pytest.raises(StageError, match=why) as caught:
        step("solve", matrix=str(tmp_path / "a.mtx"), method=method).fit(dense_sample(values).fit_data())
    assert "\n" not in str(caught.value)


def test_numbers_of_one_place_are_summed_and_triangles_filled_up(tmp_path: Path) -> None:
    text = "%%MatrixMarket matrix coordinate integer symmetric\n3 3 5\n3 3 4\n1 1 1\n2 2 2\n1 1 2\n2 1 1\n"
    (tmp_path / "a.mtx").write_text(text)
    matrix = np.array([[3.0, 1, 0], [1, 2, 0], [0, 0, 4]])
    values = right_sides(20, (3,))
    for method in ("cg", "minres", "lsqr"):
        found = fit_apply(step("solve", matrix=str(tmp_path / "a.mtx"), method=method, tolerance=1e-9), values)
        assert found == pytest.approx(np.linalg.solve(matrix, values.T).T, abs=1e-5)


# The file is part of the result's identity


def experiment_of(matrix: str, **parameters: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "datasets": {"tumours": {"kind": "breast_cancer"}},
        "features": {"solved": [{"kind": "standardize"}, {"kind": "solve", "matrix": matrix, **parameters}]},
        "models": [{"kind": "fnn", "features": "solved"}],
    }


def features_of(matrix: str, artifacts: Path, **parameters: Any) -> Artifact:
    plan = Plan(check_experiment(experiment_of(matrix, **parameters), artifacts=artifacts), Site(device="cpu"))
    return plan.features["tumours", "solved"]


def digest(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_another_content_is_another_artifact(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mtx", symmetric(np.linspace(1, 2, 30)))
    before = features_of(path, tmp_path)
    assert before.spec["contents"] == {path: digest(path)}
    assert features_of(path, tmp_path).identity == before.identity
    write(tmp_path / "a.mtx", symmetric(np.linspace(1, 2, 30), seed=1))
    after = features_of(path, tmp_path)
    assert after.identity != before.identity
    assert after.spec["contents"] == {path: digest(path)}
    wanted = features_of(path, tmp_path, sha256=digest(path))
    assert wanted.spec["contents"] == after.spec["contents"]


def test_what_a_step_does_later_needs_no_file_to_be_described(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mtx", rectangular(30, 8, np.ones(8)))
    parameters = json.loads(json.dumps(features_of(path, tmp_path).spec))["steps"][1]
    Path(path).unlink()
    spec = step(**parameters)
    assert spec.describe(info_of(30), 20).shape == (8,)


def test_steps_without_files_have_the_identity_that_they_had() -> None:
    assert step("standardize").files() == {}
    spec = step("standardize")
    assert spec.filled_in() is spec
    data = {**experiment_of(""), "features": {"solved": [{"kind": "standardize"}]}}
    assert "contents" not in Plan(check_experiment(data), Site()).features["tumours", "solved"].spec


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        (
            {"sha256": "0" * 64},
            r"features\.solved\[1\]\.sha256: \S+a\.mtx: has another content than asked for: [0-9a-f]{64}",
        ),
        ({"shape": [30, 31]}, r"features\.solved\[1\]\.shape: is \(30, 31\), but \S+a\.mtx has \(30, 30\)"),
        (
            {"matrix": "operators/none.mtx"},
            r"features\.solved\[1\]\.matrix: operators/none\.mtx: no such file \(looked",
        ),
        ({"matrix": "b.mtx"}, r"features\.solved\[1\]\.matrix: b\.mtx: does not begin with `%%MatrixMarket"),
        ({"matrix": "c.mtx"}, r"features\.solved\[1\]\.matrix: c\.mtx has 2 rows, and a sample 30 numbers"),
        ({"method": "cg", "damping": 1.0}, r"features\.solved\[1\]\.damping: means nothing with method: cg"),
    ],
)
def test_an_experiment_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: Mapping[str, Any], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.mtx", symmetric(np.linspace(1, 2, 30)))
    (tmp_path / "b.mtx").write_text("nothing\n")
    write(tmp_path / "c.mtx", np.eye(2))
    with pytest.raises(InputError, match=f"^{why}") as caught:
        check_experiment(experiment_of(**{"matrix": path, **parameters}))
    assert len(caught.value.problems) == 1


def fit_in_a_stage(tmp_path: Path, spec: Mapping[str, Any]) -> Any:
    inputs = right_sides(50, (30,))
    written = write_store(
        tmp_path / "shards.zarr", {"inputs": inputs}, choose_layout(50, inputs[0].nbytes), {"train": 40, "test": 10}
    )
    folder = tmp_path / "made"
    folder.mkdir()
    task: Any = SimpleNamespace(spec=json.loads(json.dumps(spec)), id="x", checkpoints=tmp_path / "checkpoints")
    return preprocess.fit(task, written.store, folder, None)


def test_a_file_that_changed_since_planning_is_refused_by_the_stage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mtx", symmetric(np.linspace(1, 2, 30)))
    spec = features_of(path, tmp_path / "artifacts").spec
    kept = Path(path).read_bytes()
    for name, change in {"edited": lambda: Path(path).write_bytes(kept + b"\n"), "gone": Path(path).unlink}.items():
        change()
        (tmp_path / name).mkdir()
        with pytest.raises(StageError, match=r"^solve: \S+a\.mtx: changed since planning; start the workflow again$"):
            fit_in_a_stage(tmp_path / name, spec)
    Path(path).write_bytes(kept)
    (tmp_path / "good").mkdir()
    chain = fit_in_a_stage(tmp_path / "good", spec)
    assert isinstance(chain[1].step, StepSpec)
    assert chain[1].state["shape"].tolist() == [30, 30]

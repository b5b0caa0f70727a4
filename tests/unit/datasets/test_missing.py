"""Tables whose missing measurements are kept as NaN, from the file through the shards to the step that fills them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings

from headrace import chains
from headrace.datasets.base import Source
from headrace.errors import InputError
from headrace.formats import lines, parquet_tables
from headrace.linalg.progress import Progress
from headrace.preprocessing.base import FitData
from headrace.provenance.manifests import write_json
from headrace.provenance.verification import verify_artifact
from headrace.registry import load_kind
from headrace.running.jobs import Making
from headrace.running.workers import Workers
from headrace.sources.gathering import gather
from headrace.sources.library import Library
from headrace.stages import shard
from headrace.stores.layout import STORE, Variable
from headrace.stores.reading import Store
from mutations import damaged, read_whole, refusal_of
from sample_fits import step

ROWS = 300
both = pytest.mark.parametrize("kind", ["csv", "parquet"])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PART_BYTES", 700)
    monkeypatch.setattr(parquet_tables, "PART_BYTES", 4 * 5 * 40)


@pytest.fixture
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "late": generator.normal(size=ROWS),
            "length": generator.normal(size=ROWS),
            "shape": generator.choice(["round", "odd"], ROWS),
            "count": generator.integers(-5, 5, ROWS).astype(float),
            "colour": generator.choice(["red", "blue", "green"], ROWS),
        }
    )
    frame.loc[:150, "late"] = np.nan
    frame.loc[generator.uniform(size=ROWS) < 0.2, "length"] = np.nan
    frame.loc[[0, ROWS - 1], "count"] = np.nan
    return frame


def write(frame: pd.DataFrame, kind: str, folder: Path) -> dict[str, Any]:
    """Parameters that read it."""
    path = folder / f"a.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False, na_rep="NA")
    else:
        frame.to_parquet(path, row_group_size=130)
    return {"kind": kind, "path": str(path), "target": "colour", "missing": "keep"}


def wanted_inputs(frame: pd.DataFrame) -> np.ndarray:
    shapes = pd.Categorical(frame["shape"], categories=["odd", "round"]).codes
    return np.column_stack([frame["late"], frame["length"], shapes, frame["count"]]).astype(np.float32)


@both
def test_missing_measurements_are_nan(tmp_path: Path, frame: pd.DataFrame, kind: str) -> None:
    blocks, source, survey = read_whole(tmp_path, **write(frame, kind, tmp_path))
    assert len(source.borders) > 5
    assert survey.info.has_missing
    assert source.has_missing
    assert survey.info.num_samples == ROWS
    np.testing.assert_array_equal(blocks["inputs"], wanted_inputs(frame))
    names = survey.info.class_names
    assert [names[code] for code in blocks["target"]] == frame["colour"].tolist()
    np.testing.assert_array_equal(source.column("target"), blocks["target"])


@both
def test_what_is_whole_has_nothing_missing(tmp_path: Path, frame: pd.DataFrame, kind: str) -> None:
    _, source, survey = read_whole(tmp_path, **write(frame.fillna(0.5), kind, tmp_path))
    assert not survey.info.has_missing
    assert not source.has_missing
    keys = write(frame, kind, tmp_path) | {"missing": "drop"}
    blocks, _, survey = read_whole(tmp_path, **keys)
    assert not survey.info.has_missing
    np.testing.assert_array_equal(blocks["inputs"], wanted_inputs(frame.dropna()))


PLACES = {"csv": r"a\.csv: line 9", "parquet": r"a\.parquet: row 7 \(counted from 0\)"}


@both
@pytest.mark.parametrize(
    ("column", "keys", "message"),
    [
        ("colour", {}, "no value; `missing: drop`"),
        ("count", {"target": "count"}, "no value; `missing: drop`"),
        ("count", {"split": {"by": "time", "column": "count"}}, "no value; `missing: drop`"),
        ("shape", {}, "no value among categories; take its word out of `missing_values`, or"),
        ("count", {"categories": ("count",)}, "no value among categories"),
    ],
)
def test_what_must_be_there_is_asked_for(
    tmp_path: Path, frame: pd.DataFrame, kind: str, column: str, keys: dict[str, Any], message: str
) -> None:
    frame["count"] = np.arange(ROWS)
    frame[column] = frame[column].where(frame.index != 7)
    with pytest.raises(InputError, match=rf"{PLACES[kind]}: column '{column}': {message}"):
        read_whole(tmp_path, **(write(frame, kind, tmp_path) | keys))


def test_a_word_that_is_not_missing_is_a_category(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame["shape"] = frame["shape"].where(frame.index % 7 != 0, "?")
    keys = write(frame, "csv", tmp_path)
    _, source, survey = read_whole(tmp_path, **keys)
    assert source.attributes["categories"]["shape"] == ["?", "odd", "round"]
    assert survey.info.has_missing
    with pytest.raises(InputError, match=r"line 2: column 'shape': no value among categories"):
        read_whole(tmp_path, missing_values=("NA", "?"), **keys)


def test_numbers_that_are_read_as_text_may_be_missing_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n+1.5,1\nNA,2\n  ,3\n-2,4\n")
    blocks, _, _ = read_whole(tmp_path, kind="csv", path=str(tmp_path / "a.csv"), missing="keep")
    np.testing.assert_array_equal(blocks["inputs"][:, 0], [1.5, np.nan, np.nan, -2])


def test_text_is_a_mistake_where_nearly_all_that_is_there_are_numbers(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame["late"] = frame["late"].astype(object)
    frame.loc[200, "late"] = "x"
    with pytest.raises(InputError, match=r"line 202: column 'late': 'x' is not a number; 148 of the 149 rows are"):
        read_whole(tmp_path, **write(frame, "csv", tmp_path))


def test_names_that_come_late_leave_no_room_for_what_is_missing(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame["late"] = frame["late"].astype(object)
    frame.loc[200:, "late"] = "x"
    with pytest.raises(InputError, match=r"line 2: column 'late': no value among categories"):
        read_whole(tmp_path, **write(frame, "csv", tmp_path))
    whole = frame.assign(late=frame["late"].where(~frame["late"].isna(), 7), length=1.5)
    _, source, _ = read_whole(tmp_path, **write(whole, "csv", tmp_path))
    assert source.attributes["categories"]["late"][-1] == "x"
    assert "7" in source.attributes["categories"]["late"]


@both
def test_a_column_without_any_value_is_nan_throughout(tmp_path: Path, frame: pd.DataFrame, kind: str) -> None:
    blocks, _, _ = read_whole(tmp_path, **write(frame.assign(late=np.nan), kind, tmp_path))
    assert np.isnan(blocks["inputs"][:, 0]).all()
    with pytest.raises(InputError, match=r"column 'late': no value among categories"):
        read_whole(tmp_path, **write(frame.assign(late=np.nan), kind, tmp_path), categories=("late",))


@both
def test_infinite_numbers_are_refused_all_the_same(tmp_path: Path, frame: pd.DataFrame, kind: str) -> None:
    frame.loc[7, "length"] = np.inf
    with pytest.raises(InputError, match=rf"{PLACES[kind]}: column 'length': inf is not a finite number"):
        read_whole(tmp_path, **write(frame, kind, tmp_path))


GOOD = b"x,y,colour\n" + b"".join(
    b"%s,%d.5,%s\n" % ([b"1", b"NA", b"-2e3", b""][i % 4], i, [b"red", b"blue"][i % 2]) for i in range(12)
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(GOOD, (b"NA", b",", b"\n", b"inf", b"x")))
def test_damaged_files_are_read_with_nan_alone_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        keys = {"kind": "csv", "path": str(path), "target": "colour", "missing": "keep"}
        if refusal_of(Path(folder), **keys) is not None:
            return
        blocks, _, survey = read_whole(Path(folder), **keys)
        assert not np.isinf(blocks["inputs"]).any()
        assert np.isnan(blocks["inputs"]).any() == survey.info.has_missing
        assert np.isfinite(blocks["target"]).all()


class Given(Source):
    """Rows as they are."""

    def __init__(self, has_missing: bool, **blocks: np.ndarray) -> None:
        self.blocks, self.has_missing = blocks, has_missing
        self.borders = np.array([0, len(blocks["inputs"])])
        self.variables = {name: Variable((), (), block.dtype.name) for name, block in blocks.items()}

    def read(self, part: int, names: Any) -> dict[str, Any]:
        return {name: self.blocks[name] for name in names}


@pytest.mark.parametrize(
    ("has_missing", "bad", "message"),
    [
        (False, {"inputs": np.nan}, "inputs of row 2 is not a finite number"),
        (True, {"inputs": np.inf}, "inputs of row 2 is not a finite number"),
        (True, {"target": np.nan}, "target of row 2 is not a finite number"),
        (True, {"inputs": np.nan}, None),
    ],
)
def test_nan_gets_no_further_unless_it_was_promised(
    has_missing: bool, bad: dict[str, float], message: str | None
) -> None:
    blocks = {name: np.ones(4, np.float32) for name in ("inputs", "target")}
    for name, value in bad.items():
        blocks[name][2] = value
    source = Given(has_missing, **blocks)
    if message is None:
        assert np.isnan(gather(source, np.array([2, 0]), ["inputs"])["inputs"]).tolist() == [True, False]
        return
    with pytest.raises(InputError, match=message):
        gather(source, np.arange(4), ["inputs", "target"])


@both
def test_nan_goes_through_the_shards_and_is_filled_behind_them(
    tmp_path: Path, frame: pd.DataFrame, kind: str, one_worker: Workers
) -> None:
    @contextmanager
    def opened(_: Any) -> Iterator[Workers]:
        yield one_worker

    spec: Any = load_kind("datasets", kind).model_validate(write(frame, kind, tmp_path))
    library = Library(tmp_path / "artifacts")
    folder = tmp_path / "artifacts" / "shard" / "x"
    folder.mkdir(parents=True)
    work, task = Making(folder), SimpleNamespace(id="x", spec={"content": library.look_up(spec).sha256})
    job: Any = SimpleNamespace(place=None, workers_used={})
    shard.make_shards(job, task, work, spec, library, SimpleNamespace(open=opened))  # type: ignore[arg-type]
    write_json(
        folder / "manifest.json",
        {"identity": "0", "status": "done", "outputs": work.digests, "chunks": work.chunks},
    )
    assert list(verify_artifact(folder)) == []
    store = Store((folder / STORE).absolute())
    with xr.open_zarr(folder / STORE) as dataset:
        order = dataset.source_row.to_numpy()
        np.testing.assert_array_equal(dataset.inputs.to_numpy(), wanted_inputs(frame)[order])
    np.testing.assert_array_equal(store.read("inputs", slice(0, ROWS)), wanted_inputs(frame)[order])

    train = store.split("train")
    inputs = chains.open_blocks(store, ("inputs",), train, (), one_worker)
    state = step("impute").fit(FitData(inputs, Progress()))
    expected = np.nanmean(wanted_inputs(frame)[order][train].astype(float), axis=0)
    assert state["fill"] == pytest.approx(expected, rel=1e-12)

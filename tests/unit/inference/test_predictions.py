"""What a trained run predicts is what its evaluation found; what it cannot predict is one line."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from headrace.__main__ import main
from headrace.blocks import Ragged
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from headrace.stores.layout import STORE
from headrace.stores.reading import Store
from sample_runs import EXPERIMENT, PLAYS, Made, make_runs

MODELS = [model["name"] for model in EXPERIMENT["models"]]
LETTERS = next(model for model in EXPERIMENT["models"] if model["name"] == "letters")
JUDGED = ("probabilities", "prediction", "neg_elbo", "nats")
"""What is judged of a run, by its task."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    return make_runs(tmp_path_factory.mktemp("runs"), one_worker)


@pytest.fixture(autouse=True)
def _environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in THREADS:
        monkeypatch.setenv(variable, "1")


def predict(made: Made, model: str, data: Path, *options: str) -> dict[str, np.ndarray]:
    output = made.root / f"{model}.npz"
    assert main(["predict", str(made.folder(model)), str(data), "--output", str(output), *options]) == 0
    with np.load(output) as found:
        return dict(found)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    capsys.readouterr()
    assert main(["predict", *map(str, arguments)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def inputs_of(folder: Path, split: str = "test") -> np.ndarray:
    store = Store(folder / STORE)
    inputs = store.read("inputs", store.split(split))
    assert isinstance(inputs, np.ndarray)
    return inputs


def judged(made: Made, model: str) -> dict[str, np.ndarray]:
    return load_arrays(made.evaluation(model) / "predictions.safetensors")


# The same bits as the evaluation's


@pytest.mark.parametrize("which", ["features", "shards"])
@pytest.mark.parametrize("model", MODELS)
def test_the_test_split_is_predicted_to_the_bits_of_the_evaluation(made: Made, model: str, which: str) -> None:
    found = predict(made, model, getattr(made, which)(model), "--split", "test")
    wanted = judged(made, model)
    names = wanted.keys() - {"target", "inputs", "mean"}
    assert names
    for name in names:
        assert found[name].dtype == wanted[name].dtype
        assert np.array_equal(found[name], wanted[name]), name


@pytest.mark.parametrize("model", MODELS)
def test_all_splits_come_one_after_the_other_under_the_numbers_of_their_source(made: Made, model: str) -> None:
    store = Store(made.features(model) / STORE)
    found = predict(made, model, made.features(model))
    assert sorted(found["row"].tolist()) == list(range(store.layout.num_rows))
    name = next(name for name in JUDGED if name in found)
    for split in ("train", "validation", "test"):
        alone = predict(made, model, made.shards(model), "--split", split)
        rows = store.split(split)
        assert np.array_equal(found["row"][rows], alone["row"])
        assert np.array_equal(found[name][rows], alone[name])


@pytest.mark.parametrize("model", ["reduced", "raw", "numbers", "vae", "cnn", "rnn", "letters"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_dense_rows_in_a_file_go_through_the_fitted_chain(made: Made, tmp_path: Path, model: str, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    inputs = inputs_of(made.shards(model))
    np.save(path, inputs) if suffix == ".npy" else np.savez(path, inputs=inputs, more=np.zeros(3))
    found = predict(made, model, path)
    name = next(name for name in JUDGED if name in found)
    assert np.array_equal(found[name], judged(made, model)[name])
    assert found["row"].tolist() == list(range(len(inputs)))


def test_rows_that_were_never_seen_are_not_augmented(made: Made, tmp_path: Path) -> None:
    """The noise of the training split belongs to its places in it; the same rows in a file are new ones."""
    np.save(tmp_path / "rows.npy", inputs_of(made.shards("reduced"), "train"))
    found = predict(made, "reduced", tmp_path / "rows.npy")["probabilities"]
    augmented = predict(made, "reduced", made.shards("reduced"), "--split", "train")["probabilities"]
    assert not np.array_equal(found, augmented)
    np.testing.assert_allclose(found, augmented, atol=0.2)


def test_predictions_are_in_the_units_of_the_data(made: Made) -> None:
    found = predict(made, "numbers", made.shards("numbers"))["prediction"]
    assert 100 < found.mean() < 200


# Attributions


@pytest.mark.parametrize("model", ["reduced", "raw", "numbers", "cnn", "rnn"])
def test_shares_of_every_input_come_beside_the_same_predictions(made: Made, model: str) -> None:
    found = predict(made, model, made.features(model), "--split", "test", "--attribute")
    plain = predict(made, model, made.features(model), "--split", "test")
    assert found.keys() - plain.keys() == {"attribution", "attribution_error"}
    for name, values in plain.items():
        assert np.array_equal(found[name], values), name
    inputs = inputs_of(made.features(model))
    assert found["attribution"].shape == inputs.shape
    assert found["attribution"].dtype == np.float32
    assert np.abs(found["attribution"]).sum() > 0
    assert (found["attribution"][inputs == 0] == 0).all()


def test_shares_of_a_number_are_in_its_units(made: Made, tmp_path: Path) -> None:
    found = predict(made, "numbers", made.features("numbers"), "--split", "test", "--attribute")
    # Scaled to 0: the mean of the training split.
    np.save(tmp_path / "mean.npy", inputs_of(made.shards("numbers"), "train").mean(axis=0, dtype=np.float64)[None])
    origin = predict(made, "numbers", tmp_path / "mean.npy")["prediction"][0, 0]
    explained = found["prediction"][:, 0] - origin
    sums = found["attribution"].sum(axis=1) - found["attribution_error"]
    np.testing.assert_allclose(sums, explained, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("ragged", ["--attribute", "--output", "a.npz"], "the run reads ragged inputs; allowed: dense measurements"),
        ("sparse", ["--attribute", "--output", "a.npz"], "the run reads sparse inputs; allowed: dense measurements"),
        ("letters", ["--attribute", "--output", "a.npz"], "the run reads codes; allowed: dense measurements"),
        (
            "vae",
            ["--attribute", "--output", "a.npz"],
            "trained for density; allowed: dense measurements, and classes or",
        ),
        ("raw", ["--attribute", "--output", "a.csv"], "needs --output FILE.npz"),
        ("raw", ["--attribute"], "needs --output FILE.npz"),
    ],
)
def test_what_has_no_shares_is_refused_in_a_line(
    made: Made, capsys: pytest.CaptureFixture[str], model: str, options: list[str], words: str
) -> None:
    line = refused(capsys, made.folder(model), made.features(model), *options)
    assert line.startswith("--attribute: ")
    assert words in line


# Tables


def test_a_table_says_what_the_arrays_say(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    found = predict(made, "reduced", made.shards("reduced"), "--split", "test")
    capsys.readouterr()
    assert main(["predict", made.run("reduced").train.id, str(made.shards("reduced")), "--split", "test",
                 "--artifacts", str(made.root)]) == 0  # fmt: skip
    out, err = capsys.readouterr()
    assert err == ""
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["row", "predicted", "probability_malignant", "probability_benign"]
    assert [int(row["row"]) for row in rows] == found["row"].tolist()
    assert [row["predicted"] for row in rows] == [found["class_names"][code] for code in found["predicted"]]
    written = np.array([[row["probability_malignant"], row["probability_benign"]] for row in rows], np.float32)
    assert np.array_equal(written, found["probabilities"])


@pytest.mark.parametrize(
    ("model", "header"),
    [
        ("numbers", ["row", "prediction"]),
        ("vae", ["row", "neg_elbo", "reconstruction"]),
        ("letters", ["row", "nats", "steps"]),
    ],
)
def test_a_table_of_numbers(made: Made, tmp_path: Path, model: str, header: list[str]) -> None:
    path = tmp_path / "table.csv"
    assert main(["predict", str(made.folder(model)), str(made.shards(model)), "--output", str(path)]) == 0
    found = predict(made, model, made.shards(model))
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == header
    for name in header:
        assert np.array_equal(np.array([row[name] for row in rows]).astype(found[name].dtype), found[name].reshape(-1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


# What is refused


def test_what_is_no_run_is_one_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    data = made.shards("raw")
    assert "nothing: not a sealed run" in refused(capsys, "nothing", data)
    assert "is an artifact of shard, not of train" in refused(capsys, data, data)


def test_a_run_that_failed_or_is_damaged_is_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "train" / "run"
    shutil.copytree(made.folder("raw"), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "failed", "reason": "lost"}))
    assert "its training failed: lost" in refused(capsys, folder, made.shards("raw"))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(made.folder("numbers") / "weights.safetensors", folder)
    assert "weights.safetensors/1.bias is missing or not what was written" in refused(
        capsys, folder, made.shards("raw")
    )
    (folder / "weights.safetensors").unlink()
    assert "weights.safetensors/1.bias is missing" in refused(capsys, folder, made.shards("raw"))


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("raw", lambda made: made.shards("cnn"), "shape of the inputs"),
        ("reduced", lambda made: made.shards("ragged"), "layout of the inputs: ragged; the run was trained on dense"),
        ("reduced", lambda made: made.features("vae"), "its steps were not fitted for"),
        ("raw", lambda made: made.folder("raw"), "not a sealed artifact of shard or preprocess"),
        ("raw", lambda made: made.root, "not a sealed artifact of shard or preprocess"),
        ("raw", lambda made: Path("nothing.npy"), "nothing.npy: cannot be read: No such file or directory"),
        ("raw", lambda made: Path("rows.txt"), "rows.txt: is neither an artifact"),
    ],
)
def test_data_that_do_not_fit_are_one_line(
    made: Made, capsys: pytest.CaptureFixture[str], model: str, data, words: str
) -> None:
    assert words in refused(capsys, made.folder(model), data(made))


def test_codes_that_stand_for_other_characters_are_one_line(
    made: Made, tmp_path: Path, one_worker: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text(PLAYS.read_text().replace("q", "\u00e9"), "utf-8")
    dataset = {"kind": "text_stream", "path": str(tmp_path / "other.txt"), "context": 60}
    other = make_runs(tmp_path, one_worker, {**EXPERIMENT, "datasets": {"plays": dataset}, "models": [LETTERS]})
    assert "its codes stand for other characters" in refused(capsys, made.folder("letters"), other.shards("letters"))
    (tmp_path / "other.txt").write_text(PLAYS.read_text(), "utf-8")
    same = make_runs(tmp_path / "same", one_worker, {**EXPERIMENT, "datasets": {"plays": dataset}, "models": [LETTERS]})
    assert same.shards("letters") != made.shards("letters")
    assert predict(made, "letters", same.shards("letters"), "--split", "test")["nats"].tolist() == (
        judged(made, "letters")["nats"].tolist()
    )


@pytest.mark.parametrize(
    ("model", "values", "words"),
    [
        ("raw", np.zeros((3, 29)), "3 rows of shape (29,); it must be one or more of (30,)"),
        ("raw", np.zeros((0, 30)), "0 rows of shape"),
        ("raw", np.array(3.0), "a single number is no rows"),
        ("raw", np.full((3, 30), "a"), "holds <U1"),
        ("reduced", np.array([[0.0] * 30, [np.nan] * 30]), "row 1: allowed: finite numbers"),
        ("raw", np.full((1, 30), 1e300), "row 0: allowed: finite numbers"),
        ("letters", np.full((1, 61), 59), "row 0: allowed: 0 to 58"),
        ("ragged", np.zeros((3, 2)), "its rows are dense, and the run's ragged"),
        ("sparse", np.zeros((3, 50)), "its rows are dense, and the run's sparse"),
        ("graph", np.zeros((3, 16)), "works on the nodes of its own graph"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, values: np.ndarray, words: str
) -> None:
    if model == "graph":
        values = np.zeros((3, *inputs_of(made.shards("graph")).shape[1:]))
    np.save(tmp_path / "rows.npy", values)
    assert words in refused(capsys, made.folder(model), tmp_path / "rows.npy")


def test_an_archive_must_say_which_array_is_meant(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "rows.npz", one=np.zeros(3), two=np.zeros(3))
    assert "holds one, two; name one of them 'inputs'" in refused(capsys, made.folder("raw"), tmp_path / "rows.npz")
    (tmp_path / "rows.npz").write_bytes(b"PK\x03\x04 and nothing more")
    assert "cannot be read" in refused(capsys, made.folder("raw"), tmp_path / "rows.npz")
    np.save(tmp_path / "rows.npy", np.array([{}], object), allow_pickle=True)
    assert "cannot be read" in refused(capsys, made.folder("raw"), tmp_path / "rows.npy")


def test_a_fitted_step_that_is_gone_is_one_line(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (made.folder("numbers"), made.features("numbers")):
        shutil.copytree(folder, tmp_path / folder.relative_to(made.root))
    run = tmp_path / made.folder("numbers").relative_to(made.root)
    features = tmp_path / made.features("numbers").relative_to(made.root)
    data = made.shards("numbers")
    # What is learnt is enough: the features themselves may have been removed.
    shutil.rmtree(features / STORE)
    assert main(["predict", str(run), str(data), "--split", "test"]) == 0
    (features / "0-standardize.safetensors").unlink()
    assert "0-standardize.safetensors/mean is missing" in refused(capsys, run, data)
    shutil.rmtree(features)
    assert "is missing or another" in refused(capsys, run, data)


def test_options_that_cannot_be_are_one_line(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = made.folder("raw"), made.shards("raw")
    assert "allowed: train, validation, test" in refused(capsys, run, data, "--split", "tset")
    assert "names that end in .csv or .npz" in refused(capsys, run, data, "--output", "table.txt")
    assert "cannot be written" in refused(capsys, run, data, "--output", tmp_path / "no" / "table.csv")
    np.save(tmp_path / "rows.npy", np.zeros((2, 30)))
    assert "means nothing with a file" in refused(capsys, run, tmp_path / "rows.npy", "--split", "test")


def test_ragged_samples_are_ragged(made: Made) -> None:
    """What the sample experiment is meant to cover."""
    assert isinstance(Store(made.shards("ragged") / STORE).read("inputs", slice(0, 9)), Ragged)

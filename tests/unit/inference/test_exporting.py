"""A program that was exported predicts what its run does, for any number of rows, without Headrace."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from headrace.__main__ import main
from headrace.blocks import Ragged
from headrace.inference import exporting
from headrace.inference.exporting import EXAMPLE_ROWS, EXAMPLE_STEPS
from headrace.registry import list_kinds, load_kind
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from headrace.stores.layout import STORE
from headrace.stores.reading import Store
from sample_runs import EXPERIMENT, PLAYS, Made, make_runs

MODELS = [
    "reduced",
    "raw",
    "numbers",
    "sparse",
    "graph",
    "cnn",
    "rnn",
    "lstm",
    "vanilla",
    "line",
    "transformer",
    "deep",
]
MORE = [
    {"kind": "rnn", "name": "lstm", "cell": "lstm", "features": "rows", "hidden": 4, "datasets": ["images"]},
    {"kind": "rnn", "name": "vanilla", "cell": "vanilla", "features": "rows", "hidden": 4, "datasets": ["images"]},
    {"kind": "transformer", "features": "rows", "width": 4, "heads": 2, "datasets": ["images"]},
    {"kind": "cnn", "name": "deep", "channels": [2, 3], "hidden": 4, "datasets": ["images"]},
    {"kind": "linear", "name": "line", "features": "scaled", "datasets": ["progression"]},
    {
        "kind": "rnn",
        "name": "both",
        "cell": "lstm",
        "hidden": 4,
        "layers": 2,
        "bidirectional": True,
        "read": "mean",
        "datasets": ["sines"],
    },
    {"kind": "rnn", "name": "words", "hidden": 4, "datasets": ["messages"]},
    {"kind": "transformer", "name": "looking", "width": 4, "heads": 2, "read": "token", "datasets": ["messages"]},
]
RAGGED = ["ragged", "both", "words", "looking"]
MESSAGES = {"kind": "text_lines", "path": str(PLAYS.parent / "messages.tsv"), "format": "tab"}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ALONE = """
import sys, numpy, torch
program = torch.export.load(sys.argv[1]).module()
arrays = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], program(*(torch.from_numpy(arrays[name]) for name in arrays.files)).numpy())
assert not [name for name in sys.modules if name.startswith("headrace")]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    datasets = {**EXPERIMENT["datasets"], "messages": MESSAGES}
    experiment = {**EXPERIMENT, "datasets": datasets, "models": [*EXPERIMENT["models"], *MORE]}
    return make_runs(tmp_path_factory.mktemp("runs"), one_worker, experiment)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in THREADS:
        monkeypatch.setenv(variable, "1")


def features_of(made: Made, model: str) -> np.ndarray:
    """(rows, ...) float32, of the test split."""
    store = Store(made.features(model) / STORE)
    block = store.read("inputs", store.split("test"))
    values = block if isinstance(block, np.ndarray) else block.toarray()  # type: ignore[union-attr]
    return values.astype(np.float32) * np.float32(store.variables["inputs"].scale or 1)


def sequences_of(made: Made, model: str, size: int | None = None) -> tuple[Tensor, Tensor]:
    """Values (rows, steps, ...) filled up with 0, and lengths (rows,), of the first rows of the test split."""
    store = Store(made.features(model) / STORE)
    block = store.read("inputs", store.split("test"))
    assert isinstance(block, Ragged)
    kind = np.int64 if store.attributes.get("num_codes") else np.float32
    rows = np.split(block.values.astype(kind), block.offsets[1:-1])[:size]
    return pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True), torch.from_numpy(
        block.lengths[:size]
    )


def wanted(made: Made, model: str) -> np.ndarray:
    found = load_arrays(made.evaluation(model) / "predictions.safetensors")
    return found["probabilities"] if "probabilities" in found else found["prediction"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["export", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_every_family_is_tried_here_with_all_that_it_reads() -> None:
    kinds = {model.get("name", model["kind"]): model["kind"] for model in [*EXPERIMENT["models"], *MORE]}
    # Of a density there is nothing to export.
    assert {kinds[name] for name in MODELS} == set(list_kinds("models")) - {"vae"}
    ragged = {kind for kind in list_kinds("models") if "ragged" in load_kind("models", kind).reads}  # type: ignore[attr-defined]
    assert {kinds[name] for name in RAGGED} == ragged


@pytest.mark.parametrize("model", MODELS)
def test_a_program_predicts_what_the_run_does(made: Made, model: str) -> None:
    assert main(["export", str(made.folder(model)), "--output", "program.pt2"]) == 0
    program = torch.export.load("program.pt2").module()
    features, told = features_of(made, model), wanted(made, model)
    for size in (1, 7, len(features)):
        with torch.no_grad():
            found = program(torch.from_numpy(features[:size])).numpy()
        assert found.dtype == told.dtype
        np.testing.assert_allclose(found, told[:size], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", RAGGED)
def test_a_program_of_sequences_takes_any_number_of_any_length(made: Made, model: str) -> None:
    assert main(["export", str(made.folder(model)), "--output", "program.pt2"]) == 0
    program, told = torch.export.load("program.pt2").module(), wanted(made, model)
    for size in (1, 2, 7, len(told)):
        values, lengths = sequences_of(made, model, size)
        assert values.shape[:2] != (EXAMPLE_ROWS, EXAMPLE_STEPS)
        found = program(values, lengths).numpy()
        assert found.dtype == told.dtype
        np.testing.assert_allclose(found, told[:size], rtol=1e-5, atol=1e-6)
        # More filling than is needed changes nothing.
        longer = torch.cat([values, torch.zeros_like(values)], dim=1)
        np.testing.assert_allclose(program(longer, lengths), told[:size], rtol=1e-5, atol=1e-6)
    # A sequence without steps counts as one of a single step of zeros.
    empty = values[:2, :4] * torch.tensor([[1], [0]]).reshape(2, 1, *[1] * (values.dim() - 2))
    one, other = (program(empty, torch.tensor([4, steps])) for steps in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_a_program_runs_without_headrace(made: Made, tmp_path: Path) -> None:
    run = made.run("numbers").train.id
    assert main(["export", run, "--artifacts", str(made.root)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{run}.pt2", f"{run}.pt2.json"]
    np.testing.assert_allclose(
        run_alone(f"{run}.pt2", features_of(made, "numbers")), wanted(made, "numbers"), rtol=1e-6
    )


def test_a_program_of_sequences_runs_without_headrace(made: Made) -> None:
    assert main(["export", str(made.folder("both")), "--output", "program.pt2"]) == 0
    found = run_alone("program.pt2", *(part.numpy() for part in sequences_of(made, "both")))
    np.testing.assert_allclose(found, wanted(made, "both"), rtol=1e-5, atol=1e-6)


def run_alone(program: str, *inputs: np.ndarray) -> np.ndarray:
    """What a process that knows nothing of Headrace gets from a program."""
    np.savez("inputs.npz", *inputs)
    words = [sys.executable, "-c", ALONE, program, "inputs.npz", "found.npy"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: np.ndarray = np.load("found.npy")
    return found


def test_a_card_says_what_goes_in_and_what_comes_out(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(made.folder("reduced")), "--output", "program.pt2"]) == 0
    assert capsys.readouterr().out == "written: program.pt2; what it reads and gives: program.pt2.json\n"
    card = json.loads(Path("program.pt2.json").read_text())
    assert card["run"]["id"] == made.folder("reduced").name
    assert card["inputs"] == {"shape": ["batch", 3], "dtype": "float32"}
    assert card["outputs"]["class_names"] == ["malignant", "benign"]
    assert [step["kind"] for step in card["features"]["steps"]] == ["standardize", "augment", "truncated_svd"]
    assert card["summary"]["best_epoch"] in (1, 2)


@pytest.mark.parametrize(("model", "shape", "kind"), [("ragged", [2], "float32"), ("words", [], "int64")])
def test_a_card_says_how_sequences_are_laid_out(made: Made, model: str, shape: list[int], kind: str) -> None:
    assert main(["export", str(made.folder(model)), "--output", "program.pt2"]) == 0
    inputs = json.loads(Path("program.pt2.json").read_text())["inputs"]
    # In the order, and by the names, of what the program takes.
    program = torch.export.load("program.pt2")
    assert list(inputs) == list(program.graph_signature.user_inputs) == ["values", "lengths"]
    values, lengths = inputs["values"], inputs["lengths"]
    assert values["shape"] == ["batch", "steps", *shape]
    assert values["dtype"] == kind
    assert values["padding"].startswith("0 behind the end of a sequence")
    codes = Store(made.features(model) / STORE).attributes.get("num_codes")
    assert values.get("num_codes") == (codes or None)
    assert lengths["shape"] == ["batch"]
    assert lengths["dtype"] == "int64"


def test_what_torch_cannot_follow_is_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Left as they are, the layers of torch are traced for one number of steps only.
    monkeypatch.setattr(exporting, "write_stepwise", lambda module: None)
    line = refused(capsys, made.folder("ragged"))
    assert "torch cannot write rnn as a program: Constraints violated (steps)" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("vae", [], "was trained for density; allowed: classification and regression"),
        ("letters", [], "was trained for next_step; allowed: classification and regression"),
        ("raw", ["--output", "program.onnx"], "allowed: names that end in .pt2"),
        ("raw", ["--output", "nowhere/program.pt2"], "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, options: list[str], words: str
) -> None:
    assert words in refused(capsys, made.folder(model), *options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_one_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing: not a sealed run" in refused(capsys, "nothing")


@pytest.mark.skipif(all(find_spec(name) for name in ("onnx", "onnxscript")), reason="ONNX can be written here")
def test_onnx_says_what_it_needs(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert "pip install" in refused(capsys, made.folder("raw"), "--format", "onnx")


needs_onnx = pytest.mark.skipif(
    not all(find_spec(name) for name in ("onnx", "onnxscript")), reason="ONNX is not installed"
)


def load_onnx(path: str) -> Callable[..., np.ndarray]:
    """A model of ONNX as ONNX Runtime runs it, or without that, ONNX's own reference."""
    if find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator

        program, names = (reference := ReferenceEvaluator(path)), reference.input_names
    else:
        from onnxruntime import InferenceSession

        program = InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [found.name for found in program.get_inputs()]
    return lambda *inputs: program.run(None, dict(zip(names, inputs, strict=True)))[0]


@needs_onnx
@pytest.mark.parametrize("model", MODELS)
def test_onnx_predicts_what_the_run_does(made: Made, model: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(made.folder(model)), "--format", "onnx", "--output", "program.onnx"]) == 0
    assert capfd.readouterr() == ("written: program.onnx; what it reads and gives: program.onnx.json\n", "")
    program, features, told = load_onnx("program.onnx"), features_of(made, model), wanted(made, model)
    for size in (1, 7):
        found = program(features[:size])
        assert found.dtype == told.dtype
        np.testing.assert_allclose(found, told[:size], rtol=1e-5, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("model", RAGGED)
def test_onnx_takes_any_number_of_sequences_of_any_length(made: Made, model: str) -> None:
    # ONNX's own reference loops over 64 steps at most.
    pytest.importorskip("onnxruntime")
    assert main(["export", str(made.folder(model)), "--format", "onnx", "--output", "program.onnx"]) == 0
    program, told = load_onnx("program.onnx"), wanted(made, model)
    for size in (1, 7):
        values, lengths = (part.numpy() for part in sequences_of(made, model, size))
        np.testing.assert_allclose(program(values, lengths), told[:size], rtol=1e-5, atol=1e-5)
        longer = np.concatenate([values, np.zeros_like(values)], axis=1)
        np.testing.assert_allclose(program(longer, lengths), told[:size], rtol=1e-5, atol=1e-5)

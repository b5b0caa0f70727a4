"""What an experiment file may hold: a mistake is one line that names file, line, key and what is allowed."""

import copy
import math
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.__main__ import main
from headrace.errors import InputError
from headrace.experiments import yaml_files
from headrace.experiments.reading import check_experiment, load_experiment
from headrace.planning.plan import Plan, Site
from headrace.registry import list_kinds, load_kind
from shipped_experiments import HERE

ROOT = Path(__file__).parents[3]
QUICKSTART = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())

DIGITS = "name: x\ndatasets: {digits: {kind: mnist5k}}\n"
TUMOURS = "name: x\ndatasets: {tumours: {kind: breast_cancer}}\n"
PROGRESS = "name: x\ndatasets: {d: {kind: diabetes}}\n"
FNN = "models: [{kind: fnn}]\n"
TOP = "name, description, datasets, features, models, training, evaluation"
KINDS = ", ".join(list_kinds("models"))


def sweep(text: str) -> str:
    """An experiment whose one model has the sweep given, in one line."""
    return f"{DIGITS}models:\n  - kind: fnn\n    sweep: {text}  # here\n"


def drawn(text: str) -> str:
    """An experiment that draws its learning rate from the distribution given."""
    return sweep(f"{{random: {{samples: 2, parameters: {{learning_rate: {text}}}}}}}")


def split(text: str, kind: str = "breast_cancer") -> str:
    """An experiment whose dataset is split as given."""
    return f"name: x\ndatasets:\n  d: {{kind: {kind}, split: {text}}}  # here\n{FNN}"


# text with `# here` on the line of the mistake; the key; words that must follow it
MISTAKES = {
    # misspelt keys, at every level
    "key of the file": (f"{DIGITS}{FNN}trainning: {{}}  # here\n", "trainning", ["unknown key", TOP, "'training'"]),
    "key of a dataset": (
        f"name: x\ndatasets:\n  d: {{kind: mnist5k, spilt: {{}}}}  # here\n{FNN}",
        "datasets.d.spilt",
        ["unknown key", "split", "rows_per_shard", "'split'"],
    ),
    "key of a split": (
        split("{trian: 0.7}"),
        "datasets.d.split.trian",
        ["unknown key", "by, train, validation, test, seed", "'train'"],
    ),
    "key of a step": (
        f"{DIGITS}features:\n  a: [{{kind: standardize, pre: all}}]  # here\n{FNN}",
        "features.a[0].pre",
        ["unknown key", "per"],
    ),
    "key of a model": (
        f"{DIGITS}models:\n  - {{kind: fnn, hiden: [3]}}  # here\n",
        "models[0].hiden",
        ["unknown key", "hidden", "dropout", "epochs", "features", "sweep", "'hidden'"],
    ),
    "key of another family": (
        f"{DIGITS}models:\n  - {{kind: fnn, latent: 3}}  # here\n",
        "models[0].latent",
        ["unknown key"],
    ),
    "key of training": (f"{DIGITS}{FNN}training: {{epoch: 3}}  # here\n", "training.epoch", ["epochs", "'epochs'"]),
    "key of evaluation": (
        f"{DIGITS}{FNN}evaluation: {{boostrap: 3}}  # here\n",
        "evaluation.boostrap",
        ["unknown key", "bootstrap, confidence, seed, baseline", "'bootstrap'"],
    ),
    "key of a sweep": (
        sweep("{gird: {learning_rate: [0.1]}}"),
        "models[0].sweep.gird",
        ["unknown key", "grid, zip, random", "'grid'"],
    ),
    "key of a random sweep": (
        sweep("{random: {samples: 2, sed: 1, parameters: {learning_rate: {choice: [0.1]}}}}"),
        "models[0].sweep.random.sed",
        ["unknown key", "samples, seed, parameters", "'seed'"],
    ),
    "key of a distribution": (
        drawn("{unifrom: [0, 1]}"),
        "models[0].sweep.random.parameters.learning_rate.unifrom",
        ["unknown key", "uniform, log_uniform, integer, choice", "'uniform'"],
    ),
    "number as a key": (f"{DIGITS}models:\n  - {{kind: fnn, 5: 3}}  # here\n", "models[0]", ["5"]),
    "nothing as a key": (f"{DIGITS}models:\n  - {{kind: fnn, ~: 3}}  # here\n", "models[0]", []),
    "word of a choice": (
        f"{DIGITS}{FNN}training: {{optimizer: adan}}  # here\n",
        "training.optimizer",
        ["'adam', 'adamw' or 'sgd'", '"adan"'],
    ),
    "word of a split": (
        split("{by: stratifed}"),
        "datasets.d.split.by",
        ["'auto', 'stratified', 'random', 'grouped', 'time' or 'source'"],
    ),
    # kinds
    "unknown dataset kind": (
        f"name: x\ndatasets:\n  d: {{kind: mnist}}  # here\n{FNN}",
        "datasets.d.kind",
        ["unknown kind 'mnist'", ", ".join(list_kinds("datasets")), "'mnist5k'"],
    ),
    "unknown step kind": (
        f"{DIGITS}features:\n  a: [{{kind: standardise}}]  # here\n{FNN}",
        "features.a[0].kind",
        ["unknown kind 'standardise'", "standardize"],
    ),
    "unknown model kind": (
        f"{DIGITS}models:\n  - {{kind: resnet}}  # here\n",
        "models[0].kind",
        ["unknown kind 'resnet'", KINDS],
    ),
    "a base is no kind": (f"{DIGITS}models:\n  - {{kind: base}}  # here\n", "models[0].kind", ["unknown kind", KINDS]),
    "no kind": (f"{DIGITS}models:\n  - {{hidden: [3]}}  # here\n", "models[0]", ["kind"]),
    "model without keys": (f"{DIGITS}models:\n  - fnn  # here\n", "models[0]", ["kind"]),
    "kind that is a list": (f"{DIGITS}models:\n  - {{kind: [fnn]}}  # here\n", "models[0]", ["kind"]),
    "dataset without keys": (f"name: x\ndatasets:\n  d: mnist5k  # here\n{FNN}", "datasets.d", ["kind"]),
    # types
    "text for a number": (
        f"{DIGITS}{FNN}training: {{learning_rate: fast}}  # here\n",
        "training.learning_rate",
        ["number", '"fast"'],
    ),
    "true for a count": (
        f"{DIGITS}{FNN}training: {{epochs: true}}  # here\n",
        "training.epochs",
        ["whole number", "true"],
    ),
    "true for a number": (f"{DIGITS}{FNN}training: {{learning_rate: true}}  # here\n", "training.learning_rate", []),
    "a fraction for a count": (f"{DIGITS}{FNN}training: {{epochs: 2.5}}  # here\n", "training.epochs", ["2.5"]),
    "quoted count": (f"{DIGITS}{FNN}training: {{epochs: '3'}}  # here\n", "training.epochs", ["whole number", '"3"']),
    "negative": (f"{DIGITS}{FNN}training: {{epochs: -1}}  # here\n", "training.epochs", ["greater than 0", "-1"]),
    "zero": (f"{DIGITS}{FNN}training: {{learning_rate: 0}}  # here\n", "training.learning_rate", ["greater than 0"]),
    "warm-up without end": (
        f"{DIGITS}training: {{epochs: 3}}\nmodels:\n  - {{kind: fnn, warmup_epochs: 3.0}}  # here\n",
        "models[0].warmup_epochs",
        ["3 leaves nothing of 3 epochs"],
    ),
    "parts of less than a sample": (
        f"{DIGITS}training: {{batch_size: 8, accumulate: 9}}\nmodels: [{{kind: fnn}}]  # here\n",
        "models[0].accumulate",
        ["9 parts of 8 samples"],
    ),
    "infinite": (f"{DIGITS}{FNN}training: {{learning_rate: .inf}}  # here\n", "training.learning_rate", ["finite"]),
    "not a number": (f"{DIGITS}{FNN}training: {{weight_decay: .nan}}  # here\n", "training.weight_decay", []),
    "beyond all numbers": (f"{DIGITS}{FNN}training: {{learning_rate: 1e999}}  # here\n", "training.learning_rate", []),
    "one for a list": (f"{DIGITS}models:\n  - {{kind: fnn, hidden: 64}}  # here\n", "models[0].hidden", ["64"]),
    "dropout of everything": (f"{DIGITS}models:\n  - {{kind: fnn, dropout: 1}}  # here\n", "models[0].dropout", []),
    "description that is a list": (f"{DIGITS}{FNN}description: [a]  # here\n", "description", ["text"]),
    "models that are a mapping": (f"{DIGITS}models: {{kind: fnn}}  # here\n", "models", []),
    "datasets that are a list": (f"name: x\ndatasets: [{{kind: mnist5k}}]  # here\n{FNN}", "datasets", []),
    "features that are no list": (
        f"{DIGITS}features:\n  a: {{kind: standardize}}  # here\n{FNN}",
        "features.a",
        ["list of steps"],
    ),
    "features without a step": (f"{DIGITS}features:\n  a: []  # here\n{FNN}", "features.a", ["list of steps"]),
    "training left empty": (f"{DIGITS}{FNN}training:  # here\n", "training", []),
    "name that is a number": ("name: 3  # here\ndatasets: {digits: {kind: mnist5k}}\n" + FNN, "name", ["text", "3"]),
    "name too long": (f"name: {'x' * 61}  # here\ndatasets: {{digits: {{kind: mnist5k}}}}\n{FNN}", "name", ["60"]),
    # nothing there
    "no dataset": (f"name: x\ndatasets: {{}}  # here\n{FNN}", "datasets", ["at least one"]),
    "no model": (f"{DIGITS}models: []  # here\n", "models", ["at least one"]),
    # seeds
    "seed twice": (f"{DIGITS}{FNN}training: {{seeds: [0, 1, 0]}}  # here\n", "training", ["seeds has 0 twice"]),
    "no seed": (f"{DIGITS}{FNN}training: {{seeds: []}}  # here\n", "training", ["seeds is empty", "at least one"]),
    "negative seed": (f"{DIGITS}{FNN}training: {{seeds: [-1]}}  # here\n", "training.seeds[0]", ["-1"]),
    "seed too large": (f"{DIGITS}{FNN}training: {{seeds: [{2**63}]}}  # here\n", "training.seeds[0]", []),
    "one seed without a list": (f"{DIGITS}{FNN}training: {{seeds: 3}}  # here\n", "training.seeds", ["3"]),
    "seed twice in a model": (
        f"{DIGITS}models:\n  - {{kind: fnn, seeds: [4, 4]}}  # here\n",
        "models[0]",
        ["seeds has 4 twice"],
    ),
    # sweeps
    "empty sweep": (sweep("{}"), "models[0].sweep", ["empty", "grid, zip or random"]),
    "empty grid": (sweep("{grid: {}}"), "models[0].sweep", ["empty"]),
    "parameter without values": (
        sweep("{grid: {learning_rate: []}}"),
        "models[0].sweep",
        ["grid.learning_rate is empty", "at least one"],
    ),
    "one value without a list": (
        sweep("{grid: {learning_rate: 0.1}}"),
        "models[0].sweep.grid.learning_rate",
        ["0.1"],
    ),
    "value twice": (
        sweep("{grid: {learning_rate: [0.1, 0.2, 1e-1]}}"),
        "models[0].sweep",
        ["grid.learning_rate has 0.1 twice"],
    ),
    "lists of different lengths": (
        sweep("{zip: {learning_rate: [0.1, 0.2], dropout: [0.1]}}"),
        "models[0].sweep",
        ["zip", "length"],
    ),
    "parameter swept twice": (
        sweep("{grid: {dropout: [0.1]}, zip: {dropout: [0.2]}}"),
        "models[0].sweep",
        ["dropout is swept twice"],
    ),
    "unknown parameter": (
        sweep("{grid: {learning_rat: [0.1]}}"),
        "models[0].sweep.grid.learning_rat",
        ["unknown parameter", "allowed: accumulate, average, batch_size", "'learning_rate'"],
    ),
    "unknown parameter in zip": (
        sweep("{zip: {hiden: [[1]]}}"),
        "models[0].sweep.zip.hiden",
        ["unknown parameter", "'hidden'"],
    ),
    "unknown parameter to draw": (
        sweep("{random: {samples: 1, parameters: {hiden: {choice: [[1]]}}}}"),
        "models[0].sweep.random.parameters.hiden",
        ["unknown parameter", "'hidden'"],
    ),
    "seeds swept": (
        sweep("{grid: {seeds: [[0], [1]]}}"),
        "models[0].sweep.grid.seeds",
        ["unknown parameter", "learning_rate"],
    ),
    "kind swept": (sweep("{grid: {kind: [fnn, cnn]}}"), "models[0].sweep.grid.kind", ["unknown parameter"]),
    "value out of range": (sweep("{grid: {learning_rate: [0.1, -1]}}"), "models[0].sweep.grid.learning_rate", ["-1"]),
    "value of the wrong type": (sweep("{grid: {hidden: [64, 128]}}"), "models[0].sweep.grid.hidden", ["64"]),
    "infinite value": (sweep("{grid: {learning_rate: [0.1, .inf]}}"), "models[0].sweep.grid.learning_rate[1]", ["inf"]),
    "value that is no number": (
        sweep("{grid: {learning_rate: [.nan]}}"),
        "models[0].sweep.grid.learning_rate[0]",
        ["nan"],
    ),
    "date as a value": (
        sweep("{grid: {learning_rate: [2024-01-01]}}"),
        "models[0].sweep.grid.learning_rate[0]",
        ["2024"],
    ),
    "set as a value": (sweep("{grid: {hidden: [!!set {a}]}}"), "models[0].sweep.grid.hidden[0]", ["hidden"]),
    "no number to draw": (
        drawn("{choice: [.nan]}"),
        "models[0].sweep.random.parameters.learning_rate.choice[0]",
        ["nan"],
    ),
    "bounds without end": (
        sweep("{random: {samples: 9, parameters: {weight_decay: {uniform: [-1.7e+308, 1.7e+308]}}}}"),
        "models[0].sweep.random.parameters.weight_decay",
        ["weight_decay"],
    ),
    "bounds the wrong way round": (
        drawn("{uniform: [1, 0]}"),
        "models[0].sweep.random.parameters.learning_rate",
        ["first number below its second"],
    ),
    "two distributions": (
        drawn("{uniform: [0, 1], choice: [1]}"),
        "models[0].sweep.random.parameters.learning_rate",
        ["exactly one of uniform, log_uniform, integer, choice"],
    ),
    "no distribution": (drawn("{}"), "models[0].sweep.random.parameters.learning_rate", ["exactly one of uniform"]),
    "no choice": (drawn("{choice: []}"), "models[0].sweep.random.parameters.learning_rate", ["choice is empty"]),
    "logarithm of zero": (
        drawn("{log_uniform: [0, 1]}"),
        "models[0].sweep.random.parameters.learning_rate.log_uniform[0]",
        ["greater than 0"],
    ),
    # splits
    "fractions that miss one": (split("{train: 0.9}"), "datasets.d.split", ["sum to 1", "1.2"]),
    "fraction of nothing": (
        split("{train: 0.85, validation: 0.15, test: 0}"),
        "datasets.d.split.test",
        ["greater than 0", "0"],
    ),
    "class left out": (
        split("{train: 0.998, validation: 0.001, test: 0.001}"),
        "datasets.d.split.validation",
        ["leaves class 'malignant' out", "212", "allowed: at least 0.0047"],
    ),
    "split without a sample": (
        split("{train: 0.9998, validation: 0.0001, test: 0.0001}", "diabetes"),
        "datasets.d.split.validation",
        ["0.0001 of 442 samples is no sample"],
    ),
    "classes where there are none": (
        split("{by: stratified}", "diabetes"),
        "datasets.d.split.by",
        ["stratified needs classes", "allowed: random, auto"],
    ),
    # references
    "unknown features": (
        f"{DIGITS}features: {{pixels: [{{kind: standardize}}]}}\nmodels:\n  - {{kind: fnn, features: pixel}}  # here\n",
        "models[0].features",
        ["unknown feature set 'pixel'", "allowed: raw, pixels", "'pixels'"],
    ),
    "unknown dataset": (
        f"{DIGITS}models:\n  - {{kind: fnn, datasets: [digist]}}  # here\n",
        "models[0].datasets",
        ["unknown dataset 'digist'", "allowed: digits", "'digits'"],
    ),
    "dataset named twice": (
        f"{DIGITS}models:\n  - {{kind: fnn, datasets: [digits, digits]}}  # here\n",
        "models[0].datasets",
        ["digits", "twice"],
    ),
    "unknown baseline": (
        f"{DIGITS}{FNN}evaluation: {{baseline: cnn}}  # here\n",
        "evaluation.baseline",
        ["unknown model 'cnn'", "allowed: fnn"],
    ),
    "noise on codes": (
        "name: x\ndatasets: {plays: {kind: text_stream, path: configs/data/plays.txt, context: 20}}\n"
        "models: [{kind: rnn}]\nevaluation:\n  corruption: {noise: [0.1]}  # here\n",
        "evaluation.corruption.noise",
        ["needs a model that reads dense measurements", "rnn reads codes (dataset plays, features raw)"],
    ),
    "noise on sequences": (
        "name: x\ndatasets: {sines: {kind: synthetic_sequences}}\n"
        "models: [{kind: rnn}]\nevaluation:\n  corruption: {noise: [0.1]}  # here\n",
        "evaluation.corruption.noise",
        ["needs a model that reads dense measurements", "rnn reads ragged inputs (dataset sines, features raw)"],
    ),
    "no noise": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{noise: [0]}}  # here\n",
        "evaluation.corruption.noise[0]",
        ["greater than 0"],
    ),
    "noise of no strength": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{noise: []}}  # here\n",
        "evaluation.corruption.noise",
        ["is empty; give at least one strength"],
    ),
    "no samples to explain": (
        f"{DIGITS}{FNN}evaluation:\n  attributions: {{samples: 0}}  # here\n",
        "evaluation.attributions.samples",
        ["greater than or equal to 1"],
    ),
    "unknown way to explain": (
        f"{DIGITS}{FNN}evaluation:\n  attributions: {{sample: 3}}  # here\n",
        "evaluation.attributions.sample",
        ["unknown key; allowed: samples, steps, patches, seed", "'samples'"],
    ),
    "attributions switched on like a light": (
        f"{DIGITS}{FNN}evaluation:\n  attributions: true  # here\n",
        "evaluation.attributions",
        ["should be a mapping of keys, not true"],
    ),
    "noise twice": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{noise: [0.1, 0.1]}}  # here\n",
        "evaluation.corruption.noise",
        ["has 0.1 twice"],
    ),
    "noise without end": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{noise: [.inf]}}  # here\n",
        "evaluation.corruption.noise[0]",
        ["finite number"],
    ),
    "all that there is is missing": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{missing: [0.5, 1]}}  # here\n",
        "evaluation.corruption.missing[1]",
        ["less than 1"],
    ),
    "negative contrast": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{contrast: [-0.5]}}  # here\n",
        "evaluation.corruption.contrast[0]",
        ["greater than 0"],
    ),
    "unknown corruption": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{blurr: [1]}}  # here\n",
        "evaluation.corruption.blurr",
        ["unknown key", "blur, contrast, missing, noise", "did you mean 'blur'"],
    ),
    "corruption of nothing": (
        f"{DIGITS}{FNN}evaluation:\n  corruption: {{}}  # here\n",
        "evaluation.corruption",
        ["is empty", "blur, contrast, missing, noise"],
    ),
    "blur of what has no neighbours": (
        "name: x\ndatasets: {tumours: {kind: breast_cancer}}\n"
        "models: [{kind: linear}]\nevaluation:\n  corruption: {noise: [1], blur: [1]}  # here\n",
        "evaluation.corruption.blur",
        ["reads images or sequences", "linear reads flat features (dataset tumours, features raw)"],
    ),
    "model name twice": (
        f"{DIGITS}models:\n  - {{kind: fnn}}\n  - {{kind: fnn, hidden: [3]}}  # here\n",
        "models[1]",
        ["'fnn' appears twice", "`name`"],
    ),
    "given name twice": (
        f"{DIGITS}models:\n  - {{kind: fnn, name: a}}\n  - {{kind: cnn, name: a}}  # here\n",
        "models[1]",
        ["'a' appears twice"],
    ),
    "raw is taken": (
        f"{DIGITS}features:\n  raw: [{{kind: standardize}}]  # here\n{FNN}",
        "features.raw",
        ["choose another name"],
    ),
    # what cannot work together
    "rank above the features": (
        f"{TUMOURS}features:\n  a: [{{kind: truncated_svd, rank: 31}}]  # here\nmodels: [{{kind: fnn, features: a}}]\n",
        "features.a[0].rank",
        ["31 is above the 30 features and 398 training samples", "allowed: 1 to 30", "tumours"],
    ),
    "rank above the samples": (
        "name: x\ndatasets: {d: {kind: mnist5k, split: {train: 0.02, validation: 0.49, test: 0.49}}}\n"
        "features:\n  a: [{kind: truncated_svd, rank: 101}]  # here\nmodels: [{kind: fnn, features: a}]\n",
        "features.a[0].rank",
        ["100 training samples", "allowed: 1 to 100"],
    ),
    "rank above the rank before": (
        f"{TUMOURS}features:\n  a: [{{kind: truncated_svd, rank: 5}}, {{kind: truncated_svd, rank: 6}}]  # here\n"
        "models: [{kind: fnn, features: a}]\n",
        "features.a[1].rank",
        ["allowed: 1 to 5"],
    ),
    "bernoulli on a table": (
        f"{TUMOURS}models:\n  - {{kind: vae}}  # here\n",
        "models[0].likelihood",
        ["bernoulli needs inputs in [0, 1]", "allowed: gaussian", "tumours"],
    ),
    "bernoulli on any number": (
        f"{DIGITS}features: {{pixels: [{{kind: standardize}}]}}\n"
        "models:\n  - {kind: vae, features: pixels, likelihood: bernoulli}  # here\n",
        "models[0].likelihood",
        ["bernoulli needs inputs in [0, 1]", "allowed: gaussian", "pixels"],
    ),
    "images wanted": (
        f"{TUMOURS}models:\n  - {{kind: cnn}}  # here\n",
        "models[0]",
        ["cnn reads images", "(height, width)", "tumours"],
    ),
    "sequences wanted": (f"{TUMOURS}models:\n  - {{kind: rnn}}  # here\n", "models[0]", ["rnn reads sequences"]),
    "even kernel": (f"{DIGITS}models:\n  - {{kind: cnn, kernel: 4}}  # here\n", "models[0].kernel", ["odd numbers"]),
    "too many poolings": (
        f"{DIGITS}models:\n  - {{kind: cnn, channels: [1, 1, 1, 1, 1]}}  # here\n",
        "models[0].channels",
        ["5 poolings are too many"],
    ),
    "even kernel in a sweep": (
        f"{DIGITS}models:\n  - {{kind: cnn, sweep: {{grid: {{kernel: [3, 4]}}}}}}  # here\n",
        "models[0].kernel",
        ["4 is even"],
    ),
}


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines with which `headrace check` refuses a file."""
    assert main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_line_and_key(tmp_path, capsys, mistake):
    text, key, words = MISTAKES[mistake]
    path = write(tmp_path, text)
    here = next(i for i, line in enumerate(text.splitlines(), 1) if "# here" in line)
    (line,) = check(path, capsys)
    assert line.startswith((f"{path}:{here}: {key}: ", f"{path}:{here}: {key}["))
    for word in words:
        assert word in line


@pytest.mark.parametrize("mistake", ["key of a split", "value twice", "bernoulli on any number"])
def test_the_command_itself_is_as_short(tmp_path, mistake):
    text, key, words = MISTAKES[mistake]
    path = write(tmp_path, text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "headrace", "check", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert str(path) in line
    assert key in line
    assert all(word in line for word in words)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("description: x\n", ["name", "datasets", "models"]),
        (DIGITS, ["models"]),
        (f"{DIGITS}features: {{a: [{{kind: truncated_svd}}]}}\n{FNN}", ["features.a[0].rank"]),
        (
            f"{DIGITS}models: [{{kind: fnn, sweep: {{random: {{samples: 1}}}}}}]\n",
            ["models[0].sweep.random.parameters"],
        ),
    ],
)
def test_what_is_required_is_named(tmp_path, capsys, text, keys):
    lines = check(write(tmp_path, text), capsys)
    assert len(lines) == len(keys)
    for line, key in zip(lines, keys, strict=True):
        assert line.endswith(f" {key}: is required and missing")


def test_several_mistakes_are_told_at_once(tmp_path, capsys):
    path = write(
        tmp_path, f"{DIGITS}models: [{{kind: fnn, hiden: 3}}]\ntraining: {{epohcs: 3}}\nevaluation: {{bootstrap: -1}}\n"
    )
    lines = check(path, capsys)
    assert [line.split(" ")[:2] for line in lines] == [
        [f"{path}:3:", "models[0].hiden:"],
        [f"{path}:4:", "training.epohcs:"],
        [f"{path}:5:", "evaluation.bootstrap:"],
    ]


LONG = """\
name: x
datasets:
  digits:
    kind: mnist5k
  table:
    kind: breast_cancer
    split:
      by: stratified
      train: 0.7
      validation: 0.15
      test: 0.15
features:
  pixels:
    - kind: standardize
      per: all
  few:
    - kind: truncated_svd
      rank: 5
models:
  - kind: fnn
    hidden:
      - 3
    datasets:
      - table
    sweep:
      grid:
        learning_rate:
          - 0.1
          - 0.2
  - kind: vae
    datasets: [digits]
    features: raw
    likelihood: bernoulli
training:
  epochs: 3
  seeds:
    - 0
    - 1
evaluation:
  baseline: fnn
"""


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("per: all", "per: some", "per: some"),
        ("kind: breast_cancer", "kind: diabetes", "by: stratified"),
        ("features: raw", "features: pixels", "likelihood: bernoulli"),
        ("rank: 5\n", "rank: 0\n", "rank: 0"),
        ("      - 3\n", "      - 0\n", "      - 0"),
        ("      - table", "      - tables", "datasets:\n      - tables"),
        ("baseline: fnn", "baseline: mlp", "baseline: mlp"),
        ("epochs: 3", "epochs: x", "epochs: x"),
        ("    - 1\n", "    - -1\n", "    - -1"),
        ("train: 0.7\n      validation: 0.15", "train: 0.849\n      validation: 0.001", "validation: 0.001"),
        ("rank: 5\nmodels:\n  - kind: fnn", "rank: 31\nmodels:\n  - kind: fnn\n    features: few", "rank: 31"),
    ],
)
def test_the_line_is_the_one_of_the_key(tmp_path, capsys, old, new, wrong):
    assert LONG.count(old) == 1
    text = LONG.replace(old, new)
    path = write(tmp_path, text)
    (line,) = check(path, capsys)
    assert line.startswith(f"{path}:{text[: text.index(wrong)].count(chr(10)) + 1}: ")


def test_the_long_file_is_right(tmp_path):
    assert load_experiment(write(tmp_path, LONG)).name == "x"


HOSTILE = ["../x", "a b", "<img src=x>", "$(touch x)", "a;b", "`x`", "", "a/b", "a\nb", "\x1b[31mred", "ä", "x" * 61]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "place", ["experiment", "dataset", "features", "model", "baseline", "kind", "key", "parameter"]
)
def test_a_hostile_name_is_refused_in_one_plain_line(tmp_path, capsys, place, name):
    data = {
        "name": name if place == "experiment" else "x",
        "datasets": {name if place == "dataset" else "d": {"kind": "mnist5k"}},
        "features": {name if place == "features" else "f": [{"kind": "standardize"}]},
        "models": [{"kind": name if place == "kind" else "fnn", "name": name if place == "model" else "m"}],
        "evaluation": {"baseline": name if place == "baseline" else "m"},
    }
    if place == "key":
        data["models"][0][name] = 3
    if place == "parameter":
        data["models"][0]["sweep"] = {"grid": {name: [1]}}
    lines = check(write(tmp_path, yaml.safe_dump(data)), capsys)
    if place == "model":  # the baseline may be missed as well
        assert "models[0].name" in lines[0]
    else:
        assert len(lines) == 1
    for line in lines:
        assert line.startswith(str(tmp_path))
        assert line.isprintable()


@pytest.mark.parametrize("name", [".", ".."])
def test_an_experiment_may_not_be_named_like_a_folder_above_its_results(tmp_path, capsys, name):
    (line,) = check(write(tmp_path, f"name: {name}\ndatasets: {{d: {{kind: mnist5k}}}}\n{FNN}"), capsys)
    assert line.startswith(f"{tmp_path / 'experiment.yaml'}:1: name: ")


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGITS}models: {{kind: fnn}}\n",
        f"{DIGITS}models: [{{kind: fnn, hidden: 64}}]\n",
        f"{DIGITS}{FNN}training: 3\n",
        sweep("{grid: {learning_rate: 0.1}}"),
        sweep("3"),
        split("3"),
        f"name: x\ndatasets:\n  2024-01-01: {{kind: mnist5k}}\n{FNN}",
    ],
)
def test_messages_speak_yaml_and_not_python(tmp_path, capsys, text):
    for line in check(write(tmp_path, text), capsys):
        for word in ("tuple", "dictionary", "instance of", "datetime", "None"):
            assert word not in line


def test_a_name_that_looks_like_a_number_is_still_a_name(tmp_path):
    text = "name: '1e3'\ndescription: '1e3'\ndatasets: {d: {kind: diabetes}}\nmodels: [{kind: fnn, name: '1e-3'}]\n"
    experiment = load_experiment(write(tmp_path, text))
    assert (experiment.name, experiment.description, experiment.models[0].name) == ("1e3", "1e3", "1e-3")


def test_a_short_file_is_enough(tmp_path):
    experiment = load_experiment(write(tmp_path, DIGITS + FNN))
    assert experiment.training.seeds == (0,)
    assert experiment.datasets["digits"].split.by == "stratified"
    assert experiment.features == {"raw": ()}
    assert load_experiment(write(tmp_path, PROGRESS + FNN)).datasets["d"].split.by == "random"


def test_a_number_with_an_exponent_is_a_number_everywhere(tmp_path):
    text = (
        f"{DIGITS}features: {{few: [{{kind: truncated_svd, rank: 2, tolerance: 1e-4}}]}}\n"
        "models:\n  - {kind: fnn, features: few, weight_decay: 1e-5, sweep: {grid: {learning_rate: [1e-3, 3E-3]}}}\n"
        "training: {learning_rate: 1e-2}\n"
    )
    experiment = load_experiment(write(tmp_path, text))
    assert experiment.training.learning_rate == 0.01
    assert experiment.features["few"][0].tolerance == 1e-4
    settings_of = experiment.settings(experiment.models[0])
    assert [setting.training.learning_rate for setting in settings_of] == [0.001, 0.003]
    assert {setting.training.weight_decay for setting in settings_of} == {1e-5}


def test_a_model_overrides_training_for_itself_alone():
    data = copy.deepcopy(QUICKSTART)
    data["models"][1] |= {"epochs": 2, "seeds": [7]}
    experiment = check_experiment(data)
    trainings = [experiment.settings(model)[0].training for model in experiment.models]
    assert [training.epochs for training in trainings] == [10, 2, 10, 10]
    assert [training.seeds for training in trainings] == [(0, 1, 2), (7,), (0, 1, 2), (0, 1, 2)]


def test_every_dataset_meets_every_model_whose_task_fits():
    data = {
        "name": "x",
        "datasets": {"a": {"kind": "mnist5k"}, "b": {"kind": "diabetes"}, "c": {"kind": "breast_cancer"}},
        "models": [
            {"kind": "fnn"},
            {"kind": "vae", "likelihood": "gaussian"},
            {"kind": "fnn", "name": "two", "datasets": ["c", "b"]},
        ],
    }
    experiment = check_experiment(data)
    assert [experiment.pairs(model) for model in experiment.models] == [
        [("a", "classification"), ("b", "regression"), ("c", "classification")],
        [("a", "density"), ("b", "density"), ("c", "density")],
        [("c", "classification"), ("b", "regression")],
    ]


def test_a_model_that_fits_no_dataset_is_refused(tmp_path, capsys, monkeypatch):
    spec = load_kind("datasets", "breast_cancer")
    info = replace(spec(kind="breast_cancer").describe(), tasks=("classification",))
    monkeypatch.setattr(spec, "describe", lambda self: info)
    both = "name: x\ndatasets: {a: {kind: mnist5k}, b: {kind: breast_cancer}}\n"
    (line,) = check(write(tmp_path, f"{TUMOURS}models:\n  - {{kind: vae}}\n"), capsys)
    assert ":4: models[0]: vae serves density, which does not fit " in line
    (line,) = check(write(tmp_path, f"{both}models:\n  - {{kind: vae, datasets: [a, b]}}\n"), capsys)
    assert ":4: models[0]" in line
    assert "vae serves density, which does not fit b" in line
    fitting = check_experiment(yaml.safe_load(f"{both}models:\n  - {{kind: vae}}\n"))
    assert fitting.pairs(fitting.models[0]) == [("a", "density")]


RICH = {
    "name": "rich",
    "datasets": {
        "a": {"kind": "mnist5k", "rows_per_shard": 100, "split": {"by": "random", "seed": 3}},
        "b": {"kind": "diabetes", "split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    },
    "features": {"few": [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 3}]},
    "models": [
        {"kind": "fnn", "name": "one", "seeds": [5, 6], "device": "cpu", "sweep": {"grid": {"hidden": [[3], [4, 5]]}}},
        {"kind": "fnn", "name": "two", "features": "few", "datasets": ["b"], "sweep": {"zip": {"dropout": [0, 0.5]}}},
        {
            "kind": "rnn",
            "epochs": 1,
            "sweep": {
                "grid": {"cell": ["gru", "lstm"], "optimizer": ["sgd"]},
                "zip": {"batch_size": [16, 32], "learning_rate": [0.1, 1e-2]},
                "random": {"samples": 2, "seed": 1, "parameters": {"hidden": {"integer": [2, 9]}}},
            },
            "datasets": ["a"],
        },
    ],
    "training": {"learning_rate": 1e-3},
}


@pytest.mark.parametrize("data", [*(yaml_files.read(path) for path in HERE), RICH], ids=lambda data: data["name"])
def test_the_resolved_experiment_is_a_valid_file_with_the_same_runs(tmp_path, data):
    experiment = check_experiment(data)
    resolved = experiment.resolved()
    again = check_experiment(resolved)
    read = load_experiment(write(tmp_path, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)))
    runs = [run.describe() for run in Plan(experiment, Site()).runs]
    assert len(runs) > 0
    assert [run.describe() for run in Plan(again, Site()).runs] == runs
    assert [run.describe() for run in Plan(read, Site()).runs] == runs
    assert again.resolved() == resolved
    assert read.resolved() == resolved


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_fine(capsys, path):
    assert main(["check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: fine: ")
    assert err == ""
    assert yaml_files.read(path)["name"] == path.stem


Places = list[tuple[str | int, ...]]


def places(value: object, path: tuple[str | int, ...] = ()) -> Places:
    """Every path into nested mappings and lists."""
    found = [path] if path else []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return found
    return [*found, *(place for key, item in items for place in places(item, (*path, key)))]


words = st.sampled_from(
    ["kind", "fnn", "vae", "mnist5k", "diabetes", "raw", "pixels", "grid", "zip", "random", "seeds", "1e-3", "a b", ""]
)
numbers = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**63, 2**64, 0.5, math.inf, math.nan])
plain = st.none() | st.booleans() | numbers | words | st.text(max_size=4) | st.dates() | st.binary(max_size=2)
keys = words | st.sampled_from(["sweep", "split", "learning_rate", "samples", "parameters", "choice", "uniform"])
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | plain, inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_changed_is_either_fine_or_refused(data):
    experiment = copy.deepcopy(QUICKSTART)
    for _ in range(data.draw(st.integers(1, 3), "number of changes")):
        every = places(experiment)
        if not every:
            break
        *path, last = data.draw(st.sampled_from(every), "place")
        parent = experiment
        for key in path:
            parent = parent[key]
        change = data.draw(st.sampled_from(["replace", "delete", "insert"]), "change")
        if change == "delete":
            del parent[last]
        elif change == "replace":
            parent[last] = data.draw(values, "value")
        elif isinstance(parent, list):
            parent.insert(last, data.draw(values, "value"))
        else:
            parent[data.draw(keys | plain, "key")] = data.draw(values, "value")
    try:
        checked = check_experiment(experiment)
    except InputError as error:
        assert error.problems  # noqa: PT017
        return
    assert Plan(checked, Site()).runs


@given(values)
@settings(max_examples=200, deadline=None)
def test_whatever_a_sweep_holds_is_either_fine_or_refused(value):
    for sweep_of in ({"grid": {"learning_rate": [0.1, value]}}, {"zip": {"hidden": [value]}}, value):
        data = {**QUICKSTART, "models": [{"kind": "fnn", "sweep": sweep_of}], "evaluation": {}}
        try:
            check_experiment(data)
        except InputError as error:
            assert error.problems  # noqa: PT017

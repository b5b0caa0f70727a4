"""The generated files are up to date, and an editor that knows the schema finds the mistakes that we find."""

import copy
import difflib
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from headrace.errors import InputError
from headrace.experiments.config import Training
from headrace.experiments.evaluation import Evaluation
from headrace.experiments.experiment import ModelKeys, TopLevel
from headrace.experiments.reading import check_experiment
from headrace.experiments.schema import TITLES, experiment_schema, render_documentation, render_schema
from headrace.experiments.yaml_files import read, tuples
from headrace.registry import list_kinds, load_kind
from shipped_experiments import ALL, HERE

ROOT = Path(__file__).parents[3]
FILES = {
    "workflow/schemas/config.schema.json": lambda: render_schema(experiment_schema()),
    "configs/README.md": render_documentation,
}
QUICKSTART = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_up_to_date(name, fix):
    path, wanted = ROOT / name, FILES[name]()
    if fix:
        path.write_text(wanted, encoding="utf-8")
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), f"{name} as it is", f"{name} as the code says", lineterm="", n=1
    )
    repair = "to repair: .venv/bin/python -m pytest tests/unit/experiments/test_schema.py --fix"
    assert found == wanted, "\n".join(["out of date", *lines, "", repair])


@pytest.fixture(scope="module")
def validator():
    schema = experiment_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def as_json(data):
    """What an editor sees: numbers with an exponent are numbers, and there are lists."""
    return json.loads(json.dumps(tuples(data)))


def complaints(validator, data):
    """All messages, those of nested conditions too, with the path that they are about."""

    def leaves(error):
        return [leaf for inner in error.context for leaf in leaves(inner)] if error.context else [error]

    found = [leaf for error in validator.iter_errors(as_json(data)) for leaf in leaves(error)]
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_shipped_experiment_follows_the_schema_and_names_it(path, validator):
    assert complaints(validator, read(path)) == []
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../workflow/schemas/config.schema.json"


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_every_shipped_experiment_follows_the_schema_when_its_defaults_are_written_out(path, validator):
    assert complaints(validator, check_experiment(read(path)).resolved()) == []


def changed(*path, to):
    data = copy.deepcopy(QUICKSTART)
    inner = data
    for key in path[:-1]:
        inner = inner[key] if isinstance(key, int) else inner.setdefault(key, {})
    inner[path[-1]] = to
    return data


BOTH_REFUSE = {
    "trainning": changed("trainning", to={}),
    "spilt": changed("datasets", "digits", "spilt", to={}),
    "trian": changed("datasets", "digits", "split", "trian", to=0.5),
    "pre": changed("features", "pixels", 0, "pre", to="all"),
    "hiden": changed("models", 0, "hiden", to=[3]),
    "chanels": changed("models", 1, "chanels", to=[3]),
    "epohcs": changed("training", "epohcs", to=3),
    "boostrap": changed("evaluation", "boostrap", to=3),
    "blurr": changed("evaluation", "corruption", to={"blurr": [1]}),
    "evaluation.corruption.missing.0: 1 ": changed("evaluation", "corruption", to={"missing": [1]}),
    "gird": changed("models", 1, "sweep", to={"gird": {"epochs": [1]}}),
    "sed": changed(
        "models", 1, "sweep", to={"random": {"samples": 1, "sed": 2, "parameters": {"epochs": {"choice": [1]}}}}
    ),
    "unifrom": changed(
        "models", 1, "sweep", to={"random": {"samples": 1, "parameters": {"epochs": {"unifrom": [1, 2]}}}}
    ),
    "'resnet'": changed("models", 1, "kind", to="resnet"),
    "'mnist'": changed("datasets", "digits", "kind", to="mnist"),
    "'standardise'": changed("features", "pixels", 0, "kind", to="standardise"),
    "'adan'": changed("training", "optimizer", to="adan"),
    "'fast'": changed("training", "learning_rate", to="fast"),
    "training.epochs: True": changed("training", "epochs", to=True),
    "training.epochs: 2.5": changed("training", "epochs", to=2.5),
    "training.learning_rate: 0 ": changed("training", "learning_rate", to=0),
    "training.seeds: 3": changed("training", "seeds", to=3),
    "models.0.dropout: 1 ": changed("models", 0, "dropout", to=1),
    "models: []": changed("models", to=[]),
    "datasets: {}": changed("datasets", to={}),
    "'kind' is a required property": changed("models", 1, to={"hidden": 3}),
    "models.1: 'cnn'": changed("models", 1, to="cnn"),
    "name: 'a b'": changed("name", to="a b"),
}


@pytest.mark.parametrize("word", BOTH_REFUSE)
def test_schema_and_check_refuse_the_same_mistakes_by_name(word, validator):
    assert any(word in message for message in complaints(validator, BOTH_REFUSE[word]))
    with pytest.raises(InputError):
        check_experiment(BOTH_REFUSE[word])


@pytest.mark.parametrize("key", ["name", "datasets", "models"])
def test_what_is_required_is_missed(key, validator):
    data = {name: value for name, value in QUICKSTART.items() if name != key}
    assert complaints(validator, data) == [f": '{key}' is a required property"]


def test_any_key_of_training_may_stand_in_a_model(validator):
    data = changed("models", 1, to={"kind": "cnn", **Training().model_dump(mode="json", exclude_none=True)})
    assert complaints(validator, data) == []
    check_experiment(data)


@pytest.mark.parametrize(("group", "kind"), [(group, kind) for group in TITLES for kind in list_kinds(group)])
def test_every_key_of_every_kind_is_documented(group, kind):
    pages = render_documentation()
    section = pages[pages.index(f"### `{kind}`") :].split("\n## ")[0].split("\n### ")[0]
    for name, field in load_kind(group, kind).model_fields.items():
        if name != "kind":
            assert field.description, f"{kind}.{name} has no documentation"
            assert f"| `{name}` | " in section


@pytest.mark.parametrize("model", [TopLevel, Training, Evaluation, ModelKeys], ids=lambda model: model.__name__)
def test_every_common_key_is_documented(model):
    pages = render_documentation()
    for name, field in model.model_fields.items():
        assert field.description, f"{name} has no documentation"
        assert f"| `{name}` | " in pages


def test_the_example_in_the_documentation_is_right(validator):
    block = render_documentation().split("```yaml\n")[1].split("```")[0]
    data = yaml.safe_load(block)
    assert complaints(validator, data) == []
    assert check_experiment(data).name == "my-experiment"


def test_links_in_the_documentation_lead_somewhere():
    pages = render_documentation()
    heads = {line.lstrip("# ").lower() for line in pages.splitlines() if line.startswith("#")}
    targets = {part.split(")")[0] for part in pages.split("](#")[1:]}
    assert targets
    assert targets <= heads


def test_no_cell_breaks_its_table():
    for line in render_documentation().splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 5

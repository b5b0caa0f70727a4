"""The JSON schema of an experiment file and its documentation, made from the typed config and every kind's `Spec`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any

from headrace.experiments.config import Training
from headrace.experiments.evaluation import evaluation_type
from headrace.experiments.experiment import ModelKeys, TopLevel
from headrace.registry import list_kinds, load_kind

Schema = dict[str, Any]
TITLES = {
    "datasets": "Kinds of datasets",
    "preprocessing": "Kinds of preprocessing steps",
    "models": "Model families",
}

CLUSTERS = (
    "No part of an experiment: a profile's `set-resources` says for `shard` and `preprocess` where their workers run",
    "(`dask_cluster`), how many there are (`dask_workers`) and how large they are (`dask_worker_mem_mb`). The keys",
    'below go into one text there, `dask_options: "partition=cpu,interface=ib0"`.',
)


def experiment_schema() -> Schema:
    """The whole schema.

    Kinds are told apart by if/then on `kind`, not by oneOf, so that an editor says which key is wrong.
    """
    definitions: Schema = {}
    for group in TITLES:
        extra = _model_extra(definitions) if group == "models" else {}
        definitions[group] = _kinds(group, extra, definitions)
    top = _take(TopLevel, definitions)
    top["properties"]["datasets"] |= {
        "type": "object",
        "additionalProperties": _reference("datasets"),
        "minProperties": 1,
    }
    chain = {"type": "array", "items": _reference("preprocessing"), "minItems": 1}
    top["properties"]["features"] |= {"type": "object", "additionalProperties": chain}
    top["properties"]["models"] |= {"type": "array", "items": _reference("models"), "minItems": 1}
    top["properties"]["training"] = _take(Training, definitions)
    top["properties"]["evaluation"] = _take(evaluation_type(), definitions)
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Headrace experiment"}
    return {**head, **top, "$defs": dict(sorted(definitions.items()))}


def render_schema(schema: Schema) -> str:
    """The text of config.schema.json."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _take(model: type[Any], definitions: Schema) -> Schema:
    """A model's schema, with its nested models moved to the common definitions."""
    schema: Schema = model.model_json_schema()
    definitions |= schema.pop("$defs", {})
    _tidy(schema)
    for nested in definitions.values():
        _tidy(nested)
    return schema


def _tidy(schema: Any) -> None:
    """Leave out generated titles, and write `X or null` as X: a key that is not wanted is left out."""
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    choices = schema.get("anyOf", [])
    if {"type": "null"} in choices and len(choices) == 2:
        del schema["anyOf"]
        schema |= next(choice for choice in choices if choice != {"type": "null"})
        schema.pop("default", None)
    if isinstance(schema.get("description"), str):
        schema["description"] = " ".join(schema["description"].split())
    for item in schema.values():
        _tidy(item)


def _model_extra(definitions: Schema) -> Schema:
    """Keys of every entry of `models`: its own, and any of training's, which here have no default."""
    own = _take(ModelKeys, definitions)["properties"]
    training = _take(Training, definitions)["properties"]
    for value in training.values():
        value.pop("default", None)
    return {**own, **training}


def _kinds(group: str, extra: Mapping[str, Any], definitions: Schema) -> Schema:
    """`kind` is one of those that there are, and decides which other keys are allowed."""
    branches = []
    for kind in list_kinds(group):
        schema = _take(load_kind(group, kind), definitions)
        schema["properties"] = {**extra, **schema["properties"], "kind": {"const": kind}}
        definitions[f"{group}.{kind}"] = schema
        condition = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        branches.append({"if": condition, "then": _reference(f"{group}.{kind}")})
    kinds = {"enum": list(list_kinds(group)), "description": f"One of the files in workflow/headrace/{group}/."}
    return {"type": "object", "properties": {"kind": kinds}, "required": ["kind"], "allOf": branches}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def render_documentation() -> str:
    """The text of configs/README.md."""
    lines = [HEAD]
    definitions: Schema = {}
    sections = (("The file", TopLevel), ("training", Training), ("evaluation", evaluation_type()))
    for title, model in (*sections, ("Every entry of models", ModelKeys)):
        lines += _section("##", title, model, definitions)
    for group, title in TITLES.items():
        lines += [f"## {title}", ""]
        for kind in list_kinds(group):
            lines += _section("###", f"`{kind}`", load_kind(group, kind), definitions, skip=("kind",))
    lines += ["## Kinds of Dask clusters", "", *CLUSTERS, ""]
    for kind in list_kinds("clusters"):
        skip = ("kind", "workers", "worker_memory_mib")
        lines += _section("###", f"`{kind}`", load_kind("clusters", kind), definitions, skip=skip)
    lines += ["## Nested keys", ""]
    for name, schema in sorted(definitions.items()):
        lines += [f"### {name}", "", " ".join(schema.get("description", "").split()), "", *_table(schema)]
    return "\n".join(lines).rstrip() + "\n"


def _section(mark: str, title: str, model: type[Any], definitions: Schema, skip: Iterable[str] = ()) -> list[str]:
    """A heading, what the class says of itself, and its keys; nested models are put aside."""
    schema = model.model_json_schema()
    definitions |= schema.get("$defs", {})
    return [f"{mark} {title}", "", " ".join((inspect.getdoc(model) or "").split()), "", *_table(schema, skip)]


def _table(schema: Schema, skip: Iterable[str] = ()) -> list[str]:
    """One line a key."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, value in schema["properties"].items():
        if key in skip:
            continue
        default = "required" if key in schema.get("required", ()) else _code(value.get("default"))
        meaning = " ".join(value.get("description", "").split()).replace("|", "\\|")
        rows.append(f"| `{key}` | {_type(value)} | {default} | {meaning} |")
    return [*(rows if len(rows) > 2 else ["No parameters of its own."]), ""]


def _code(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def _type(schema: Mapping[str, Any]) -> str:
    """A few words on what a key may hold."""
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"] if choice != {"type": "null"})
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if schema.get("type") == "array":
        items = schema.get("items") or (schema["prefixItems"][0] if "prefixItems" in schema else {})
        return f"list of {_type(items)}"
    word = WORDS.get(schema.get("type", ""), "anything")
    bounds = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema and abs(schema[key]) < 2**62]
    return f"{word} ({', '.join(bounds)})" if bounds else word


WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "object": "mapping",
    "boolean": "true \\| false",
}
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}

HEAD = """# Experiment files

One YAML file describes one experiment: `snakemake --cores all --configfile configs/NAME.yaml`. Only `name`, `datasets`
and `models` are required. `headrace check FILE` says what is wrong with a file, `headrace plan FILE` lists its runs.

This page is generated from the code (`make schema` writes it again). An editor with a YAML
language server completes and checks the keys through the first line of each file.

```yaml
# yaml-language-server: $schema=../workflow/schemas/config.schema.json
name: my-experiment
datasets:
  digits: {kind: mnist5k}
features:
  pixels: [{kind: standardize, per: all}]
models:
  - {kind: fnn, features: pixels, sweep: {grid: {learning_rate: [0.001, 0.003], hidden: [[64], [256, 128]]}}}
  - {kind: cnn, features: pixels, epochs: 5}
training: {epochs: 10, seeds: [0, 1, 2]}
```

Every dataset meets every model whose task fits, unless a model names its `datasets`. A run is one model at one point
of its sweep with one seed. Any key of `training` may also stand in a model's entry, where it holds for that model
alone, and any parameter of a model or of training but `seeds` may be swept. `1e-3` is a number.
"""

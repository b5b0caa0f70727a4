"""Texts in lines, with or without labels: their bytes end to end, and the length of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headrace.blocks import Block, Blocks, Ragged
from headrace.datasets.base import GROUP, INPUTS, SPLIT_KEY, TARGET, DataInfo, DatasetSpec, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.formats.columns import Names, Where, names_of, shorten
from headrace.formats.group_columns import GroupSurvey, group_codes
from headrace.formats.labels import LabelSurvey, class_codes, codes_of
from headrace.formats.lines import TAB, Encoding, Lines, Parts, PartTable, read_parts, refuse_few, unpack
from headrace.formats.split_keys import SplitKeys
from headrace.stores.layout import Variable

LABEL = "label"
LENGTHS = "lengths"


@dataclass(frozen=True)
class Form:
    """How texts and labels lie in a line."""

    format: Literal["lines", "tab", "json"]
    text: str
    """Key of the text in JSON."""
    target: str | None
    """Key of the label in JSON."""
    split_column: str | None
    """Key in JSON of what divides the samples."""
    encoding: Encoding
    groups: str | None = None
    """Key in JSON of the group for the report."""

    @property
    def has_labels(self) -> bool:
        """Whether there is something to predict."""
        return self.format == "tab" or self.target is not None


@dataclass(frozen=True)
class Texts:
    """A block of samples."""

    texts: Ragged
    labels: Names | None
    keys: Names | None
    groups: Names | None
    positions: np.ndarray
    """(rows,) where the line of each begins."""
    num_empty: int
    """Lines without anything on them."""


def parse(lines: Lines, form: Form) -> Texts:
    """Take lines in UTF-8 apart. Raises InputError naming the line."""
    starts, ends = lines.line_borders()
    filled = ends > starts
    starts, ends, num_empty = starts[filled], ends[filled], int((~filled).sum())
    if form.format == "json":
        return _parse_json(lines, form, starts, ends, num_empty)
    labels = None
    begins = starts
    if form.format == "tab":
        begins, labels = _take_labels(lines, starts, ends)
    chosen = np.zeros(len(lines.data) + 1, np.int8)
    chosen[begins] += 1
    chosen[ends] -= 1
    held = np.cumsum(chosen[:-1], dtype=np.int8).astype(bool)
    texts = Ragged(np.frombuffer(lines.data, np.uint8)[held], ends - begins)
    return Texts(texts, labels, None, None, starts, num_empty)


def _take_labels(lines: Lines, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, Names]:
    """(rows,) where the texts begin, and the labels in front of the first tabs."""
    tabs = np.append(np.flatnonzero(np.frombuffer(lines.data, np.uint8) == TAB), len(lines.data))
    at = tabs[np.searchsorted(tabs, starts)]
    if (at >= ends).any():
        raise InputError(f"{lines.at(int(starts[np.argmax(at >= ends)]))}: has no tab between a label and a text")
    if (at == ends - 1).any():
        raise InputError(f"{lines.at(int(starts[np.argmax(at == ends - 1)]))}: has no text behind the label")
    pieces = [lines.data[start:end] for start, end in zip(starts.tolist(), at.tolist(), strict=True)]
    places: dict[bytes, int] = {}
    codes = np.fromiter((places.setdefault(piece, len(places)) for piece in pieces), np.int64, len(pieces))
    labels = names_of(codes, [piece.decode().strip(" ") for piece in places], [""])
    if labels.missing.any():
        raise InputError(f"{lines.at(int(starts[np.argmax(labels.missing)]))}: has no label before the tab")
    return at + 1, labels


def _parse_json(lines: Lines, form: Form, starts: np.ndarray, ends: np.ndarray, num_empty: int) -> Texts:
    texts: list[np.ndarray] = []
    named: dict[str, list[str]] = {key: [] for key in (form.target, form.split_column, form.groups) if key is not None}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        try:
            value = json.loads(lines.data[start:end])
            text = value[form.text] if isinstance(value, dict) and form.text in value else None
            encoded = text.encode() if isinstance(text, str) else b""
        except (ValueError, RecursionError) as error:
            raise InputError(f"{lines.at(start)}: is no JSON: {' '.join(str(error).split())[:100]}") from None
        if not isinstance(value, dict):
            raise InputError(f"{lines.at(start)}: should be an object, as {{{json.dumps(form.text)}: ...}}")
        if not encoded:
            raise InputError(f"{lines.at(start)}: has no text under the key {form.text!r}")
        texts.append(np.frombuffer(encoded, np.uint8))
        for key, found in named.items():
            found.append(_name(value, key, lines, start))
    columns = {key: names_of(np.arange(len(texts)), found) for key, found in named.items()}
    labels, keys, groups = (
        columns[key] if key is not None else None for key in (form.target, form.split_column, form.groups)
    )
    return Texts(Ragged.of(texts, "uint8"), labels, keys, groups, starts, num_empty)


def _name(value: dict[str, Any], key: str, lines: Lines, start: int) -> str:
    """A label as text: true, 3 and "3" are called true, 3 and 3."""
    found = value.get(key)
    name = found if isinstance(found, str) else json.dumps(found) if isinstance(found, bool | int | float) else ""
    if not name:
        shown = shorten(json.dumps(found, ensure_ascii=True))
        raise InputError(f"{lines.at(start)}: {key}: {shown} is neither text nor a number nor a truth value")
    return name.encode(errors="replace").decode()


def survey_texts(spec: DatasetSpec, form: Form, files: Sequence[SourceFile]) -> Survey:
    """Count texts and their bytes, and settle the classes. Raises InputError naming file and line."""
    labels = LabelSurvey(LABEL, "classification") if form.has_labels else None
    keys = SplitKeys(spec.split.by, form.split_column) if form.split_column is not None else None
    groups = GroupSurvey(form.groups) if form.groups is not None else None
    parts, lengths, num_empty = PartTable(), [np.zeros(0, np.int64)], 0
    for raw in read_parts(files):
        lines = raw.as_utf8(form.encoding)
        found = parse(lines, form)
        parts.add(raw, len(found.texts))
        lengths.append(found.texts.lengths)
        num_empty += found.num_empty
        surveys = ((labels, found.labels), (keys, found.keys), (groups, found.groups))
        for survey, column in surveys:
            if survey is not None and column is not None:
                survey.add(column, _where(lines, found))
    refuse_few(str(files[0].path), parts.num_rows)
    index = {**parts.arrays(), LENGTHS: np.concatenate(lengths)}
    target = labels.finish() if labels is not None else None
    if target is not None and target.codes is not None:
        index[TARGET] = target.codes
    if keys is not None:
        index[SPLIT_KEY] = keys.finish()
    info = DataInfo(
        tasks=("classification",) if target is not None else ("next_step",),
        num_samples=parts.num_rows,
        shape=(),
        dims=(),
        layout="ragged",
        dtype="uint8",
        num_values=int(index[LENGTHS].sum()),
        longest=int(index[LENGTHS].max()),
        num_codes=256,
        **(target.info() if target is not None else {}),
    )
    said = groups.finish() if groups is not None else {}
    return Survey(info, index, {"empty_lines": num_empty, **said})


def _where(lines: Lines, found: Texts) -> Where:
    return lambda row: lines.at(int(found.positions[row]))


class TextSource(Source):
    """Texts, in parts of lines."""

    def __init__(self, form: Form, files: Sequence[SourceFile], survey: Survey, scratch: Path) -> None:
        """The files are those that were surveyed."""
        names = [str(file.path) for file in files]
        self._form = form
        self._parts = Parts(names, unpack(files, scratch), survey.index["parts"], form.encoding)
        self._classes = class_codes(survey.info.class_names)
        self._lengths: np.ndarray | None = survey.index[LENGTHS]
        self.borders = survey.index["borders"]
        self.variables = {INPUTS: Variable((), (), "uint8", "ragged")}
        if form.has_labels:
            self.variables[TARGET] = Variable((), (), "int64")
        self._groups = {name: code for code, name in enumerate(survey.attributes.get("group_names", ()))}
        if form.groups is not None:
            self.variables[GROUP] = Variable((), (), "int16")
        self.attributes = survey.attributes

    def __getstate__(self) -> dict[str, Any]:
        """Workers read parts: the lengths of all rows, which may be many, stay here."""
        return {**self.__dict__, "_lengths": None}

    def lengths(self, name: str) -> np.ndarray:
        """As they were surveyed."""
        return super().lengths(name) if self._lengths is None else self._lengths

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Take the lines of a part."""
        lines = self._parts.read(part)
        found = parse(lines, self._form)
        blocks: dict[str, Block] = {}
        if INPUTS in names:
            blocks[INPUTS] = found.texts
        if TARGET in names and found.labels is not None:
            blocks[TARGET] = codes_of(found.labels, self._classes, LABEL, _where(lines, found))
        if GROUP in names and found.groups is not None and self._form.groups is not None:
            blocks[GROUP] = group_codes(found.groups, self._groups, self._form.groups, _where(lines, found))
        return blocks

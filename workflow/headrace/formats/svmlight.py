"""Sparse rows in lines of `label index:value ...`: whole blocks of lines are taken apart at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from headrace.blocks import Block, Blocks
from headrace.datasets.base import GROUP, INPUTS, SPLIT_KEY, TARGET, DataInfo, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.formats.columns import Names, Numbers, Where, names_of, parse_numbers, refuse_unusable, shorten
from headrace.formats.group_columns import GroupSurvey, group_codes
from headrace.formats.labels import LabelSurvey, TaskRule, class_codes, codes_of
from headrace.formats.lines import Lines, Parts, PartTable, read_parts, refuse_few, unpack
from headrace.stores.layout import Variable

LABEL, QUERY = "label", "qid"
MOST_COLUMNS = 2**31 - 1
NEWLINE, COLON = b"\n:"
_BLANKS = np.zeros(256, bool)
_BLANKS[list(b" \t\n\r\v\f")] = True
_COMMENT = re.compile(rb"#[^\n]*")


@dataclass(frozen=True)
class Form:
    """What an experiment file says of lines."""

    task: TaskRule
    index_base: Literal["auto", "0", "1"]
    num_features: int | None
    divided: bool = False
    """Whether `qid` divides the rows."""
    grouped: bool = False
    """Whether it tells groups for the report."""


@dataclass(frozen=True)
class Rows:
    """A block of rows."""

    labels: Names
    groups: np.ndarray
    """(rows,) int64, or (0,) where no row has a `qid`."""
    indptr: np.ndarray
    """(rows + 1,) where each row begins in what follows."""
    indices: np.ndarray
    """(stored,) int64 as in the file."""
    values: np.ndarray
    """(stored,) float32, zeros left out."""
    positions: np.ndarray
    """(rows,) where each row begins in the text."""


class _Tokens:
    """The words of a block, and where they begin and end in it."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.text = np.frombuffer(lines.data, np.uint8)
        blank = np.concatenate([[True], _BLANKS[self.text], [True]])
        self.starts = np.flatnonzero(blank[:-1] & ~blank[1:])
        self.ends = np.flatnonzero(~blank[:-1] & blank[1:])
        ends_of_lines = np.flatnonzero(self.text == NEWLINE)
        line = np.searchsorted(ends_of_lines, self.starts)
        self.is_first = np.diff(line, prepend=-1) > 0
        colons = np.flatnonzero(self.text == COLON)
        token = np.searchsorted(self.starts, colons, side="right") - 1
        self.num_colons = np.bincount(token, minlength=len(self.starts))
        self.colons = np.zeros(len(self.starts), np.int64)
        self.colons[token[::-1]] = colons[::-1]

    def word(self, token: int) -> str:
        return self.lines.data[self.starts[token] : self.ends[token]].decode(errors="replace")

    def refuse(self, wrong: np.ndarray, why: str) -> None:
        """Raise InputError for the first of the tokens that are wrong (tokens,)."""
        if wrong.any():
            self.fail(int(np.argmax(wrong)), why)

    def fail(self, token: int, why: str) -> NoReturn:
        raise InputError(f"{self.lines.at(int(self.starts[token]))}: {shorten(self.word(token))} {why}")

    def texts(self, starts: np.ndarray, ends: np.ndarray) -> list[str]:
        """Pieces of the text."""
        data = self.lines.data
        return [data[start:end].decode("ascii") for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def numbers(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pieces of the text as numbers, and whether each is one."""
        import pyarrow as pa

        offsets = np.concatenate([[0], np.cumsum(ends - starts)])
        chosen = np.zeros(len(self.text) + 1, np.int8)
        chosen[starts] += 1
        chosen[ends] -= 1
        held = self.text[np.cumsum(chosen[:-1], dtype=np.int8).astype(bool)]
        buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(held)]
        return parse_numbers(pa.Array.from_buffers(pa.large_string(), len(starts), buffers))


def parse(lines: Lines) -> Rows:
    """Take lines apart. Raises InputError naming the line."""
    lines = replace(lines.as_utf8("utf-8"), data=_COMMENT.sub(b"", lines.data))
    words = _Tokens(lines)
    if not lines.data.isascii():
        words.fail(next(i for i in range(len(words.starts)) if not words.word(i).isascii()), "holds no ASCII")
    first, pairs = words.is_first, ~words.is_first
    words.refuse(first & (words.num_colons > 0), "stands where a label should")
    inside = (words.colons > words.starts) & (words.colons < words.ends - 1)
    words.refuse(pairs & ((words.num_colons != 1) | ~inside), "is no index:value")
    labels = _labels(words)
    rows = np.cumsum(first) - 1
    is_group = np.zeros(len(first), bool)
    is_group[1:] = first[:-1] & pairs[1:] & (words.text[words.starts[1:]] == ord("q"))
    groups = _groups(words, is_group, int(first.sum()))
    chosen = np.flatnonzero(pairs & ~is_group)
    indices, values = _pairs(words, chosen)
    same_row = rows[chosen][1:] == rows[chosen][:-1]
    wrong = np.zeros(len(first), bool)
    wrong[chosen[1:]] = same_row & (indices[1:] <= indices[:-1])
    words.refuse(wrong, "does not rise: indices must, within a line")
    stored = values != 0
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[chosen[stored]], minlength=int(first.sum())))])
    return Rows(labels, groups, indptr, indices[stored], values[stored], words.starts[first])


def _labels(words: _Tokens) -> Names:
    chosen = np.flatnonzero(words.is_first)
    texts = words.texts(words.starts[chosen], words.ends[chosen])
    values, good = parse_numbers(texts)
    good &= np.isfinite(values)
    if not good.all():
        words.fail(int(chosen[np.argmin(good)]), "is no label; allowed: one finite number")
    return names_of(np.arange(len(texts)), texts)


def _groups(words: _Tokens, is_group: np.ndarray, num_rows: int) -> np.ndarray:
    chosen = np.flatnonzero(is_group)
    if not len(chosen):
        return np.zeros(0, np.int64)
    names = words.texts(words.starts[chosen], words.colons[chosen])
    texts = words.texts(words.colons[chosen] + 1, words.ends[chosen])
    for token, name, text in zip(chosen.tolist(), names, texts, strict=True):
        if name != QUERY or not text.isdecimal() or len(text) > 18:
            words.fail(token, "is no index:value and no qid:NUMBER")
    if len(chosen) != num_rows:
        has = np.isin(np.flatnonzero(words.is_first) + 1, chosen)
        words.fail(int(np.flatnonzero(words.is_first)[np.argmin(has)]), "has no qid, other lines have")
    return np.array([int(text) for text in texts], np.int64)


def _pairs(words: _Tokens, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and float32 values of the tokens chosen."""
    starts, colons, ends = words.starts[chosen], words.colons[chosen], words.ends[chosen]
    values, good = words.numbers(colons + 1, ends)
    if not good.all():
        words.fail(int(chosen[np.argmin(good)]), "has no number as its value")
    refuse_unusable(
        Numbers(values, np.zeros(len(values), bool)), "value", lambda pair: words.lines.at(int(starts[pair]))
    )
    indices, good = words.numbers(starts, colons)
    others = np.flatnonzero((words.text < ord("0")) | (words.text > ord("9")))
    good &= np.searchsorted(others, starts) == np.searchsorted(others, colons)
    good &= (colons - starts <= 10) & (indices <= MOST_COLUMNS)
    if not good.all():
        words.fail(int(chosen[np.argmin(good)]), f"has no index from 0 to {MOST_COLUMNS}")
    return indices.astype(np.int64), values.astype(np.float32)


class _Indices:
    """What the indices of all lines ask for."""

    def __init__(self, form: Form) -> None:
        self._form, self._least, self._most, self._most_at = form, MOST_COLUMNS, -1, ""

    def note(self, rows: Rows, where: Where) -> None:
        """Take a block in. Raises InputError naming file and line."""
        if not len(rows.indices):
            return
        self._least = min(self._least, int(rows.indices.min()))
        if self._form.index_base == "1" and self._least == 0:
            raise InputError(
                f"{where(_row_of(rows, np.argmin(rows.indices)))}: has an index 0; allowed with index_base 1: from 1 on"
            )
        if rows.indices.max() > self._most:
            self._most = int(rows.indices.max())
            self._most_at = where(_row_of(rows, np.argmax(rows.indices)))

    def finish(self, name: str) -> tuple[int, int]:
        """The index of the first column, and how many columns there are. Raises InputError naming the file `name`."""
        base = int(self._form.index_base) if self._form.index_base != "auto" else int(self._least > 0)
        needed, allowed = self._most + 1 - base, self._form.num_features
        if needed < 1:
            raise InputError(f"{name}: has no value at all in any line")
        if allowed is not None and needed > allowed:
            raise InputError(
                f"{self._most_at}: has an index {self._most}; num_features: {allowed} allows {allowed - 1 + base}"
            )
        return base, allowed or needed


def survey_svmlight(form: Form, files: Sequence[SourceFile]) -> Survey:
    """Settle columns, classes and groups over all lines. Raises InputError naming file and line."""
    labels, indices, parts, queries = LabelSurvey(LABEL, form.task), _Indices(form), PartTable(), []
    groups, num_values = GroupSurvey(QUERY) if form.grouped else None, 0
    for lines in read_parts(files):
        rows = parse(lines)
        where = _where(lines, rows)
        parts.add(lines, len(rows.labels))
        labels.add(rows.labels, where)
        indices.note(rows, where)
        num_values += len(rows.values)
        for key, wanted in (("split.column", form.divided), ("groups", form.grouped)):
            if wanted and len(rows.groups) != len(rows.labels):
                raise InputError(f"{where(0)}: {key}: {QUERY}: this line has none")
        if form.divided:
            queries.append(rows.groups)
        if groups is not None:
            groups.add(_named(rows), where)
    refuse_few(str(files[0].path), parts.num_rows)
    base, num_columns = indices.finish(str(files[0].path))
    target = labels.finish()
    info = DataInfo(
        tasks=("regression",) if target.codes is None else ("classification",),
        num_samples=parts.num_rows,
        shape=(num_columns,),
        dims=("feature",),
        layout="sparse",
        num_values=num_values,
        **target.info(),
    )
    index = parts.arrays() | ({} if target.codes is None else {TARGET: target.codes})
    if form.divided:
        index[SPLIT_KEY] = np.concatenate(queries)
    return Survey(info, index, {"index_base": base, **(groups.finish() if groups is not None else {})})


def _named(rows: Rows) -> Names:
    """The groups of rows as a column."""
    found, codes = np.unique(rows.groups, return_inverse=True)
    return Names(codes, [str(query) for query in found.tolist()], np.zeros(len(codes), bool))


def _row_of(rows: Rows, stored: np.intp) -> int:
    """The row that holds a stored value."""
    return int(np.searchsorted(rows.indptr, stored, side="right")) - 1


def _where(lines: Lines, rows: Rows) -> Where:
    data = _COMMENT.sub(b"", lines.data)
    return lambda row: replace(lines, data=data).at(int(rows.positions[row]))


class SvmlightSource(Source):
    """Sparse rows, in parts of lines."""

    def __init__(self, files: Sequence[SourceFile], survey: Survey, scratch: Path) -> None:
        """The files are those that were surveyed."""
        names = [str(file.path) for file in files]
        self._parts = Parts(names, unpack(files, scratch), survey.index["parts"], "utf-8")
        self._base, self._shape = int(survey.attributes["index_base"]), survey.info.shape
        self._classes = class_codes(survey.info.class_names) if survey.info.class_names else None
        self.borders = survey.index["borders"]
        self.variables = {
            INPUTS: Variable(("feature",), self._shape, "float32", "sparse"),
            TARGET: Variable((), (), "float32" if self._classes is None else "int64"),
        }
        self.attributes = survey.attributes
        self._groups = {name: code for code, name in enumerate(survey.attributes.get("group_names", ()))}
        if self._groups:
            self.variables[GROUP] = Variable((), (), "int16")

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Parse the lines of a part."""
        from scipy.sparse import csr_array

        lines = self._parts.read(part)
        rows = parse(lines)
        blocks: dict[str, Block] = {}
        if INPUTS in names:
            shape = (len(rows.labels), *self._shape)
            blocks[INPUTS] = csr_array((rows.values, rows.indices - self._base, rows.indptr), shape=shape)
        if TARGET in names and self._classes is not None:
            blocks[TARGET] = codes_of(rows.labels, self._classes, LABEL, _where(lines, rows))
        elif TARGET in names:
            numbers, _ = rows.labels.as_numbers()
            blocks[TARGET] = numbers.values.astype(np.float32)
        if GROUP in names:
            blocks[GROUP] = group_codes(_named(rows), self._groups, QUERY, _where(lines, rows))
        return blocks

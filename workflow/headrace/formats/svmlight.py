"""Sparse rows in lines of `label index:value ...`: whole blocks of lines are taken apart at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from headrace.blocks import Block, Blocks
from headrace.datasets.base import INPUTS, SPLIT_KEY, TARGET, DataInfo, DatasetSpec, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.formats.columns import Names, Numbers, Where, names_of, parse_numbers, refuse_unusable, shorten
from headrace.formats.labels import LabelSurvey, TaskRule, class_codes, codes_of
from headrace.formats.lines import Lines, Parts, PartTable, read_parts, refuse_few, unpack
from headrace.stores.layout import Variable

LABEL = "label"
MOST_COLUMNS = 2**31 - 1
NEWLINE, COLON = b"\n:"
_BLANKS = np.zeros(256, bool)
_BLANKS[list(b" \t\n\r\v\f")] = True
_COMMENT = re.compile(rb"#[^\n]*")


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
        if name != "qid" or not text.isdecimal() or len(text) > 18:
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


def survey_svmlight(
    spec: DatasetSpec, files: Sequence[SourceFile], task: TaskRule, index_base: str, num_features: int | None
) -> Survey:
    """Settle columns and classes over all lines. Raises InputError naming file and line."""
    name = str(files[0].path)
    labels, parts, groups = LabelSurvey(LABEL, task), PartTable(), []
    num_values, least, most, most_at = 0, MOST_COLUMNS, -1, ""
    for lines in read_parts(files):
        rows = parse(lines)
        parts.add(lines, len(rows.labels))
        labels.add(rows.labels, _where(lines, rows))
        num_values += len(rows.values)
        if spec.split.column is not None:
            if len(rows.groups) != len(rows.labels):
                raise InputError(f"{_where(lines, rows)(0)}: split.column: qid: this line has none")
            groups.append(rows.groups)
        if len(rows.indices):
            least = min(least, int(rows.indices.min()))
            if index_base == "1" and least == 0:
                place = int(np.searchsorted(rows.indptr, np.argmin(rows.indices), side="right")) - 1
                raise InputError(f"{_where(lines, rows)(place)}: has an index 0; allowed with index_base 1: from 1 on")
            if rows.indices.max() > most:
                most = int(rows.indices.max())
                place = int(np.searchsorted(rows.indptr, np.argmax(rows.indices), side="right")) - 1
                most_at = _where(lines, rows)(place)
    refuse_few(name, parts.num_rows)
    base = int(index_base) if index_base != "auto" else int(least > 0)
    needed = most + 1 - base
    if needed < 1:
        raise InputError(f"{name}: has no value at all in any line")
    if num_features is not None and needed > num_features:
        raise InputError(
            f"{most_at}: has an index {most}; num_features: {num_features} allows {num_features - 1 + base}"
        )
    target = labels.finish()
    info = DataInfo(
        tasks=("regression",) if target.codes is None else ("classification",),
        num_samples=parts.num_rows,
        shape=(num_features or needed,),
        dims=("feature",),
        layout="sparse",
        num_values=num_values,
        **target.info(),
    )
    index = parts.arrays() | ({} if target.codes is None else {TARGET: target.codes})
    if groups:
        index[SPLIT_KEY] = np.concatenate(groups)
    return Survey(info, index, {"index_base": base})


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
        return blocks

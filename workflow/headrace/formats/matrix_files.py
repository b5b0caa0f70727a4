"""Sparse matrices in the Matrix Market format, and lists of labels, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from headrace.blocks import Blocks
from headrace.datasets.base import INPUTS, TARGET, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.formats.columns import Names, names_of, shorten
from headrace.formats.labels import LabelSurvey, Target, TaskRule
from headrace.formats.lines import read_parts
from headrace.formats.matrix_text import read_matrix
from headrace.sources.xarrays import PART_BYTES
from headrace.stores.layout import Variable

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def read_matrices(files: Sequence[SourceFile]) -> csr_array:
    """All files below each other, (rows, columns) float32 without stored zeros; numbers of one place are summed.

    Raises InputError naming the file. Everything is held in memory.
    """
    from scipy.sparse import vstack

    with TemporaryDirectory(prefix="headrace-") as folder:
        matrices = [_read_matrix(file.path, Path(folder)) for file in files]
    for file, matrix in zip(files, matrices, strict=True):
        if matrix.shape[1] != matrices[0].shape[1]:
            raise InputError(
                f"{file.path}: has {matrix.shape[1]} columns, but {files[0].path} has {matrices[0].shape[1]}; joined "
                "files must agree"
            )
    return matrices[0] if len(matrices) == 1 else vstack(matrices, format="csr")


def _read_matrix(path: Path, folder: Path) -> csr_array:
    matrix = read_matrix(path, folder)
    with np.errstate(over="ignore"):
        matrix = matrix.astype(np.float32)
    wrong = ~np.isfinite(matrix.data)
    if wrong.any():
        row = int(np.searchsorted(matrix.indptr, int(np.argmax(wrong)), side="right"))
        raise InputError(f"{path}: row {row} (counted from 1) holds what is no finite number that float32 can hold")
    matrix.eliminate_zeros()
    return matrix


def read_labels(files: Sequence[SourceFile]) -> Iterator[tuple[Names, list[int], str]]:
    """The lines of text files, block by block: the labels, the number of each one's line, the file's name.

    Raises InputError for a line that is blank, unless it is the last.
    """
    for lines in read_parts(files):
        texts = lines.as_utf8("utf-8").data.decode().split("\n")
        texts = [text.strip() for text in (texts[:-1] if not texts[-1].strip() else texts)]
        numbers = list(range(lines.first_line, lines.first_line + len(texts)))
        if "" in texts:
            raise InputError(f"{lines.name}: line {numbers[texts.index('')]}: is blank; allowed: one label a line")
        places: dict[str, int] = {}
        codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, len(texts))
        yield names_of(codes, list(places)), numbers, lines.name


def survey_labels(files: Sequence[SourceFile], task: TaskRule) -> tuple[Target, int]:
    """What there is to predict, and for how many rows. Raises InputError naming the line."""
    survey, count = LabelSurvey(TARGET, task), 0
    for labels, numbers, name in read_labels(files):
        count += len(labels)
        survey.add(labels, lambda row, numbers=numbers, name=name: f"{name}: line {numbers[row]}")  # type: ignore[misc]
    return survey.finish(), count


def read_numbers(files: Sequence[SourceFile]) -> np.ndarray:
    """(rows,) float32 of labels that are numbers. Raises InputError naming the line."""
    blocks = []
    for labels, lines, name in read_labels(files):
        numbers, good = labels.as_numbers()
        if not good.all():
            row = int(np.argmin(good))
            text = shorten(labels.names[int(labels.codes[row])])
            raise InputError(f"{name}: line {lines[row]}: {text} is not a number")
        blocks.append(numbers.values.astype(np.float32))
    return np.concatenate(blocks)


class SparseRows(Source):
    """A sparse matrix that was laid down as three arrays."""

    def __init__(self, survey: Survey, matrix: csr_array, numbers: np.ndarray | None, scratch: Path) -> None:
        """`numbers` (rows,) are what to predict; codes of classes are taken from the survey."""
        self._folder, self._columns = scratch.absolute(), int(matrix.shape[1])
        arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr.astype(np.int64)}
        self.variables = {INPUTS: Variable(survey.info.dims, (self._columns,), "float32", layout="sparse")}
        self.attributes = {}
        if TARGET in survey.index:
            arrays[TARGET] = survey.index[TARGET]
            self.variables[TARGET] = Variable((), (), "int64")
            self.attributes = {"class_names": list(survey.info.class_names)}
        elif numbers is not None:
            arrays[TARGET] = numbers
            self.variables[TARGET] = Variable((), (), "float32")
        for name, values in arrays.items():
            np.save(self._folder / f"{name}.npy", values, allow_pickle=False)
        self.borders = sparse_borders(arrays["indptr"], matrix.data.itemsize + matrix.indices.itemsize)

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Copy the rows of a part out of the arrays."""
        from scipy.sparse import csr_array

        start, stop = int(self.borders[part]), int(self.borders[part + 1])
        blocks: dict[str, np.ndarray | csr_array] = {}
        for name in names:
            if name == TARGET:
                blocks[name] = self._cut(TARGET, start, stop)
                continue
            edges = self._cut("indptr", start, stop + 1)
            first, last = int(edges[0]), int(edges[-1])
            triple = (self._cut("data", first, last), self._cut("indices", first, last), edges - first)
            blocks[name] = csr_array(triple, shape=(stop - start, self._columns))
        return blocks

    def _cut(self, name: str, start: int, stop: int) -> np.ndarray:
        return np.array(np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)[start:stop])


def sparse_borders(indptr: np.ndarray, value_bytes: int) -> np.ndarray:
    """(parts + 1,) borders of parts of about 16 MiB of stored numbers; `indptr` (rows + 1,) is a CSR matrix's."""
    sizes = indptr * value_bytes + np.arange(len(indptr)) * indptr.itemsize
    cuts = np.searchsorted(sizes, np.arange(PART_BYTES, int(sizes[-1]), PART_BYTES))
    return np.unique(np.concatenate([[0], cuts, [len(indptr) - 1]])).astype(np.int64)

"""Rows of numbers or text that any process reads a range of, and what a dataset makes of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from headrace.blocks import Blocks
from headrace.datasets.base import GROUP, INPUTS, TARGET, Source, Survey
from headrace.errors import InputError
from headrace.sources.xarrays import part_borders
from headrace.stores.layout import Variable

IMAGE_SCALE = 1 / 255
"""What the bytes of an image are multiplied by: [0, 1] comes out."""
KEPT = "kept"
"""In a survey's index: (samples,) the rows that were not left out, where some were."""


class Rows(ABC):
    """Rows of one shape, which any process reads a range of. Sent to workers: it must pickle, and be small."""

    num_rows: int
    shape: tuple[int, ...]
    """Of one row."""
    dtype: np.dtype
    """As the rows are stored; text of any length is `<U0`."""

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` until before `stop`, (rows, *shape). Raises InputError naming the file."""

    @abstractmethod
    def place(self, row: int) -> str:
        """`PATH: row 17`: where a row comes from, for a message; rows are counted from 0."""

    def borders(self) -> np.ndarray:
        """(parts + 1,) borders of parts of about 16 MiB, as they are stored or as float32."""
        return part_borders(self.num_rows, math.prod(self.shape) * max(4, self.dtype.itemsize))

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows, a part at a time: the first row's number, and the rows."""
        for start, stop in pairwise(self.borders().tolist()):
            yield start, self.read(start, stop)


def plain_values(rows: Rows, start: int, values: np.ndarray) -> list[Any]:
    """Python values of what was found from row `start` on. Raises InputError for text that is no text."""
    try:
        listed: list[Any] = values.tolist()
        texts = [value.decode() if isinstance(value, bytes) else value for value in listed]
        for text in texts:
            if isinstance(text, str):
                text.encode()
    except (ValueError, SystemError):
        # NumPy raises the latter for characters beyond those that there are.
        raise InputError(f"{rows.place(start)}: among the {len(values)} texts from here on, some are no text") from None
    return texts


def is_image(rows: Rows) -> bool:
    """Bytes in at least two dimensions are taken for pixels."""
    return rows.dtype == np.uint8 and len(rows.shape) >= 2


def input_variable(rows: Rows, dims: tuple[str, ...] = ()) -> Variable:
    """How inputs are stored: bytes of an image as they are, other numbers as float32."""
    shape = rows.shape or (1,)
    if not dims:
        pixels = ("height", "width", "channel")[: len(shape)] if is_image(rows) and len(shape) <= 3 else ()
        dims = pixels or (("feature",) if len(shape) == 1 else tuple(f"axis_{i + 1}" for i in range(len(shape))))
    if is_image(rows):
        return Variable(dims, shape, "uint8", scale=IMAGE_SCALE)
    return Variable(dims, shape, "float32")


def number_variable(rows: Rows) -> Variable:
    """How numbers to predict are stored: one a row, or several."""
    return Variable(("output",), (math.prod(rows.shape),), "float32") if rows.shape else Variable((), (), "float32")


def to_float32(values: np.ndarray) -> np.ndarray:
    """What is too large becomes infinite: a survey has refused it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, np.float32)


class RowSource(Source):
    """Inputs and targets that are read as rows, in parts that begin where the inputs' own begin."""

    def __init__(
        self,
        survey: Survey,
        inputs: Rows,
        target: Rows | None,
        scratch: Path,
        dims: tuple[str, ...] = (),
    ) -> None:
        """`target` are numbers to predict; codes of classes and groups are the survey's, and laid down in `scratch`."""
        self._folder = scratch.absolute()
        self._inputs, self._target = inputs, None if TARGET in survey.index else target
        self._edges = self.borders = inputs.borders()
        self._dropped = KEPT in survey.index
        if self._dropped:
            kept = survey.index[KEPT]
            np.save(self._folder / f"{KEPT}.npy", kept, allow_pickle=False)
            self.borders = np.searchsorted(kept, self._edges).astype(np.int64)
        self.variables = {INPUTS: input_variable(inputs, dims)}
        if self._target is not None:
            self.variables[TARGET] = number_variable(self._target)
        self._coded = [name for name in (TARGET, GROUP) if name in survey.index]
        for name in self._coded:
            np.save(self._folder / f"{name}.npy", survey.index[name], allow_pickle=False)
            self.variables[name] = Variable((), (), survey.index[name].dtype.name)
        self.attributes = dict(survey.attributes)
        if survey.info.class_names:
            self.attributes["class_names"] = list(survey.info.class_names)

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """The rows of a part that were not left out."""
        start, stop = int(self._edges[part]), int(self._edges[part + 1])
        first, last = int(self.borders[part]), int(self.borders[part + 1])
        within = self._laid_down(KEPT, first, last) - start if self._dropped else None
        blocks = {}
        for name in names:
            if name in self._coded:
                blocks[name] = self._laid_down(name, first, last)
                continue
            rows = self._inputs if name == INPUTS else self._target
            if rows is None:
                raise InputError(f"{name}: there is no such variable")
            values = rows.read(start, stop)
            values = values if within is None else values[within]
            variable = self.variables[name]
            values = values.reshape(len(values), *variable.shape)
            blocks[name] = np.ascontiguousarray(values) if variable.dtype == "uint8" else to_float32(values)
        return blocks

    def _laid_down(self, name: str, start: int, stop: int) -> np.ndarray:
        """A range of an array of whole numbers in `scratch`."""
        path = self._folder / f"{name}.npy"
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[start:stop])

"""A long text, cut into windows of characters."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headrace.blocks import Blocks
from headrace.datasets.base import INPUTS, SPLIT_KEY, DataInfo, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.experiments.splits import SPLITS
from headrace.formats.lines import Encoding, read_parts
from headrace.sources.xarrays import part_borders
from headrace.stores.layout import Variable

NUM_CODE_POINTS = sys.maxunicode + 1


@dataclass(frozen=True)
class Form:
    """How a text is cut."""

    context: int
    """Characters that a window predicts."""
    stride: int
    """From one window of the training stretch to the next."""
    encoding: Encoding

    @property
    def length(self) -> int:
        """Characters of a window: the first one is only read."""
        return self.context + 1


def read_characters(form: Form, files: Sequence[SourceFile]) -> Iterator[np.ndarray]:
    """(characters,) uint32 code points, block by block. Raises InputError naming file and line."""
    for lines in read_parts(files, torn=True):
        text = lines.as_utf8(form.encoding).data.decode()
        yield np.frombuffer(text.encode("utf-32-le"), "<u4")


def survey_stream(
    form: Form, files: Sequence[SourceFile], borders: tuple[int, int] | None, shares: tuple[float, float]
) -> Survey:
    """Count the characters, number those that differ, and lay out the windows. Raises InputError naming the file."""
    name = str(files[0].path)
    present, num_characters = np.zeros(NUM_CODE_POINTS, bool), 0
    for points in read_characters(form, files):
        present[points] = True
        num_characters += len(points)
    characters = np.flatnonzero(present).astype(np.int64)
    if len(characters) < 2:
        raise InputError(f"{name}: holds the same character throughout: there is nothing to predict")
    spans = _spans(form, name, num_characters, borders, shares)
    info = DataInfo(
        tasks=("next_step",),
        num_samples=int(spans[:, 1].sum()),
        shape=(form.length,),
        dims=("step",),
        dtype="uint8" if len(characters) <= 256 else "int32",
        num_codes=len(characters),
        own_split=True,
    )
    keys = np.repeat(np.arange(len(SPLITS), dtype=np.int64), spans[:, 1])
    attributes = {"characters": "".join(map(chr, characters)), "num_characters": num_characters}
    return Survey(info, {"spans": spans, "characters": characters, SPLIT_KEY: keys}, attributes)


def _spans(
    form: Form, name: str, num_characters: int, borders: tuple[int, int] | None, shares: tuple[float, float]
) -> np.ndarray:
    """(3, 3) of each split the first character, how many windows it has, and how far apart these begin."""
    inner = borders or (round(num_characters * shares[0]), round(num_characters * (shares[0] + shares[1])))
    if borders and inner[1] >= num_characters:
        raise InputError(f"split.borders: {name}: has {num_characters} characters; allowed: borders below it")
    edges = (0, *inner, num_characters)
    spans = []
    for i, split in enumerate(SPLITS):
        # Where a model is judged, every character is predicted once.
        stride = form.stride if split == "train" else form.context
        room = edges[i + 1] - edges[i] - form.length
        if room < 0:
            raise InputError(
                f"split.{'borders' if borders else split}: {name}: {edges[i + 1] - edges[i]} of {num_characters} "
                f"characters leave {split} without a window of {form.context} + 1 characters"
            )
        spans.append((edges[i], room // stride + 1, stride))
    return np.array(spans, np.int64)


class StreamSource(Source):
    """Windows of a text that lies as codes in one .npy file, which every process maps into its memory."""

    def __init__(self, form: Form, files: Sequence[SourceFile], survey: Survey, scratch: Path) -> None:
        """The files are those that were surveyed."""
        self._length, self._spans = form.length, survey.index["spans"]
        self._path = (scratch / "codes.npy").absolute()
        self.variables = {INPUTS: Variable(survey.info.dims, survey.info.shape, survey.info.dtype)}
        self.borders = part_borders(int(self._spans[:, 1].sum()), self.variables[INPUTS].row_bytes)
        self.attributes = survey.attributes
        characters = survey.index["characters"]
        code_of = np.zeros(NUM_CODE_POINTS, survey.info.dtype)
        code_of[characters] = np.arange(len(characters))
        shape = (int(survey.attributes["num_characters"]),)
        laid = np.lib.format.open_memmap(self._path, mode="w+", dtype=np.dtype(survey.info.dtype), shape=shape)
        start = 0
        for points in read_characters(form, files):
            if start + len(points) > len(laid):
                raise InputError(f"{files[0].path}: has more characters than when it was surveyed")
            laid[start : start + len(points)] = code_of[points]
            start += len(points)
        laid.flush()

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Cut the windows of a part."""
        rows = np.arange(self.borders[part], self.borders[part + 1])
        firsts, counts, strides = self._spans.T
        ends = np.cumsum(counts)
        split = np.searchsorted(ends, rows, side="right")
        starts = firsts[split] + (rows - (ends - counts)[split]) * strides[split]
        # Only the windows chosen are copied.
        windows = sliding_window_view(np.load(self._path, mmap_mode="r"), self._length)[starts]
        return {INPUTS: np.ascontiguousarray(windows)} if INPUTS in names else {}

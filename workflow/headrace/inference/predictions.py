"""What a trained run predicts of data, as CSV or as .npz, a batch at a time."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from pydantic import ValidationError

from headrace.errors import InputError
from headrace.inference.new_data import Part, SealedRun
from headrace.inference.trained import BATCH_SIZE, Outputs, TrainedRun, read_back

PROBABILITIES = "probabilities"
SUFFIXES = (".csv", ".npz")


def open_run(run: SealedRun, device: str | None = None) -> TrainedRun:
    """A sealed run, ready to predict: on its own device, or else on the CPU, which is said. Raises InputError."""
    spec = run.manifest["spec"]
    device = device or spec["training"]["device"]
    if device == "cuda" and not torch.cuda.is_available():
        print(f"{run.folder.name} was trained on a GPU and finds none: the last bits may differ", file=sys.stderr)
        device = "cpu"
    assert device is not None
    try:
        return read_back(run.folder, spec, device)
    except (ValidationError, LookupError, RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{run.folder}: cannot be read by this version of Headrace: {why}") from None


def predict_all(run: TrainedRun, parts: Iterable[Part]) -> Iterator[Outputs]:
    """Batch by batch: `row` (batch,), and what is predicted, with the code of the likeliest class as `predicted`."""
    for part in parts:
        start = 0
        for batch, outputs in run.predict(part.data.in_order(BATCH_SIZE)):
            numbered: Outputs = {"row": part.numbers[start : start + len(batch)]}
            if PROBABILITIES in outputs:
                numbered["predicted"] = outputs[PROBABILITIES].argmax(axis=1)
            yield {**numbered, **outputs}
            start += len(batch)


def write_predictions(batches: Iterable[Outputs], num_rows: int, names: Sequence[str], output: Path | None) -> None:
    """To a file that is there whole or not at all, or to standard output. `names` are those of the classes."""
    if output is None:
        write_table(batches, names, sys.stdout)
        return
    with replaced(output, SUFFIXES) as path:
        if output.suffix == ".npz":
            write_arrays(batches, num_rows, names, path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                write_table(batches, names, file)


def refuse_suffix(output: Path | None, suffixes: Sequence[str]) -> None:
    """Raise InputError for a file of a kind that is not written, before anything is computed."""
    if output is not None and output.suffix not in suffixes:
        raise InputError(f"--output {output}: allowed: names that end in {' or '.join(suffixes)}")


@contextmanager
def replaced(output: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """A name to write to, which takes the place of `output` at the end. Raises InputError where that cannot be."""
    refuse_suffix(output, suffixes)
    temporary = output.with_name(f".{uuid.uuid4().hex[:8]}.{output.name}")
    try:
        yield temporary
        os.replace(temporary, output)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_table(batches: Iterable[Outputs], names: Sequence[str], file: IO[str]) -> None:
    """A line a row; numbers in the fewest digits that give the same bits back. Predicted images are left out."""
    writer = csv.writer(file, lineterminator="\n")
    header: list[str] = []
    for outputs in batches:
        columns = {title: values for name in outputs for title, values in _columns(name, outputs[name], names)}
        if not header:
            header = list(columns)
            writer.writerow(header)
        writer.writerows(zip(*([str(value) for value in columns[title]] for title in header), strict=True))


def _columns(name: str, values: np.ndarray, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray | list[str]]]:
    """The columns of a table that an output fills, by their titles."""
    if name == "predicted":
        yield name, [names[code] for code in values]
    elif name == PROBABILITIES:
        yield from ((f"probability_{label}", values[:, code]) for code, label in enumerate(names))
    elif values.ndim == 1:
        yield name, values
    elif name == "prediction":
        several = values.shape[1] > 1
        yield from ((f"{name}_{i}" if several else name, values[:, i]) for i in range(values.shape[1]))


def write_arrays(batches: Iterable[Outputs], num_rows: int, names: Sequence[str], path: Path) -> None:
    """All outputs as arrays (rows, ...), and the names of the classes; they go through files, so that none is held."""
    folder = Path(tempfile.mkdtemp(prefix=".predictions-", dir=path.parent))
    try:
        arrays: dict[str, np.memmap] = {}
        start = 0
        for outputs in batches:
            for name, values in outputs.items():
                if name not in arrays:
                    arrays[name] = np.lib.format.open_memmap(
                        folder / f"{name}.npy", mode="w+", dtype=values.dtype, shape=(num_rows, *values.shape[1:])
                    )
                arrays[name][start : start + len(values)] = values
            start += len(outputs["row"])
        for array in arrays.values():
            array.flush()
        arrays.clear()
        if names:
            np.save(folder / "class_names.npy", np.array(names))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""One pass over rows of numbers: what is missing, what is no finite number, which classes there are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headrace.datasets.base import GROUP, SPLIT_KEY, TARGET, DataInfo, Survey
from headrace.errors import InputError
from headrace.experiments.config import Split
from headrace.experiments.splits import SPLITS
from headrace.formats.columns import MAX_NAMES
from headrace.formats.labels import MAX_WHOLE, TaskRule
from headrace.formats.row_groups import survey_groups
from headrace.formats.rows import KEPT, Rows, input_variable, is_image, number_variable, plain_values
from headrace.formats.split_keys import SPLIT_NAMES

MOST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Wish:
    """What an experiment file says of rows."""

    task: TaskRule = "auto"
    missing: Literal["error", "drop"] = "error"
    split: Split = field(default_factory=Split)
    groups: str = ""
    """What tells groups apart, for the report."""


def survey_rows(
    inputs: Rows,
    wish: Wish,
    target: Rows | None = None,
    keys: Rows | None = None,
    groups: Rows | None = None,
    dims: tuple[str, ...] = (),
    attributes: dict[str, Any] | None = None,
) -> Survey:
    """Read all rows once. `keys` are what `split.column` names, `dims` the names of the inputs' dimensions.

    Raises InputError naming the file and the row: for NaN, unless rows are to be dropped, for infinity, for other
    numbers of rows, for types that mean nothing here.
    """
    refuse_type(inputs, "inputs", "biuf")
    beside = (("target", target), ("split.column", keys), ("groups", groups))
    for name, rows in beside:
        if rows is not None and rows.num_rows != inputs.num_rows:
            raise InputError(f"{rows.place(0)}: {name} has {rows.num_rows} rows; inputs have {inputs.num_rows}")
    keep = np.ones(inputs.num_rows, bool)
    lowest, highest = _look_through(inputs, keep, wish)
    for name, rows in beside:
        if rows is not None:
            refuse_type(rows, name, "biufUS")
            _look_through(rows, keep, wish)
    if keep.sum() < len(SPLITS):
        raise InputError(f"{inputs.place(0)}: there are {keep.sum()} whole rows; three splits need at least 3")
    index: dict[str, np.ndarray] = {} if keep.all() else {KEPT: np.flatnonzero(keep).astype(np.int64)}
    tasks, described = _target(target, keep, wish.task, index)
    if keys is not None:
        index[SPLIT_KEY] = split_keys(keys, wish.split.by)[keep]
    said: dict[str, Any] = {}
    if groups is not None:
        index[GROUP], said = survey_groups(groups, keep, wish.groups)
    variable = input_variable(inputs, dims)
    info = DataInfo(
        tasks=tasks,
        num_samples=int(keep.sum()),
        shape=variable.shape,
        dims=variable.dims,
        dtype=variable.dtype,
        unit_interval=is_image(inputs) or (lowest >= 0 and highest <= 1),
        **described,
    )
    return Survey(info, index, {**(attributes or {}), **said})


def refuse_split_column(split: Split) -> None:
    """For data whose columns have no names. Raises InputError."""
    if split.column is not None:
        raise InputError(f"split.column: {split.column}: these data have no named columns; allowed: leave it out")


def refuse_type(rows: Rows, name: str, kinds: str) -> None:
    """Hold a type to those that are meant. Raises InputError."""
    if rows.dtype.kind not in kinds or (rows.dtype.itemsize > 8 and rows.dtype.kind == "f"):
        words = "whole numbers, fractions or booleans" + (" or text" if "U" in kinds else "")
        raise InputError(f"{rows.place(0)}: {name} are of type {rows.dtype}; allowed: {words}")
    if rows.num_rows == 0 or math.prod(rows.shape) == 0:
        raise InputError(f"{rows.place(0)}: {name} of shape {(rows.num_rows, *rows.shape)} hold nothing")


def _look_through(rows: Rows, keep: np.ndarray, wish: Wish) -> tuple[float, float]:
    """Strike rows with missing values out of `keep`; give the lowest and the highest number of the rows that stay."""
    lowest, highest = math.inf, -math.inf
    if rows.dtype.kind == "f" or rows.dtype.kind in "US":
        for start, values in rows.pieces():
            flat = values.reshape(len(values), -1)
            missing = (flat == flat.dtype.type()) if rows.dtype.kind in "US" else np.isnan(flat)
            lacking = missing.any(axis=1)
            if lacking.any() and wish.missing == "error":
                row = start + int(np.argmax(lacking))
                raise InputError(
                    f"{rows.place(row)}: has a missing value; allowed with missing: drop, without that row"
                )
            keep[start : start + len(values)] &= ~lacking
            if rows.dtype.kind == "f":
                low, high = _refuse_infinite(rows, start, flat, missing)
                lowest, highest = min(lowest, low), max(highest, high)
        return lowest, highest
    if rows.dtype == np.uint8 and len(rows.shape) >= 2:
        return 0.0, 255.0
    for _, values in rows.pieces():
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    return lowest, highest


def _refuse_infinite(rows: Rows, start: int, flat: np.ndarray, missing: np.ndarray) -> tuple[float, float]:
    """Lowest and highest number of (rows, values). Raises InputError for what float32 cannot hold."""
    if missing.all():
        return math.inf, -math.inf
    low, high = float(np.nanmin(flat)), float(np.nanmax(flat))
    if low < -MOST_FLOAT32 or high > MOST_FLOAT32:
        wrong = (flat > MOST_FLOAT32) | (flat < -MOST_FLOAT32)
        row = int(np.argmax(wrong.any(axis=1)))
        value = flat[row, int(np.argmax(wrong[row]))]
        raise InputError(f"{rows.place(start + row)}: {value} is no finite number that float32 can hold")
    return low, high


def _target(
    target: Rows | None, keep: np.ndarray, task: TaskRule, index: dict[str, np.ndarray]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The tasks, and what DataInfo says of the target; codes of classes are put into `index`."""
    if target is None:
        if task != "auto":
            raise InputError(f"task: {task} needs a target, and none is named")
        return ("density",), {}
    kind = target.dtype.kind
    if kind in "US" and task == "regression":
        raise InputError(f"{target.place(0)}: target is text; allowed with it: task: classification")
    if task == "regression" or (task == "auto" and kind == "f"):
        return ("regression", "density"), {"num_targets": math.prod(number_variable(target).shape)}
    if math.prod(target.shape) != 1:
        hint = "" if kind in "US" else ", or task: regression to predict them all"
        raise InputError(f"{target.place(0)}: target has {target.shape} values a row; allowed: one class{hint}")
    names, codes = find_classes(target, keep, task)
    index[TARGET] = codes
    counts = tuple(np.bincount(codes, minlength=len(names)).tolist())
    return ("classification", "density"), {"class_names": names, "class_counts": counts}


def find_classes(target: Rows, keep: np.ndarray, task: TaskRule) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorted names of the classes, and (kept rows,) int64 codes of the rows that are kept."""
    known: dict[Any, int] = {}
    numbers = []
    for start, values in target.pieces():
        flat = values.reshape(len(values))[keep[start : start + len(values)]]
        found, inverse = np.unique(flat, return_inverse=True)
        # Numbers in the order in which they are met, for now: every piece has others.
        met = [known.setdefault(_plain(value), len(known)) for value in plain_values(target, start, found)]
        numbers.append(np.array(met, np.int32)[inverse])
        if task == "auto" and target.dtype.kind in "iu" and len(known) > MAX_WHOLE:
            raise InputError(
                f"{target.place(0)}: target has more than {MAX_WHOLE} distinct whole numbers; write "
                "task: regression to predict numbers, or task: classification for that many classes"
            )
    if len(known) < 2:
        raise InputError(f"{target.place(0)}: target is of the same class in every row")
    if len(known) > MAX_NAMES:
        raise InputError(f"{target.place(0)}: target has more than {MAX_NAMES} different classes")
    ordered = sorted(known)
    code_of = np.empty(len(known), np.int64)
    code_of[[known[value] for value in ordered]] = np.arange(len(known))
    names = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in ordered)
    return names, code_of[np.concatenate(numbers)]


def _plain(value: Any) -> Any:
    """A class as it is told from others: 2 and not 2.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def split_keys(keys: Rows, by: str) -> np.ndarray:
    """(rows,) what a division goes by: numbers of groups, times, or 0, 1 and 2. Raises InputError."""
    if math.prod(keys.shape) != 1:
        raise InputError(f"{keys.place(0)}: split.column has {keys.shape} values a row; allowed: one")
    values = np.concatenate([values.reshape(len(values)) for _, values in keys.pieces()])
    if by == "time":
        if keys.dtype.kind in "US":
            raise InputError(f"{keys.place(0)}: split.column holds text; allowed with by: time: numbers")
        return values.astype(np.float64 if keys.dtype.kind == "f" or keys.dtype == np.uint64 else np.int64)
    found, codes = np.unique(values, return_inverse=True)
    if by == "grouped":
        return codes.astype(np.int64)
    meanings: list[int] = []
    for value in plain_values(keys, 0, found):
        code = SPLIT_NAMES.get(value.strip().lower(), -1) if isinstance(value, str) else value
        if code not in (0, 1, 2):
            row = int(np.argmax(codes == len(meanings)))
            raise InputError(f"{keys.place(row)}: split.column is {value!r}; allowed: {', '.join(SPLITS)} or 0, 1, 2")
        meanings.append(int(code))
    return np.array(meanings, np.int64)[codes]

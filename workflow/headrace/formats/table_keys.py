"""Keys that every kind of table has."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from headrace.datasets.base import FileDataset
from headrace.formats.group_keys import check_groups

ColumnName = Annotated[str, StringConstraints(min_length=1)]


class TableDataset(FileDataset):
    """A table: a row a sample, its columns measurements, names or what is to be predicted."""

    target: ColumnName | None = None
    """The column to predict; without it there is nothing to predict."""
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1)] | None = None
    """The columns that are inputs, in this order; by default all but `target`, `split.column` and `groups`."""
    groups: ColumnName | None = None
    """A column of names, 50 at most, such as a region or a sex: the report tells how good every model is for each of
    them, and how far they lie apart. It is an input where `columns` names it, and only there. Names are taken
    as they stand: 1 and 1.0 are two."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is. `auto`: text, booleans and whole numbers are classes, fractions are numbers to predict; more
    than 100 different whole numbers need to be told."""
    missing: Literal["error", "drop", "keep"] = "error"
    """What to do with a row that lacks a value in a column that is read: `error` refuses the file, `drop` leaves the
    row out. `keep` takes it in where a measurement is lacking, as NaN that a step such as `impute` must fill; it still
    refuses a row without its target or its value in `split.column` or `groups`, and one without a name in a column of
    categories: a word for it that is not in `missing_values` is a category as any other."""
    missing_values: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Fields that stand for no value."""
    numbers: tuple[ColumnName, ...] = ()
    """Input columns that must be numbers: text in one is a mistake, however often it occurs. In any other column of a
    text file with at least 100 rows, text is one when more than 99 % of the rows are numbers; otherwise text makes a
    column one of categories."""
    categories: tuple[ColumnName, ...] = ()
    """Input columns of names that look like numbers, such as postal codes: stored as codes of 10,000 names at most."""

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        for key in ("columns", "numbers", "categories"):
            names = getattr(self, key) or ()
            twice = [name for i, name in enumerate(names) if name in names[:i]]
            if twice:
                raise ValueError(f"{key}: {twice[0]!r} stands here twice")
        both = sorted({*self.numbers} & {*self.categories})
        if both:
            raise ValueError(f"categories: {both[0]!r} stands under numbers too")
        for key, name in (("target", self.target), ("split.column", self.split.column)):
            if name is not None and name in (*(self.columns or ()), *self.numbers, *self.categories):
                raise ValueError(f"{key}: {name!r} can be no input column at the same time")
        check_groups(self.groups, self.target, "a column")
        if self.groups in (*self.numbers, *self.categories) and self.groups not in (self.columns or ()):
            raise ValueError(f"groups: {self.groups!r} is an input only where `columns` names it")
        if self.target is not None and self.target == self.split.column and self.split.by == "source":
            raise ValueError("target: the column that names the splits cannot be predicted")
        return self

    @property
    def beside_inputs(self) -> list[str]:
        """The columns that are read for something else."""
        names = (self.target, self.split.column, self.groups)
        return list(dict.fromkeys(name for name in names if name is not None))

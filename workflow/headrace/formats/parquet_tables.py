"""Tables in Parquet files: surveyed in one pass, then read by row groups or slices of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace.blocks import Blocks
from headrace.datasets.base import GROUP, INPUTS, TARGET, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.formats.columns import Column, Names, Numbers, Where, names_of
from headrace.formats.table_arrays import TableArrays
from headrace.formats.table_keys import TableDataset
from headrace.formats.tables import TableSurvey, choose_columns
from headrace.sources.xarrays import PART_BYTES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MOST_SLICES = 4
"""Of one row group: reading the last means decoding all before it."""
MOST_ROWS = 2**20
"""In one part."""


@contextmanager
def _opened(path: Path, name: str) -> Iterator[pq.ParquetFile]:
    """A file, and whatever Arrow says of it in one line. Columns are read as they are needed, not row groups whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(str(path), buffer_size=2**20, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{name}: cannot be read as Parquet: {why}") from None


def survey_parquet(spec: TableDataset, files: Sequence[SourceFile]) -> Survey:
    """Settle types, names and classes over all rows. Raises InputError naming file and row."""
    first = str(files[0].path)
    survey: TableSurvey | None = None
    schema: dict[str, str] = {}
    table: list[tuple[int, int, int, int, int]] = []
    for number, source in enumerate(files):
        name = str(source.path)
        with _opened(source.path, name) as file:
            if survey is None:
                survey = TableSurvey(spec, choose_columns(spec, _columns(file, name), first), typed=True, file=first)
            schema = _check_schema(file, survey.wanted, schema, name, first)
            groups = range(file.metadata.num_row_groups)
        reader = Reader(survey.wanted, spec)
        for group, start, columns, where in reader.batches(source.path, name, groups):
            num_rows = len(columns[survey.wanted[0]])
            table.append((number, group, start, num_rows, survey.add(columns, where)))
    assert survey is not None
    parts = np.array([row for row in table if row[4]], np.int64).reshape(-1, 5)
    borders = np.concatenate([[0], np.cumsum(parts[:, 4])]).astype(np.int64)
    return survey.finish({"parts": np.ascontiguousarray(parts[:, :4]), "borders": borders})


def rows_of_part(num_columns: int) -> int:
    """Rows that take about 16 MiB as float32."""
    return max(1, min(MOST_ROWS, PART_BYTES // (4 * max(1, num_columns))))


def _columns(file: pq.ParquetFile, name: str) -> list[str]:
    # pandas keeps the labels of rows in columns of these names.
    names = [str(column) for column in file.schema_arrow.names if not str(column).startswith("__index_level_")]
    if len(set(names)) < len(names):
        raise InputError(f"{name}: has two columns of the same name")
    return names


def _check_schema(
    file: pq.ParquetFile, wanted: Sequence[str], before: dict[str, str], name: str, first: str
) -> dict[str, str]:
    """Hold the columns that are read to those of the first file: numbers, or names."""
    import pyarrow as pa

    arrow = file.schema_arrow
    there = set(_columns(file, name))
    found = {}
    for column in wanted:
        if column not in there:
            raise InputError(f"{name}: has no column {column!r}, which {first} has")
        kind = arrow.field(column).type
        named = pa.types.is_dictionary(kind) or pa.types.is_boolean(kind) or _is_text(kind)
        found[column] = "names" if named else "numbers" if _is_number(kind) else str(kind)
        if before and before[column] != found[column]:
            raise InputError(f"{name}: column {column!r} holds {found[column]}, but {before[column]} in {first}")
    return found


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


class Reader:
    """Takes row groups apart into columns."""

    def __init__(self, wanted: Sequence[str], spec: TableDataset) -> None:
        """`wanted` columns of a table whose target and split column the spec names."""
        self._wanted, self._missing = list(wanted), spec.missing_values
        # Whole numbers in these are names or times, which must not be rounded.
        self._exact = {*spec.beside_inputs, *spec.categories}

    def batches(
        self, path: Path, name: str, groups: Sequence[int], rows: range | None = None
    ) -> Iterator[tuple[int, int, dict[str, Column], Where]]:
        """Row group, first row in it, columns and what tells the row, in slices of some 16 MiB.

        `rows` are those wanted of a single group, which then come at once.
        """
        import pyarrow as pa

        with _opened(path, name) as file:
            before = np.concatenate([[0], np.cumsum(_group_sizes(file))])
            for group in groups:
                start, found = 0, []
                for batch in file.iter_batches(
                    rows_of_part(len(self._wanted)), row_groups=[group], columns=self._wanted, use_threads=False
                ):
                    if rows is None and batch.num_rows:
                        yield group, start, self._columns(batch, name), _where(name, int(before[group]) + start)
                    elif rows is not None and start < rows.stop and start + batch.num_rows > rows.start:
                        found.append(batch.slice(max(0, rows.start - start), rows.stop - max(start, rows.start)))
                    start += batch.num_rows
                    if rows is not None and start >= rows.stop:
                        break
                if rows is not None:
                    table = pa.Table.from_batches(found, None if found else file.schema_arrow)
                    if len(table) != len(rows):
                        raise InputError(f"{name}: has fewer rows than when it was surveyed")
                    merged = table.unify_dictionaries().combine_chunks().to_batches()
                    yield (
                        group,
                        rows.start,
                        self._columns(merged[0], name),
                        _where(name, int(before[group]) + rows.start),
                    )

    def _columns(self, batch: pa.RecordBatch, name: str) -> dict[str, Column]:
        return {
            c: _column(batch.column(c), c, name, exact=c in self._exact, missing=self._missing) for c in self._wanted
        }


def _group_sizes(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]


def _where(name: str, first: int) -> Where:
    return lambda row: f"{name}: row {first + row} (counted from 0)"


def _column(array: pa.Array, column: str, name: str, *, exact: bool, missing: Sequence[str]) -> Column:
    """Numbers, or names by code. Whole numbers are named where float64 would round them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if exact and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        array = pc.strftime(pc.cast(array, pa.timestamp("ns")), "%Y-%m-%dT%H:%M:%S")
    named = pa.types.is_dictionary(kind) or pa.types.is_boolean(kind) or _is_text(array.type)
    if named or (exact and pa.types.is_integer(kind)):
        return _names(array if pa.types.is_dictionary(kind) else array.dictionary_encode(), column, name, missing)
    if not _is_number(kind):
        raise InputError(
            f"{name}: column {column!r} holds {kind}; allowed: numbers, text, booleans, dictionaries of them"
        )
    values = pc.cast(array, pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return Numbers(np.where(np.isnan(values), 0.0, values), np.isnan(values))


def _names(array: pa.DictionaryArray, column: str, name: str, unknown: Sequence[str]) -> Names:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type.value_type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)):
        raise InputError(f"{name}: column {column!r} is a dictionary of {kind}; allowed: text, booleans, numbers")
    names = pc.cast(array.dictionary, pa.string()).to_pylist()
    absent = {place for place, value in enumerate(names) if value is None}
    # Names that no row has must not become categories: only those used are kept.
    indices = array.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    used, codes = np.unique(indices, return_inverse=True)
    texts = ["" if place < 0 or place in absent else str(names[place]) for place in used.tolist()]
    missing = np.array([place < 0 or place in absent for place in used.tolist()], bool)
    merged = names_of(codes, texts, unknown)
    return Names(merged.codes, merged.names, merged.missing | missing[codes])


class ParquetSource(Source):
    """Rows of Parquet files, in row groups or slices of them."""

    def __init__(self, spec: TableDataset, files: Sequence[SourceFile], survey: Survey, scratch: Path) -> None:
        """The files are those that were surveyed."""
        self._spec = spec
        self._arrays = TableArrays(survey.info, survey.attributes, spec.target, spec.missing)
        self._columns = {INPUTS: survey.attributes["feature_names"], TARGET: [spec.target] if spec.target else []}
        self._columns[GROUP] = [] if spec.groups is None else [spec.groups]
        self._all = list(dict.fromkeys([*self._columns[INPUTS], *spec.beside_inputs]))
        self._names = [str(file.path) for file in files]
        self._paths = [file.path.absolute() for file in files]
        self._table = survey.index["parts"]
        self.borders = survey.index["borders"]
        self.variables = self._arrays.variables()
        self.has_missing = survey.info.has_missing
        self.attributes = survey.attributes
        self._staged: dict[int, tuple[Path, int]] = {}
        self._cut_up(scratch)

    def _cut_up(self, scratch: Path) -> None:
        """Write row groups of many slices anew, a row group a slice: each is decoded from its beginning on."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups, counts = np.unique(self._table[:, :2], axis=0, return_counts=True)
        for file, group in groups[counts > MOST_SLICES].tolist():
            path = (scratch / f"{file}-{group}.parquet").absolute()
            places: dict[int, int] = {}
            with _opened(self._paths[file], self._names[file]) as source:
                schema = pa.schema([source.schema_arrow.field(column) for column in self._all])
                size, start = rows_of_part(len(self._all)), 0
                with pq.ParquetWriter(path, schema) as writer:
                    for batch in source.iter_batches(size, row_groups=[group], columns=self._all, use_threads=False):
                        writer.write_batch(batch.select(self._all), row_group_size=max(1, batch.num_rows))
                        places[start] = len(places)
                        start += batch.num_rows
            for part in np.flatnonzero((self._table[:, :2] == (file, group)).all(axis=1)).tolist():
                self._staged[part] = path, places[int(self._table[part, 2])]

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Decode the columns of a part."""
        # Rows are left out for what any column lacks: then all are needed, whatever is asked for.
        always = self._all if self._spec.missing == "drop" else []
        wanted = list(dict.fromkeys([*always, *(column for name in names for column in self._columns[name])]))
        file, group, start, num_rows = map(int, self._table[part])
        path = self._paths[file]
        if part in self._staged:
            path, group = self._staged[part]
            start = 0
        reader = Reader(wanted, self._spec)
        rows = range(start, start + num_rows)
        _, _, columns, where = next(reader.batches(path, self._names[file], [group], rows))
        return self._arrays.blocks(columns, where, names)

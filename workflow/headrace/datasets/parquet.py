"""Tables in Parquet files."""

from __future__ import annotations

from pathlib import Path

from headrace.datasets.base import Files, Source, Survey
from headrace.formats.table_keys import TableDataset

COMPUTES = (
    "formats.columns",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.parquet_tables",
    "formats.split_keys",
    "formats.table_arrays",
    "formats.table_keys",
    "formats.tables",
)


class Spec(TableDataset):
    """A table in one or several Parquet files of the same columns; for example `{kind: parquet, path:
    data/trips-*.parquet, target: fare, task: regression}`.

    Columns of text, booleans and dictionaries are stored as codes of their names in sorted order (10,000 names at
    most), all others as numbers; whole numbers that are categories need to be named under `categories`. Columns of
    times, lists and bytes can be no inputs; a column of times may be `split.column`.
    """

    def survey(self, files: Files) -> Survey:
        """Every column that is wanted is decoded once."""
        from headrace.formats.parquet_tables import survey_parquet

        return survey_parquet(self, files["path"])

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Parts are row groups, or slices of them; row groups of many slices are cut up in the scratch folder."""
        from headrace.formats.parquet_tables import ParquetSource

        return ParquetSource(self, files["path"], survey, scratch)

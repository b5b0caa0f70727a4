"""Tables in text files: comma-separated and the like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from headrace.datasets.base import Files, Source, Survey
from headrace.formats.table_keys import ColumnName, TableDataset

if TYPE_CHECKING:
    from headrace.formats.delimited import Dialect

COMPUTES = (
    "formats.columns",
    "formats.delimited",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.lines",
    "formats.split_keys",
    "formats.table_arrays",
    "formats.table_keys",
    "formats.tables",
    "formats.text_tables",
)


class Spec(TableDataset):
    """A table in one or several text files, also .csv.gz; for example `{kind: csv, path: data/adult.csv, target:
    income}`.

    Several files are read one after the other and must have the same header. Fields are trimmed of blanks; a column
    without a name is called after its place (`column_1`). Columns of numbers are stored as they are, columns of text as
    codes of their names in sorted order (10,000 names at most); the names are kept in the store's attributes.
    """

    delimiter: Annotated[str, StringConstraints(pattern=r"^[,;|:\t !#$%&*/=@^~]$")] = ","
    """What stands between two fields: one character."""
    names: Annotated[tuple[ColumnName, ...], Field(min_length=1)] | None = None
    """The names of the columns in files without a header; by default the first line holds them."""
    quotes: bool = True
    """Whether a field may stand in double quotes, which then may hold delimiters and ends of lines. With false, a quote
    is a character as any other."""
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    """How characters are written as bytes."""

    def survey(self, files: Files) -> Survey:
        """Every file is parsed once; a second time only when a column of numbers turns out to be one of names."""
        from headrace.formats.text_tables import survey_tables

        return survey_tables(self, files["path"], self.dialect(), self.names, self.encoding)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Parts of some 8 MiB of text; .gz files are unpacked to the scratch folder."""
        from headrace.formats.text_tables import DelimitedSource

        return DelimitedSource(self, files["path"], survey, self.dialect(), self.encoding, scratch)

    def dialect(self) -> Dialect:
        """How fields are written."""
        from headrace.formats.delimited import Dialect

        return Dialect(self.delimiter, self.quotes, self.missing_values)

"""Texts, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from headrace.datasets.base import FileDataset, Files, Source, Survey
from headrace.formats.group_keys import check_groups
from headrace.formats.table_keys import ColumnName

if TYPE_CHECKING:
    from headrace.formats.texts import Form

COMPUTES = (
    "formats.columns",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.lines",
    "formats.split_keys",
    "formats.table_keys",
    "formats.texts",
)


class Spec(FileDataset):
    """Texts of any length, a line each, as the bytes of their UTF-8; also .gz; for example `{kind: text_lines, path:
    data/messages.tsv, format: tab}`.

    Lines without anything on them are skipped (and counted in the store's attributes as `empty_lines`).
    """

    format: Literal["lines", "tab", "json"] = "lines"
    """`lines` are texts without labels; `tab`: a label, a tab, and the text; `json`: an object a line."""
    text: ColumnName = "text"
    """With `json`: the key that holds the text."""
    target: ColumnName | None = None
    """With `json`: the key that holds the label, as text, a number or a truth value; without it there are none."""
    groups: ColumnName | None = None
    """With `json`: the key that holds the name of a text's group, such as a region or a dialect. Of 50 groups at most
    the report tells how good every model is for each, and how far they lie apart."""
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    """How characters are written in the files."""

    @model_validator(mode="after")
    def _keys_of_json(self) -> Self:
        if self.format != "json":
            given = {"text": self.text != "text", "target": self.target, "groups": self.groups}
            for key, value in {**given, "split.column": self.split.column}.items():
                if value:
                    raise ValueError(f"{key}: means nothing with format: {self.format}; allowed with json")
        check_groups(self.groups, self.target, "a key")
        return self

    def survey(self, files: Files) -> Survey:
        """Every line is read once; what is kept of it are its length and its label."""
        from headrace.formats.texts import survey_texts

        return survey_texts(self, self.form(), files["path"])

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Parts of some 8 MiB of text; .gz files are unpacked to the scratch folder."""
        from headrace.formats.texts import TextSource

        return TextSource(self.form(), files["path"], survey, scratch)

    def form(self) -> Form:
        """How texts and labels lie in a line."""
        from headrace.formats.texts import Form

        return Form(self.format, self.text, self.target, self.split.column, self.encoding, self.groups)

"""A long text, cut into windows of characters to predict the next one from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from headrace.datasets.base import FileDataset, Files, Source, Survey
from headrace.experiments.config import PositiveInt, Split

if TYPE_CHECKING:
    from headrace.formats.streams import Form

COMPUTES = ("formats.lines", "formats.streams")


class Spec(FileDataset):
    """A long text, or several one behind the other, for models that say which character comes next; also .gz; for
    example `{kind: text_stream, path: data/plays.txt, context: 64}`.

    A sample is a window of `context` + 1 characters: each but the first is predicted from those before it in the
    window. Characters are numbered in the order of Unicode; ends of lines are characters too. Which ones there are is
    taken from the whole text, and kept as the store's attribute `characters`. Training, validation and test are
    stretches of the text, by `split.train`, `split.validation` and `split.test` as shares of its characters, or by
    `split.borders`; no window crosses a border. Windows of validation and test follow each other so that every
    character is predicted once, but for the first of a stretch and what is left behind its last whole window.
    """

    split: Split = Split(by="time")
    """Where training, validation and test lie in the text: shares of its characters, or `borders`."""
    context: PositiveInt
    """Characters to predict in a window, which is also the most that one is predicted from."""
    stride: PositiveInt | None = None
    """Characters from one window's begin to the next one's in the training stretch; by default `context`. Fewer make
    more windows, which overlap."""
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    """How characters are written in the files."""

    @model_validator(mode="after")
    def _stretches_only(self) -> Self:
        if self.split.by not in ("auto", "time", "source") or self.split.column is not None:
            raise ValueError(f"split.by: {self.split.by} would tear the text apart; allowed: time, and no column")
        return self

    def survey(self, files: Files) -> Survey:
        """Every character is read once."""
        from headrace.formats.streams import survey_stream

        shares = (self.split.train, self.split.validation)
        return survey_stream(self.form(), files["path"], self.split.borders, shares)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """The text is laid down once as codes in the scratch folder, from which windows are cut."""
        from headrace.formats.streams import StreamSource

        return StreamSource(self.form(), files["path"], survey, scratch)

    def form(self) -> Form:
        """How the text is cut."""
        from headrace.formats.streams import Form

        return Form(self.context, self.stride or self.context, self.encoding)

"""Sparse tables in the text format of SVMlight and LIBSVM."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from headrace.datasets.base import FileDataset, Files, Source, Survey
from headrace.experiments.config import PositiveInt

COMPUTES = (
    "formats.columns",
    "formats.group_columns",
    "formats.labels",
    "formats.lines",
    "formats.svmlight",
)


class Spec(FileDataset):
    """Sparse inputs in lines of `label index:value index:value ...`, also .gz; for example `{kind: svmlight, path:
    data/rcv1.svm}`.

    Indices must rise within a line; what is not named is 0, and zeros that are named are not stored. What follows `#`
    is left out. `qid:NUMBER` behind the label names a group: `split: {by: grouped, column: qid}` keeps groups together,
    `groups: qid` tells how they differ; otherwise it is passed over.
    """

    groups: Literal["qid"] | None = None
    """With `qid`, the number behind it is a line's group. Of 50 groups at most the report tells how good every model is
    for each, and how far they lie apart."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the label is. `auto`: whole numbers are classes, fractions are numbers to predict; more than 100 different
    whole numbers need to be told."""
    num_features: PositiveInt | None = None
    """Columns of the inputs; by default as many as the largest index asks for."""
    index_base: Literal["auto", "0", "1"] = "auto"
    """The index of the first column; `auto` is 0 where some line has an index 0, else 1."""

    @model_validator(mode="after")
    def _only_groups(self) -> Self:
        if self.split.column is not None and (self.split.by, self.split.column) != ("grouped", "qid"):
            raise ValueError("split.column: allowed here: qid, with by: grouped")
        return self

    def survey(self, files: Files) -> Survey:
        """Every line is parsed once."""
        from headrace.formats.svmlight import Form, survey_svmlight

        divided, grouped = self.split.column is not None, self.groups is not None
        form = Form(self.task, self.index_base, self.num_features, divided, grouped)
        return survey_svmlight(form, files["path"])

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Parts of some 8 MiB of text; .gz files are unpacked to the scratch folder."""
        from headrace.formats.svmlight import SvmlightSource

        return SvmlightSource(files["path"], survey, scratch)

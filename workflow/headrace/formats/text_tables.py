"""Tables in text files: surveyed in one pass, then read in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from headrace.blocks import Blocks
from headrace.datasets.base import GROUP, INPUTS, TARGET, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.formats.delimited import Dialect, Parser, take_header
from headrace.formats.lines import Encoding, Lines, Parts, PartTable, read_parts, unpack
from headrace.formats.table_arrays import TableArrays
from headrace.formats.table_keys import TableDataset
from headrace.formats.tables import TableSurvey, choose_columns


def read_rows(
    files: Sequence[SourceFile], dialect: Dialect, names: tuple[str, ...] | None, encoding: Encoding
) -> Iterator[tuple[tuple[str, ...], Lines]]:
    """The names of the columns, and the lines below the header, part by part.

    Without `names` every file has a header. Raises InputError where two differ.
    """
    header, last = names, -1
    for lines in read_parts(files, quoted=dialect.quotes):
        if names is None and lines.file != last:
            found, lines = take_header(lines, dialect, encoding)
            if header is not None and found != header:
                pairs = zip(found, header, strict=False)
                what = next(
                    (f"{a!r} and not {b!r}" for a, b in pairs if a != b), f"{len(found)} of {len(header)} columns"
                )
                raise InputError(f"{lines.name}: line 1: has another header than {files[0].path}: {what}")
            header = found
        last = lines.file
        assert header is not None
        if lines.data:
            yield header, lines


def survey_tables(
    spec: TableDataset,
    files: Sequence[SourceFile],
    dialect: Dialect,
    names: tuple[str, ...] | None,
    encoding: Encoding,
) -> Survey:
    """Settle types, names and classes over all rows. Raises InputError naming file and line."""
    survey: TableSurvey | None = None
    while True:
        parts, header = PartTable(), names
        parser, first = None, True
        for header, lines in read_rows(files, dialect, names, encoding):
            if survey is None:
                chosen = choose_columns(spec, header, str(files[0].path))
                survey = TableSurvey(spec, chosen, typed=False, file=str(files[0].path))
            parser = parser or Parser(header, dialect, survey.wanted)
            text = lines.as_utf8(encoding)
            columns, where = parser.parse(text, survey.numbers(parser.guess_numbers(text) if first else None))
            first = False
            parts.add(lines, survey.add(columns, where) if columns else 0)
        if survey is None:
            raise InputError(f"{files[0].path}: has 0 rows; three splits need at least 3")
        again = survey.incomplete()
        if not again:
            break
        survey = survey.restarted(again)
    found = survey.finish(parts.arrays())
    found.attributes["header"] = list(header or ())  # type: ignore[index]
    return found


class DelimitedSource(Source):
    """Rows of text files, in parts of lines."""

    def __init__(
        self,
        spec: TableDataset,
        files: Sequence[SourceFile],
        survey: Survey,
        dialect: Dialect,
        encoding: Encoding,
        scratch: Path,
    ) -> None:
        """The files are those that were surveyed."""
        attributes = dict(survey.attributes)
        self._arrays = TableArrays(survey.info, attributes, spec.target, spec.missing)
        self._dialect, self._header = dialect, attributes.pop("header")
        self._columns = {INPUTS: attributes["feature_names"], TARGET: [] if spec.target is None else [spec.target]}
        self._columns[GROUP] = [] if spec.groups is None else [spec.groups]
        # Rows are left out for what any column lacks: then all are needed, whatever is asked for.
        self._always = [*self._columns[INPUTS], *spec.beside_inputs] if spec.missing == "drop" else []
        names = [str(file.path) for file in files]
        self._parts = Parts(names, unpack(files, scratch), survey.index["parts"], encoding)
        self.borders = survey.index["borders"]
        self.variables = self._arrays.variables()
        self.has_missing = survey.info.has_missing
        self.attributes = attributes

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Parse the lines of a part."""
        wanted = list(dict.fromkeys([*self._always, *(column for name in names for column in self._columns[name])]))
        lines = self._parts.read(part)
        columns, where = Parser(self._header, self._dialect, wanted).parse(lines, self._arrays.numbers)
        return self._arrays.blocks(columns, where, names)

"""Reading whatever a kind of dataset reads, from good files and from damaged ones."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from headrace.blocks import Block, Ragged
from headrace.datasets.base import Source, Survey
from headrace.errors import InputError
from headrace.registry import load_kind
from headrace.sources.gathering import gather
from headrace.sources.library import Library


def read_whole(root: Path, **parameters: Any) -> tuple[dict[str, Block], Source, Survey]:
    """Survey, open, and gather every row, in the order of the source."""
    spec = load_kind("datasets", parameters["kind"]).model_validate(parameters)
    library = Library(root)
    known = library.look_up(spec)
    scratch = Path(tempfile.mkdtemp(dir=root))
    source, survey = library.open(spec, scratch, known.sha256)
    return gather(source, np.arange(source.num_rows), list(source.variables)), source, survey


@st.composite
def damaged(draw: st.DrawFn, data: bytes, words: tuple[bytes, ...] = ()) -> bytes:
    """Some bytes of valid data flipped, deleted, inserted or doubled, or its end cut off."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        stop = min(len(data), place + draw(st.integers(1, 12)))
        way = draw(st.sampled_from(["flip", "delete", "insert", "double", "cut", *(["word"] if words else [])]))
        if way == "flip" and data:
            data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
        elif way == "delete":
            data = data[:place] + data[stop:]
        elif way == "insert":
            data = data[:place] + draw(st.binary(max_size=6)) + data[place:]
        elif way == "double":
            data = data[:stop] + data[place:stop] + data[stop:]
        elif way == "word":
            data = data[:place] + draw(st.sampled_from(words)) + data[place:]
        else:
            data = data[:place]
    return data


def read_or_refuse(data: bytes, name: str, **parameters: Any) -> None:
    """Damaged data are refused by the survey in one line that names the file or the split, or read whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        parameters = {**parameters, "path": str(path)}
        refusal = refusal_of(Path(folder), **parameters)
        if refusal is not None:
            assert "\n" not in refusal
            assert name in refusal or refusal.startswith("split")
            return
        blocks, source, survey = read_whole(Path(folder), **parameters)
        assert source.num_rows == survey.info.num_samples >= 3
        for block in blocks.values():
            values = block.values if isinstance(block, Ragged) else getattr(block, "data", block)
            assert np.isfinite(np.asarray(values)).all()


def refusal_of(root: Path, **parameters: Any) -> str | None:
    """What the survey says of a file that it refuses."""
    try:
        Library(root).look_up(load_kind("datasets", parameters["kind"]).model_validate(parameters))
    except InputError as error:
        return "\n".join(error.problems)
    except ValueError as error:
        # What cannot be divided is told by the key; any other ValueError is a mistake of the reader.
        if not str(error).startswith("split"):
            raise
        return str(error)
    return None

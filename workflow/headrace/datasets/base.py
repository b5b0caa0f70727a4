"""What a kind of dataset must give: a description without loading anything, and rows that any process can read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from headrace.experiments.config import Download, Kind, PositiveInt, Split

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from headrace.blocks import Blocks
    from headrace.stores.layout import Variable

INPUTS = "inputs"
TARGET = "target"
GROUP = "group"
SAMPLE = "sample"
SPLIT_KEY = "split_key"
"""In a survey's index: (samples,) what `split.column`, or the data themselves, say of each: numbers that tell groups
apart, times, or 0, 1 and 2 for training, validation and test."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Paths = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class DataInfo:
    """What is known of a dataset, or of features made from it, before anything is loaded."""

    tasks: tuple[str, ...]
    """Which tasks it can serve: classification, regression, forecasting, density, next_step."""
    num_samples: int
    shape: tuple[int, ...]
    """Shape of one sample; of one step of a ragged one; (columns,) of a sparse one."""
    dims: tuple[str, ...]
    """Names of the dimensions of `shape`."""
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    """Samples in each class, over all splits."""
    num_targets: int = 0
    """Numbers to predict for one sample in a regression."""
    unit_interval: bool = False
    """Whether every input lies in [0, 1]."""
    licence: str = ""
    source: str = ""
    layout: Literal["dense", "ragged", "sparse"] = "dense"
    """How the inputs are stored: `ragged` samples have any number of steps, `sparse` ones store what is not zero."""
    dtype: str = "float32"
    """Of the inputs as they are stored."""
    num_values: int = 0
    """Ragged: steps in all samples; sparse: numbers stored in all samples."""
    longest: int = 0
    """Ragged: steps of the longest sample."""
    num_codes: int = 0
    """Where inputs are codes: how many there are. 0 where they are measurements."""
    has_graph: bool = False
    """Whether samples are nodes of a graph, whose edges are known."""
    has_missing: bool = False
    """Whether inputs may be NaN, which stands for no value."""
    own_split: bool = False
    """Whether the data themselves say what is training, validation and test."""
    split_sizes: tuple[int, int, int] | None = None
    """Samples of training, validation and test, where only the data can tell."""

    def describe(self) -> dict[str, Any]:
        """As JSON, without what only readers want to know; `of` is the way back."""
        return {key: value for key, value in asdict(self).items() if key not in ("licence", "source", "split_sizes")}

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> DataInfo:
        """From what `describe` gave, also after it was JSON."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in described.items()}
        return cls(**values)

    @property
    def num_features(self) -> int:
        """Numbers in one sample, or in one step of a ragged one."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> float:
        """Bytes of one sample in memory, on average; where nobody knows how much is stored, of its frame alone."""
        import numpy as np

        item = np.dtype(self.dtype).itemsize
        stored = self.num_values / max(1, self.num_samples)
        if self.layout == "ragged":
            return 8 + stored * self.num_features * item
        return 8 + stored * (item + 4) if self.layout == "sparse" else self.num_features * item


class DatasetSpec(Kind):
    """Parameters that every kind of dataset has."""

    split: Split = Split()
    """How the samples are divided into training, validation and test."""
    rows_per_shard: PositiveInt | None = None
    """Samples in a shard; by default at least 8 shards, none above 32 MiB."""

    @abstractmethod
    def describe(self) -> DataInfo:
        """What is known without loading: it must be cheap, and import nothing heavy."""

    @abstractmethod
    def open(self, scratch: Path) -> Source | xr.Dataset:
        """The data: a Source, or an xarray Dataset, which may be lazy.

        In a Dataset: `inputs` (sample, ...) and, where there is one, `target` (sample,) or (sample, output). Targets
        are int64 codes for classes and float32 for numbers. `scratch` is an empty folder that workers see too.
        """

    def split_keys(self) -> np.ndarray | None:
        """(samples,) 0, 1 and 2 for training, validation and test, where `describe` promises an `own_split`."""
        return None


class Source(ABC):
    """Rows in parts, each of which any process can read alone. Sent to workers: it must pickle, and be small."""

    borders: np.ndarray
    """(parts + 1,) int64: the first row of each part, and the number of rows; a part is some 16 MiB once decoded."""
    variables: Mapping[str, Variable]
    """What there is, and how it is stored."""
    attributes: Mapping[str, Any] = {}
    """For the store: names of features and of categories, units, whatever a reader wants to know. JSON."""
    square: frozenset[str] = frozenset()
    """Sparse variables whose columns are samples too, as an adjacency matrix's."""
    has_missing: bool = False
    """Whether inputs may be NaN, which stands for no value."""

    @abstractmethod
    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """The rows of a part, of the variables asked for. Raises InputError that names file and row."""

    @property
    def num_rows(self) -> int:
        """All of them."""
        return int(self.borders[-1])

    def column(self, name: str) -> np.ndarray:
        """A variable of all rows, (rows, ...): the target, mostly."""
        import numpy as np

        return np.concatenate([self.read(part, [name])[name] for part in range(len(self.borders) - 1)])

    def lengths(self, name: str) -> np.ndarray:
        """(rows,) steps of every row of a ragged variable."""
        import numpy as np

        blocks = (self.read(part, [name])[name] for part in range(len(self.borders) - 1))
        return np.concatenate([block.lengths for block in blocks])  # type: ignore[union-attr]


@dataclass(frozen=True)
class Survey:
    """What one pass over source files has found. Kept beside the artifacts, so that it is made once."""

    info: DataInfo
    index: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What reading in parts needs to know: where parts begin, codes of the target, `split_key`, ..."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """JSON: types of columns, names of categories, ..."""


@dataclass(frozen=True)
class SourceFile:
    """A file that data come from."""

    path: Path
    num_bytes: int
    sha256: str


Files = Mapping[str, Sequence[SourceFile]]
"""By the key that names them, as `path`."""


class FileDataset(DatasetSpec):
    """Parameters that every kind of dataset in files has."""

    path: Annotated[str, StringConstraints(min_length=1)] | Paths
    """A file, a pattern (`data/part-*.csv`) or a list of them; relative to the working directory, or to what `download`
    brings. Files are read in the order of their names, or of the list."""
    download: Download | tuple[Download, ...] | None = None
    """Published data to fetch first, before any job starts; kept beside the artifacts."""
    sha256: Sha256 | None = None
    """What `path` must hold: the file's SHA-256, or that of the lines of `sha256sum` for several. It is refused
    otherwise; without it, a file that changed after it was sharded is refused."""
    licence: str = ""
    """What the data may be used for; said in the report."""

    def patterns(self) -> Mapping[str, str | tuple[str, ...]]:
        """Every key that names files."""
        return {"path": self.path}

    @abstractmethod
    def survey(self, files: Files) -> Survey:
        """Read all files once, in bounded memory, and hold them to what a dataset must be.

        Raises InputError naming file and row. May import what it needs: it runs once for the same files.
        """

    @abstractmethod
    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source | xr.Dataset:
        """As `open`; `files` are the ones that were surveyed."""

    def describe(self) -> DataInfo:
        """Only the files can tell: `sources.library` asks them."""
        raise NotImplementedError

    def open(self, scratch: Path) -> Source | xr.Dataset:
        """Needs the files: `sources.library` finds them."""
        raise NotImplementedError

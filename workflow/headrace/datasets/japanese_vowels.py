"""The utterances of two Japanese vowels by nine speakers that sktime ships."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from headrace.datasets.base import INPUTS, TARGET, DataInfo, DatasetSpec, Source
from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from headrace.blocks import Blocks

PACKAGE = "sktime"
CHANNELS = 12
SPEAKERS = tuple("123456789")
UTTERANCES = {"TRAIN": (30,) * 9, "TEST": (31, 35, 88, 44, 29, 24, 40, 50, 29)}
"""By part of the source: how many each speaker has, who come one after the other."""
STEPS = {"TRAIN": 4274, "TEST": 5687}
SHORTEST, LONGEST = 7, 29
DIGESTS = {
    "TRAIN": "278d83b87656f855adb455975d7510e2d81a4a10145c4050b2509196ecfb08b3",
    "TEST": "f0c51c4f19389a794eb0501f56f98021d3df3c2a6907b53dfb405bd9b80eccb7",
}
"""Of the decoded steps of each part: that of a file could change with a header."""


class Spec(DatasetSpec):
    """640 utterances of the vowels /ae/ by nine speakers: 7 to 29 steps of 12 cepstral coefficients each. Needs sktime,
    of which only a file is read: `pip install --no-deps sktime`.

    By default the source's own 370 test utterances are the test split, and its 270 training utterances are divided into
    training and validation in the proportion of `split.train` to `split.validation`, speaker by speaker, by
    `split.seed`. With `by: stratified` or `by: random` all 640 are divided.
    """

    @model_validator(mode="after")
    def _can_be_divided(self) -> Self:
        split = self.split
        if split.by in ("grouped", "time") or split.column is not None or split.borders is not None:
            raise ValueError("split.by: utterances have no columns and no times; allowed: source, stratified, random")
        if self._is_divided and not 0 < self._num_train < UTTERANCES["TRAIN"][0]:
            raise ValueError("split.validation: leaves training or validation without any of 30 utterances a speaker")
        return self

    @property
    def _is_divided(self) -> bool:
        return self.split.by in ("auto", "source")

    @property
    def _num_train(self) -> int:
        """Utterances of one speaker that are for training, of the source's 30."""
        share = self.split.train / (self.split.train + self.split.validation)
        return round(UTTERANCES["TRAIN"][0] * share)

    def describe(self) -> DataInfo:
        """Read off the files once; they are held to it whenever they are read."""
        train, test = (sum(UTTERANCES[part]) for part in ("TRAIN", "TEST"))
        own = len(SPEAKERS) * self._num_train
        return DataInfo(
            tasks=("classification",),
            num_samples=train + test,
            shape=(CHANNELS,),
            dims=("coefficient",),
            class_names=SPEAKERS,
            class_counts=tuple(sum(counts) for counts in zip(*UTTERANCES.values(), strict=True)),
            layout="ragged",
            num_values=sum(STEPS.values()),
            longest=LONGEST,
            own_split=True,
            split_sizes=(own, train - own, test) if self._is_divided else None,
            licence="Japanese Vowels: CC BY 4.0; sktime: BSD-3-Clause",
            source="Kudo, Toyama and Shimbo (1999), UCI, doi:10.24432/C5NS47, as shipped by sktime",
        )

    def split_keys(self) -> np.ndarray:
        """(640,) 0, 1 and 2: every speaker is shuffled by a generator of its own, and the source's test stays test."""
        import numpy as np

        keys = np.full(sum(map(sum, UTTERANCES.values())), 2, np.int64)
        start = 0
        for code, count in enumerate(UTTERANCES["TRAIN"]):
            shuffled = np.random.Generator(np.random.PCG64([self.split.seed, code])).permutation(count)
            keys[start : start + count] = shuffled >= self._num_train
            start += count
        return keys

    def open(self, scratch: Path) -> Utterances:
        """Workers read the file of a part as they need it."""
        from importlib.util import find_spec

        # The files are read directly: importing sktime takes seconds, and all that it depends on.
        package = find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise InputError(
                f"datasets: kind japanese_vowels needs the package {PACKAGE}: pip install --no-deps {PACKAGE}"
            )
        return Utterances(Path(package.origin).parent / "datasets" / "data" / "JapaneseVowels")


class Utterances(Source):
    """The training part, then the test part, each in the order of its file."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        from headrace.stores.layout import Variable

        self._folder = folder
        self.borders = np.cumsum([0, *(sum(counts) for counts in UTTERANCES.values())])
        self.variables = {
            INPUTS: Variable(("coefficient",), (CHANNELS,), "float32", "ragged"),
            TARGET: Variable((), (), "int64"),
        }
        self.attributes: dict[str, Any] = {
            "feature_names": [f"cepstral coefficient {i}" for i in range(1, CHANNELS + 1)]
        }

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """All of a file. Raises InputError naming file and line where it is not what was published."""
        import numpy as np

        from headrace.blocks import Ragged
        from headrace.stores.arrays import digest_array

        name = tuple(UTTERANCES)[part]
        path = self._folder / f"JapaneseVowels_{name}.ts"
        rows, labels = read_rows(path)
        counts = tuple(labels.count(speaker) for speaker in SPEAKERS)
        if counts != UTTERANCES[name] or labels != sorted(labels):
            raise InputError(f"{path}: utterances of each speaker: {list(counts)}; it must be {list(UTTERANCES[name])}")
        inputs = Ragged.of(rows, "float32")
        if digest_array(inputs.values) != DIGESTS[name]:
            raise InputError(f"{path}: holds other numbers than were published; install {PACKAGE} again")
        blocks = {INPUTS: inputs, TARGET: np.array([SPEAKERS.index(label) for label in labels], np.int64)}
        return {name: blocks[name] for name in names}


def read_rows(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """The series of a .ts file, (steps, channels) each, and their labels.

    A line holds the channels, one after the other, and then the label, with colons between; a channel is its steps,
    with commas between. Raises InputError naming file and line.
    """
    import numpy as np

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise InputError(f"{path}: cannot be read: {why}; install {PACKAGE} again") from None
    rows: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(("#", "@")):
            continue
        *channels, label = line.strip().split(":")
        try:
            values = np.array([channel.split(",") for channel in channels], np.float64).T
        except ValueError:
            values = np.empty(0)
        if values.ndim != 2 or values.shape[1] != CHANNELS or not np.isfinite(values).all():
            raise InputError(
                f"{path}: line {number}: is not {CHANNELS} channels of as many numbers each, and a speaker"
            )
        if not SHORTEST <= len(values) <= LONGEST or label not in SPEAKERS:
            raise InputError(
                f"{path}: line {number}: {len(values)} steps of speaker {label[:20]!r}; "
                f"it must be {SHORTEST} to {LONGEST} of {SPEAKERS[0]} to {SPEAKERS[-1]}"
            )
        rows.append(values.astype(np.float32))
        labels.append(label)
    return rows, labels

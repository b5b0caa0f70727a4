"""Counts of the n-grams of texts or codes, in columns that a hash chooses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt
from headrace.preprocessing.base import State, StepSpec

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from headrace.blocks import Block, Ragged

COMPUTES = ("tokens",)

GOLDEN = 0x9E3779B97F4A7C15


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("should be a power of two, as 16384")
    return value


class Spec(StepSpec):
    """Count the words of a text, or whatever else n-grams are made of, in a fixed number of columns; for example
    `{kind: hash_vectorize, unit: characters, ngrams: [2, 4], num_features: 65536}`.

    A hash of the n-gram chooses the column (Weinberger et al. 2009, arXiv:0902.2206), so nothing is learned and no
    vocabulary is kept; n-grams that meet in one column are counted together.
    """

    reads: ClassVar[tuple[str, ...]] = ("ragged",)
    reads_codes: ClassVar[bool] = True

    unit: Literal["words", "characters", "codes"] = "words"
    """What n-grams are made of. `words`: the longest runs of letters, digits and underscores of any script, with the
    accents that stand on them; `characters`: every character, spaces and punctuation too; `codes`: the codes of any
    sequence, as tokenize makes them, or the bytes of a text."""
    ngrams: tuple[PositiveInt, PositiveInt] = (1, 1)
    """The shortest and the longest n-grams to count, in units: `[1, 2]` counts single ones and pairs of neighbours."""
    num_features: Annotated[int, Field(ge=2, le=2**30), AfterValidator(_power_of_two)] = 2**14
    """Columns: a power of two. With as many columns as there are different n-grams, about 4 in 10 share theirs with no
    other one; with ten times as many, 9 in 10."""
    signed: bool = False
    """Whether the hash also decides if an n-gram counts +1 or -1, so that what meets in a column cancels on average."""
    lowercase: bool = True
    """Whether capitals of texts count as small letters: those of every script, one character for one, as Unicode says.
    Means nothing for codes."""

    @model_validator(mode="after")
    def _shortest_first(self) -> Self:
        if self.ngrams[0] > self.ngrams[1]:
            raise ValueError(f"ngrams: {list(self.ngrams)} begins with the longer one; allowed: shortest, then longest")
        return self

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One sparse row of counts a text. How many are not zero is bounded by the lengths of the texts."""
        if info.layout != "ragged" or info.shape or not info.num_codes:
            raise ValueError("kind: hash_vectorize reads sequences of codes; allowed: texts, and what tokenize makes")
        num_units = info.num_values
        if self.unit != "codes":
            if (info.dtype, info.num_codes) != ("uint8", 256):
                raise ValueError(f"unit: {self.unit} are found in texts, and these are codes; allowed: codes")
            if self.unit == "words":
                # Something stands between any two words.
                num_units = min(num_units, (num_units + info.num_samples) // 2)
        num_kinds = self.ngrams[1] - self.ngrams[0] + 1
        return replace(
            info,
            shape=(self.num_features,),
            dims=("term",),
            layout="sparse",
            dtype="float32",
            num_values=min(num_units * num_kinds, info.num_samples * self.num_features),
            longest=0,
            num_codes=0,
            unit_interval=False,
        )

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """Texts or codes to CSR (rows, num_features) float32, columns in order and nothing stored twice."""
        from scipy.sparse import csr_array

        from headrace.blocks import Ragged, join
        from headrace.tokens import PIECE_STEPS, cut_pieces

        assert isinstance(block, Ragged)
        num_kinds = self.ngrams[1] - self.ngrams[0] + 1
        parts: list[Block] = [self._count(piece) for piece in cut_pieces(block, max(1, PIECE_STEPS // num_kinds))]
        return join(parts or [csr_array((0, self.num_features), dtype="float32")])

    def _count(self, piece: Ragged) -> csr_array:
        """Columns and signs of all n-grams, added up."""
        import numpy as np
        from scipy.sparse import csr_array

        hashes, counts = self._hash_units(piece)
        places = np.repeat(np.arange(len(piece)), counts)
        rows, columns, signs = [places[:0]], [places[:0]], [np.empty(0, np.int32)]
        # Of the n-grams that begin at each unit. Where too little of the text is left, the next one's is added and the
        # sum is never used.
        sums = np.zeros(len(hashes), np.uint64)
        for n in range(1, min(self.ngrams[1], len(hashes)) + 1):
            sums = sums[: len(hashes) - n + 1] + _splitmix(hashes[n - 1 :], np.uint64(n - 1))
            if n >= self.ngrams[0]:
                whole = places[: len(sums)] == places[n - 1 :]
                found = sums[whole]
                rows.append(places[: len(sums)][whole])
                columns.append((found & np.uint64(self.num_features - 1)).astype(np.int64))
                negative = (found >> np.uint64(63)).astype(np.int32) if self.signed else np.zeros(len(found), np.int32)
                signs.append(1 - 2 * negative)
        coordinates = (np.concatenate(rows), np.concatenate(columns))
        # Whole numbers, since float32 would stop counting at 2**24.
        matrix = csr_array((np.concatenate(signs), coordinates), shape=(len(piece), self.num_features))
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return matrix.astype(np.float32)

    def _hash_units(self, piece: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """(units,) uint64 of all texts, and (texts,) how many each has.

        A code stands for itself, and a character for its code point. The hash of a word is the sum over its characters,
        the i-th output of a SplitMix64 generator whose seed is the code point of the i-th character; that of an n-gram
        is the same sum over its units. All modulo 2**64.
        """
        import numpy as np

        from headrace.tokens import take_apart

        if self.unit == "codes":
            return piece.values.astype(np.uint64), piece.lengths
        tokens = take_apart(piece, self.unit, lowercase=self.lowercase)
        points, lengths = tokens.spelling.values.astype(np.uint64), tokens.spelling.lengths
        if self.unit == "characters" or not len(lengths):
            return points, tokens.counts
        starts = tokens.spelling.offsets[:-1]
        positions = (np.arange(len(points)) - np.repeat(starts, lengths)).astype(np.uint64)
        return np.add.reduceat(_splitmix(points, positions), starts), tokens.counts


def _splitmix(seeds: np.ndarray, positions: np.ndarray | np.uint64) -> np.ndarray:
    """The output number `positions`, from 0 on, of SplitMix64 seeded with `seeds`, (n,) uint64.

    Steele, Lea and Flood 2014, figure 17, doi:10.1145/2660193.2660195.
    """
    import numpy as np

    mixed: np.ndarray = seeds + (np.atleast_1d(positions) + np.uint64(1)) * np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed

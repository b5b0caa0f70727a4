"""Codes for the words or characters of texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block, Ragged
    from headrace.tokens import Unit

COMPUTES = ("tokens",)

UNKNOWN = 0
MOST_DISTINCT = 2**22
"""Tokens that are counted at once."""


class Spec(StepSpec):
    """Replace a text by the codes of its words or characters, for models that embed codes; for example `{kind:
    tokenize, unit: words, max_tokens: 20000, max_length: 200}`.

    The vocabulary is what is most frequent in the training split: code 1 is the most frequent token, equally frequent
    ones are ordered by their bytes. Code 0 stands for whatever is not in the vocabulary; a text without any token
    becomes a single 0.
    """

    reads: ClassVar[tuple[str, ...]] = ("ragged",)
    reads_codes: ClassVar[bool] = True

    unit: Literal["words", "characters"] = "words"
    """`words`: the longest runs of letters, digits and underscores of any script, with the accents that stand on them;
    all else only divides them. `characters`: every character, spaces and punctuation too."""
    lowercase: bool = True
    """Whether capitals count as small letters: those of every script, one character for one, as Unicode says."""
    max_tokens: Annotated[int, Field(ge=2, le=2**31 - 1)] = 20_000
    """Codes at most: the size of the vocabulary, and one for all that is not in it."""
    max_length: PositiveInt | None = None
    """Tokens to keep of a text, from its beginning; by default all of them."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """Sequences of codes. How many there will be is bounded by the bytes of the texts."""
        if (info.layout, info.shape, info.dtype, info.num_codes) != ("ragged", (), "uint8", 256):
            raise ValueError("kind: tokenize reads texts, as text_lines gives them; allowed: bytes of UTF-8")
        longest, num_values = info.longest, info.num_values
        if self.unit == "words":
            # Something stands between any two words.
            longest, num_values = (longest + 1) // 2, (num_values + info.num_samples) // 2
        num_values = max(num_values, info.num_samples)
        if self.max_length is not None:
            longest = min(longest or self.max_length, self.max_length)
            num_values = min(num_values, info.num_samples * self.max_length)
        return replace(
            info, dtype="int32", num_codes=self.max_tokens, longest=longest, num_values=num_values, unit_interval=False
        )

    def fit(self, data: FitData) -> State:
        """Count the tokens of every block; the counts are added along the tree of the blocks.

        `tokens`: the bytes of the vocabulary end to end, most frequent first; `offsets`: (tokens + 1,) where each one
        begins.
        """
        from headrace.blocks import offsets_of
        from headrace.errors import StageError
        from headrace.logs import logger

        found: Counted = data.inputs.reduce(_count, self.unit, self.lowercase, combine=_merge)
        if not len(found.counts):
            raise StageError(f"tokenize: the texts of the training split have no {self.unit}; say unit: characters")
        if found.short:
            logger.warning(
                "tokenize: more than %d different %s; counts may be short by up to %d",
                MOST_DISTINCT,
                self.unit,
                found.short,
            )
        tokens = _most_frequent(found, self.max_tokens - 1)
        return {"tokens": tokens.values, "offsets": offsets_of(tokens.lengths)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """Texts to codes, int32: as many as there are tokens, and at least one."""
        import numpy as np

        from headrace.blocks import Ragged, join
        from headrace.tokens import PIECE_STEPS, cut_pieces, encode, take_apart

        assert isinstance(block, Ragged)
        vocabulary = _as_arrow(Ragged(state["tokens"], np.diff(state["offsets"])))
        parts: list[Block] = [Ragged(np.empty(0, np.int32), np.empty(0, np.int64))]
        for piece in cut_pieces(block, PIECE_STEPS):
            tokens = take_apart(piece, self.unit, lowercase=self.lowercase)
            if self.max_length is not None:
                tokens = tokens.first(self.max_length)
            lengths = np.maximum(tokens.counts, 1)
            codes = np.full(lengths.sum(), UNKNOWN, np.int32)
            codes[np.repeat(tokens.counts > 0, lengths)] = _look_up(encode(tokens.spelling), vocabulary)
            parts.append(Ragged(codes, lengths))
        return join(parts)


@dataclass(frozen=True)
class Counted:
    """How often each token was seen."""

    tokens: Ragged
    """The bytes of each, in no order."""
    counts: np.ndarray
    """(tokens,) int64."""
    short: int
    """Counts may be too low by so much, and a token that is missing was seen no more often."""


def _count(block: Ragged, unit: Unit, lowercase: bool) -> Counted:
    """The tokens of a block. Runs in a worker."""
    import numpy as np

    from headrace.blocks import Ragged
    from headrace.tokens import PIECE_STEPS, cut_pieces, encode, take_apart

    found = [Counted(Ragged(np.empty(0, np.uint8), np.empty(0, np.int64)), np.empty(0, np.int64), 0)]
    for piece in cut_pieces(block, PIECE_STEPS):
        tokens = encode(take_apart(piece, unit, lowercase=lowercase).spelling)
        found.append(_merge(Counted(tokens, np.ones(len(tokens), np.int64), 0)))
        # What is known already is gone through again only when there is as much that is new.
        if sum(len(part.counts) for part in found[1:]) > len(found[0].counts):
            found = [_merge(*found)]
    return _merge(*found)


def _merge(*parts: Counted) -> Counted:
    """Add counts. Of more than MOST_DISTINCT tokens those with the lowest counts are dropped.

    These are mergeable Misra-Gries summaries (Agarwal et al. 2012, section 2, doi:10.1145/2213556.2213562): the count
    of the first token that does not fit is taken from all. No count is ever short by more than the number of all tokens
    divided by MOST_DISTINCT + 1; up to MOST_DISTINCT different ones nothing is.
    """
    import numpy as np

    from headrace.blocks import Ragged, join

    everything = join([part.tokens for part in parts])
    assert isinstance(everything, Ragged)
    encoded = _as_arrow(everything).dictionary_encode()
    counts = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(counts, encoded.indices.to_numpy(zero_copy_only=False), np.concatenate([part.counts for part in parts]))
    tokens, short = encoded.dictionary, sum(part.short for part in parts)
    if len(counts) > MOST_DISTINCT:
        dropped = int(np.partition(counts, len(counts) - MOST_DISTINCT - 1)[len(counts) - MOST_DISTINCT - 1])
        kept = np.flatnonzero(counts > dropped)
        tokens, counts, short = tokens.take(kept), counts[kept] - dropped, short + dropped
    return Counted(_as_ragged(tokens), counts, short)


def _most_frequent(found: Counted, most: int) -> Ragged:
    """The most frequent tokens in order; equally frequent ones by their bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.table({"token": _as_arrow(found.tokens), "count": found.counts})
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("token", "ascending")])
    return _as_ragged(table["token"].combine_chunks().take(order[:most]))


def _look_up(tokens: Ragged, vocabulary: Any) -> np.ndarray:
    """(tokens,) the code of each."""
    import numpy as np
    import pyarrow.compute as pc

    places = pc.fill_null(pc.index_in(_as_arrow(tokens), value_set=vocabulary), -1)
    codes: np.ndarray = places.to_numpy(zero_copy_only=False) + np.int32(1)
    return codes


def _as_arrow(tokens: Ragged) -> Any:
    """A LargeBinaryArray on the same memory."""
    import numpy as np
    import pyarrow as pa

    values = np.ascontiguousarray(tokens.values)
    buffers = [None, pa.py_buffer(tokens.offsets), pa.py_buffer(values)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(tokens), buffers)


def _as_ragged(tokens: Any) -> Ragged:
    """The other way, copied, so that nothing of Arrow travels."""
    import numpy as np

    from headrace.blocks import Ragged

    _, borders, values = tokens.buffers()
    if not len(tokens):
        return Ragged(np.empty(0, np.uint8), np.empty(0, np.int64))
    offsets = np.frombuffer(borders, np.int64)[tokens.offset : tokens.offset + len(tokens) + 1]
    return Ragged(np.frombuffer(values, np.uint8)[offsets[0] : offsets[-1]].copy(), np.diff(offsets))

"""Texts, given as the bytes of their UTF-8, taken apart into characters and words, a piece of the rows at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headrace.blocks import Ragged, cut, offsets_of
from headrace.errors import StageError

Unit = Literal["characters", "words"]
PIECE_STEPS = 2**20
"""Bytes of text that are taken apart at once: that takes some 50 bytes for each of them."""
_OTHER, _LETTER, _MARK = 0, 1, 2
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Tokens:
    """The tokens of some texts, in the order of the texts."""

    spelling: Ragged
    """Of each token its code points, uint32; at least one."""
    counts: np.ndarray
    """(texts,) int64: tokens in each text."""

    def first(self, most: int) -> Tokens:
        """At most so many tokens of each text, from its beginning."""
        places = np.arange(len(self.spelling)) - np.repeat(offsets_of(self.counts)[:-1], self.counts)
        kept, lengths = places < most, self.spelling.lengths
        spelling = Ragged(self.spelling.values[np.repeat(kept, lengths)], lengths[kept])
        return Tokens(spelling, np.minimum(self.counts, most))


def cut_pieces(block: Ragged, most: int) -> Iterator[Ragged]:
    """Consecutive rows with at most `most` steps together, or a single row that has more of them."""
    offsets, start = block.offsets, 0
    while start < len(block):
        reached = int(np.searchsorted(offsets, offsets[start] + most, side="right")) - 1
        stop = min(max(start + 1, reached), start + most)
        piece = cut(block, slice(start, stop))
        assert isinstance(piece, Ragged)
        yield piece
        start = stop


def take_apart(texts: Ragged, unit: Unit, *, lowercase: bool) -> Tokens:
    """The characters or the words of texts. Raises StageError for bytes that are no UTF-8.

    With `lowercase`, every character becomes the one small letter that Unicode gives for it (its simple case mapping),
    whatever stands around it: so a capital sigma is always the sigma of the middle of a word.
    """
    text = _read_code_points(texts)
    if lowercase:
        text = Ragged(_map_distinct(text.values, _lower, np.uint32), text.lengths)
    if unit == "characters":
        return Tokens(Ragged(text.values, np.ones(len(text.values), np.int64)), text.lengths)
    return _split_words(text)


def encode(spelling: Ragged) -> Ragged:
    """Code points of each row to the bytes of their UTF-8."""
    points = spelling.values
    sizes = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    encoded = points.astype("<u4", copy=False).tobytes().decode("utf-32-le").encode()
    return Ragged(np.frombuffer(encoded, np.uint8), np.diff(offsets_of(sizes)[spelling.offsets]))


def _read_code_points(texts: Ragged) -> Ragged:
    """Bytes of UTF-8 to code points."""
    continues = (texts.values & 0xC0) == 0x80
    begins = texts.offsets[:-1][texts.lengths > 0]
    try:
        decoded = texts.values.tobytes().decode()
    except UnicodeDecodeError:
        decoded = None
    # Bytes that are no text row by row may still be one end to end.
    if decoded is None or continues[begins].any():
        raise StageError(
            "texts: these bytes are not UTF-8, so they have neither characters nor words; "
            "hash_vectorize with unit: codes reads any bytes"
        )
    points = np.frombuffer(decoded.encode("utf-32-le"), "<u4").astype(np.uint32, copy=False)
    return Ragged(points, np.diff(offsets_of(~continues)[texts.offsets]))


def _split_words(text: Ragged) -> Tokens:
    r"""The longest runs of letters, numbers and underscores, with the marks that stand on them.

    That is \w of Unicode Technical Standard 18 (Unicode Regular Expressions), annex C, with no connector but the
    underscore; a mark or a joiner belongs to what it follows (Unicode Standard Annex 29, rule WB4), so that one that
    follows an emoji or a space is no word.
    """
    points = text.values
    begins = text.offsets[:-1][text.lengths > 0]
    classes = _map_distinct(points, _classify, np.uint8)
    inside = classes == _LETTER
    marks = classes == _MARK
    if marks.any():
        # What begins a text follows nothing.
        marks[begins] = False
        inside = inside[np.maximum.accumulate(np.where(marks, 0, np.arange(len(points))))]
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    starts[begins] = inside[begins]
    edges = np.append(np.flatnonzero(starts[inside]), np.count_nonzero(inside))
    counts = np.diff(offsets_of(starts)[text.offsets])
    return Tokens(Ragged(points[inside], np.diff(edges)), counts)


def _map_distinct(points: np.ndarray, function: Callable[[str], int], dtype: type[np.unsignedinteger]) -> np.ndarray:
    """`function` of every code point, called once for each that there is."""
    size = int(points.max(initial=0)) + 1
    present = np.zeros(size, bool)
    present[points] = True
    distinct = np.flatnonzero(present)
    table = np.zeros(size, dtype)
    table[distinct] = [function(chr(point)) for point in distinct.tolist()]
    mapped: np.ndarray = table[points]
    return mapped


def _lower(character: str) -> int:
    # The one character with a longer form, the capital I with a dot, has this mapping in UnicodeData.txt.
    return ord(character.lower()[0])


def _classify(character: str) -> int:
    category = unicodedata.category(character)[0]
    if category in "LN" or character == "_":
        return _LETTER
    return _MARK if category == "M" or character in _JOINERS else _OTHER

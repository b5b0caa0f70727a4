"""Texts taken apart into characters and words, against Python's own strings and regular expressions."""

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.blocks import Ragged, join
from headrace.errors import StageError
from headrace.tokens import Tokens, cut_pieces, encode, take_apart

HOSTILE = st.lists(
    st.text(
        st.one_of(
            st.sampled_from(
                "aZ_0 \t\0ßẞİıΣσςÉé\u0301\u0308\u093f\u200d\u200c\ufe0f\ufeff\U0001f468\U0001f469\u2764²½Ⅷ中の한–“"
            ),
            st.characters(codec="utf-8"),
        ),
        max_size=20,
    ),
    max_size=12,
)
EVERYTHING = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]


def texts_of(*texts: str) -> Ragged:
    return Ragged.of([np.frombuffer(text.encode(), np.uint8) for text in texts], "uint8")


def strings(tokens: Tokens) -> list[list[str]]:
    """The tokens of each text."""
    spelled = encode(tokens.spelling)
    edges = spelled.offsets
    found = iter([spelled.values[a:b].tobytes().decode() for a, b in pairwise(edges)])
    return [[next(found) for _ in range(count)] for count in tokens.counts]


def lowered(text: str) -> str:
    return "".join("i" if character == "İ" else character.lower() for character in text)


def words_of(text: str) -> list[str]:
    """One character after the other."""
    words, inside = [], False
    for character in text:
        follows = unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"
        if character.isalnum() or character == "_":
            if not inside:
                words.append("")
            inside = True
        elif not follows:
            inside = False
        if inside:
            words[-1] += character
    return words


@given(texts=HOSTILE, lowercase=st.booleans())
@example(texts=["a", "\u0301b", "", "c\u0301", "\u0301"], lowercase=False)
@settings(deadline=None, max_examples=40)
def test_words_are_those_of_one_character_after_the_other(texts: list[str], lowercase: bool) -> None:
    expected = [words_of(lowered(text) if lowercase else text) for text in texts]
    assert strings(take_apart(texts_of(*texts), "words", lowercase=lowercase)) == expected


@given(texts=HOSTILE)
@settings(deadline=None, max_examples=40)
def test_characters_are_those_of_python_and_spell_the_same_bytes(texts: list[str]) -> None:
    given = texts_of(*texts)
    tokens = take_apart(given, "characters", lowercase=False)
    assert strings(tokens) == [list(text) for text in texts]
    assert encode(tokens.spelling).values.tobytes() == given.values.tobytes()


def test_words_are_those_of_regular_expressions_but_for_marks() -> None:
    text = "".join(f" {character}" for character in EVERYTHING if unicodedata.category(character)[0] != "M") + "".join(
        f"a{character}" for character in EVERYTHING if unicodedata.category(character)[0] not in "MC"
    )
    assert strings(take_apart(texts_of(text), "words", lowercase=False)) == [re.findall(r"\w+", text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("re\u0301sume\u0301", ["re\u0301sume\u0301"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("\u2764\ufe0f \U0001f468\u200d\U0001f469", []),
        (" \u0301x", ["x"]),
        ("don't „Straße“ x_1", ["don", "t", "straße", "x_1"]),
        ("ẞ İ ΟΔΟΣ K", ["ß", "i", "οδοσ", "k"]),
        ("\t \u3000 --", []),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert strings(take_apart(texts_of(text), "words", lowercase=True)) == [words]


def test_small_letters_are_those_of_python_but_for_one() -> None:
    text = "".join(EVERYTHING)
    (found,) = strings(take_apart(texts_of(text), "characters", lowercase=True))
    assert "".join(found) == lowered(text)
    assert [character for character in EVERYTHING if len(character.lower()) > 1] == ["İ"]


@pytest.mark.parametrize(
    "rows", [[b"ab\xff"], [b"\xc3", b"\xa9"], [b"a\xc3"], [b"\x80"], [b"\xed\xa0\x80"], [b"\xc0\x80"]]
)
@pytest.mark.parametrize("unit", ["words", "characters"])
def test_bytes_that_are_no_text_are_refused(rows: list[bytes], unit: str) -> None:
    block = Ragged.of([np.frombuffer(row, np.uint8) for row in rows])
    with pytest.raises(StageError, match=r"^texts: these bytes are not UTF-8, .* unit: codes reads any bytes$"):
        take_apart(block, unit, lowercase=True)  # type: ignore[arg-type]


@given(texts=HOSTILE, most=st.integers(1, 6))
@settings(deadline=None, max_examples=40)
def test_the_first_tokens_of_each_text(texts: list[str], most: int) -> None:
    tokens = take_apart(texts_of(*texts), "words", lowercase=False)
    assert strings(tokens.first(most)) == [words_of(text)[:most] for text in texts]


@given(lengths=st.lists(st.integers(0, 9), max_size=20), most=st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_pieces_are_full_and_leave_nothing_out(lengths: list[int], most: int) -> None:
    block = Ragged(np.arange(sum(lengths)), np.array(lengths, np.int64))
    pieces = list(cut_pieces(block, most))
    assert all(len(piece.values) <= most or len(piece) == 1 for piece in pieces)
    assert all(len(one.values) + two.lengths[0] > most or len(one) == most for one, two in pairwise(pieces))
    if lengths:
        whole = join(pieces)
        assert isinstance(whole, Ragged)
        assert np.array_equal(whole.values, block.values)
        assert np.array_equal(whole.lengths, block.lengths)
    else:
        assert not pieces


def test_nothing_is_written_to_the_texts() -> None:
    block = texts_of("Ab Cé", "", "X")
    block.values.flags.writeable = False
    assert strings(take_apart(block, "words", lowercase=True)) == [["ab", "cé"], [], ["x"]]

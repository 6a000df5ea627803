"""Decimals read many at once equal ``float``."""

import numpy as np
import pytest

from taggnn.data.skeleton.formats import decimals


def parse(words):
    """The numbers of words with a space between them."""
    text, starts = bytearray(), []
    for word in words:
        starts.append(len(text))
        text += word + b" "
    found, ends = decimals.parse(bytes(text) + b" " * decimals.AFTER, np.array(starts, dtype=int))
    assert [text[start:end] for start, end in zip(starts, ends, strict=True)] == words
    return found


@pytest.mark.parametrize("form", [".7G", ".9G", ".17g", ".3f", ".14f", ".15f", ".16f", "r", "e", ".0f"])
@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 9.99, 1e4])
def test_numbers_of_all_lengths(form, scale):
    draws = np.random.default_rng(0).normal(scale=scale, size=300).tolist()
    words = [(repr(value) if form == "r" else format(value, form)).encode() for value in draws]
    assert parse(words).tolist() == [float(word) for word in words]


@pytest.mark.parametrize(
    "word",
    [b"0", b"-0", b"1.5", b"-1.5", b"+1.5", b".5", b"5.", b"-.5", b"9.99999999999999", b"1e5", b"1.5E-05", b"1.2345678901E-05",
     b"00.5", b"12.5", b"1_0", b"nan", b"NaN", b"inf", b"-Infinity", b"0.12345678", b"0.123456789", b"1.1e1",
     b"3.0000000000000001", b"1.000000000000000000000000000001"],
    ids=bytes.decode,
)  # fmt: skip
def test_words_that_float_reads(word):
    wanted = float(word)
    (found,) = parse([word])
    assert found == wanted or (found != found and wanted != wanted)
    assert np.signbit(found) == np.signbit(wanted)


@pytest.mark.parametrize(
    "word",
    [b"-", b".", b"1.2.3", b"1.-2", b"1.23:45", b"1.2/3", b"1.23x56789", b"a.5", b"1.\xff", b"1.5e", b"-.", b"1,5", b"1.1234567x",
     b"1.x23456789", b"1.\x0012"],
    ids=repr,
)  # fmt: skip
def test_words_that_float_refuses(word):
    with pytest.raises(ValueError, match="float"):
        float(word)
    with pytest.raises(ValueError, match="float"):
        parse([b"1.5", word])


def test_white_space_is_no_part_of_a_number():
    with pytest.raises(ValueError, match="float"):
        decimals.parse(b" 1.5" + b" " * decimals.AFTER, np.array([0]))


def test_too_few_bytes_after_a_number():
    with pytest.raises(IndexError):
        decimals.parse(b"1.5", np.array([0]))


def test_none():
    assert parse([]).shape == (0,)

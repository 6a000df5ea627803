"""Decimal numbers in a text as floats, many at once: NumPy operations on eight bytes of every number.

A number d.ffff with one digit before the point, as most coordinates in metres are, is an integer over a power of ten, both
exact in float64. Eight digits are recognised and added, in pairs, fours and eights, inside a 64-bit integer
(https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/). Every other number is read by ``float``.

Axes: N numbers.
"""

import numpy as np

from taggnn.data.skeleton.formats.recording import Array

# Bytes that must follow the first of a number, so that eight can be read behind its point, and again.
AFTER = 20
_DIGITS = 8
_ZEROS = np.uint64(0x3030303030303030)
_SIX = np.uint64(0x0606060606060606)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_PAIRS = np.uint64(0x000000FF000000FF)
_MULTIPLY_1 = np.uint64(100 + (1000000 << 32))
_MULTIPLY_2 = np.uint64(1 + (10000 << 32))
_POWERS = 10.0 ** np.arange(2 * _DIGITS + 1)
# Decimals up to which the integer is exact in float64, with the digit before the point.
_EXACT = 14


def parse(text: bytes, starts: Array) -> tuple[Array, Array]:
    """The numbers that begin at some positions of a text, and where they end; each equals ``float`` of its bytes.

    Args:
        text: the text; ``AFTER`` bytes must follow each start.
        starts: first byte of each number.

    Returns:
        The numbers, and the first byte after each, which is white space.

    **Shapes:** starts (N,) -> (N,) float64, (N,) int

    Raises:
        ValueError: not a number.
        IndexError: too few bytes follow.
    """
    if not len(starts):
        return np.zeros(0), np.zeros(0, np.intp)
    data = np.frombuffer(text, np.uint8)
    # Element i has the bytes i to i + 7.
    eights: Array = np.ndarray((max(len(text) - _DIGITS + 1, 0),), "<u8", text, strides=(1,))
    negative = data[starts] == ord("-")
    first = starts + negative
    head = data[first] ^ np.uint8(0x30)
    value, count = _digits(eights[first + 2])
    plain = (data[first + 1] == ord(".")) & (head < 10) & (count > 0)
    long = np.flatnonzero(count == _DIGITS)
    if len(long):
        more, further = _digits(eights[first[long] + 2 + _DIGITS])
        value[long] = value[long] * _POWERS[further] + more
        count[long] += further
    value += head * _POWERS[count]
    value /= _POWERS[count]
    ends = first + 2 + count
    plain &= (count <= _EXACT) & (data[ends] <= 32)
    np.negative(value, out=value, where=negative)
    for other in np.flatnonzero(~plain).tolist():
        word = text[starts[other] : starts[other] + 400].split(None, 1)[0]
        # White space in front is not part of a number.
        if not text.startswith(word, starts[other]):
            raise ValueError(f"could not convert to float: white space at byte {starts[other]:,}")
        value[other], ends[other] = float(word), starts[other] + len(word)
    return value, ends


def _digits(eight: Array) -> tuple[Array, Array]:
    """The digits that eight bytes begin with, as a number, and how many they are.

    **Shapes:** (N,) uint64 -> (N,) float64, (N,) int, 0 to 8
    """
    x = eight ^ _ZEROS
    other = ((x + _SIX) | x) & _HIGH
    # The lowest bit that is set is in the first byte that is no digit; its exponent tells which.
    lowest = other & (~other + np.uint64(1))
    exponent = np.frexp(lowest.astype(np.float64))[1]
    count = np.where(other == 0, _DIGITS, (exponent - 1) >> 3)
    # Digits move to the end, with zeros in front; shifted by 64 there would be none.
    shift = ((_DIGITS - np.maximum(count, 1)) * 8).astype(np.uint64)
    x = x << shift
    x = x * np.uint64(10) + (x >> np.uint64(8))
    x = ((x & _PAIRS) * _MULTIPLY_1 + ((x >> np.uint64(16)) & _PAIRS) * _MULTIPLY_2) >> np.uint64(32)
    number = x.astype(np.float64)
    number[count == 0] = 0
    return number, count

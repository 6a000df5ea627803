"""Decimal numbers in a text as floats, many at once: NumPy operations on eight bytes of every number.

Axes: N numbers.
"""

import numpy as np

from taggnn.data.skeleton.formats.recording import Array

_DIGITS = 8
_ZEROS = np.uint64(0x3030303030303030)
_SIX = np.uint64(0x0606060606060606)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_PAIRS = np.uint64(0x000000FF000000FF)
_MULTIPLY_1 = np.uint64(100 + (1000000 << 32))
_MULTIPLY_2 = np.uint64(1 + (10000 << 32))
_POWERS = 10.0 ** np.arange(2 * _DIGITS)
# Numbers with more digits are not exact in a product of two float64.
_EXACT = 15


def parse(text: bytes, starts: Array, ends: Array) -> Array:
    """The numbers at some positions of a text; each equals ``float`` of its bytes.

    Formula: d.ffff with one digit before the point, as most coordinates in metres are, is an integer over a power of ten, both
    exact in float64. The digits are added in pairs, fours and eights inside a 64-bit integer
    (https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/). Every other number is read by ``float``.

    Args:
        text: the text.
        starts: first byte of each number, 16 or more.
        ends: first byte after it.

    **Shapes:** starts, ends (N,) -> (N,) float64

    Raises:
        ValueError: not a number.
    """
    if not len(starts):
        return np.zeros(0)
    data = np.frombuffer(text, np.uint8)
    # Element i has the bytes i to i + 7.
    eights: Array = np.ndarray((len(text) - _DIGITS + 1,), "<u8", text, strides=(1,))
    negative = data[starts] == ord("-")
    first = starts + negative
    decimals = ends - first - 2
    head = data[first] ^ np.uint8(0x30)
    plain = (data[np.minimum(first + 1, len(data) - 1)] == ord(".")) & (head < 10)
    plain &= (decimals > 0) & (decimals < _EXACT)
    count = np.where(plain, decimals, 1)
    last, valid = _eight(eights, ends - _DIGITS, np.minimum(count, _DIGITS))
    plain &= valid
    value = head * _POWERS[count] + last
    long = np.flatnonzero(plain & (count > _DIGITS))
    if len(long):
        more, valid = _eight(eights, ends[long] - 2 * _DIGITS, count[long] - _DIGITS)
        value[long] += more * _POWERS[_DIGITS]
        plain[long] &= valid
    value /= _POWERS[count]
    np.negative(value, out=value, where=negative)
    for other in np.flatnonzero(~plain).tolist():
        value[other] = float(text[starts[other] : ends[other]])
    return value


def _eight(eights: Array, at: Array, count: Array) -> tuple[Array, Array]:
    """The last ``count`` of eight digits as a number, and whether they are digits.

    **Shapes:** at, count (N,) -> (N,) float64, (N,) bool
    """
    unused = ((_DIGITS - count) * 8).astype(np.uint64)
    x = ((eights[at] ^ _ZEROS) >> unused) << unused
    valid = ((x + _SIX) | x) & _HIGH == 0
    x = x * np.uint64(10) + (x >> np.uint64(8))
    x = ((x & _PAIRS) * _MULTIPLY_1 + ((x >> np.uint64(16)) & _PAIRS) * _MULTIPLY_2) >> np.uint64(32)
    return x.astype(np.float64), valid

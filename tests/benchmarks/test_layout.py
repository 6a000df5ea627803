"""Numbers in three digits."""

import pytest

from benchmarks import layout


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (layout.digits, 1234.5, "1,234"), (layout.digits, 99.96, "100"), (layout.digits, 9.996, "10.0"),
        (layout.digits, 0.99951, "1.00"), (layout.digits, 0.0012, "0.001"), (layout.digits, 0.0, "0.00"),
        (layout.share, 0.1, "1/10.0"), (layout.share, 2.5, "2.50x"), (layout.share, 0.0, "0.00x"),
        (layout.count, 12, "12"), (layout.count, 4.1e8, "410 M"), (layout.mebibytes, 3 * 2**20, "3.00"),
        *((shown, None, "-") for shown in (layout.digits, layout.times, layout.share, layout.count, layout.mebibytes)),
    ],
)  # fmt: skip
def test_three_digits(shown, value, text):
    assert shown(value) == text

"""Numbers as people read them, and columns that stand under each other."""

import pytest

from benchmarks import layout


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"), (100.0, "100"), (99.96, "100"), (12.34, "12.3"), (9.996, "10.0"), (1.0, "1.00"), (0.99951, "1.00"),
        (0.1234, "0.123"), (0.01, "0.010"), (0.0012, "0.001"), (0.0, "0.00"), (None, "-"),
    ],
)  # fmt: skip
def test_three_digits(value, text):
    assert layout.digits(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.1, "1/10.0"), (0.5, "1/2.00"), (1.0, "1.00x"), (2.5, "2.50x"), (0.0, "0.00x"), (None, "-")]
)
def test_a_share_is_a_fraction_where_it_is_less_than_all(value, text):
    assert layout.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (1234, "1.23 k"), (4.1e8, "410 M"), (2e9, "2.00 G"), (3e12, "3.00 T"), (None, "-")]
)
def test_counts_have_units(value, text):
    assert layout.count(value) == text


def test_bytes_and_ratios():
    assert layout.mebibytes(3 * 2**20) == "3.00"
    assert layout.times(12.34) == "12.3x"
    assert layout.times(None) == layout.mebibytes(None) == "-"


def test_columns_are_aligned():
    assert layout.table(["name", "ms"], [["a", "1,234"], ["longer", "2"]]).splitlines() == [
        "name       ms",
        "-------------",
        "a       1,234",
        "longer      2",
    ]


def test_a_table_of_markdown():
    assert layout.markdown(["", "x"], [["a", "1"]]) == "|  | x |\n| --- | --- |\n| a | 1 |"

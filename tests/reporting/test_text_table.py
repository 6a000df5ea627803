"""Tables for the terminal."""

import pytest

from taggnn.reporting.text_table import text_table

ROWS = [
    ["run", "differs", "top-1"],
    ["a", "tag.conv=gcn", "97.5 %"],
    ["a-very-long-name-of-a-run-folder", "-", "9.0 %"],
]


def test_without_a_width_it_is_one_block():
    lines = text_table(ROWS)
    assert len(lines) == 3
    assert lines[0].split() == ROWS[0]
    assert lines[1].index("tag.conv") == lines[0].index("differs")


@pytest.mark.parametrize("columns", [30, 40, 48])
def test_a_narrow_terminal_gets_blocks_that_fit(columns):
    lines = text_table(ROWS, columns)
    assert max(map(len, lines)) <= columns
    assert all(cell in "\n".join(lines) for row in ROWS for cell in row[1:])


def test_figures_stand_on_the_right_and_a_rule_below_the_headings():
    lines = text_table(ROWS, right=True, rule=True)
    assert lines[2].endswith("97.5 %")
    assert lines[3].endswith(" 9.0 %")
    assert set(lines[1]) == {"-"}

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggnn.runtime.spreadsheet import as_text, original


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_what_begins_as_a_formula_becomes_text(sign):
    assert as_text(f"{sign}cmd|' /C calc'!A0") == f"'{sign}cmd|' /C calc'!A0"


@pytest.mark.parametrize("cell", ["", "a=b", "'quoted'", "jump/-a.mp4", "-1", "+2.5e-3", "-.5", 7, -7])
def test_other_cells_and_numbers_stay(cell):
    assert as_text(cell) == str(cell)


@given(st.text(st.sampled_from("'=+-@\t1a."), max_size=6))
def test_the_text_can_be_had_again(text):
    assert original(as_text(text)) == text

"""Sizes by name and by form."""

import pytest

from benchmarks import sizes
from benchmarks.sizes import Size


def test_a_size_is_read_as_it_is_written():
    size = Size(2, 3, (4, 5), 24, 6)
    assert sizes.parse(str(size)) == size == sizes.parse("b2-t3-4x5-c24-a6")
    assert size.grid == (3, 4, 5)
    assert size.nodes == 60


def test_a_size_with_joints():
    size = Size(2, 3, (17,), 24, 6)
    assert str(size) == "B2-T3-V17-C24-A6"
    assert sizes.parse(str(size)) == size
    assert size.grid == (3, 17)
    assert size.nodes == 51


@pytest.mark.parametrize("name", sizes.SIZES)
def test_a_name_and_its_form_are_the_same_size(name):
    size = sizes.SIZES[name]
    assert sizes.parse(name.lower()) == size == sizes.parse(str(size))
    assert sizes.name_of(size) == name
    assert sizes.title_of(size) == f"{name} = {size}"


def test_a_size_without_a_name_is_told_by_its_form():
    size = sizes.with_clips(sizes.SIZES["G1"], 3)
    assert size.clips == 3
    assert size.grid == sizes.SIZES["G1"].grid
    assert sizes.title_of(size) == sizes.name_of(size) == "B3-T8-7x7-C512-A4"


@pytest.mark.parametrize("text", ["G9", "", "B1-T8-7-C8-A1", "B1-T8-7x7-C8", "7x7", "B1-T8-V-C8-A1"])
def test_another_text_is_refused_with_what_is_possible(text):
    with pytest.raises(ValueError, match=r"unknown grid .*B4-T8-7x7-C512-A4"):
        sizes.parse(text)


def test_a_zero_is_refused():
    for text in ("B0-T8-7x7-C8-A1", "B1-T8-V0-C8-A1", "B1-T8-7x7-C8-A0"):
        with pytest.raises(ValueError, match="1 or more"):
            sizes.parse(text)

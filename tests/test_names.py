"""How an unknown name is refused."""

import pytest

from taggnn.names import unknown


def test_few_names_are_all_listed():
    assert str(unknown("head", "tga", ["tag", "pool"])) == "unknown head 'tga'; did you mean 'tag'? Possible: tag, pool"
    assert str(unknown("head", "tga", [], "row 1")) == "row 1: unknown head 'tga'. Possible: none"


@pytest.mark.parametrize(("count", "end"), [(20, "x19"), (21, "x19 ... and 1 more"), (288, "x19 ... and 268 more")])
def test_many_names_are_counted(count, end):
    assert str(unknown("class", "?", [f"x{n}" for n in range(count)])).endswith(f", x18, {end}")


def test_the_nearest_is_found_among_those_not_listed():
    assert "did you mean 'somersault'" in str(unknown("class", "sommersault", [*map(str, range(50)), "somersault"]))

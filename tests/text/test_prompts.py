import pytest

from taggnn.text.prompts import DEFAULT, SLOT, filled, read_prompts, spoken


def test_the_default_prompts_are_different_and_have_one_slot():
    assert len(set(DEFAULT)) == len(DEFAULT) == 8
    assert all(prompt.count(SLOT) == 1 for prompt in DEFAULT)


@pytest.mark.parametrize(
    ("name", "aloud"),
    [
        ("front_flip", "front flip"),
        ("ApplyEyeMakeup", "Apply Eye Makeup"),
        ("(FX) switch leap with 0.5 turn", "(FX) switch leap with 0.5 turn"),
        ("Back 15som 05Twis FREE", "Back 15som 05Twis FREE"),
        ("TV_on", "TV on"),
        ("round-off  ", "round-off"),
        ("___", "___"),
    ],
)
def test_names_are_read_aloud(name, aloud):
    assert spoken(name) == aloud


def test_only_the_slot_is_filled():
    assert filled("{0} {} {x!r}", "a {} b") == "{0} a {} b {x!r}"


def test_prompts_of_a_file_keep_their_order():
    assert read_prompts([(1, "b {}"), (3, "a {}")], "file") == ("b {}", "a {}")


@pytest.mark.parametrize(
    ("lines", "named"),
    [([], "file"), ([(1, "{}"), (4, "a leap")], "file, line 4"), ([(1, "{}"), (2, "{}")], "file, line 2")],
    ids=["none", "no slot", "twice"],
)
def test_wrong_prompts_name_their_line(lines, named):
    with pytest.raises(ValueError, match=named):
        read_prompts(lines, "file")

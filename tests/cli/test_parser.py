"""The command line: an option does not take the files of a program for its values."""

import pytest

from taggnn import explain, predict


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "clips").mkdir()
    monkeypatch.chdir(tmp_path)


def _parsed(program, *words):
    built = program.parser()
    return built.parse_args(built.as_lists([*words, "--checkpoint", "x"]))


@pytest.mark.parametrize("file", ["a.mp4", "clips"])
def test_a_list_ends_at_a_file(here, file):
    given = _parsed(explain, "--methods", "attention", "occlusion", file)
    assert (given.methods, given.files) == (["attention", "occlusion"], [file])
    given = _parsed(predict, "--timeline", "--background_class", "still", "rest", file)
    assert (given.background_class, given.files) == (["still", "rest"], [file])


@pytest.mark.parametrize(
    ("words", "reject", "files"),
    [
        (["--reject", "a.mp4"], -1.0, ["a.mp4"]),
        (["--reject", "0.5", "a.mp4"], 0.5, ["a.mp4"]),
        (["a.mp4", "--reject"], -1.0, ["a.mp4"]),
        (["--reject", "--json", "a.mp4"], -1.0, ["a.mp4"]),
        (["a.mp4"], None, ["a.mp4"]),
        (["--reject=0.25", "a.mp4", "-"], 0.25, ["a.mp4", "-"]),
    ],
    ids=str,
)
def test_a_number_that_is_left_out_is_not_a_file(here, words, reject, files):
    given = _parsed(predict, *words)
    assert (given.reject, given.files) == (reject, files)

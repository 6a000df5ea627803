"""Folders for results."""

import re

import pytest

from taggnn.run_folder import new_folder


def test_two_of_one_second_are_two(tmp_path):
    made = [new_folder(tmp_path / "runs" / "x") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(folder.is_dir() and folder.parent == tmp_path / "runs" / "x" for folder in made)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d)?", made[-1].name)


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="runs"):
        new_folder(tmp_path / "runs")

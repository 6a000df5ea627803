"""Folders for results."""

import re

import pytest

from taggnn.io import run_folder
from taggnn.io.run_folder import locked, new_folder


def test_two_of_one_second_are_two(tmp_path):
    made = [new_folder(tmp_path / "runs" / "x") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(folder.is_dir() and folder.parent == tmp_path / "runs" / "x" for folder in made)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d)?", made[-1].name)


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="runs"):
        new_folder(tmp_path / "runs")


def test_one_at_a_time_works_in_a_folder_and_half_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "LOCK_TIMEOUT", 0.05)
    (tmp_path / "pool").mkdir()
    halves = [tmp_path / ".last.part-0123abcd.ckpt", tmp_path / "pool" / ".metrics.part-0123abcd.csv"]
    kept = [tmp_path / "last.ckpt", tmp_path / ".last.part-one.ckpt"]
    for path in (*halves, *kept):
        path.touch()
    with locked(tmp_path):
        assert [path.exists() for path in (*halves, *kept)] == [False, False, True, True]
        with pytest.raises(ValueError, match="another process is working in it"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass

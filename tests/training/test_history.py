"""The rows of the epochs: times by a clock that the test sets, columns of metrics.csv."""

import csv
from types import SimpleNamespace

import pytest

from taggnn.training.history import History

ROW = {"epoch": 1, "train/loss": 0.5, "val/loss": 1.0, "val/top1": 0.5, "val/mca": 0.5, "val/clips": 3, "lr": 0.1}


@pytest.fixture
def clock(monkeypatch):
    """Seconds, in "now"."""
    shown = SimpleNamespace(now=0.0)
    monkeypatch.setattr("taggnn.training.history.time", SimpleNamespace(perf_counter=lambda: shown.now))
    return shown


def test_clips_a_second_are_those_of_training_without_validation(clock, tmp_path):
    history = History(tmp_path)
    for moment, hook in ((10.0, history.begin), (14.0, history.begin_validation)):
        clock.now = moment
        hook()
    clock.now = 20.0
    row = history.add({**ROW, "train/clips": 8}, 2)
    assert (row["clips/s"], row["seconds"]) == (2.0, 10.0)


def test_time_before_an_interruption_counts_and_that_between_does_not(clock, tmp_path):
    history, again = History(tmp_path), History(tmp_path)
    clock.now = 10.0
    history.begin()
    clock.now = 13.0
    state = history.state_dict()
    clock.now = 1000.0
    again.load_state_dict(state)
    clock.now = 1001.0
    again.begin_validation()
    clock.now = 1006.0
    row = again.add({**ROW, "train/clips": 8}, 2)
    assert (row["clips/s"], row["seconds"]) == (2.0, 9.0)


def test_figures_that_it_does_not_know_are_columns_too(tmp_path):
    history = History(tmp_path)
    history.add({**ROW, "train/clips": 8}, 2)
    history.add({**ROW, "train/clips": 8, "train/mine": 0.25, "val/macro_f1": 0.75, "temperature": 3.0}, 2)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (second["train/mine"], second["val/macro_f1"], second["temperature"]) == ("0.25", "0.75", "3")
    assert first["train/mine"] == ""

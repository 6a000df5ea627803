"""taggnn.history: the times of an epoch, by a clock that the test sets."""

from types import SimpleNamespace

import pytest

from taggnn.history import History


@pytest.fixture
def clock(monkeypatch):
    """Seconds, in "now"."""
    shown = SimpleNamespace(now=0.0)
    monkeypatch.setattr("taggnn.history.time", SimpleNamespace(perf_counter=lambda: shown.now))
    return shown


def ended(history, clips=8):
    trainer = SimpleNamespace(
        callback_metrics={"val/loss": 1.0, "val/top1": 0.5, "val/mca": 0.5, "val/clips": 3},
        current_epoch=0,
        max_epochs=2,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
    )
    task = SimpleNamespace(train_loss=0.5, train_clips=clips, skipped={}, print=lambda said: None)
    history.on_train_epoch_end(trainer, task)
    return history.rows[-1]


def test_clips_a_second_are_those_of_training_without_validation(clock, tmp_path):
    history = History(tmp_path)
    history.on_train_start(None, None)
    for moment, hook in ((10.0, history.on_train_epoch_start), (14.0, history.on_validation_epoch_start)):
        clock.now = moment
        hook(None, None)
    clock.now = 20.0
    row = ended(history)
    assert (row["clips/s"], row["seconds"]) == (2.0, 10.0)


def test_time_before_an_interruption_counts_and_that_between_does_not(clock, tmp_path):
    history, again = History(tmp_path), History(tmp_path)
    clock.now = 10.0
    history.on_train_epoch_start(None, None)
    clock.now = 13.0
    again.load_state_dict(history.state_dict())
    clock.now = 1000.0
    again.on_train_start(None, None)
    clock.now = 1001.0
    again.on_validation_epoch_start(None, None)
    clock.now = 1006.0
    row = ended(again)
    assert (row["clips/s"], row["seconds"]) == (2.0, 9.0)

"""What the bar says, and where it stands."""

import re
from types import SimpleNamespace

import pytest

from taggnn.history import History
from taggnn.progress import Progress, in_words, time_left


@pytest.fixture
def shown(monkeypatch):
    """A bar that is drawn at every batch, as on a terminal."""
    monkeypatch.setattr("taggnn.progress._OFTEN", 0.0)
    monkeypatch.setenv("COLUMNS", "150")


def bars(text):
    return [line for line in re.split(r"[\r\n]+", text) if "/" in line]


def test_it_says_epoch_loss_rate_speed_and_what_is_left(build, batches, fit, tmp_path, capsys, shown):
    history = History(tmp_path)
    fit(build(), batches(4), batches(2), [Progress(history), history], epochs=2)
    told = capsys.readouterr()
    drawn = bars(told.err)
    assert any(line.startswith("validation") and "1/2" in line for line in drawn)
    figures = r"loss \d\.\d{4}, lr \d\.\d\de[-+]\d\d, [\d.e+]+ clips/s, run \d+ s left"
    pattern = rf"^epoch 2/2 +75%\|.+\| 3/4 \[00:\d\d<00:\d\d, {figures}\]"
    assert any(re.search(pattern, line) for line in drawn), drawn
    # The line of an epoch stands alone, on the other stream.
    assert [line[:9] for line in told.out.splitlines()] == ["epoch   1", "epoch   2"]
    assert "clips/s" in told.out


def test_of_several_processes_the_first_shows_it(build, batches, fit, tmp_path, capsys, shown, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.Trainer.is_global_zero", False)
    history = History(tmp_path)
    fit(build(), batches(4), batches(2), [Progress(history), history], epochs=1)
    assert bars(capsys.readouterr().err) == []


def test_a_resumed_run_s_bar_stands_where_it_goes_on(build, batches, fit, tmp_path, capsys, shown):
    fit(build(), batches(4), batches(1), epochs=2, keep={"batches": [5]})
    history = History(tmp_path)
    history.rows = [{"seconds": 1.0}]
    capsys.readouterr()
    progress = Progress(history)
    fit(build(), batches(4), batches(1), [progress], epochs=2, ckpt_path=tmp_path / "batch_5.ckpt")
    drawn = [line for line in bars(capsys.readouterr().err) if line.startswith("epoch")]
    places = [int(re.search(r"(\d)/4 \[", line)[1]) for line in drawn]
    assert places[0] in (0, 2)
    assert set(places) <= {0, 2, 3, 4}
    assert all(line.startswith("epoch 2/2") for line in drawn)


def test_figures_are_of_what_the_bar_has_seen(tmp_path):
    """A run that goes on in the middle of an epoch: batches and clips before it took none of its time."""
    progress = Progress(History(tmp_path))
    progress._first, progress._clips = 4, 8
    trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(batch_idx=5),
        num_training_batches=10,
        current_epoch=0,
        max_epochs=1,
        callback_metrics={"loss": 0.5},
        optimizers=[SimpleNamespace(param_groups=[{"lr": 1e-3}])],
    )
    said = progress._text(trainer, SimpleNamespace(train_clips=16), seconds=4.0)
    assert said == "loss 0.5000, lr 1.00e-03, 2 clips/s, run 8 s left"


def test_time_left_counts_the_epochs_that_are_done():
    rows = [{"seconds": 50.0}, {"seconds": 70.0}]
    assert time_left(2.5, 10, rows, here=1000.0) == pytest.approx(7.5 * 60)
    assert time_left(0.25, 10, [], here=40.0) == pytest.approx(9.75 * 40)
    assert time_left(10.0, 10, rows, here=1.0) == 0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (12060, "3 h 21 min")]
)
def test_times_in_words(seconds, said):
    assert in_words(seconds) == (said if said != "100 min" else "1 h 40 min")

"""What the bar shows, and where it stands."""

import re

import pytest

from taggnn.training import bar
from taggnn.training.bar import Bar, in_words, time_left


@pytest.fixture
def shown(monkeypatch):
    """A bar that is drawn at every batch, as on a terminal."""
    monkeypatch.setattr(bar, "_OFTEN", 0.0)
    monkeypatch.setenv("COLUMNS", "150")


def bars(text):
    return [line for line in re.split(r"[\r\n]+", text) if "/" in line]


def test_it_shows_epoch_loss_rate_speed_and_what_is_left(build, batches, fit, capsys, shown):
    fit(build(), batches(4), batches(2), bar=Bar(True, 2), epochs=2)
    printed = capsys.readouterr()
    drawn = bars(printed.err)
    assert any(line.startswith("validation") and "1/2" in line for line in drawn)
    figures = r"\d+ s left, loss \d\.\d{4}, [\d.e+]+ clips/s, lr \d\.\d\de[-+]\d\d"
    pattern = rf"^epoch 2/2 \|.+\| \[3/4, {figures}\]"
    assert any(re.search(pattern, line) for line in drawn), drawn
    # The line of an epoch stands alone, on the other stream.
    assert [line[:9] for line in printed.out.splitlines()] == ["epoch   1", "epoch   2"]
    assert "clips/s" in printed.out


def test_a_bar_that_is_not_shown_writes_nothing(build, batches, fit, capsys, shown):
    fit(build(), batches(4), batches(2), bar=Bar(False, 1), epochs=1)
    assert bars(capsys.readouterr().err) == []


def test_a_resumed_run_s_bar_stands_where_it_continues(build, batches, fit, tmp_path, capsys, shown):
    fit(build(), batches(4), batches(1), epochs=2, keep={"batches": [5]})
    capsys.readouterr()
    fit(build(), batches(4), batches(1), bar=Bar(True, 2), epochs=2, resume=tmp_path / "batch_5.ckpt")
    drawn = [line for line in bars(capsys.readouterr().err) if line.startswith("epoch")]
    counts = [int(re.search(r"\[(\d)/4", line)[1]) for line in drawn]
    assert counts[0] == 1
    assert set(counts) <= {1, 2, 3, 4}
    assert all(line.startswith("epoch 2/2") for line in drawn)


def test_figures_are_of_what_the_bar_has_seen(monkeypatch, capsys, shown):
    """A run that is resumed in the middle of an epoch: batches and clips before it took none of its time."""
    clock = iter([0.0, 4.0, *[4.0] * 9])
    monkeypatch.setattr(bar.time, "perf_counter", lambda: next(clock))
    drawn = Bar(True, 1)
    drawn.begin("epoch 1/1", 10, first=4, clips=8)
    drawn._bar.n = 5
    drawn.train(0, 16, {"loss": 0.5, "mine": 0.25}, 1e-3, [])
    drawn.close()
    assert "8 s left, loss 0.5000, mine 0.2500, 2 clips/s, lr 1.00e-03" in capsys.readouterr().err


def test_epochs_of_later_heads_are_counted(capsys):
    drawn = {}
    for later in (0, 90):
        bar = Bar(True, 10, later)
        bar.begin("epoch 1/10", 4)
        bar._drawn = 0.0
        bar.train(1, 8, {"loss": 1.0}, 0.1, [{"seconds": 36.0}])
        drawn[later] = bar._bar.postfix
        bar.close()
    assert "5 min left" in drawn[0]
    assert "59 min left" in drawn[90]


def test_time_left_counts_the_epochs_that_are_done():
    rows = [{"seconds": 50.0}, {"seconds": 70.0}]
    assert time_left(2.5, 10, rows, here=1000.0) == pytest.approx(7.5 * 60)
    assert time_left(0.25, 10, [], here=40.0) == pytest.approx(9.75 * 40)
    assert time_left(10.0, 10, rows, here=1.0) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "1 h 40 min"), (12060, "3 h 21 min")]
)
def test_times_in_words(seconds, text):
    assert in_words(seconds) == text

"""Which epoch is kept, and when a run stops early."""

import math

import pytest
import torch

from taggnn.training.best_epoch import best_row, checkpoint_row
from taggnn.training.loop import Trainer


def figures_of(figures):
    """A trainer whose figures of validation are given instead of measured."""

    class Given(Trainer):
        def validate(self):
            return {**super().validate(), "val/top1": figures[self.progress.epoch]}

    return Given


@pytest.mark.parametrize(
    ("figures", "patience", "ends", "best"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1, 5, None),
        ([0.1, 0.3, 0.3, 0.2, 0.9], 2, 4, 2),
        ([0.5, 0.4, 0.6, 0.5, 0.5], 2, 5, None),
        ([0.5, 0.1, 0.1, 0.1, 0.1], 1, 2, 1),
        ([0.5, math.nan, math.nan, 0.1, 0.1], 2, 3, 1),
    ],
    ids=["always-better", "equal-is-not-better", "over-in-the-last-epoch", "at-once", "no-number"],
)
def test_it_ends_after_the_epoch_that_uses_up_its_patience(build, batches, fit, capsys, figures, patience, ends, best):
    trainer = fit(build(), batches(2), batches(1), kind=figures_of(figures), patience=patience, epochs=5)
    assert len(trainer.history.rows) == ends
    if best is None:
        assert trainer.stopped is None
    else:
        epochs = "1 epoch" if patience == 1 else f"{patience} epochs"
        message = f"stopped after epoch {ends} of 5: val/top1 no better than in epoch {best} for {epochs}"
        assert trainer.stopped == message
        assert capsys.readouterr().out.splitlines()[-1] == message


@pytest.mark.parametrize("kept", [1, 3], ids=["counts-on", "had-ended"])
def test_a_resumed_run_ends_where_it_would_have(build, batches, fit, tmp_path, kept):
    figures, keep = [0.5, 0.4, 0.3, 0.2, 0.6], {"epochs": [0, 1, 2, 3]}
    whole, resumed = build(), build(seed=1)
    first = fit(whole, batches(2), batches(1), kind=figures_of(figures), patience=3, epochs=5, keep=keep)
    assert len(first.history.rows) == 4
    checkpoint = tmp_path / f"epoch_{kept}.ckpt"
    again = fit(resumed, batches(2), batches(1), kind=figures_of(figures), patience=3, epochs=5, resume=checkpoint)
    assert len(again.history.rows) == 4
    assert again.stopped == first.stopped
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_no_epoch_begins_when_the_time_is_over(build, batches, fit):
    trainer = fit(build(), batches(2), batches(1), epochs=5, max_hours=1e-9)
    assert len(trainer.history.rows) == 1
    assert "train.max_hours" in trainer.stopped


def test_the_best_row_is_the_first_of_equals_and_the_lowest_loss():
    rows = [{"val/top1": top1, "val/loss": loss} for top1, loss in ((0.2, 3.0), (0.4, 1.0), (0.4, 2.0))]
    assert best_row(rows, "val/top1") == 1
    assert best_row(rows, "val/loss") == 1
    assert best_row(rows[::2], "val/loss") == 1
    assert best_row([{"val/loss": math.nan}], "val/loss") is None
    assert best_row([], "val/loss") is None


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([(0.2, 3.0), (0.4, 1.0), (0.4, 2.0)], 1),
        ([(1.0, 0.137), (1.0, 0.086), (1.0, 0.09)], 1),
        ([(1.0, 0.1), (1.0, 0.1), (0.9, 0.05)], 1),
        ([(0.4, math.nan), (0.4, 2.0)], 1),
        ([(0.4, 2.0), (0.4, math.nan)], 0),
        ([(math.nan, 2.0), (0.1, 3.0)], 1),
        ([(math.nan, 2.0), (math.nan, math.nan)], 0),
    ],
    ids=["lower-loss", "lower-loss-later", "then-later", "loss-no-number", "later-loss-no-number", "no-number", "none"],
)
def test_of_equal_figures_the_lower_loss_is_kept_then_the_later_epoch(rows, kept):
    assert checkpoint_row([{"val/top1": top1, "val/loss": loss} for top1, loss in rows], "val/top1") == kept


def test_the_best_checkpoint_is_that_of_its_row(build, batches, fit, tmp_path):
    losses = [0.9, 0.3, 0.5]

    class Given(Trainer):
        def validate(self):
            return {**super().validate(), "val/top1": 1.0, "val/loss": losses[self.progress.epoch]}

    fit(build(), batches(2), batches(1), kind=Given, epochs=3)
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["progress"]["epoch"] == 2

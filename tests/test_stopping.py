"""Early stopping: when it ends a run, what it says, and that an interrupted run counts on."""

import math

import pytest
import torch

from taggnn.history import History
from taggnn.stopping import Stopping, best_row


class Figures(History):
    """A history whose figures are given instead of measured."""

    figures = ()

    def on_train_epoch_end(self, trainer, pl_module):
        super().on_train_epoch_end(trainer, pl_module)
        self.rows[-1]["val/top1"] = self.figures[trainer.current_epoch]


def parts(folder, figures, patience):
    history = Figures(folder)
    history.figures = figures
    return [history, Stopping(history, "val/top1", patience)]


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
def test_it_ends_behind_the_epoch_that_uses_up_its_patience(
    build, batches, fit, tmp_path, capsys, figures, patience, ends, best
):
    history, stopping = parts(tmp_path, figures, patience)
    fit(build(), batches(2), batches(1), [history, stopping], epochs=5)
    assert len(history.rows) == ends
    if best is None:
        assert stopping.said is None
    else:
        epochs = "1 epoch" if patience == 1 else f"{patience} epochs"
        said = f"stopped after epoch {ends} of 5: val/top1 no better than in epoch {best} for {epochs}"
        assert stopping.said == said
        assert capsys.readouterr().out.splitlines()[-1] == said


@pytest.mark.parametrize("kept", [1, 3], ids=["counts-on", "had-ended"])
def test_a_resumed_run_ends_where_it_would_have(build, batches, fit, tmp_path, kept):
    figures, keep = [0.5, 0.4, 0.3, 0.2, 0.6], {"epochs": [0, 1, 2, 3]}
    history, stopping = parts(tmp_path, figures, 3)
    whole = build()
    fit(whole, batches(2), batches(1), [history, stopping], epochs=5, keep=keep)
    assert len(history.rows) == 4
    again, resumed = parts(tmp_path, figures, 3), build(seed=1)
    fit(resumed, batches(2), batches(1), again, epochs=5, ckpt_path=tmp_path / f"epoch_{kept}.ckpt")
    assert len(again[0].rows) == 4
    assert again[1].said == stopping.said
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_best_row_is_the_first_of_equals_and_the_lowest_loss():
    rows = [{"val/top1": top1, "val/loss": loss} for top1, loss in ((0.2, 3.0), (0.4, 1.0), (0.4, 2.0))]
    assert best_row(rows, "val/top1") == 1
    assert best_row(rows, "val/loss") == 1
    assert best_row(rows[::2], "val/loss") == 1
    assert best_row([{"val/loss": math.nan}], "val/loss") is None
    assert best_row([], "val/loss") is None

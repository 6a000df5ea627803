"""Event files read back with TensorBoard's own reader; loggers that are not installed."""

import sys
from functools import partial
from types import ModuleType

import pytest

from taggnn import loggers
from taggnn.history import History
from taggnn.loggers import Curves

SHOWN = {"optim.lr": 0.01, "head": "tag"}


def parts(folder, names=("tensorboard",), every=2):
    history = History(folder)
    return [history, Curves(names, folder, history, SHOWN, every)]


def points(folder):
    """tag -> the steps and the values of its curve."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder / "tensorboard")).Reload()
    curves = {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return curves, [events.Tensors(tag)[0] for tag in events.Tags()["tensors"]]


def test_event_files_hold_the_figures_of_steps_and_epochs(build, batches, fit, tmp_path):
    history, curves = parts(tmp_path)
    fit(build(gradient_clip=0.01), batches(5), batches(2), [history, curves], epochs=2)
    found, texts = points(tmp_path)
    of_steps = ("step/loss", "step/lr", "step/gradient_norm", "step/clips_per_second")
    for tag in of_steps:
        # The clips, too, are counted from 0 in each epoch.
        assert min(value for _, value in found[tag]) > 0 or tag == "step/lr", tag
        assert [step for step, _ in found.pop(tag)] == [2, 4, 6, 8, 10], tag
    columns = {"epoch/lr": "lr", "epoch/seconds": "seconds", "epoch/clips_per_second": "clips/s"}
    columns |= {key: key for key in ("train/loss", "train/clips", "val/loss", "val/top1", "val/mca", "val/clips")}
    assert set(found) == set(columns)
    for tag, curve in found.items():
        assert [step for step, _ in curve] == [5, 10], tag
        rows = [row[columns[tag]] for row in history.rows]
        assert [value for _, value in curve] == pytest.approx(rows, rel=1e-5), tag
    (text,) = texts
    assert "| optim.lr | 0.01 |" in text.tensor_proto.string_val[0].decode()


def test_batches_that_wait_for_their_step_have_no_figures(build, batches, fit, tmp_path):
    fit(build(), batches(6), batches(1), parts(tmp_path, every=1), epochs=1, accumulate_grad_batches=3)
    assert [step for step, _ in points(tmp_path)[0]["step/lr"]] == [1, 2]


def test_the_norm_is_that_before_clipping(build, batches, fit, tmp_path):
    norms = []
    for limit in (0.0, 1e-3):
        folder = tmp_path / str(limit)
        fit(build(gradient_clip=limit), batches(1), batches(1), parts(folder, every=1), epochs=1)
        norms.append(points(folder)[0]["step/gradient_norm"][0][1])
    assert norms[0] == norms[1] > 0.01


@pytest.mark.parametrize("kept", [None, "epoch_0.ckpt", "batch_6.ckpt"], ids=["no-checkpoint", "epoch", "mid-epoch"])
def test_a_resumed_run_has_each_point_once(build, batches, fit, tmp_path, kept):
    def dies(self, trainer, *_):
        if trainer.global_step == 9:
            raise RuntimeError("killed")

    history, curves = parts(tmp_path, every=1)
    death = type("Death", (type(curves).__base__,), {"on_train_batch_end": dies})()
    keep = {"epochs": [0], "batches": [6]}
    with pytest.raises(RuntimeError, match="killed"):
        fit(build(), batches(5), batches(1), [history, curves, death], epochs=2, keep=keep)
    fit(build(), batches(5), batches(1), parts(tmp_path, every=1), epochs=2, ckpt_path=kept and tmp_path / kept)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    found, texts = points(tmp_path)
    assert [step for step, _ in found["step/loss"]] == list(range(1, 11))
    assert [step for step, _ in found["val/loss"]] == [5, 10]
    assert len(texts) == 1


def test_only_the_first_process_writes(build, batches, fit, tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.Trainer.is_global_zero", False)
    fit(build(), batches(2), batches(1), parts(tmp_path), epochs=1)
    assert not (tmp_path / "tensorboard").exists()


def test_without_tensorboard_a_line_is_said_and_training_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    loggers.check(["tensorboard", "csv"])
    assert capsys.readouterr().err == "loggers   no TensorBoard files: pip install tensorboard, or --loggers [csv]\n"
    assert loggers.available(["tensorboard", "csv"]) == []
    loggers.check(["csv"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_refused(name, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"loggers {name}: not installed; pip install {name}, or leave it out"):
        loggers.check(["csv", name])


class Fake:
    """Stands for Lightning's logger of a service: notes what it is told."""

    def __init__(self, made, *_, **options):
        self.options, self.written = options, []
        self.experiment, self.run_id = ModuleType("experiment"), options.get("run_id") or "run-7"
        self.experiment.id = options.get("id") or "run-7"
        made.append(self)

    def log_metrics(self, metrics, step):
        self.written.append((step, sorted(metrics)))

    def log_hyperparams(self, params):
        self.shown = params

    def finalize(self, status):
        self.status = status


@pytest.mark.parametrize(
    ("name", "kind", "key"), [("wandb", "WandbLogger", "id"), ("mlflow", "MLFlowLogger", "run_id")]
)
def test_services_get_the_same_figures_and_go_on_with_their_run(
    build, batches, fit, tmp_path, monkeypatch, name, kind, key
):
    made = []
    monkeypatch.setattr(sys.modules["lightning.pytorch.loggers"], kind, partial(Fake, made))
    fit(build(), batches(3), batches(1), parts(tmp_path, [name]), epochs=2, keep={"epochs": [0]})
    fit(build(), batches(3), batches(1), parts(tmp_path, [name]), epochs=2, ckpt_path=tmp_path / "epoch_0.ckpt")
    first, second = made
    assert [step for step, _ in first.written] == [2, 3, 4, 6, 6]
    assert [step for step, _ in second.written] == [4, 6, 6]
    assert "step/gradient_norm" in first.written[0][1]
    assert "val/top1" in first.written[1][1]
    assert (first.options[key], second.options[key]) == (None, "run-7")
    assert first.shown == SHOWN
    assert not hasattr(second, "shown")
    assert (first.status, second.status) == ("success", "success")

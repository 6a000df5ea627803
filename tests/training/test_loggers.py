"""Event files read back with TensorBoard's own reader; loggers that are not installed."""

import pytest

from taggnn.training import loggers
from taggnn.training.loggers import Curves

SHOWN = {"optim.lr": 0.01, "head": "tag"}


@pytest.fixture
def curves(tmp_path):
    def made(folder=tmp_path, names=("tensorboard",), every=2):
        return Curves(names, folder, SHOWN, every)

    return made


def points(folder):
    """tag -> the steps and the values of its curve."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder / "tensorboard")).Reload()
    curves = {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return curves, [events.Tensors(tag)[0] for tag in events.Tags()["tensors"]]


def test_event_files_hold_the_figures_of_steps_and_epochs(build, batches, fit, tmp_path, curves):
    rows = fit(build(gradient_clip=0.01), batches(5), batches(2), curves=curves(), epochs=2).history.rows
    found, texts = points(tmp_path)
    of_steps = ("step/loss", "step/lr", "step/gradient_norm", "step/clips_per_second")
    for tag in of_steps:
        # The clips, too, are counted from 0 in each epoch.
        assert min(value for _, value in found[tag]) > 0 or tag == "step/lr", tag
        assert [step for step, _ in found.pop(tag)] == [2, 4, 6, 8, 10], tag
    columns = {"epoch/lr": "lr", "epoch/seconds": "seconds", "epoch/clips_per_second": "clips/s"}
    columns |= {
        key: key for key in ("train/loss", "train/clips", "train/top1", "val/loss", "val/top1", "val/mca", "val/clips")
    }
    assert set(found) == set(columns)
    for tag, curve in found.items():
        assert [step for step, _ in curve] == [5, 10], tag
        assert [value for _, value in curve] == pytest.approx([row[columns[tag]] for row in rows], rel=1e-5), tag
    (text,) = texts
    assert "| optim.lr | 0.01 |" in text.tensor_proto.string_val[0].decode()


def test_batches_that_wait_for_their_step_have_no_figures(build, batches, fit, tmp_path, curves):
    fit(build(), batches(6), batches(1), curves=curves(every=1), epochs=1, accumulate=3)
    assert [step for step, _ in points(tmp_path)[0]["step/lr"]] == [1, 2]


def test_the_norm_is_that_before_clipping(build, batches, fit, tmp_path, curves):
    norms = []
    for limit in (0.0, 1e-3):
        folder = tmp_path / str(limit)
        fit(build(gradient_clip=limit), batches(1), batches(1), curves=curves(folder, every=1), epochs=1)
        norms.append(points(folder)[0]["step/gradient_norm"][0][1])
    assert norms[0] == norms[1] > 0.01


@pytest.mark.parametrize("kept", [None, "epoch_0.ckpt", "batch_6.ckpt"], ids=["no-checkpoint", "epoch", "mid-epoch"])
def test_a_resumed_run_has_each_point_once(build, batches, fit, tmp_path, curves, kept):
    def dies(trainer):
        if trainer.progress.step == 9:
            raise RuntimeError("killed")

    keep = {"epochs": [0], "batches": [6]}
    with pytest.raises(RuntimeError, match="killed"):
        fit(build(), batches(5), batches(1), curves=curves(every=1), watch=dies, epochs=2, keep=keep)
    fit(build(), batches(5), batches(1), curves=curves(every=1), epochs=2, resume=kept and tmp_path / kept)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    found, texts = points(tmp_path)
    assert [step for step, _ in found["step/loss"]] == list(range(1, 11))
    assert [step for step, _ in found["val/loss"]] == [5, 10]
    assert len(texts) == 1


def test_only_the_first_process_writes(build, batches, fit, tmp_path, curves, monkeypatch):
    monkeypatch.setattr(loggers.distributed, "is_main_process", lambda: False)
    fit(build(), batches(2), batches(1), curves=curves(), epochs=1)
    assert not (tmp_path / "tensorboard").exists()


def test_without_tensorboard_a_line_is_printed_and_training_continues(monkeypatch, capsys):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    loggers.check(["tensorboard", "csv"])
    assert capsys.readouterr().err == "loggers   no TensorBoard files: pip install tensorboard, or --loggers csv\n"
    assert loggers.available(["tensorboard", "csv"]) == []
    loggers.check(["csv"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_refused(name, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"loggers {name}: not installed; pip install {name}, or leave it out"):
        loggers.check(["csv", name])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_services_get_the_same_figures_and_continue_their_run(build, batches, fit, tmp_path, curves, monkeypatch, name):
    made = []

    class Service:
        """Notes what it is given."""

        def __init__(self, folder, step, identity):
            self.given, self.written, self.described = identity, [], None
            self.identity = identity or "run-7"
            made.append(self)

        def log(self, figures, step):
            self.written.append((step, sorted(figures)))

        def describe(self, configuration):
            self.described = configuration

        def close(self, failed):
            self.failed = failed

    monkeypatch.setitem(loggers.LOGGERS, name, Service)
    fit(build(), batches(3), batches(1), curves=curves(names=[name]), epochs=2, keep={"epochs": [0]})
    fit(build(), batches(3), batches(1), curves=curves(names=[name]), epochs=2, resume=tmp_path / "epoch_0.ckpt")
    first, second = made
    assert sorted({step for step, _ in first.written}) == [2, 3, 4, 6]
    assert sorted({step for step, _ in second.written}) == [4, 6]
    assert "step/gradient_norm" in first.written[0][1]
    assert "val/top1" in first.written[1][1]
    assert (first.given, second.given) == (None, "run-7")
    assert first.described == SHOWN
    assert second.described is None
    assert (first.failed, second.failed) == (False, False)


def test_mlflow_writes_a_run_and_continues_it(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first = loggers.MLflow(tmp_path, 0, None)
    first.describe(SHOWN)
    first.log({"val/top1": 0.5}, 3)
    first.close(failed=True)
    second = loggers.MLflow(tmp_path, 3, first.identity)
    second.log({"val/top1": 0.75}, 6)
    second.close(failed=False)
    run = second._client.get_run(first.identity)
    assert (run.data.metrics, run.info.status) == ({"val/top1": 0.75}, "FINISHED")
    assert run.data.params == {"optim.lr": "0.01", "head": "tag"}


def test_wandb_writes_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = loggers.WandB(tmp_path, 0, None)
    run.describe(SHOWN)
    run.log({"val/top1": 0.5}, 3)
    run.close(failed=False)
    assert run.identity
    assert list((tmp_path / "wandb").glob("offline-run-*"))

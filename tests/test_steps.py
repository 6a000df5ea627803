"""Optimiser steps under Lightning: scaled gradients, steps that are left out, a run that diverges, accumulation."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from taggnn.averaging import Averaging


class Watch(pl.Callback):
    """The weights and the rate behind every batch, and whether its step was taken."""

    def __init__(self):
        self.weights, self.rates, self.stepped, self.norms = [], [], [], []

    def on_train_start(self, trainer, pl_module):
        self.weights.append(torch.cat([value.detach().flatten() for value in pl_module.parameters()]))

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.on_train_start(trainer, pl_module)
        self.rates.append(trainer.optimizers[0].param_groups[-1]["lr"])
        self.stepped.append(pl_module.stepped)
        self.norms.append(pl_module.gradient_norm)

    def moved(self):
        return [float((after - before).norm()) for before, after in zip(self.weights, self.weights[1:], strict=False)]


def scaled(scale):
    """16-mixed on a CPU, which the program does not offer there, since float16 is slow."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2000)
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)], "precision": None}


def test_gradients_are_clipped_behind_their_scaling(build, batches, fit):
    plain = {"optimiser": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    found = []
    for options in ({}, scaled(1024.0)):
        watch = Watch()
        fit(build(**plain, gradient_clip=0.01).eval(), batches(2), batches(1), [watch], epochs=1, **options)
        assert watch.moved() == pytest.approx([0.01, 0.01], rel=1e-3)
        found.append([float(norm) for norm in watch.norms])
    assert found[1] == pytest.approx(found[0], rel=0.05)
    assert min(found[0]) > 0.1


def test_a_step_that_overflows_changes_no_weight_no_rate_and_no_average(build, batches, fit, tmp_path):
    watch, averaging = Watch(), Averaging(0.9)
    fit(build(), batches(6), batches(1), [watch, averaging], epochs=2, **scaled(2.0**22))
    left_out = watch.stepped.count(False)
    assert 0 < left_out < 11
    assert [value > 0 for value in watch.moved()] == watch.stepped
    before = [0.01, *watch.rates]
    assert [rate != last for rate, last in zip(watch.rates, before, strict=False)] == watch.stepped
    assert averaging.state_dict() == {"updates": 12 - left_out, "step": 12}


def spoilt(made, number):
    made[number]["clip"] = made[number]["clip"] * float("nan")
    return made


def test_a_loss_that_is_no_number_ends_the_run_in_a_sentence(build, batches, fit):
    with pytest.raises(
        ValueError, match=r"^epoch 1, batch 3: the loss is nan: training has diverged\. A smaller optim\.lr"
    ):
        fit(build(), spoilt(batches(4), 2), batches(1))


def test_scaled_gradients_that_never_recover_end_the_run(build, batches, fit, monkeypatch):
    monkeypatch.setattr("taggnn.task.OVERFLOWS", 3)
    made = [spoilt(batches(1), 0)[0] for _ in range(4)]
    with pytest.raises(ValueError, match=r"^epoch 1, batch 3: 3 steps in a row had a gradient that is inf or nan"):
        fit(build(), made, batches(1), **scaled(1024.0))


def test_clips_of_a_step_that_was_left_out_are_not_counted(build, batches, fit):
    # In training a clip without numbers would spoil the statistics of BatchNorm.
    task = build().eval()
    fit(task, spoilt(batches(4), 1), batches(1), epochs=1, **scaled(1024.0))
    assert task.train_clips == 9
    assert 0 < task.train_loss < 10


@pytest.mark.parametrize("together", [1, 2, 3])
def test_lightning_s_accumulation_is_one_large_batch(build, batches, fit, together):
    """Five batches, the last window shorter and the last batch smaller; the rate ends at zero."""
    made = batches(5)
    made[-1] = {key: value[:1] for key, value in made[-1].items()}
    groups = [made[first : first + together] for first in range(0, 5, together)]
    large = [
        {
            "clip": torch.cat([one["clip"] for one in group]),
            "label": torch.cat([one["label"] for one in group]),
            "skipped": [],
        }
        for group in groups
    ]
    states = []
    for given, count in ((made, together), (large, 1)):
        task = build(optimiser="sgd", gradient_clip=0.5).eval()
        trainer = fit(task, given, batches(1), accumulate_grad_batches=count)
        assert trainer.global_step == 2 * len(groups)
        assert trainer.optimizers[0].param_groups[-1]["lr"] == pytest.approx(0, abs=1e-12)
        states.append(task.state_dict())
    for name, value in states[1].items():
        torch.testing.assert_close(states[0][name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("scale", [None, 1024.0], ids=["32-true", "16-mixed"])
def test_a_step_is_taken_where_its_last_batch_has_no_clip(build, batches, fit, scale):
    made, watch = batches(2), Watch()
    made[1] = {"clip": torch.empty(0), "label": torch.empty(0, dtype=torch.long), "skipped": []}
    options = {} if scale is None else scaled(scale)
    fit(build(), made, batches(1), [watch], epochs=1, accumulate_grad_batches=2, **options)
    assert watch.moved()[0] == 0
    assert watch.moved()[1] > 0

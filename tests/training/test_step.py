"""Optimiser steps: scaled gradients, steps that are left out, a run that diverges, accumulation, the hook after a step."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from taggnn.io import checkpoint
from taggnn.types import Batch, Output


class Watch:
    """The weights and the rate after every batch, and whether its step was taken."""

    def __init__(self, setup):
        self.weights, self.rates, self.stepped, self.norms, self.left_out = [], [], [], [], 0
        self.note(setup.model)

    def note(self, model):
        self.weights.append(torch.cat([value.detach().flatten() for value in model.parameters()]))

    def __call__(self, trainer):
        self.note(trainer.recogniser)
        self.rates.append(trainer.step.rate)
        self.stepped.append(trainer.step.skipped == self.left_out)
        self.left_out = trainer.step.skipped
        self.norms.append(trainer.step.gradient_norm)

    def moved(self):
        return [float((after - before).norm()) for before, after in zip(self.weights, self.weights[1:], strict=False)]


def test_gradients_are_clipped_after_their_scaling(build, batches, fit):
    plain = {"optimiser": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    found = []
    for scale in (None, 1024.0):
        setup = build(**plain, gradient_clip=0.01)
        setup.model.eval()
        watch = Watch(setup)
        fit(setup, batches(2), batches(1), watch=watch, epochs=1, scale=scale)
        assert watch.moved() == pytest.approx([0.01, 0.01], rel=1e-3)
        found.append([float(norm) for norm in watch.norms])
    assert found[1] == pytest.approx(found[0], rel=0.05)
    assert min(found[0]) > 0.1


def test_a_step_that_overflows_changes_no_weight_no_rate_and_no_average(build, batches, fit):
    setup = build(ema=0.9)
    watch = Watch(setup)
    trainer = fit(setup, batches(6), batches(1), watch=watch, epochs=2, scale=2.0**22)
    left_out = watch.stepped.count(False)
    assert 0 < left_out < 11
    assert [value > 0 for value in watch.moved()] == watch.stepped
    before = [0.01, *watch.rates]
    assert [rate != last for rate, last in zip(watch.rates, before, strict=False)] == watch.stepped
    assert (trainer.step.ema.updates, trainer.progress.step) == (12 - left_out, 12)


def test_a_run_whose_steps_overflowed_resumes_exactly(build, batches, fit, tmp_path):
    whole, resumed = build(), build(seed=1)
    first = fit(whole, batches(6), batches(1), epochs=2, scale=2.0**22, keep={"batches": [8]})
    assert first.step.skipped > 0
    rates = []
    again = fit(
        resumed, batches(6), batches(1), epochs=2, scale=2.0**22, resume=tmp_path / "batch_8.ckpt",
        watch=lambda trainer: rates.append(trainer.step.rate),
    )  # fmt: skip
    assert len(rates) == 4
    assert again.step.skipped == first.step.skipped
    assert again.step.scaler.get_scale() == first.step.scaler.get_scale()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def spoilt(made, number):
    made[number].x *= float("nan")
    return made


def test_a_loss_that_is_no_number_ends_the_run_in_a_sentence(build, batches, fit):
    with pytest.raises(
        ValueError, match=r"^epoch 1, batch 3: the loss is nan: training has diverged\. A smaller optim\.lr"
    ):
        fit(build(), spoilt(batches(4), 2), batches(1))


def test_scaled_gradients_that_never_recover_end_the_run(build, batches, fit, monkeypatch):
    monkeypatch.setattr("taggnn.training.loop.OVERFLOWS", 3)
    made = [spoilt(batches(1), 0)[0] for _ in range(4)]
    with pytest.raises(ValueError, match=r"^epoch 1, batch 3: 3 steps in a row had a gradient that is inf or nan"):
        fit(build(), made, batches(1), scale=1024.0)


def test_clips_of_a_step_that_was_left_out_are_not_counted(build, batches, fit):
    setup = build()
    # In training a clip without numbers would spoil the statistics of BatchNorm.
    setup.model.eval()
    (row,) = fit(setup, spoilt(batches(4), 1), batches(1), epochs=1, scale=1024.0).history.rows
    assert row["train/clips"] == 9
    assert 0 < row["train/loss"] < 10


@pytest.mark.parametrize("together", [1, 2, 3])
def test_accumulated_batches_are_one_large_batch(build, batches, fit, together):
    """Five batches, the last window shorter and the last batch smaller; the rate ends at zero."""
    made = batches(5)
    made[-1] = Batch(made[-1].x[:1], made[-1].label[:1], made[-1].index[:1])
    groups = [made[first : first + together] for first in range(0, 5, together)]
    large = [
        Batch(*(torch.cat([getattr(one, part) for one in group]) for part in ("x", "label", "index")))
        for group in groups
    ]
    states = []
    for given, count in ((made, together), (large, 1)):
        setup = build(optimiser="sgd", gradient_clip=0.5)
        setup.model.eval()
        trainer = fit(setup, given, batches(1), accumulate=count)
        assert trainer.progress.step == 2 * len(groups)
        assert trainer.step.rate == pytest.approx(0, abs=1e-12)
        states.append(setup.weights())
    for name, value in states[1].items():
        torch.testing.assert_close(states[0][name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("scale", [None, 1024.0], ids=["32-true", "16-mixed"])
def test_a_step_is_taken_where_its_last_batch_has_no_clip(build, batches, fit, scale):
    made, setup = batches(2), build()
    watch = Watch(setup)
    made[1] = Batch(made[1].x[:0], made[1].label[:0], made[1].index[:0])
    fit(setup, made, batches(1), watch=watch, epochs=1, accumulate=2, scale=scale)
    assert watch.moved()[0] == 0
    assert watch.moved()[1] > 0


def test_a_step_without_any_clip_changes_no_weight(build, batches, fit):
    made, setup = batches(2), build()
    watch = Watch(setup)
    made[0] = replace(made[0], x=made[0].x[:0], label=made[0].label[:0], index=made[0].index[:0])
    trainer = fit(setup, made, batches(1), watch=watch, epochs=1)
    assert watch.moved()[0] == 0 < watch.moved()[1]
    assert trainer.progress.step == 2


class Follows(nn.Module):
    """A head with a copy of its weights that follows them slowly, and decides with both."""

    def __init__(self, channels, grid, classes, momentum=0.9):
        super().__init__()
        self.classifier, self.momentum = nn.Linear(channels, classes), momentum
        self.register_buffer("copy", self.classifier.weight.detach().clone())
        self.register_buffer("moves", torch.tensor(0))

    def forward(self, tokens, targets=None):
        pooled = tokens.flatten(1, -2).mean(1)
        return Output(self.classifier(pooled) + pooled @ self.copy.T)

    @torch.no_grad()
    def after_step(self):
        self.copy.lerp_(self.classifier.weight, 1 - self.momentum)
        self.moves += 1


@pytest.fixture
def follower(build):
    """A model whose head keeps state that moves after each step."""

    def made(**optimisation):
        setup = build(**optimisation)
        torch.manual_seed(3)
        setup.model.head = Follows(32, setup.model.grid, 3)
        return setup

    return made


def test_a_step_without_any_clip_moves_no_state(follower, batches, fit):
    made, setup = batches(2), follower()
    made[0] = replace(made[0], x=made[0].x[:0], label=made[0].label[:0], index=made[0].index[:0])
    fit(setup, made, batches(1), epochs=1)
    assert int(setup.model.head.moves) == 1


@pytest.mark.parametrize(("accumulate", "moves"), [(1, 8), (3, 4)])
def test_state_of_a_head_moves_after_each_optimiser_step(follower, batches, fit, accumulate, moves):
    setup = follower()
    copy, seen = setup.model.head.copy.clone(), []

    def watch(trainer):
        if len(seen) < trainer.progress.step:
            seen.append(setup.model.head.classifier.weight.detach().clone())

    fit(setup, batches(4), batches(1), accumulate=accumulate, watch=watch)
    for weight in seen:
        copy = 0.9 * copy + 0.1 * weight
    assert int(setup.model.head.moves) == len(seen) == moves
    torch.testing.assert_close(setup.model.head.copy, copy)


def test_it_does_not_move_after_a_step_that_overflows(follower, batches, fit):
    setup = follower()
    trainer = fit(setup, batches(6), batches(1), epochs=2, scale=2.0**22)
    assert trainer.step.skipped > 0
    assert int(setup.model.head.moves) == 12 - trainer.step.skipped


@pytest.mark.parametrize("kept", ["batch_2.ckpt", "batch_6.ckpt", "epoch_0.ckpt"])
def test_it_resumes_exactly(follower, batches, fit, tmp_path, kept):
    keep = {"batches": [2, 6], "epochs": [0, 2]}
    fit(follower(ema=0.9), batches(4), batches(1), epochs=3, keep=keep)
    whole = checkpoint.read(tmp_path / "epoch_2.ckpt")["model"]
    other = follower(ema=0.9)
    other.model.head.copy.zero_()
    fit(other, batches(4), batches(1), epochs=3, keep=keep, resume=tmp_path / kept)
    for name, value in checkpoint.read(tmp_path / "epoch_2.ckpt")["model"].items():
        assert torch.equal(value, whole[name]), name

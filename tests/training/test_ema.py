"""The average of the weights against a plain loop over all of them; what is measured, kept and resumed."""

import pytest
import torch
from torch import nn

from taggnn.io import checkpoint
from taggnn.runtime import distributed
from taggnn.runtime.signals import StopRequested, Watch
from taggnn.training.ema import TRAINED, Average
from taggnn.training.loop import Trainer
from taggnn.training.save_schedule import Saving


class Kept:
    """The weights after every optimiser step and in every validation."""

    def __init__(self):
        self.stepped, self.validated = [], []

    def __call__(self, trainer):
        if trainer.progress.step > len(self.stepped):
            self.stepped.append(copied(trainer.recogniser))

    def kind(self):
        """A trainer that notes the weights of its validations."""
        validated = self.validated

        class Validating(Trainer):
            def logits(self, batch):
                validated.append(copied(self.recogniser))
                return super().logits(batch)

        return Validating


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def naive(start, weights, decay):
    """Written as the formula stands, in double precision."""
    average = {name: value.double() for name, value in start.items()}
    for n, state in enumerate(weights, 1):
        d = min(decay, n / (n + 9))
        for name in average:
            average[name] = d * average[name] + (1 - d) * state[name].double()
    return average


def close(found, expected):
    for name, value in expected.items():
        if found[name].is_floating_point():
            torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(("decay", "accumulate"), [(0.3, 1), (0.999, 1), (0.999, 2)])
def test_it_is_the_average_after_every_step(build, batches, fit, tmp_path, decay, accumulate):
    setup, watch = build(ema=decay), Kept()
    start = setup.weights()
    fit(setup, batches(6), batches(2), watch=watch, kind=watch.kind(), accumulate=accumulate, keep={"epochs": [1]})
    assert len(watch.stepped) == 12 // accumulate
    expected = naive(start, watch.stepped, decay)
    kept = checkpoint.read(tmp_path / "epoch_1.ckpt")
    close(kept["model"], expected)
    close(watch.validated[-1], expected)
    # Tables and counts are the model's own, and the weights that were trained are kept next to the average.
    for name, value in watch.stepped[-1].items():
        same = kept[TRAINED].get(name, kept["model"][name])
        assert torch.equal(same, value), name
        assert (name in kept[TRAINED]) == (value.is_floating_point() and expected[name].ne(value.double()).any()), name


def test_training_continues_as_without_an_average(build, batches, fit):
    plain, averaged = build(), build(ema=0.9)
    fit(plain, batches(4), batches(1))
    fit(averaged, batches(4), batches(1))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(averaged.model.state_dict()[name], value), name


@pytest.mark.parametrize("place", ["batch_2.ckpt", "batch_5.ckpt", "epoch_0.ckpt"])
def test_a_resumed_run_has_both_sets_of_weights(build, batches, fit, tmp_path, place):
    keep = {"batches": [2, 5], "epochs": [0, 2]}
    fit(build(ema=0.99), batches(4), batches(1), epochs=3, keep=keep)
    whole = checkpoint.read(tmp_path / "epoch_2.ckpt")
    (tmp_path / "epoch_2.ckpt").unlink()
    fit(build(seed=1, ema=0.99), batches(4), batches(1), epochs=3, keep=keep, resume=tmp_path / place)
    resumed = checkpoint.read(tmp_path / "epoch_2.ckpt")
    for part in ("model", TRAINED):
        assert list(resumed[part]) == list(whole[part])
        for name, value in whole[part].items():
            assert torch.equal(resumed[part][name], value), name
    assert resumed["ema"] == whole["ema"] == {"updates": 12}


def test_who_loads_the_checkpoint_gets_the_average(build, batches, fit, tmp_path):
    fit(build(ema=0.9), batches(4), batches(1), keep={"epochs": [1]})
    kept = checkpoint.read(tmp_path / "epoch_1.ckpt")
    loaded = checkpoint.load(tmp_path / "epoch_1.ckpt").model.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, kept["model"][name]), name
    assert not torch.equal(loaded["head.classifier.weight"], kept[TRAINED]["head.classifier.weight"])


def test_a_checkpoint_written_in_a_validation_has_each_set_in_its_place(build, batches, fit, tmp_path):
    class Leaves(Trainer):
        def after_validation_batch(self):
            if self.progress.epoch == 1:
                self.saving.watch.received = "SIGTERM"
            super().after_validation_batch()

    fit(build(ema=0.9), batches(4), batches(1), keep={"epochs": [1]})
    after = checkpoint.read(tmp_path / "epoch_1.ckpt")
    with pytest.raises(StopRequested):
        fit(build(ema=0.9), batches(4), batches(1), kind=Leaves, saving=Saving(watch=Watch()))
    inside = checkpoint.read(tmp_path / "last.ckpt")
    for part in ("model", TRAINED):
        for name, value in after[part].items():
            assert torch.equal(inside[part][name], value), name


def test_a_parameter_of_two_names_is_averaged_under_both(build, batches, fit, tmp_path):
    setup, watch = build(ema=0.5), Kept()
    setup.model.head.again = setup.model.head.classifier
    start = setup.weights()
    fit(setup, batches(3), batches(1), watch=watch, epochs=1, keep={"epochs": [0]})
    close(checkpoint.read(tmp_path / "epoch_0.ckpt")["model"], naive(start, watch.stepped, 0.5))
    assert torch.equal(setup.model.head.classifier.weight, watch.stepped[-1]["head.classifier.weight"])


class Normed(nn.Module):
    """One BatchNorm and one weight."""

    def __init__(self):
        super().__init__()
        self.norm, self.weight = nn.BatchNorm1d(2), nn.Parameter(torch.ones(2))


def shares():
    module = Normed()
    average = Average(module, 0.9)
    # Each process sees clips of its own, so that its statistics part; weights are alike.
    module.norm.running_mean.fill_(1.0 + distributed.rank())
    module.weight.data.fill_(3.0)
    average.update()
    with average.in_place():
        inside = {name: value.tolist() for name, value in module.state_dict().items()}
    return inside, module.norm.running_mean.tolist()


def test_every_process_measures_the_same_average(together):
    (first, mean), (second, other) = together(2, shares)
    assert first == second
    assert first["norm.running_mean"] == pytest.approx([0.9, 0.9])
    assert first["weight"] == pytest.approx([0.1 + 0.9 * 3] * 2)
    assert (mean, other) == ([1.0, 1.0], [2.0, 2.0])


@pytest.mark.parametrize("decay", [-0.1, 1.0, 7])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=rf"optim\.ema {decay}: expected a number from 0 to below 1"):
        Average(Normed(), decay)

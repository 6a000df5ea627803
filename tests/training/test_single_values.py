"""Batches of one clip that a BatchNorm cannot normalise: refused before training where they can be foreseen, else explained."""

import pytest
import torch
from torch import nn

from taggnn.data.samplers import EpochLoader, SeededSampler
from taggnn.training.single_values import check_single_clips, single_valued
from taggnn.types import InputSpec, Output

SPEC = InputSpec("own", ("channel", "frame"), (4, 1))


class Own(nn.Module):
    def __init__(self, norm=nn.BatchNorm1d):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), norm(4)

    def forward(self, x, targets=None):
        return Output(self.norm(self.linear(x.flatten(1))), {})


def loader(clips, batch_size, drop_last=False):
    return EpochLoader(list(range(clips)), SeededSampler(clips, 0), batch_size, drop_last)


@pytest.mark.parametrize(
    ("clips", "batch_size", "drop_last", "refused"),
    [(9, 4, False, True), (9, 4, True, False), (8, 4, False, False), (3, 1, False, True), (3, 1, True, True)],
)
def test_a_batch_of_one_clip_is_refused_before_training(clips, batch_size, drop_last, refused):
    batches = loader(clips, batch_size, drop_last)
    check_single_clips(Own(nn.LayerNorm), SPEC, batches)
    if not refused:
        check_single_clips(Own(), SPEC, batches)
        return
    with pytest.raises(ValueError, match=r"BatchNorm norm .*batch_size"):
        check_single_clips(Own(), SPEC, batches)


def test_the_layers_are_found_and_the_model_stays_as_it_is():
    model = Own().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert single_valued(model, SPEC) == ["norm"]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.norm._forward_pre_hooks


def test_a_clip_left_alone_by_skipped_ones_is_explained(build, batches, fit):
    setup = build()
    last = setup.model.backbone.stages[-1][0]
    # One value a channel, as on a grid of 1 x 1 x 1.
    last.register_forward_hook(
        lambda module, inputs, out: nn.BatchNorm3d(out.shape[1])(out.mean((2, 3, 4), True)).expand_as(out)
    )
    with pytest.raises(ValueError, match=r"one clip, after others.*frozen_bn"):
        fit(setup, batches(1, clips=1), batches(1), epochs=1)

import re

import pytest
import torch
from torch import nn

from taggnn import backbones
from taggnn.backbones import features_of, tokens_of
from taggnn.types import SKELETON_AXES, Features, InputSpec


class Yields(nn.Module):
    """A backbone that returns a given output."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, clip):
        return self.make(clip)


def test_five_axes_put_channels_last():
    features = torch.randn(2, 5, 1, 3, 4)
    tokens = tokens_of(features)
    assert tokens.shape == (2, 1, 3, 4, 5)
    assert torch.equal(tokens[1, 0, 2, 3], features[1, :, 0, 2, 3])


def test_three_axes_unfold_time_slowest():
    flat = torch.arange(24.0).reshape(1, 24, 1)
    tokens = tokens_of(flat, grid=(2, 3, 4))
    assert tokens.shape == (1, 2, 3, 4, 1)
    assert tokens[0, 1, 2, 3, 0] == 1 * 12 + 2 * 4 + 3


def test_three_axes_and_five_axes_agree():
    features = torch.randn(2, 5, 2, 3, 4)
    assert torch.equal(tokens_of(features.flatten(2).transpose(1, 2), grid=[2, 3, 4]), tokens_of(features))


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 5, 2, 3, 4), (2, 5, 2, 3, 4, 6)])
def test_a_grid_of_any_number_of_axes_puts_channels_last(shape):
    output = torch.randn(shape)
    tokens = tokens_of(output)
    assert tokens.shape == (2, *shape[2:], 5)
    assert all(torch.equal(tokens[..., channel], output[:, channel]) for channel in range(5))
    assert torch.equal(tokens_of(output, shape[2:]), tokens)
    with pytest.raises(ValueError, match=r"stated grid is \(9, 9\)"):
        tokens_of(output, (9, 9))


@pytest.mark.parametrize("grid", [(12,), (3, 4), (2, 3, 2)])
def test_three_axes_are_n_tokens_of_any_stated_grid_and_never_a_grid_of_one_axis(grid):
    flat = torch.randn(2, 12, 5)
    assert torch.equal(tokens_of(flat, grid), flat.reshape(2, *grid, 5))
    with pytest.raises(ValueError, match=r"read as \(B, N, C\) with N = 12"):
        tokens_of(flat)


@pytest.mark.parametrize("grid", [(12,), (3, 4)])
def test_features_are_tokens_already_and_keep_their_losses(grid):
    given = Features(torch.randn(2, *grid, 5), {"spread": torch.ones(())})
    assert features_of(given) is given
    assert features_of(given, grid) is given
    with pytest.raises(ValueError, match=r"stated grid is \(2, 2\)"):
        features_of(given, (2, 2))


def test_wrong_grid_prints_shape_count_and_grid():
    with pytest.raises(ValueError, match=r"tensor \(1, 24, 8\).*N = 24.*\(2, 3, 5\) has 30"):
        tokens_of(torch.zeros(1, 24, 8), grid=(2, 3, 5))


def test_one_token_too_many_is_called_a_class_token():
    with pytest.raises(ValueError, match="class_tokens=1"):
        tokens_of(torch.zeros(1, 25, 8), grid=(2, 3, 4))


def test_grid_that_contradicts_five_axes_is_refused():
    with pytest.raises(ValueError, match=r"stated grid is \(2, 4, 3\)"):
        tokens_of(torch.zeros(1, 5, 2, 3, 4), grid=(2, 4, 3))


@pytest.mark.parametrize("nodes", [392, 393])
def test_missing_grid_is_asked_for_with_suggestions(nodes):
    with pytest.raises(ValueError, match=re.escape("(8, 7, 7)")) as caught:
        tokens_of(torch.zeros(1, nodes, 8))
    assert "state grid=(T, H, W)" in str(caught.value)
    assert ("with class_tokens=1" in str(caught.value)) == (nodes == 393)


@pytest.mark.parametrize(
    ("output", "printed"),
    [
        pytest.param(torch.zeros(1, 400), "tensor (1, 400) float32", id="logits"),
        pytest.param(Features(torch.zeros(1, 8)), "Features must be (B, *grid, C); got tensor (1, 8)", id="features"),
        pytest.param(
            (torch.zeros(1, 2), [torch.zeros(3).half()]), "tuple of 2 [tensor (1, 2) float32, list of 1", id="nested"
        ),
        pytest.param({"x": torch.zeros(1, 2, 3)}, "dict of 1 ['x': tensor (1, 2, 3) float32]", id="dict"),
        pytest.param([torch.zeros(1)] * 9, "and 1 more", id="long list"),
        pytest.param(None, "got NoneType", id="nothing"),
    ],
)
def test_anything_else_is_printed(output, printed):
    with pytest.raises(ValueError, match=re.escape(printed)):
        tokens_of(output)


@pytest.mark.parametrize("grid", [(), (2, 3, 0), (2, 3.0, 4), "2x3", (True, 3, 4)])
def test_odd_grids_are_refused(grid):
    with pytest.raises(ValueError, match="positive integers"):
        tokens_of(torch.zeros(1, 24, 8), grid=grid)


def test_dry_run_finds_channels_and_grid(dry_run):
    conv = nn.Conv3d(3, 6, (1, 3, 3), stride=(1, 2, 2))
    assert dry_run(conv, (1, 9, 15)) == (6, (1, 4, 7))


def test_dry_run_passes_the_grid_on(dry_run):
    module = Yields(lambda clip: clip.flatten(2).transpose(1, 2))
    assert dry_run(module, (2, 3, 4), grid=(2, 3, 4)) == (3, (2, 3, 4))


def test_dry_run_leaves_modes_and_statistics(dry_run):
    norm, dropout = nn.BatchNorm3d(3), nn.Dropout()
    norm.running_mean += 1
    module = nn.Sequential(norm, dropout)
    dropout.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    dry_run(module, (2, 4, 4))
    assert [module.training, norm.training, dropout.training] == [True, True, False]
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_dry_run_follows_the_dtype_of_the_module(dry_run):
    assert dry_run(nn.Conv3d(3, 4, 1).double(), (1, 2, 2)) == (4, (1, 2, 2))


def test_dry_run_names_the_clip_that_failed_and_restores_modes(dry_run):
    conv = nn.Conv3d(3, 4, 5)
    with pytest.raises(ValueError, match=r"Conv3d failed on a clip of zeros \(1, 3, 2, 8, 8\)"):
        dry_run(conv, (2, 8, 8))
    assert conv.training


def test_dry_run_refuses_views_folded_into_the_batch(dry_run):
    with pytest.raises(ValueError, match="one clip went into Yields, 2 came out"):
        dry_run(Yields(lambda clip: clip.repeat(2, 1, 1, 1, 1)), (1, 2, 2))


def test_video_whose_time_or_space_is_gone_is_refused_unless_its_grid_is_stated():
    """(B, C, H, W) of a backbone that pools over time would pass for (B, C, T, P)."""
    module = Yields(lambda clip: clip.mean(2))
    spec = backbones.video_spec(module, (2, 4, 5))
    with pytest.raises(ValueError, match=r"tensor \(1, 3, 4, 5\) float32 for video.*state grid=\(4, 5\)"):
        backbones.dry_run(module, spec)
    assert backbones.dry_run(module, spec, (4, 5)) == (3, (4, 5))
    skeleton = InputSpec("mine.Source", SKELETON_AXES, (3, 8, 5, 2))
    assert backbones.dry_run(Yields(lambda clip: clip.mean(4)), skeleton) == (3, (8, 5))

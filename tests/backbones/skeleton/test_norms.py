"""Several BatchNorm layers in one pass, against each by itself."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from taggnn.backbones import FrozenBatchNorm, set_batchnorm
from taggnn.backbones.skeleton.norms import normalised


def layers(kind):
    torch.manual_seed(0)
    made = nn.ModuleList(nn.BatchNorm2d(channels) for channels in (2, 3, 1))
    for norm in made:
        for value in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            value.copy_(torch.rand_like(value) + 0.5)
    if kind == "evaluation":
        made.eval()
    elif kind == "frozen":
        set_batchnorm(made, True, None)
        assert isinstance(made[0], FrozenBatchNorm)
    elif kind == "one in evaluation":
        made[1].eval()
    elif kind == "cumulative":
        made[0].momentum = made[1].momentum = made[2].momentum = None
    elif kind == "without statistics":
        made = nn.ModuleList(nn.BatchNorm2d(channels, track_running_stats=False) for channels in (2, 3, 1))
    return made.double()


@pytest.mark.parametrize(
    "kind", ["training", "evaluation", "frozen", "one in evaluation", "cumulative", "without statistics"]
)
def test_together_is_each_by_itself(kind):
    one = layers(kind)
    two = deepcopy(one)
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    for _ in range(2):
        y = normalised(list(one), found)
        z = torch.cat([norm(part) for norm, part in zip(two, expected.split([2, 3, 1], 1), strict=True)], 1)
        torch.testing.assert_close(y, z)
    upstream = torch.randn_like(x)
    (y * upstream).sum().backward()
    (z * upstream).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
    for norm, other in zip(one, two, strict=True):
        torch.testing.assert_close(norm.state_dict(), other.state_dict())
        for parameter, its in zip(norm.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, its.grad)

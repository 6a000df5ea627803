"""BatchNorm of several groups of channels in one pass.

Axes: N batch, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normalised(norms: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What each norm computes of its own channels of ``x``; plain BatchNorm layers are computed together.

    Args:
        norms: in the order of their channels.
        x: all channels.

    **Shapes:** (N, C, *) -> (N, C, *)
    """
    plain = [norm for norm in norms if type(norm) is nn.BatchNorm2d]
    alike = {(norm.training, norm.momentum, norm.eps) for norm in plain}
    if len(plain) < len(norms) or len(alike) > 1 or plain[0].momentum is None or not plain[0].track_running_stats:
        # Frozen or synchronised statistics, for instance.
        parts = x.split([_channels(norm) for norm in norms], 1)
        return torch.cat([norm(part) for norm, part in zip(norms, parts, strict=True)], 1)
    return _together(plain, x)


def _together(norms: Sequence[nn.BatchNorm2d], x: Tensor) -> Tensor:
    first = norms[0]
    assert first.momentum is not None
    weight, bias, mean, variance = (
        torch.cat([getattr(norm, name) for norm in norms]) for name in ("weight", "bias", "running_mean", "running_var")
    )
    y = F.batch_norm(x, mean, variance, weight, bias, first.training, first.momentum, first.eps)
    if first.training:
        with torch.no_grad():
            sizes = [norm.num_features for norm in norms]
            for norm, new_mean, new_variance in zip(norms, mean.split(sizes), variance.split(sizes), strict=True):
                _buffer(norm, "running_mean").copy_(new_mean)
                _buffer(norm, "running_var").copy_(new_variance)
                _buffer(norm, "num_batches_tracked").add_(1)
    return y


def _buffer(norm: nn.Module, name: str) -> Tensor:
    return norm.get_buffer(name)


def _channels(norm: nn.Module) -> int:
    """Its channels; a frozen norm states none."""
    weight = norm.weight
    assert isinstance(weight, Tensor)
    return len(weight)

"""Initial weights of skeleton networks, as the published code has them."""

import math

from torch import nn


def convolution(conv: nn.Conv1d | nn.Conv2d) -> None:
    """A normal distribution after He with the mode "fan_out", https://arxiv.org/abs/1502.01852; biases are zero."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def branch(conv: nn.Conv2d, branches: int) -> None:
    """One of several branches that are added: ``N(0, 2 / (out * in * kernel * branches))``; the bias is zero."""
    out, channels, kernel = conv.weight.shape[:3]
    nn.init.normal_(conv.weight, 0, math.sqrt(2 / (out * channels * kernel * branches)))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def norm(batchnorm: nn.BatchNorm1d | nn.BatchNorm2d, scale: float = 1.0) -> None:
    """A scale and no shift; 1e-6 lets a residual block begin as its shortcut."""
    nn.init.constant_(batchnorm.weight, scale)
    nn.init.zeros_(batchnorm.bias)


def all_of(module: nn.Module) -> None:
    """``convolution`` and ``norm`` for every layer of a module."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d):
            convolution(part)
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            norm(part)

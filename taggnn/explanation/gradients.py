"""Importance by gradients: gradient x token, and integrated gradients.

Axes: grid the token grid of one clip, C channels, S steps.
"""

import torch
from torch import Tensor

from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.options import Options


def gradient_x_token(given: HeadInput, target: int, options: Options) -> Tensor:
    """The gradient of a logit by a token, times the token.

    Source: gradient x input, https://arxiv.org/abs/1605.01713. Formula: ``sum_c x_nc * d logit_k / d x_nc``.

    **Shapes:** -> (*grid)
    """
    return (gradient(given, given.tokens, target) * given.tokens).sum(-1)[0]


def integrated_gradients(given: HeadInput, target: int, options: Options) -> Tensor:
    """The gradient along the straight line from a baseline to the tokens, integrated.

    Source: https://arxiv.org/abs/1703.01365, equation 1; the integral by the midpoint rule. Formula:
    ``sum_c (x_nc - b_nc) * mean_s d logit_k / d x_nc (b + (s + 1/2)/S (x - b))``. Completeness: the sum over all tokens tends to
    ``logit_k(x) - logit_k(b)`` with the number of steps.

    **Shapes:** -> (*grid)
    """
    baseline = given.baseline(options.baseline)
    difference, total = given.tokens - baseline, torch.zeros_like(given.tokens)
    share = (torch.arange(options.steps, device=difference.device, dtype=difference.dtype) + 0.5) / options.steps
    for part in share.split(options.batch):
        points = baseline + part.view(-1, *[1] * (difference.ndim - 1)) * difference
        total += gradient(given, points, target).sum(0, keepdim=True)
    return (difference * total / options.steps).sum(-1)[0]


def gradient(given: HeadInput, tokens: Tensor, target: int) -> Tensor:
    """The gradient of a logit by the tokens.

    **Shapes:** (B, *grid, C) -> the same

    Raises:
        ValueError: the logits of the head have no gradient.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # A tensor of inference mode cannot have a gradient.
        at = tokens.detach().clone().requires_grad_()
        logit = given.logits(at)[:, target].sum()
        found = torch.autograd.grad(logit, at, allow_unused=True)[0] if logit.requires_grad else None
    if found is None:
        raise ValueError(f"{type(given.head).__name__}: its logits have no gradient by the tokens; possible: occlusion")
    return found

"""Importance by occlusion: how far a logit falls when a token, or a frame, is replaced by the baseline.

Axes: grid the token grid of one clip with time first, N tokens, T frames, M masks, C channels.
"""

import torch
from torch import Tensor

from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.options import Options


def occlusion(given: HeadInput, target: int, options: Options) -> Tensor:
    """Replaces one token at a time.

    Source: https://arxiv.org/abs/1311.2901, section 4.2, on tokens instead of pixels [ours]. Formula:
    ``logit_k(x) - logit_k(x with x_n = b_n)``.

    **Shapes:** -> (*grid)
    """
    count = given.tokens[0, ..., 0].numel()
    masks = torch.eye(count, dtype=torch.bool, device=given.tokens.device).view(count, *given.grid)
    return _drop(given, masks, target, options).view(given.grid)


def frame_occlusion(given: HeadInput, target: int, options: Options) -> Tensor:
    """Replaces all tokens of one frame at a time; every token has the value of its frame. **Shapes:** -> (*grid)"""
    frames, *others = given.grid
    masks = torch.eye(frames, dtype=torch.bool, device=given.tokens.device)
    found = _drop(given, masks.view(frames, frames, *[1] * len(others)).expand(frames, *given.grid), target, options)
    return found.view(frames, *[1] * len(others)).expand(given.grid).contiguous()


@torch.no_grad()
def masked_logits(given: HeadInput, masks: Tensor, options: Options) -> Tensor:
    """Logits of the clip with some of its tokens replaced by the baseline.

    Args:
        masks: which tokens are replaced.

    **Shapes:** masks bool (M, *grid) -> (M, K)
    """
    baseline = given.baseline(options.baseline)
    parts = (torch.where(part.unsqueeze(-1), baseline, given.tokens) for part in masks.split(options.batch))
    return torch.cat([given.logits(part) for part in parts])


def _drop(given: HeadInput, masks: Tensor, target: int, options: Options) -> Tensor:
    with torch.no_grad():
        whole = given.logits(given.tokens)[0, target]
    return whole - masked_logits(given, masks, options)[:, target]

"""Importance as the head states it: the weights of its read-out.

Axes: grid the token grid of one clip with time first, T frames, R regions.
"""

import torch
from torch import Tensor

from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.options import Options


def attention(given: HeadInput, target: int, options: Options) -> Tensor:
    """The weights with which a read-out by attention sums the tokens; of a head with regions the mean of their tracklets.

    They are the same for every class. Formula: ``a_n`` of https://arxiv.org/abs/1802.04712, equation 8; of regions
    ``mean_r w_tr A_trp`` with the weight of each frame and the attention over its positions.

    **Shapes:** -> (*grid)

    Raises:
        ValueError: the head has neither.
    """
    with torch.no_grad():
        extras = given.output(given.tokens).extras
    found = _weights(extras.get("weights"), extras.get("regions"), extras.get("frame_weights"), given.grid)
    if found is None:
        raise ValueError(
            f"{type(given.head).__name__} has no read-out by attention: no extras['weights'] and no extras['regions'] of the "
            f"token grid {given.grid}; possible are the other methods"
        )
    return found


def _weights(
    weights: Tensor | None, regions: Tensor | None, of_frames: Tensor | None, grid: tuple[int, ...]
) -> Tensor | None:
    if isinstance(weights, Tensor) and tuple(weights.shape[1:]) == grid:
        return weights[0]
    if isinstance(regions, Tensor) and (regions.shape[1], *regions.shape[3:]) == grid:
        shares = regions.new_full(regions.shape[1:3], 1 / grid[0]) if of_frames is None else of_frames[0]
        return (regions[0] * shares.view(*shares.shape, *[1] * (len(grid) - 1))).mean(1)
    return None

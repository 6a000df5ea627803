"""Tracklets, the responses of one query over the frames of a clip: their contrast and their aggregation.

Source: ART, https://arxiv.org/abs/2511.21202. It names three levels of contrast on cosines and does not give their formulas:
these are ours.

Axes: B clips, T frames, R regions, S semantics, C channels.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Contrast = Literal["hinge", "squared"]

# The penalty of a cosine between two regions: "hinge" lets it be negative, "squared" wants it to be 0.
PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {"hinge": F.relu, "squared": torch.square}


def spatial_contrast(responses: Tensor, penalty: Contrast = "hinge") -> Tensor:
    """How alike the regions of one frame are.

    Formula: ``mean over t and i < j of penalty(cos(r_ti, r_tj))`` [ours]; 0 with one region. With "hinge", ``max(0, cos)``, it is
    1 for identical responses and 0 for orthogonal ones.

    Args:
        responses: of all regions.
        penalty: "hinge" (default) or "squared" (``cos^2``).

    **Shapes:** responses (B, T, R, C) -> (B,)
    """
    return _between_regions(F.normalize(responses, dim=-1), penalty)


def temporal_contrast(responses: Tensor, margin: float = 0.6) -> Tensor:
    """How far a region changes from frame to frame, as far as it is more than allowed.

    Formula: ``mean over t and r of max(0, margin - cos(r_tr, r_(t+1)r))`` [ours]; 0 once neighbours reach the margin, and with
    one frame.

    Args:
        responses: of all regions.
        margin: the cosine up to which neighbouring frames are pulled together (default 0.6, as published).

    **Shapes:** responses (B, T, R, C) -> (B,)
    """
    if responses.shape[1] < 2:
        return responses.new_zeros(len(responses))
    near = F.cosine_similarity(responses[:, :-1], responses[:, 1:], dim=-1)
    return F.relu(margin - near).mean((1, 2))


def tracklet_contrast(
    responses: Tensor, penalty: Contrast = "hinge", over: Literal["mean", "frames"] = "mean"
) -> Tensor:
    """How alike whole tracklets are.

    Formula: ``mean over i < j of penalty(cos(mean_t r_ti, mean_t r_tj))`` [ours]; 0 with one region.

    Args:
        responses: of all regions.
        penalty: as for ``spatial_contrast``.
        over: what stands for a tracklet: "mean", of its frames (default), or "frames", all of them as one vector.

    **Shapes:** responses (B, T, R, C) -> (B,)
    """
    whole = responses.mean(1) if over == "mean" else responses.transpose(1, 2).flatten(2)
    return _between_regions(F.normalize(whole, dim=-1)[:, None], penalty)


def aggregate(responses: Tensor, semantics: Tensor, temperature: float = 0.1) -> tuple[Tensor, Tensor]:
    """Averages every tracklet over its frames, weighted by how well a frame fits the semantics.

    Formula: ``w_tr = mean_s softmax_t(cos(r_tr, s) / temperature)``, ``Tr_r = sum_t w_tr r_tr``; the temperature is ours.

    Args:
        responses: of all regions.
        semantics: of the clip.
        temperature: of the softmax over frames (default 0.1).

    **Shapes:** responses (B, T, R, C), semantics (B, S, C) or (S, C) -> tracklets (B, R, C), weights (B, T, R)
    """
    fit = F.normalize(responses, dim=-1) @ F.normalize(semantics, dim=-1).transpose(-1, -2).unsqueeze(-3)
    weights = (fit / temperature).softmax(1).mean(-1)
    return torch.einsum("btr,btrc->brc", weights.to(responses.dtype), responses), weights


def _between_regions(unit: Tensor, penalty: Contrast) -> Tensor:
    """**Shapes:** (B, T, R, C) of length 1 -> (B,)"""
    regions = unit.shape[2]
    if regions < 2:
        return unit.new_zeros(len(unit))
    first, second = torch.triu_indices(regions, regions, 1, device=unit.device)
    cosines = unit @ unit.transpose(-1, -2)
    return PENALTIES[penalty](cosines[..., first, second]).mean((1, 2))

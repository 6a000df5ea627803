"""SF-Head: spatial-temporal synchronous feature extraction and adaptive aggregation across dimensions.

Axes: N clips and persons, G groups, C channels, c = C / (4 G), T frames, V joints.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.names import unknown

LOSSES = ("consistency", "redundancy")


class SFHead(nn.Module):
    """A plug between the graph and the temporal convolution of a block, as released.

    Source: SF-Head, https://arxiv.org/abs/2412.14833; names and shapes of the state dict are those of the released module,
    its unused ``bn`` included, which is not trained.

    Formula, for each group of 4c channels x1..x4::

        f_t = x1 sigmoid(w_c mean_tv(x1) + b_c)        f_s = x3 sigmoid(w_s GN(x3) + b_s)        SSTE
        f_r = a1 gate_T(f_t) + a2 gate_V(f_s) + a3 gate_C(x2) + a4 x2,   a = softmax(w)          AC-FA
        y   = shuffle([f_t, f_s, f_r, x4])

    ``gate_D(x) = x sigmoid(BN(conv_7x7([max_D x, mean_D x])))``. At the start every gate of SSTE is sigmoid(1) = 0.731 and the
    mixture 1/4.

    Losses, in training mode only. The paper names them without a formula; these are ours, averaged over blocks::

        consistency = mean over f in {f_t, f_s, x4} of 1 - cos(f_r, stopgrad(f)), over all groups, channels, frames, joints
        redundancy  = mean of cos(p(f_t), p(f_s))^2, p the mean over frames and joints, cos over all groups and channels
                      "channels": mean over channels of cos(f_t, f_s)^2, cos over frames and joints

    Args:
        channels: C, a multiple of 4 G.
        groups: G (default 8).
        losses: "consistency", "redundancy", both or none (default).
        redundancy: form of that loss, "pooled" (default) or "channels".
        extraction: SSTE; without it f_t = x1 and f_s = x3 (default true).
        aggregation: AC-FA; without it f_r = x2 (default true).

    **Shapes:** (N, C, T, V) -> (N, C, T, V), losses ()

    Raises:
        ValueError: channels that do not divide, or an unknown loss.
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 8,
        losses: Sequence[str] = (),
        redundancy: Literal["pooled", "channels"] = "pooled",
        extraction: bool = True,
        aggregation: bool = True,
    ) -> None:
        super().__init__()
        _check(channels, groups)
        self.losses = (losses,) if isinstance(losses, str) else tuple(losses)
        for name in self.losses:
            if name not in LOSSES:
                raise unknown("loss of plug sf", name, LOSSES)
        if "consistency" in self.losses and not aggregation:
            raise ValueError("plug sf: the loss consistency is of the aggregation, which is switched off")
        if redundancy not in ("pooled", "channels"):
            raise unknown("redundancy of plug sf", redundancy, ["pooled", "channels"])
        self.loss_weights = dict.fromkeys(self.losses, 0.1)
        self.groups, self.redundancy = groups, redundancy
        self.extraction, self.aggregation = extraction, aggregation
        part = channels // (4 * groups)
        self.gn = nn.GroupNorm(part, part)
        self.cweight, self.sweight = (nn.Parameter(torch.zeros(1, part, 1, 1)) for _ in range(2))
        self.cbias, self.sbias = (nn.Parameter(torch.ones(1, part, 1, 1)) for _ in range(2))
        self.w = nn.Parameter(torch.ones(4))
        self.cv, self.tc, self.tv = Gate(), Gate(), Gate()
        self.bn = nn.BatchNorm2d(part).requires_grad_(False)
        for switched, parts in (
            (extraction, (self.gn, self.cweight, self.cbias, self.sweight, self.sbias)),
            (aggregation, (self.w, self.cv, self.tc, self.tv)),
        ):
            for one in parts if not switched else ():
                one.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Groups are folded into the batch.
        x1, x2, x3, x4 = x.unflatten(1, (self.groups, -1)).flatten(0, 1).chunk(4, 1)
        f_t, f_s, f_r = x1, x3, x2
        if self.extraction:
            f_t = x1 * (self.cweight * x1.mean((2, 3), keepdim=True) + self.cbias).sigmoid()
            f_s = x3 * (self.sweight * self.gn(x3) + self.sbias).sigmoid()
        if self.aggregation:
            mixture = self.w.softmax(0)
            f_r = mixture[0] * f_t * self.cv(f_t, 2) + mixture[1] * f_s * self.tc(f_s, 3)
            f_r = f_r + x2 * (mixture[2] * self.tv(x2, 1) + mixture[3])
        y = torch.cat([f_t, f_s, f_r, x4], 1).unflatten(0, (-1, self.groups)).flatten(1, 2)
        # Shuffle: the channels of both halves in turn.
        y = y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return y, self._losses(f_t, f_s, f_r, x4) if self.training else {}

    def _losses(self, f_t: Tensor, f_s: Tensor, f_r: Tensor, x4: Tensor) -> dict[str, Tensor]:
        found = dict[str, Tensor]()
        if "consistency" in self.losses:
            near = [_cosine(self._rows(f_r), self._rows(one.detach())) for one in (f_t, f_s, x4)]
            found["consistency"] = 1 - torch.stack(near).mean()
        if "redundancy" in self.losses and self.redundancy == "pooled":
            pooled = (self._rows(one.mean((2, 3))) for one in (f_t, f_s))
            found["redundancy"] = _cosine(*pooled).square().mean()
        elif "redundancy" in self.losses:
            found["redundancy"] = _cosine(f_t.flatten(2), f_s.flatten(2)).square().mean()
        return found

    def _rows(self, x: Tensor) -> Tensor:
        """All groups of a clip in one row. **Shapes:** (N*G, c, *) -> (N, G*c*...)"""
        return x.unflatten(0, (-1, self.groups)).flatten(1)


class Gate(nn.Module):
    """``sigmoid(BN(conv([max, mean])))`` of one dimension, a weight for each pair of the two others.

    **Shapes:** (N, c, T, V) -> the same with size 1 in the pooled dimension
    """

    def __init__(self) -> None:
        super().__init__()
        # The names of the released module.
        self.conv = nn.Module()
        self.conv.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.conv.bn = nn.BatchNorm2d(1)

    def forward(self, x: Tensor, dim: int) -> Tensor:
        maps = torch.stack([x.amax(dim), x.mean(dim)], 1)
        # The released module permutes (N, c, T, V) to (N, V, T, c) to pool over joints.
        maps = maps.mT if dim == 3 else maps
        weight = self.conv.get_submodule("bn")(self.conv.get_submodule("conv")(maps)).sigmoid()[:, 0]
        return (weight.mT if dim == 3 else weight).unsqueeze(dim)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.cosine_similarity(first, second, -1)


def _check(channels: int, groups: int) -> None:
    whole = isinstance(groups, int) and not isinstance(groups, bool) and groups > 0
    if not whole or channels % (4 * groups):
        possible = [number for number in range(1, channels // 4 + 1) if channels % (4 * number) == 0]
        needed = f"a multiple of 4 * groups = {4 * groups}" if whole else "for a positive number of groups"
        raise ValueError(
            f"plug sf: groups={groups!r} with {channels} channels, which must be {needed}; possible groups for {channels} "
            f"channels: {', '.join(map(str, possible)) or 'none'}"
        )

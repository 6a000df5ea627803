"""FlexAttention with a block mask made from the topology: one fused kernel that skips blocks without edges.

Axes: B clips, T frames, P positions of a frame, N = T*P nodes, A attention heads, D channels of a head.
"""

from collections.abc import Callable, Sequence
from math import prod
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs import Topology, graph
from taggnn.kernels.kernel import clique_and_chain
from taggnn.kernels.operators import Additive, Dot, Dynamic, Family
from taggnn.kernels.precision import unrounded, wide

# The narrowest head that the tensor cores' products take.
_NARROWEST = 16

# (clip, head, target, source) -> whether there is an edge from source to target
Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def propagation(family: Family, topology: Topology, grid: Sequence[int]) -> nn.Module:
    """Returns the module that computes an attention by FlexAttention.

    Args:
        family: ``Additive`` or ``Dot``.
        topology: any rule; clique and chain need no N x N mask in the kernel.
        grid: sizes along the rule's axes.

    Raises:
        ValueError: another family.
    """
    if isinstance(family, Additive):
        return FlexAdditive(family, topology, grid)
    if isinstance(family, Dot):
        return FlexDot(topology, grid)
    if isinstance(family, Dynamic):
        raise ValueError("score_mod cannot reach the channels of l_j + r_i; possible: pyg, scatter, dense, structured")
    raise ValueError(
        "no softmax: nothing for FlexAttention to compute; possible: pyg, dense, structured, and scatter for sums"
    )


class _Flex(nn.Module):
    """FlexAttention under the mask of a topology; an isolated node gets 0.

    Mask and compiled kernel are made at the first call on a device, and neither saved nor copied.

    Args:
        topology: the rule that gives the edges.
        grid: sizes along its axes.
        self_loops: every node gets a self-loop.
    """

    # False runs FlexAttention's plain form on any device, slowly and without gradients: for tests.
    compiled = True

    def __init__(self, topology: Topology, grid: Sequence[int], self_loops: bool) -> None:
        super().__init__()
        self._topology, self._grid, self._self_loops = topology, tuple(grid), self_loops
        self._mask: tuple[torch.device, Any] | None = None
        self._fused: Callable[..., Tensor] | None = None

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, score: Callable | None, scale: float, dropout: float) -> Tensor:
        """**Shapes:** q, k, v (B, N, A, any) -> (B, N, A, D)"""
        self._check(v, dropout)
        q, k, v, width = *(_widened(part) for part in (q, k, v)), v.shape[-1]
        with unrounded(v):
            out = self._kernel()(q, k, v, score, self._mask_on(v.device), scale)
        return out[..., :width].transpose(1, 2)

    def _check(self, v: Tensor, dropout: float) -> None:
        if dropout:
            raise ValueError(
                f"impl flex cannot drop weights, dropout is {dropout}; possible: pyg, scatter, dense, structured"
            )
        if self.compiled and v.device.type != "cuda":
            raise ValueError(f"impl flex needs a CUDA device, x is on {v.device.type}")
        if self.compiled and v.dtype == torch.float64:
            raise ValueError(
                "impl flex sums in float32 and cannot give float64; possible: pyg, scatter, dense, structured"
            )

    def _kernel(self) -> Callable[..., Tensor]:
        if not self.compiled:
            return _plain
        if self._fused is None:
            # PyTorch counts the compilations of a piece of code and gives up after eight: each kernel gets its own copy.
            own = FunctionType(_plain.__code__.replace(), _plain.__globals__, _plain.__name__)
            self._fused = torch.compile(own, fullgraph=True)
        return self._fused

    def _mask_on(self, device: torch.device) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask

        if self._mask is None or self._mask[0] != device:
            nodes = prod(self._grid)
            # Made under inference mode, it could never again take part in training.
            with torch.inference_mode(False):
                mask = rule(self._topology, self._grid, self._self_loops, device)
                self._mask = device, create_block_mask(mask, None, None, nodes, nodes, device)
        return self._mask[1]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_mask": None, "_fused": None}


class FlexAdditive(_Flex):
    """GAT: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``; the scores are put in by ``score_mod``, queries and keys are 0.

    Source: https://arxiv.org/abs/1710.10903, equation 3; FlexAttention, https://arxiv.org/abs/2412.05496.

    Args:
        family: slope and self-loops.
        topology: the rule that gives the edges.
        grid: sizes along its axes.

    **Shapes:** v (B, N, A, D), s (B, N, A), d (B, N, A), 0 -> (B, N, A, D).

    Raises:
        ValueError: in ``forward``, dropout, float64, or a device other than CUDA.
    """

    def __init__(self, family: Additive, topology: Topology, grid: Sequence[int]) -> None:
        super().__init__(topology, grid, family.self_loops)
        self.slope = family.slope

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        # The gradient of a captured tensor is right only where it lies in one piece.
        s, d = (wide(part).transpose(1, 2).contiguous() for part in (s, d))
        slope, nothing = self.slope, v.new_zeros(*v.shape[:-1], _NARROWEST)

        def score(product: Tensor, clip: Tensor, head: Tensor, target: Tensor, source: Tensor) -> Tensor:
            # The product is 0; a score that does not depend on it would have no gradient to hand on.
            score = product + s[clip, head, source] + d[clip, head, target]
            return torch.where(score > 0, score, slope * score)

        return self._attend(nothing, nothing, v, score, 1.0, dropout)


class FlexDot(_Flex):
    """TransformerConv: ``softmax_j(q_i . k_j / sqrt(D)) v_j``.

    Source: https://arxiv.org/abs/2009.03509, equations 3 and 4; FlexAttention, https://arxiv.org/abs/2412.05496.

    Args:
        topology: the rule that gives the edges.
        grid: sizes along its axes.

    **Shapes:** q, k, v (B, N, A, D), 0 -> (B, N, A, D).

    Raises:
        ValueError: in ``forward``, dropout, float64, or a device other than CUDA.
    """

    def __init__(self, topology: Topology, grid: Sequence[int]) -> None:
        super().__init__(topology, grid, self_loops=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        return self._attend(q, k, v, None, q.shape[-1] ** -0.5, dropout)


def rule(topology: Topology, grid: Sequence[int], self_loops: bool, device: torch.device) -> Rule:
    """Returns a topology as FlexAttention's ``mask_mod``: arithmetic for clique and chain, a look into the mask for others."""
    try:
        clique, reach = clique_and_chain(topology)
    except ValueError:
        mask = graph(topology, grid).mask.to(device, copy=True)
        if self_loops:
            mask.fill_diagonal_(True)
        return lambda clip, head, target, source: mask[target, source]
    positions = prod(grid[1:])

    def is_edge(clip: Tensor, head: Tensor, target: Tensor, source: Tensor) -> Tensor:
        apart = (target // positions - source // positions).abs()
        edge = (target % positions == source % positions) & (apart <= reach)
        if clique:
            edge = edge | (apart == 0)
        # So far every node has a self-loop.
        return edge if self_loops else edge & (target != source)

    return is_edge


def _plain(q: Tensor, k: Tensor, v: Tensor, score: Callable | None, mask: Any, scale: float) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, k, v, score_mod=score, block_mask=mask, scale=scale)


def _widened(x: Tensor) -> Tensor:
    """Adds channels of 0 to a narrow head. **Shapes:** (B, N, A, D) -> (B, A, N, D or more)"""
    return F.pad(x, (0, max(_NARROWEST - x.shape[-1], 0))).transpose(1, 2)

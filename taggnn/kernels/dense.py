"""Masked N x N matrices on any topology, as plain tensor operations under ordinary autograd: the field's usual baseline.

Axes: B clips, N nodes of one clip, C channels, A attention heads, D channels of a head.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from graphs import Graph, Topology, graph
from taggnn.kernels.operators import Additive, Dot, Dynamic, Family, Max, Sum
from taggnn.kernels.precision import unrounded, wide

# The size of a tensor that compares targets with sources channel by channel: what a CPU's cache holds (measured), and enough to
# keep another device busy (not measured).
_AT_ONCE = {"cpu": 2**20}
_AT_ONCE_ELSEWHERE = 2**26


def propagation(family: Family, topology: Topology, grid: Sequence[int]) -> nn.Module:
    """Returns the module that computes a family with matrices of all nodes by all nodes.

    Args:
        family: what is computed.
        topology: any rule.
        grid: sizes along the rule's axes.
    """
    modules: dict[type, Callable[..., nn.Module]] = {
        Sum: DenseSum,
        Max: DenseMax,
        Additive: DenseAdditive,
        Dynamic: DenseDynamic,
        Dot: DenseDot,
    }
    return modules[type(family)](family, graph(topology, grid))


class DenseSum(nn.Module):
    """Multiplies with the normalised adjacency matrix; APPNP's steps one after another, as they are written.

    Source: GCN, https://arxiv.org/abs/1609.02907, equation 2; APPNP, https://arxiv.org/abs/1810.05997, equations 6 and 7.

    Args:
        family: which weights.
        one: the graph of one clip.

    **Shapes:** x (B, N, C), bias (C,) or None -> (B, N, C).
    """

    matrix: Tensor

    def __init__(self, family: Sum, one: Graph) -> None:
        super().__init__()
        self._family, self._graph = family, one
        self.register_buffer("matrix", _adjacency(family, one).to(torch.get_default_dtype()), persistent=False)
        # The same in the precision of an input that differs from the module's, as under autocast.
        self._other: Tensor | None = None

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        matrix = self._in(x.dtype).expand(x.shape[0], -1, -1)
        # Autocast would round float32 features that no layer rounded.
        with unrounded(x):
            if self._family.teleport is None:
                out = matrix @ x
            else:
                out, jump = x, self._family.teleport
                for _ in range(self._family.steps):
                    out = torch.baddbmm(x, matrix, out, beta=jump, alpha=1 - jump)
        return out if bias is None else out + bias

    def _in(self, dtype: torch.dtype) -> Tensor:
        if dtype == self.matrix.dtype:
            return self.matrix
        if torch.compiler.is_compiling():
            return self.matrix.to(dtype)
        if self._other is None or self._other.dtype != dtype or self._other.device != self.matrix.device:
            # Made under inference mode, it could never again take part in training.
            with torch.inference_mode(False):
                self._other = _adjacency(self._family, self._graph).to(self.matrix.device, dtype)
        return self._other

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        # From its formula again, so that a change of precision on the way never rounds twice.
        if self.matrix.device.type != "meta":
            self.matrix = _adjacency(self._family, self._graph).to(self.matrix)
        self._other = None
        return self

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_other": None}


class DenseMax(nn.Module):
    """Takes the largest value of the neighbours, some targets at a time.

    Equal values share the gradient as in PyG, and a node without neighbours gets 0. No tensor of N x N x C exists in either
    direction: a group of targets is computed again for its gradient.

    Source: GraphSAGE, https://arxiv.org/abs/1706.02216, section 3.3, with the maximum of PyG's ``aggr="max"``.

    Args:
        family: ``Max()``.
        one: the graph of one clip.

    **Shapes:** x (B, N, C) -> (B, N, C).
    """

    blocked: Tensor
    isolated: Tensor

    def __init__(self, family: Max, one: Graph) -> None:
        super().__init__()
        self.register_buffer("blocked", ~one.mask, persistent=False)
        self.register_buffer("isolated", one.degree == 0, persistent=False)
        self._any_isolated = bool(self.isolated.any())

    def forward(self, x: Tensor) -> Tensor:
        out = torch.cat(list(_by_targets(_largest, self.blocked, x, (), x.numel())), 1)
        return out.masked_fill(self.isolated[:, None], 0) if self._any_isolated else out


class _Attention(nn.Module):
    """What the three attentions share: the mask of edges, and the isolated nodes.

    A softmax over no neighbours would divide 0 by 0: an isolated node gets a self-loop, and its output is set to 0.
    """

    mask: Tensor
    isolated: Tensor

    def __init__(self, one: Graph, self_loops: bool) -> None:
        super().__init__()
        mask, isolated = one.mask.clone(), one.degree == 0
        mask.diagonal().logical_or_(torch.ones_like(isolated) if self_loops else isolated)
        self._any_isolated = not self_loops and bool(isolated.any())
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("isolated", isolated, persistent=False)

    def _cleared(self, out: Tensor) -> Tensor:
        """Sets the output of isolated nodes to 0. **Shapes:** (B, A, N, D) -> (B, N, A, D)"""
        return (out.masked_fill(self.isolated[:, None], 0) if self._any_isolated else out).transpose(1, 2)


class _Scored(_Attention):
    """Attention whose scores are no dot products.

    Args:
        family: slope and self-loops.
        one: the graph of one clip.
    """

    blocked: Tensor

    def __init__(self, family: Additive | Dynamic, one: Graph) -> None:
        super().__init__(one, family.self_loops)
        self.slope = family.slope
        self.register_buffer("blocked", ~self.mask, persistent=False)

    def _mean(self, scores: Tensor, values: Tensor, dropout: float) -> Tensor:
        """The mean of the values under scores, which are overwritten.

        **Shapes:** scores (B, A, N, N), values (B, N, A, D) -> (B, N, A, D).
        """
        weights = scores.masked_fill_(self.blocked, float("-inf")).softmax(-1)
        if dropout:
            weights = F.dropout(weights, dropout)
        return self._cleared(weights.to(values.dtype) @ values.transpose(1, 2))


class DenseAdditive(_Scored):
    """GAT with all scores in one matrix for each head: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``, at least in float32.

    Source: https://arxiv.org/abs/1710.10903, equation 3; a mask of -inf as in the authors' own code.

    **Shapes:** v (B, N, A, D), s (B, N, A), d (B, N, A), probability that a weight is dropped -> (B, N, A, D).
    """

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        with unrounded(v):
            source, target = (wide(part).transpose(1, 2) for part in (s, d))
            scores = F.leaky_relu(target[..., None] + source[:, :, None], self.slope)
            return self._mean(scores, v, dropout)


class DenseDynamic(_Scored):
    """GATv2 with all scores in one matrix for each head: ``softmax_j(a . LeakyReLU(l_j + r_i)) l_j``, at least in float32.

    The sums ``l_j + r_i`` are computed for some targets at a time and computed again for their gradient, so that no tensor of
    N x N x C exists in either direction.

    Source: https://arxiv.org/abs/2105.14491, equation 7.

    **Shapes:** l (B, N, A, D), r (B, N, A, D), a (A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    def forward(self, l: Tensor, r: Tensor, a: Tensor, dropout: float) -> Tensor:  # noqa: E741
        with unrounded(l):
            source, target = (wide(part).transpose(1, 2) for part in (l, r))
            parts = _by_targets(self._scores, target.movedim(2, 0), source, (wide(a),), l.numel())
            return self._mean(torch.cat(list(parts), 2), l, dropout)

    def _scores(self, target: Tensor, source: Tensor, a: Tensor) -> Tensor:
        """**Shapes:** target (n, B, A, D), source (B, A, N, D), a (A, D) -> (B, A, n, N)."""
        sums = target.movedim(0, 2)[..., None, :] + source[:, :, None]
        return (F.leaky_relu(sums, self.slope) @ a[:, None, :, None]).squeeze(-1)


class DenseDot(_Attention):
    """TransformerConv by ``scaled_dot_product_attention`` under a mask: ``softmax_j(q_i . k_j / sqrt(D)) v_j``.

    PyTorch's own attention, with dropout and without. It takes 0.3 to 0.5 of the time of two products and a softmax written
    out (2 cores, float32, forward and with backward), so it is the fair baseline.

    Source: https://arxiv.org/abs/2009.03509, equations 3 and 4.

    Args:
        family: ``Dot()``.
        one: the graph of one clip.

    **Shapes:** q, k, v (B, N, A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Dot, one: Graph) -> None:
        super().__init__(one, self_loops=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        with unrounded(v):
            return self._cleared(F.scaled_dot_product_attention(q, k, v, self.mask, dropout))


def _adjacency(family: Sum, one: Graph) -> Tensor:
    """The weights of a sum. **Shapes:** (N, N), target by source, float64."""
    matrix = one.mask.double()
    if family.self_loops:
        matrix.fill_diagonal_(1)
    degree = matrix.sum(1)
    if family.norm == "mean":
        return matrix / degree.clamp(min=1)[:, None]
    if family.norm == "symmetric":
        scale = torch.where(degree > 0, degree, torch.inf).rsqrt()
        return scale[:, None] * matrix * scale
    return matrix


def _largest(blocked: Tensor, x: Tensor) -> Tensor:
    """**Shapes:** blocked (n, N), x (B, N, C) -> (B, n, C)."""
    messages = x[:, None].masked_fill(blocked[..., None], float("-inf"))
    out = messages.amax(2)
    if not out.requires_grad:
        return out
    with torch.no_grad():
        equal = (messages == out[:, :, None]).sum(2, dtype=torch.promote_types(out.dtype, torch.float32))
        # PyG's scatter_reduce starts from a 0 that it leaves out of the maximum, but counts where a gradient is shared.
        share = torch.where(out == 0, equal / (equal + 1), 1).to(out.dtype)
    return out * share


def _by_targets(
    compute: Callable[..., Tensor], targets: Tensor, source: Tensor, rest: tuple[Tensor, ...], width: int
) -> Iterator[Tensor]:
    """Computes a few targets (rows) against all sources at a time; ``width`` numbers are needed for each."""
    at_once = _AT_ONCE.get(targets.device.type, _AT_ONCE_ELSEWHERE)
    parts = targets.split(max(at_once // max(width, 1), 1))
    for part in parts:
        if len(parts) > 1 and torch.is_grad_enabled():
            yield checkpoint(compute, part, source, *rest, use_reentrant=False, preserve_rng_state=False)
        else:
            yield compute(part, source, *rest)

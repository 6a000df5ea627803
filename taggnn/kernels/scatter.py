"""torch-scatter's segments over the edge list in CSR form, on any topology.

The edges into a node are contiguous, so its sums and its softmax are segments of one clip's list, the same list for every clip.

Axes: B clips, N nodes of one clip, E edges of one clip (self-loops among them where the family has them), C channels,
A attention heads, D channels of a head.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs import Graph, Topology, graph
from taggnn.kernels.operators import Additive, Dot, Dynamic, Family, Max, Sum
from taggnn.kernels.precision import unrounded, wide


def propagation(family: Family, topology: Topology, grid: Sequence[int]) -> nn.Module:
    """Returns the module that computes a family with segments.

    Args:
        family: what is computed.
        topology: any rule.
        grid: sizes along the rule's axes.

    Raises:
        ValueError: ``Max``.
        ImportError: torch-scatter is not there.
    """
    if isinstance(family, Max):
        raise ValueError(
            "torch-scatter's maximum gives the gradient of equal neighbours to one of them, PyG shares it among them; "
            "possible: pyg, dense, structured"
        )
    import torch_scatter  # noqa: F401

    modules: dict[type, Callable[..., nn.Module]] = {
        Sum: ScatterSum,
        Additive: ScatterAdditive,
        Dynamic: ScatterDynamic,
        Dot: ScatterDot,
    }
    return modules[type(family)](family, graph(topology, grid))


class _Segments(nn.Module):
    """The edges of one clip, sorted by target: the neighbours of node i are ``source[ptr[i]:ptr[i + 1]]``."""

    source: Tensor
    degree: Tensor
    ptr: Tensor

    def __init__(self, one: Graph, self_loops: bool) -> None:
        super().__init__()
        (source, target), degree = one.edge_index, one.degree
        if self_loops:
            nodes = torch.arange(one.num_nodes)
            order = torch.cat([target, nodes]).argsort(stable=True)
            source, degree = torch.cat([source, nodes])[order], degree + 1
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("degree", degree, persistent=False)
        self.register_buffer("ptr", F.pad(degree.cumsum(0), (1, 0)), persistent=False)

    def _from_sources(self, x: Tensor) -> Tensor:
        """The value at the source of each edge. **Shapes:** (B, N, ...) -> (B, E, ...)"""
        return x.index_select(1, self.source)

    def _from_targets(self, x: Tensor) -> Tensor:
        """The value at the target of each edge. **Shapes:** (B, N, ...) -> (B, E, ...)"""
        # Without edges its gradient would be uninitialised memory.
        return _Gather.apply(x, self.ptr, self.source.numel()) if self.source.numel() else x[:, :0]

    def _summed(self, messages: Tensor) -> Tensor:
        """The sum of the messages of each node, 0 without any. **Shapes:** (B, E, ...) -> (B, N, ...)"""
        return _Sum.apply(messages, self.ptr)

    def _mean(self, scores: Tensor, values: Tensor, dropout: float) -> Tensor:
        """The mean of values under the softmax of scores over the neighbours, 0 without any.

        **Shapes:** scores (B, E, A), values (B, E, A, D) -> (B, N, A, D).
        """
        from torch_scatter import segment_csr

        largest = segment_csr(scores.detach(), self.ptr[None], reduce="max")
        weights = (scores - self._from_targets(largest)).exp()
        total = self._summed(weights) + (self.degree == 0)[:, None]
        if dropout:
            weights = F.dropout(weights, dropout)
        return self._summed(weights[..., None] * values) / total[..., None]


# torch-scatter's own gradients cannot be differentiated again, and autograd does not notice it: the second derivative would be
# silently wrong. Each of these two has the other one as its gradient.
class _Sum(torch.autograd.Function):
    """**Shapes:** (B, E, ...) -> (B, N, ...)"""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, ptr: Tensor) -> Tensor:
        from torch_scatter import segment_csr

        ctx.save_for_backward(ptr)
        ctx.edges = messages.shape[1]
        return segment_csr(messages, ptr[None], reduce="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(grad, ctx.saved_tensors[0], ctx.edges), None


class _Gather(torch.autograd.Function):
    """**Shapes:** (B, N, ...) -> (B, E, ...)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ptr: Tensor, edges: int) -> Tensor:
        from torch_scatter import gather_csr

        ctx.save_for_backward(ptr)
        # Without an output tensor it would wait for the device to return the number of edges.
        return gather_csr(x, ptr[None], x.new_empty(x.shape[0], edges, *x.shape[2:]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Sum.apply(grad, ctx.saved_tensors[0]), None, None


class ScatterSum(_Segments):
    """Sums over the neighbours, the graph's weights as factors of source and target: ``out_i = r_i sum_j c_j x_j``.

    Source: GCN, https://arxiv.org/abs/1609.02907, equation 2; APPNP, https://arxiv.org/abs/1810.05997, equations 6 and 7.

    Args:
        family: which weights.
        one: the graph of one clip.

    **Shapes:** x (B, N, C), bias (C,) or None -> (B, N, C).
    """

    def __init__(self, family: Sum, one: Graph) -> None:
        super().__init__(one, family.self_loops)
        self._family = family

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        start = out = wide(x)
        # Autocast would round float32 features that no layer rounded.
        with unrounded(x):
            if self._family.teleport is None:
                out = self._step(out)
            else:
                for _ in range(self._family.steps):
                    out = (1 - self._family.teleport) * self._step(out) + self._family.teleport * start
        out = out.to(x.dtype)
        return out if bias is None else out + bias

    def _step(self, x: Tensor) -> Tensor:
        if self._family.norm == "none":
            return self._summed(self._from_sources(x))
        degree = self.degree.to(x.dtype)[:, None]
        if self._family.norm == "mean":
            return self._summed(self._from_sources(x)) / degree.clamp(min=1)
        scale = torch.where(degree > 0, degree, torch.inf).rsqrt()
        return scale * self._summed(self._from_sources(scale * x))


class ScatterAdditive(_Segments):
    """GAT over edges: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``, at least in float32.

    Source: https://arxiv.org/abs/1710.10903, equation 3.

    Args:
        family: slope and self-loops.
        one: the graph of one clip.

    **Shapes:** v (B, N, A, D), s (B, N, A), d (B, N, A), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Additive, one: Graph) -> None:
        super().__init__(one, family.self_loops)
        self.slope = family.slope

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        with unrounded(v):
            scores = F.leaky_relu(self._from_sources(wide(s)) + self._from_targets(wide(d)), self.slope)
            return self._mean(scores, self._from_sources(v), dropout).to(v.dtype)


class ScatterDynamic(_Segments):
    """GATv2 over edges: ``softmax_j(a . LeakyReLU(l_j + r_i)) l_j``, at least in float32.

    Source: https://arxiv.org/abs/2105.14491, equation 7.

    Args:
        family: slope and self-loops.
        one: the graph of one clip.

    **Shapes:** l (B, N, A, D), r (B, N, A, D), a (A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Dynamic, one: Graph) -> None:
        super().__init__(one, family.self_loops)
        self.slope = family.slope

    def forward(self, l: Tensor, r: Tensor, a: Tensor, dropout: float) -> Tensor:  # noqa: E741
        with unrounded(l):
            messages = self._from_sources(wide(l))
            scores = (F.leaky_relu(messages + self._from_targets(wide(r)), self.slope) * wide(a)).sum(-1)
            return self._mean(scores, messages, dropout).to(l.dtype)


class ScatterDot(_Segments):
    """TransformerConv over edges: ``softmax_j(q_i . k_j / sqrt(D)) v_j``, at least in float32.

    Source: https://arxiv.org/abs/2009.03509, equations 3 and 4.

    Args:
        family: ``Dot()``.
        one: the graph of one clip.

    **Shapes:** q, k, v (B, N, A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Dot, one: Graph) -> None:
        super().__init__(one, self_loops=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        with unrounded(v):
            scores = (self._from_targets(wide(q) / q.shape[-1] ** 0.5) * self._from_sources(k)).sum(-1)
            return self._mean(scores, self._from_sources(v), dropout).to(v.dtype)

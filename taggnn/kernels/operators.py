"""What a convolution does with a graph, apart from how: its family, and its own layers before and after.

Every implementation but the reference computes one of five families between them; what surrounds a family (projections,
residuals, gates, biases) is the convolution's own and the same for all implementations. Equal or refused: a convolution is read
by its exact class, and each of its options is either honoured here or refused by name.

Axes: B clips, N nodes of one clip, M = B*N, C channels, A attention heads, D channels of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.precision import unrounded


@dataclass(frozen=True)
class Sum:
    """A sum over neighbours whose weights the graph alone decides: ``out = A x``, or APPNP's recursion of it.

    Formula: ``out = A x`` where ``teleport`` is None, else ``h <- (1 - teleport) A h + teleport x``, ``steps`` times from h = x.

    Args:
        norm: "none", weights 1; "mean", 1 / max(degree, 1); "symmetric", ``D^-1/2 (A + I) D^-1/2`` with 0 where the degree is 0.
        self_loops: every node gets a self-loop, which the degree counts.
        steps: K.
        teleport: alpha of APPNP.

    **Shapes:** ``propagate(x, bias)``: x (B, N, C), bias (C,) or None, added to the result -> (B, N, C).
    """

    norm: Literal["none", "mean", "symmetric"]
    self_loops: bool = False
    steps: int = 1
    teleport: float | None = None


@dataclass(frozen=True)
class Max:
    """The largest value over the neighbours, channel by channel, 0 without any; equal ones share the gradient.

    **Shapes:** ``propagate(x)``: x (B, N, C) -> (B, N, C).
    """


@dataclass(frozen=True)
class Additive:
    """GAT: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``; https://arxiv.org/abs/1710.10903, equation 3.

    Args:
        slope: of the LeakyReLU.
        self_loops: every node gets a self-loop.

    **Shapes:** ``propagate(v, s, d, dropout)``: values v (B, N, A, D), score of the source s (B, N, A), score of the target
    d (B, N, A), probability that a weight is dropped -> (B, N, A, D).
    """

    slope: float
    self_loops: bool


@dataclass(frozen=True)
class Dynamic:
    """GATv2: ``softmax_j(a . LeakyReLU(l_j + r_i)) l_j``; https://arxiv.org/abs/2105.14491, equation 7.

    Args:
        slope: of the LeakyReLU.
        self_loops: every node gets a self-loop.

    **Shapes:** ``propagate(l, r, a, dropout)``: source l (B, N, A, D), target r (B, N, A, D), a (A, D), probability that a weight
    is dropped -> (B, N, A, D).
    """

    slope: float
    self_loops: bool


@dataclass(frozen=True)
class Dot:
    """TransformerConv: ``softmax_j(q_i . k_j / sqrt(D)) v_j``; https://arxiv.org/abs/2009.03509, equations 3 and 4.

    **Shapes:** ``propagate(q, k, v, dropout)``: q, k, v (B, N, A, D), probability that a weight is dropped -> (B, N, A, D).
    """


Family = Sum | Max | Additive | Dynamic | Dot

# What a family's propagate takes: the tensors with a row for each node (M, ...), and the rest.
Inputs = tuple[tuple[Tensor, ...], tuple[Any, ...]]


@dataclass(frozen=True)
class Operator:
    """A convolution taken apart at its graph.

    Args:
        family: what happens on the graph.
        before: ``(conv, x (M, C))`` -> what the family's ``propagate`` takes.
        after: ``(conv, x (M, C), propagated (M, ...))`` -> (M, C').
    """

    family: Family
    before: Callable[[nn.Module, Tensor], Inputs]
    after: Callable[[nn.Module, Tensor, Tensor], Tensor]


def read(conv: nn.Module) -> Operator:
    """Takes a convolution apart, or refuses.

    Raises:
        ValueError: no implementation but the reference knows this class, or one of its options.
    """
    from torch_geometric import nn as pyg

    readers: dict[type, Callable[[nn.Module], Operator]] = {
        pyg.GCNConv: _gcn,
        pyg.APPNP: _appnp,
        pyg.SAGEConv: _sage,
        pyg.GraphConv: _graphconv,
        pyg.GINConv: _gin,
        pyg.GATConv: _gat,
        pyg.GATv2Conv: _gatv2,
        pyg.TransformerConv: _transformer,
    }
    reader = readers.get(type(conv))
    if reader is None:
        known = ", ".join(known.__name__ for known in readers)
        raise ValueError(
            f"{type(conv).__module__}.{type(conv).__qualname__} runs on edge lists only (impl pyg); possible: {known}, "
            "and none of their subclasses"
        )
    _check_unwatched(conv)
    for option, usual in (("flow", "source_to_target"), ("node_dim", (-2, 0)), ("decomposed_layers", 1)):
        value = getattr(conv, option)
        if value not in (usual if isinstance(usual, tuple) else (usual,)):
            raise _refused(conv, f"{option}={value!r}")
    own = [
        name for name in ("forward", "propagate", "message", "aggregate", "update", "edge_update") if name in vars(conv)
    ]
    if own:
        raise _refused(conv, f"its own {own[0]}")
    return reader(conv)


def _check_unwatched(conv: nn.Module) -> None:
    """Refuses a convolution whose messages or calls somebody watches: they only happen on the edge list.

    Raises:
        ValueError: an explainer or a hook is attached to it.
    """
    if getattr(conv, "explain", False):
        raise _refused(conv, "an explainer attached to it")
    for name, hooks in vars(conv).items():
        if name.endswith(("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")) and hooks:
            raise _refused(conv, f"hooks on it ({name.strip('_')})")


def _refused(conv: Any, what: str) -> ValueError:
    return ValueError(f"{type(conv).__name__} with {what} runs on edge lists only: impl pyg, or leave that out")


def _aggregation(conv: Any, *possible: str) -> str:
    """The aggregation's name, where it is one of ``possible``, exactly PyG's own and without options."""
    from torch_geometric.nn import aggr

    names = {aggr.SumAggregation: "sum", aggr.MeanAggregation: "mean", aggr.MaxAggregation: "max"}
    name = names.get(type(conv.aggr_module))
    if name not in possible:
        raise _refused(conv, f"aggr={conv.aggr!r}")
    return name


def _one_input(conv: Any) -> None:
    if not isinstance(conv.in_channels, int):
        raise _refused(conv, f"in_channels={conv.in_channels!r}, other ones for sources than for targets")


# Layers before and after are functions of this file, not of a call, so that kernels can be pickled and copied.
def _unchanged(conv: Any, x: Tensor, rest: tuple[None, ...] = (None,)) -> Inputs:
    return (x,), rest


def _as_it_is(conv: Any, x: Tensor, out: Tensor) -> Tensor:
    return out


def _gcn(conv: Any) -> Operator:
    _aggregation(conv, "sum")
    if conv.improved:
        # PyG 2.8 gives it no effect without edge weights; what another version does is not known here.
        raise _refused(conv, "improved=True")
    if conv.cached:
        raise _refused(conv, "cached=True")
    family = Sum("symmetric" if conv.normalize else "none", bool(conv.add_self_loops and conv.normalize))
    return Operator(family, _gcn_before, _as_it_is)


def _gcn_before(conv: Any, x: Tensor) -> Inputs:
    return (conv.lin(x),), (conv.bias,)


def _appnp(conv: Any) -> Operator:
    _aggregation(conv, "sum")
    if conv.cached:
        raise _refused(conv, "cached=True")
    if conv.dropout:
        raise _refused(conv, f"dropout={conv.dropout} on its edges")
    loops = bool(conv.add_self_loops and conv.normalize)
    return Operator(Sum("symmetric" if conv.normalize else "none", loops, conv.K, conv.alpha), _unchanged, _as_it_is)


def _neighbours(conv: Any) -> tuple[Family, tuple[None, ...]]:
    """The family of SAGE, GraphConv and GIN, and what it takes besides the nodes."""
    aggr = _aggregation(conv, "sum", "mean", "max")
    return (Max(), ()) if aggr == "max" else (Sum("mean" if aggr == "mean" else "none"), (None,))


def _sage(conv: Any) -> Operator:
    family, rest = _neighbours(conv)
    _one_input(conv)
    return Operator(family, partial(_sage_before, rest=rest), _sage_after)


def _sage_before(conv: Any, x: Tensor, rest: tuple[None, ...]) -> Inputs:
    return (conv.lin(x).relu() if conv.project else x,), rest


def _sage_after(conv: Any, x: Tensor, out: Tensor) -> Tensor:
    out = conv.lin_l(out)
    if conv.root_weight:
        out = out + conv.lin_r(x)
    return F.normalize(out, p=2.0, dim=-1) if conv.normalize else out


def _graphconv(conv: Any) -> Operator:
    family, rest = _neighbours(conv)
    _one_input(conv)
    return Operator(family, partial(_unchanged, rest=rest), _graphconv_after)


def _graphconv_after(conv: Any, x: Tensor, out: Tensor) -> Tensor:
    return conv.lin_rel(out) + conv.lin_root(x)


def _gin(conv: Any) -> Operator:
    family, rest = _neighbours(conv)
    return Operator(family, partial(_unchanged, rest=rest), _gin_after)


def _gin_after(conv: Any, x: Tensor, out: Tensor) -> Tensor:
    return conv.nn(out + (1 + conv.eps) * x)


def _slope(conv: Any) -> float:
    # Outside, LeakyReLU falls or bends down: the closed forms rest on it doing neither.
    if not 0 <= conv.negative_slope <= 1:
        raise _refused(conv, f"negative_slope={conv.negative_slope}, outside [0, 1]")
    return float(conv.negative_slope)


def _join_heads(conv: Any, x: Tensor, out: Tensor) -> Tensor:
    out = out.flatten(1) if conv.concat else out.mean(1)
    if conv.res is not None:
        out = out + conv.res(x)
    return out if conv.bias is None else out + conv.bias


def _gat(conv: Any) -> Operator:
    _aggregation(conv, "sum")
    _one_input(conv)
    return Operator(Additive(_slope(conv), bool(conv.add_self_loops)), _gat_before, _join_heads)


def _gat_before(conv: Any, x: Tensor) -> Inputs:
    v = conv.lin(x).unflatten(-1, (conv.heads, conv.out_channels))
    # Scores stay in full precision.
    with unrounded(v):
        if torch.compiler.is_compiling():
            source, target = ((v * att).sum(-1) for att in (conv.att_src, conv.att_dst))
        else:
            v, source, target = _Scores.apply(v, conv.att_src, conv.att_dst)
    return (v, source, target), (_dropout(conv),)


class _Scores(torch.autograd.Function):
    """Both scores of GAT, ``v . a`` head by head, with v handed through, so that its gradients are added up in one pass.

    **Shapes:** v (M, A, D), two vectors (1, A, D) -> v, two scores (M, A).
    """

    @staticmethod
    def forward(v: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if v.device.type != "cpu":
            return v.view_as(v), (v * source).sum(-1), (v * target).sum(-1)
        # One product reads v once, where each sum would write as much as v before it adds it up.
        with unrounded(v):
            both = v.flatten(1).to(torch.promote_types(v.dtype, source.dtype)) @ _beside(source, target)
        of_source, of_target = both.chunk(2, 1)
        return v.view_as(v), of_source.contiguous(), of_target.contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, of_source: Tensor, of_target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, source, target = ctx.saved_tensors
        with unrounded(grad):
            both, (_, heads, width) = torch.cat([of_source, of_target], 1), v.shape
            columns = _beside(source, target).to(grad.dtype)
            to_v = torch.addmm(grad.flatten(1), both.to(grad.dtype), columns.T).view_as(grad)
            # Every score with the channels of every head, in one pass over v: its own head's are its gradient.
            to_both = (both.T @ v.flatten(1).to(both.dtype)).view(2, heads, heads, width).diagonal(dim1=1, dim2=2).mT
        return to_v, to_both[:1].to(source.dtype), to_both[1:].to(target.dtype)


def _beside(source: Tensor, target: Tensor) -> Tensor:
    """A column for each vector of each head, zero at the other heads. **Shapes:** two (1, A, D) -> (A*D, 2*A)"""
    head = torch.eye(source.shape[1], dtype=source.dtype, device=source.device)[:, None]
    return torch.cat([head * part[0, :, :, None] for part in (source, target)], 2).flatten(0, 1)


def _gatv2(conv: Any) -> Operator:
    _aggregation(conv, "sum")
    _one_input(conv)
    return Operator(Dynamic(_slope(conv), bool(conv.add_self_loops)), _gatv2_before, _join_heads)


def _gatv2_before(conv: Any, x: Tensor) -> Inputs:
    left = conv.lin_l(x)
    right = left if conv.share_weights else conv.lin_r(x)
    size = (conv.heads, conv.out_channels)
    return (left.unflatten(-1, size), right.unflatten(-1, size)), (conv.att[0], _dropout(conv))


def _transformer(conv: Any) -> Operator:
    _aggregation(conv, "sum")
    _one_input(conv)
    if conv.edge_dim is not None:
        raise _refused(conv, f"edge_dim={conv.edge_dim}")
    return Operator(Dot(), _transformer_before, _transformer_after)


def _transformer_before(conv: Any, x: Tensor) -> Inputs:
    size = (conv.heads, conv.out_channels)
    projected = tuple(lin(x).unflatten(-1, size) for lin in (conv.lin_query, conv.lin_key, conv.lin_value))
    return projected, (_dropout(conv),)


def _transformer_after(conv: Any, x: Tensor, out: Tensor) -> Tensor:
    out = out.flatten(1) if conv.concat else out.mean(1)
    if not conv.root_weight:
        return out
    root = conv.lin_skip(x)
    if conv.lin_beta is None:
        return out + root
    beta = conv.lin_beta(torch.cat([out, root, out - root], -1)).sigmoid()
    return beta * root + (1 - beta) * out


def _dropout(conv: Any) -> float:
    return conv.dropout if conv.training else 0.0

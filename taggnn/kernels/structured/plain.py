"""Attention over frame cliques and chains in plain operations, all frames and heads at once.

The form that is exported, and the one used for second derivatives. Nothing is written in place, and nothing depends on the
number of clips, which stays free in the exported program.

Axes: B clips, T frames, P positions of a frame, A attention heads, D channels of a head, O offsets in frames.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.kernels.structured import temporal


def attend(
    values: Tensor,
    frame: Tensor | None,
    around: Tensor | None,
    steps: Sequence[int],
    itself: bool = False,
    keep: Tensor | None = None,
    dropout: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Averages the values of a node's frame and of its own position in other frames under one softmax.

    Args:
        values: what is averaged.
        frame: scores of a node's frame, target by source; None where all edges are temporal.
        around: scores in time, see ``in_time``; None where ``steps`` is empty.
        steps: the distances in time, in frames.
        itself: the scores of a frame include those of self-loops.
        keep: which weights are not dropped, P in the frame and O in time; None for all.
        dropout: probability with which they were dropped.
        mask: which nodes of a frame are neighbours, target by source, (P, P); None for all.

    **Shapes:** values (B, T, A, P, D), frame (B, T, A, P, P), around (B, T, A, P, O), keep (B, T, A, P, P + O) ->
    (B, T, A, P, D)
    """
    positions = values.shape[3]
    if frame is not None and not itself:
        frame = frame.masked_fill(torch.eye(positions, dtype=torch.bool, device=values.device), float("-inf"))
    alone = None
    if frame is not None and mask is not None:
        frame = frame.masked_fill(~mask, float("-inf"))
        if around is None:
            # Nodes without neighbours: any finite scores, for gradients of 0.
            alone = ~mask.any(1)[:, None]
            frame = frame.masked_fill(alone, 0)
    weights = torch.cat([part for part in (frame, around) if part is not None], -1).softmax(-1)
    if alone is not None:
        weights = weights.masked_fill(alone, 0)
    if keep is not None:
        weights = dropped(weights, keep[..., -weights.shape[-1] :], dropout)
    parts = [] if frame is None else [weights[..., :positions] @ values]
    for number, step in enumerate(steps, weights.shape[-1] - len(steps)):
        parts.append(weights[..., number, None] * temporal.shifted(values, (step,), 0)[..., 0])
    first, *others = parts
    return sum(others, first)


def gat(
    v: Tensor,
    s: Tensor,
    d: Tensor,
    slope: float,
    steps: Sequence[int],
    clique: bool = True,
    self_loops: bool = True,
    keep: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """GAT: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``.

    Args:
        v: values.
        s: score of the source.
        d: score of the target.
        slope: of the LeakyReLU.
        steps: the distances in time, in frames.
        clique: every two nodes of a frame are neighbours.
        self_loops: so is a node of itself, where ``clique``.
        keep, dropout: as in ``attend``.

    **Shapes:** v (B, T, P, A, D), s, d (B, T, P, A), keep (B, T, P, A, P + O) -> (B, T, P, A, D)
    """
    v, s, d = (part.transpose(2, 3) for part in (v, s, d))
    frame = F.leaky_relu(s[..., None, :] + d[..., None], slope) if clique else None
    around = in_time(lambda source: F.leaky_relu(source + d, slope), s, steps)
    kept = None if keep is None else keep.transpose(2, 3)
    return attend(v, frame, around, steps, self_loops, kept, dropout).transpose(2, 3)


def dropped(weights: Tensor, keep: Tensor, dropout: float) -> Tensor:
    """Weights with some dropped and the others scaled up. **Shapes:** both the same."""
    # Of probability 1 nothing is left to scale up.
    return weights * keep / (1 - dropout) if dropout < 1 else weights * 0


def gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients of a function of plain operations that can be differentiated again; None where none is needed."""
    with torch.enable_grad():
        # An input may be computed from another one: views keep their gradients apart.
        inputs = [part.view_as(part) for part in inputs]
        wanted = [part for part, need in zip(inputs, needed, strict=True) if need]
        found = iter(torch.autograd.grad(function(*inputs), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)


def in_time(score: Callable[[Tensor], Tensor], source: Tensor, steps: Sequence[int]) -> Tensor | None:
    """The scores of the temporal neighbours, -inf outside of the clip.

    Args:
        score: of source nodes, of the shape of ``source``, for the target at that position -> (B, T, A, P)
        source: what a score takes of the source node.
        steps: the distances in time, in frames.

    **Shapes:** source (B, T, A, P, ...) -> (B, T, A, P, O)
    """
    if not steps:
        return None
    scores = torch.stack([score(temporal.shifted(source, (step,), 0)[..., 0]) for step in steps], -1)
    frames = torch.arange(source.shape[1], device=source.device)[:, None]
    there = frames + torch.tensor(steps, device=source.device)
    outside = ((there < 0) | (there >= source.shape[1]))[:, None, None]
    return scores.masked_fill(outside, float("-inf"))

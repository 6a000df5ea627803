"""GATv2 over frame cliques and chains: no tensor of all pairs by all channels, in either direction.

Axes: B clips, T frames, P places of a frame, N = T*P nodes, A attention heads, D channels of a head, F frames and R targets of
a piece.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.operators import Dynamic
from taggnn.kernels.structured import temporal
from taggnn.kernels.structured.softmax import Piece, attend, nobody

# Numbers in the tensor that compares some targets with all sources channel by channel.
_AT_ONCE = 2**18


class StructuredGATv2(nn.Module):
    """Computes ``Dynamic`` on clique and chain, at least in float32.

    Source: https://arxiv.org/abs/2105.14491, equation 7; the split is ours: ``LeakyReLU(z) = slope z + (1 - slope) relu(z)``, and
    of the first part what the target gives is the same for all of its neighbours and falls out of the softmax.

    Args:
        family: slope and self-loops.
        clique: the nodes of a frame hear each other.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        places: P.

    **Shapes:** l, r (B, N, A, D), a (A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Dynamic, clique: bool, reach: int, frames: int, places: int) -> None:
        super().__init__()
        self.frames, self.places, self.slope = frames, places, family.slope
        self.clique = clique and places > 1
        # A node's own score is one of those in time, whether or not there is a chain.
        self.steps = temporal.offsets(frames, reach, itself=family.self_loops)

    def forward(self, l: Tensor, r: Tensor, a: Tensor, dropout: float) -> Tensor:  # noqa: E741
        if not self.clique and not self.steps:
            return nobody(l, r, a)
        dtype, wide = l.dtype, torch.promote_types(l.dtype, torch.float32)
        with torch.autocast(l.device.type, enabled=False):
            l, r = (part.to(wide).unflatten(1, (self.frames, self.places)) for part in (l, r))  # noqa: E741
            a = a.to(wide)
            given = self.slope * (l * a).sum(-1)
            level = around = None
            if self.steps:
                found = temporal.shifted(l, self.steps, 0).movedim(-1, -2)
                scores = temporal.shifted(given, self.steps, float("-inf"))
                scores = scores + (1 - self.slope) * ((found + r[..., None, :]).relu() * a[:, None]).sum(-1)
                level = scores.logsumexp(-1)
                weights = F.dropout(scores.softmax(-1), dropout)
                around = temporal.weighted(weights, l, self.steps)
            if not self.clique:
                return around.to(dtype).flatten(1, 2)
            out = attend(_Pairs(), l, level, around, dropout, (given, l, r, (1 - self.slope) * a))
        return out.to(dtype).flatten(1, 2)


class _Pairs:
    """Scores ``given_j + a . relu(l_j + r_i)``."""

    def scores(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        given, source, target, a = (
            piece.sources(inputs[0]),
            piece.sources(inputs[1]),
            piece.targets(inputs[2]),
            inputs[3],
        )
        a = a[piece.head]
        if torch.compiler.is_compiling():
            # A compiler makes one loop of it.
            return given[:, None] + ((source[:, None] + target[:, :, None]).relu() * a).sum(-1)
        scores = torch.cat([(source[f, None] + target[f, rows, None]).relu_() @ a for f, rows in _rows(source, target)])
        return scores.view(*target.shape[:2], -1) + given[:, None]

    def backward(self, piece: Piece, slopes: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> None:
        source, target, a = piece.sources(inputs[1]), piece.targets(inputs[2]), inputs[3][piece.head]
        if torch.compiler.is_compiling():
            open_ = slopes[..., None] * ((source[:, None] + target[:, :, None]) > 0)
            to_source, to_target = open_.sum(1), open_.sum(2)
        else:
            to_source, to_target = torch.zeros_like(source), torch.empty_like(target)
            for f, rows in _rows(source, target):
                # relu has the slope 0 at 0.
                mine = -target[f, rows, None]
                open_ = torch.gt(source[f, None], mine, out=source.new_empty(len(mine), *source.shape[1:]))
                part = slopes[f, rows]
                to_target[f, rows] = (part[:, None] @ open_)[:, 0]
                to_source[f] += (part.T[:, None] @ open_.transpose(0, 1))[:, 0]
        first = not (piece.rows.start or piece.clips.start or piece.frames.start)
        to_a = (to_source * source).sum((0, 1)) + (to_target * target).sum((0, 1))
        grads[3][piece.head] = to_a if first else grads[3][piece.head] + to_a
        piece.add(grads[0], slopes.sum(1))
        piece.add(grads[1], to_source * a)
        piece.put(grads[2], to_target * a)


def _rows(source: Tensor, target: Tensor) -> Iterator[tuple[int, slice]]:
    step = max(_AT_ONCE // source[0].numel(), 1)
    for frame in range(len(source)):
        for start in range(0, target.shape[1], step):
            yield frame, slice(start, start + step)

"""One softmax over a node's frame and over time, a piece of the frames at a time, in both directions.

Axes: B clips, T frames, P places of a frame, A attention heads, D channels of a head, F frames and R targets of a piece.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Weights made at a time, which caches still hold, and those kept for the backward pass: 32 MB in float32.
_AT_ONCE = 2**20
_KEPT = 2**23


@dataclass(frozen=True)
class Piece:
    """Some targets of some frames in one head."""

    clips: slice
    frames: slice
    rows: slice
    head: int

    @property
    def first(self) -> bool:
        """No other piece of its head comes before it."""
        return not (self.clips.start or self.frames.start or self.rows.start)

    def sources(self, x: Tensor) -> Tensor:
        """Everybody who may be heard. **Shapes:** (B, T, P, A, ...) -> (F, P, ...)"""
        return x[self.clips, self.frames, :, self.head].flatten(0, 1)

    def targets(self, x: Tensor) -> Tensor:
        """Those who hear. **Shapes:** (B, T, P, A, ...) -> (F, R, ...)"""
        return x[self.clips, self.frames, self.rows, self.head].flatten(0, 1)

    def put(self, x: Tensor, value: Tensor) -> None:
        """Writes what belongs to the targets. **Shapes:** x (B, T, P, A, ...), value (F, R, ...)"""
        place = x[self.clips, self.frames, self.rows, self.head]
        place.copy_(value.view_as(place))

    def add(self, x: Tensor, value: Tensor) -> None:
        """Adds to what belongs to the sources; the first rows write. **Shapes:** x (B, T, P, A, ...), value (F, P, ...)"""
        place = x[self.clips, self.frames, :, self.head]
        if self.rows.start:
            place += value.view_as(place)
        else:
            place.copy_(value.view_as(place))


class Scorer(Protocol):
    """How scores are made of the convolution's tensors, and what the gradient of the scores means for these."""

    def scores(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        """**Shapes:** (F, R, P), target by source; may be overwritten."""

    def backward(self, piece: Piece, slopes: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> None:
        """Writes the part of a piece into the gradients of the inputs, which are empty at first."""


def attend(
    scorer: Scorer,
    values: Tensor,
    level: Tensor | None,
    around: Tensor | None,
    dropout: float,
    inputs: tuple[Tensor, ...],
) -> Tensor:
    """Averages the values of a node's frame, itself left out, and what it hears in time, under one softmax.

    Source: ours. A node leaves itself out, so its own place on the diagonal of a frame's scores is free: the log-sum-exp of
    its scores in time is put there, and one softmax over the row weighs the frame's nodes and all of its time together.
    In the backward pass weights are made again, all but the first 32 MB, so that memory stays bounded in training too.

    Formula: ``out_i = sum_{j != i} w_ij v_j + w_ii u_i``, ``w_i = softmax(s_i1, .., level_i, .., s_iP)``.

    Args:
        scorer: makes the scores s.
        values: v.
        level: log-sum-exp of the scores in time; None where nothing is heard in time.
        around: u, the average in time.
        dropout: probability that a weight of the frame is dropped.
        inputs: what the scores are made of.

    **Shapes:** values, around (B, T, P, A, D), level (B, T, P, A) -> (B, T, P, A, D).
    """
    keep = None
    if dropout:
        clips, frames, places, heads, _ = values.shape
        keep = torch.rand((clips, frames, places, heads, places), device=values.device) >= dropout
    return _Attend.apply(scorer, keep, dropout, values, level, around, *inputs)


def nobody(*parts: Tensor) -> Tensor:
    """Zeros in the shape of the first, what a node without neighbours gets; they depend on all parts, whose gradients are zeros.

    **Shapes:** the parts fit the first by broadcasting.
    """
    hidden = parts[0].new_ones((), dtype=torch.bool)
    return sum(part.masked_fill(hidden, 0) for part in parts).to(parts[0].dtype)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scorer: Scorer,
        keep: Tensor | None,
        dropout: float,
        values: Tensor,
        level: Tensor | None,
        around: Tensor | None,
        *inputs: Tensor,
    ) -> Tensor:
        out, kept = torch.empty_like(values), []
        # A compiler decides by itself what it makes again.
        room = 0 if torch.compiler.is_compiling() or not any(ctx.needs_input_grad) else _KEPT
        for piece in _pieces(values):
            weights, rest = _weights(scorer.scores(piece, inputs), piece, level)
            room -= weights.numel()
            if room >= 0:
                kept += [weights, rest]
            used = weights if keep is None else weights * piece.targets(keep) / (1 - dropout)
            heard = used @ piece.sources(values)
            if around is not None:
                heard.addcmul_(rest[..., None], piece.targets(around))
            piece.put(out, heard)
        ctx.scorer, ctx.dropout, ctx.count = scorer, dropout, len(inputs)
        ctx.save_for_backward(keep, out, values, level, around, *inputs, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        keep, out, values, level, around, *others = ctx.saved_tensors
        inputs, kept = others[: ctx.count], others[ctx.count :]
        to_values = torch.empty_like(values)
        to_level, to_around = (None if part is None else torch.empty_like(part) for part in (level, around))
        to_inputs = tuple(torch.empty_like(part) for part in inputs)
        with torch.autocast(grad.device.type, enabled=False):
            # What a weight is worth is measured from the mean over the row.
            mean = (grad * out).sum(-1)
            for i, piece in enumerate(_pieces(values)):
                if 2 * i < len(kept):
                    weights, rest = kept[2 * i : 2 * i + 2]
                else:
                    weights, rest = _weights(ctx.scorer.scores(piece, inputs), piece, level)
                mine, common = piece.targets(grad), piece.targets(mean)[..., None]
                if keep is None:
                    used, worth = weights, torch.baddbmm(common, mine, piece.sources(values).mT, beta=-1)
                else:
                    scale = piece.targets(keep) / (1 - ctx.dropout)
                    used, worth = weights * scale, scale * (mine @ piece.sources(values).mT) - common
                piece.add(to_values, used.mT @ mine)
                if around is not None:
                    piece.put(to_around, rest[..., None] * mine)
                    piece.put(to_level, rest * ((mine * piece.targets(around)).sum(-1) - common[..., 0]))
                ctx.scorer.backward(piece, worth.mul_(weights), inputs, to_inputs)
        return None, None, None, to_values, to_level, to_around, *to_inputs


def _weights(scores: Tensor, piece: Piece, level: Tensor | None) -> tuple[Tensor, Tensor]:
    """The softmax with 0 on the diagonal, and what stood there. **Shapes:** (F, R, P) -> (F, R, P), (F, R)"""
    diagonal = scores.diagonal(piece.rows.start, 1, 2)
    if level is None:
        diagonal.fill_(float("-inf"))
    else:
        diagonal.copy_(piece.targets(level))
    weights = scores.softmax(-1)
    diagonal = weights.diagonal(piece.rows.start, 1, 2)
    rest = diagonal.clone()
    diagonal.zero_()
    return weights, rest


def _pieces(values: Tensor) -> Iterator[Piece]:
    clips, frames, places, heads, _ = values.shape
    rows = min(places, max(_AT_ONCE // places, 1))
    together = max(_AT_ONCE // (rows * places), 1)
    if torch.compiler.is_compiling():
        # The number of clips may be a symbol: all of them in one piece.
        at_once, step = None, min(frames, together)
    else:
        at_once, step = max(together // frames, 1), min(frames, together)
    for clip in (slice(None),) if at_once is None else _slices(clips, at_once):
        for frame in _slices(frames, step):
            for row in _slices(places, rows):
                for head in range(heads):
                    yield Piece(clip, frame, row, head)


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))

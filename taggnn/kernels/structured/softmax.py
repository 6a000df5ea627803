"""One softmax over a node's frame and over time, a piece of the frames at a time, in both directions.

Axes: B clips, T frames, P positions of a frame, A attention heads, D channels of a head, O offsets in
frames, F frames and R targets of a piece.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain, temporal
from taggnn.kernels.structured.plain import dropped

# Weights computed at a time, which fit into caches, and those saved for the backward pass: 32 MB in float32.
_AT_ONCE = 2**20
_SAVED = 2**23


@dataclass(frozen=True)
class Piece:
    """Some targets of some frames in one head."""

    clips: slice
    frames: slice
    rows: slice
    head: int

    def sources(self, x: Tensor) -> Tensor:
        """The rows of all sources. **Shapes:** (B, T, P, A, ...) -> (F, P, ...)"""
        return x[self.clips, self.frames, :, self.head].flatten(0, 1)

    def targets(self, x: Tensor) -> Tensor:
        """The rows of the targets. **Shapes:** (B, T, P, A, ...) -> (F, R, ...)"""
        return x[self.clips, self.frames, self.rows, self.head].flatten(0, 1)

    def put(self, x: Tensor, value: Tensor) -> None:
        """Writes the rows of the targets. **Shapes:** x (B, T, P, A, ...), value (F, R, ...)"""
        part = x[self.clips, self.frames, self.rows, self.head]
        part.copy_(value.view_as(part))

    def add(self, x: Tensor, value: Tensor) -> None:
        """Adds to the rows of the sources; a frame's first piece writes. **Shapes:** x (B, T, P, A, ...), value (F, P, ...)"""
        part = x[self.clips, self.frames, :, self.head]
        if self.rows.start:
            part += value.view_as(part)
        else:
            part.copy_(value.view_as(part))


class Scorer(Protocol):
    """How scores are computed from the convolution's tensors, and their gradients from those of the scores."""

    def scores(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        """**Shapes:** (F, R, P), target by source; may be overwritten."""

    def backward(self, piece: Piece, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> None:
        """Writes the part of a piece into the gradients of the inputs, and adds it to those that all nodes share."""

    def in_time(self, step: temporal.Span, inputs: tuple[Tensor, ...]) -> Tensor:
        """Scores of one distance in time. **Shapes:** (B, t, P, A), t the frames of the targets"""

    def in_time_backward(
        self, step: temporal.Span, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]
    ) -> None:
        """Adds the part of one distance in time to the gradients of the inputs."""

    def plain(
        self, clique: bool, steps: tuple[int, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, Tensor | None]:
        """All scores in plain operations. **Shapes:** -> in the frame (B, T, A, P, P), in time (B, T, A, P, O)"""


def attend(
    scorer: Scorer,
    clique: bool,
    steps: Sequence[int],
    dropout: float,
    values: Tensor,
    inputs: tuple[Tensor, ...],
    mask: Tensor | None = None,
) -> Tensor:
    """Averages the values of a node's frame, itself left out, and of its temporal neighbours, under one softmax.

    Source: ours. A node leaves itself out, so its entry on the diagonal of a frame's scores is free: the log-sum-exp of
    its scores in time is put there, and one softmax over the row weighs the frame's nodes and all of its time together.
    In the backward pass weights are computed again, all but the first 32 MB of a call (in float32), so that memory stays
    bounded in training too. Dropout stores one boolean for every pair of nodes of a frame.

    Formula: ``out_i = sum_{j != i} w_ij v_j + w_ii sum_o u_io v_i+o``, ``w_i = softmax(s_i1, .., logsumexp_o t_io, .., s_iP)``,
    ``u_i = softmax_o(t_io)``.

    Args:
        scorer: makes the scores s in the frame and t in time.
        clique: every two nodes of a frame are neighbours; if not, all edges are temporal.
        steps: the distances in time, in frames; 0 is the node itself.
        dropout: probability that a weight is dropped.
        values: v.
        inputs: what the scores are computed from.
        mask: which nodes of a frame are neighbours, target by source, the same in every frame; None for all.

    **Shapes:** values (B, T, P, A, D) -> the same; mask (P, P)
    """
    keep = None
    if dropout:
        clips, frames, positions, heads, _ = values.shape
        shape = (clips, frames, positions, heads, positions + len(steps))
        keep = torch.rand(shape, device=values.device) >= dropout
    return _Attend.apply(scorer, clique, tuple(steps), keep, dropout, mask, values, *inputs)


def attend_plainly(
    scorer: Scorer,
    clique: bool,
    steps: tuple[int, ...],
    values: Tensor,
    *inputs: Tensor,
    keep: Tensor | None = None,
    dropout: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The same as ``attend`` in plain operations, with the weights that are kept given."""
    scores = scorer.plain(clique, steps, inputs)
    kept = None if keep is None else keep.transpose(2, 3)
    values = values.transpose(2, 3)
    return plain.attend(values, *scores, steps, keep=kept, dropout=dropout, mask=mask).transpose(2, 3)


def no_neighbours(*parts: Tensor) -> Tensor:
    """The output of nodes without neighbours: zeros in the shape of the first part, with gradients of zeros for all parts.

    **Shapes:** the parts fit the first by broadcasting.
    """
    hidden = parts[0].new_ones((), dtype=torch.bool)
    first, *others = (part.masked_fill(hidden, 0) for part in parts)
    return sum(others, first).to(first.dtype)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scorer: Scorer,
        clique: bool,
        steps: tuple[int, ...],
        keep: Tensor | None,
        dropout: float,
        mask: Tensor | None,
        values: Tensor,
        *inputs: Tensor,
    ) -> Tensor:
        positions = values.shape[2]
        level = _in_time(scorer, steps, values, inputs) if steps else None
        saved, times = [], level
        if clique:
            out = torch.empty_like(values)
            share = None if level is None else values.new_empty(values.shape[:-1])
            total = None if level is None else level.logsumexp(-1)
            # A compiler decides what it recomputes.
            room = 0 if torch.compiler.is_compiling() or not any(ctx.needs_input_grad) else _SAVED
            for piece in _pieces(values):
                weights, rest = _weights(scorer.scores(piece, inputs), piece, total, mask)
                room -= weights.numel()
                if room >= 0:
                    saved.append(weights)
                if share is not None:
                    piece.put(share, rest)
                used = weights if keep is None else dropped(weights, piece.targets(keep)[..., :positions], dropout)
                piece.put(out, torch.bmm(used, piece.sources(values)))
            if level is not None and share is not None:
                times = level.softmax(-1).mul_(share[..., None])
        else:
            out, times = torch.zeros_like(values), None if level is None else level.softmax(-1)
        for i, here, there in temporal.spans(values.shape[1], steps):
            assert times is not None
            used = times[:, here, ..., i]
            if keep is not None:
                used = dropped(used, keep[:, here, ..., positions + i], dropout)
            out[:, here].addcmul_(used[..., None], values[:, there])
        ctx.scorer, ctx.clique, ctx.steps, ctx.dropout, ctx.count = scorer, clique, steps, dropout, len(inputs)
        ctx.save_for_backward(keep, mask, out, level, times, values, *inputs, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        keep, mask, out, level, times, values, *others = ctx.saved_tensors
        inputs, saved = tuple(others[: ctx.count]), others[ctx.count :]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is differentiated again.
            given = {"keep": keep, "dropout": ctx.dropout, "mask": mask}
            function = partial(attend_plainly, ctx.scorer, ctx.clique, ctx.steps, **given)
            with unrounded(grad):
                found = plain.gradients(function, (values, *inputs), grad, ctx.needs_input_grad[6:])
            return None, None, None, None, None, None, *found
        positions = values.shape[2]
        empty = torch.empty_like if ctx.clique else torch.zeros_like
        # Node by node everything is written; what all nodes share is added up.
        to_values = empty(values)
        to_inputs = tuple(empty(part) if part.shape == values.shape else torch.zeros_like(part) for part in inputs)
        with unrounded(grad):
            # Backward of the softmax: the gradient of a weight minus the mean over its row.
            mean = (grad * out).sum(-1)
            total = level.logsumexp(-1) if ctx.clique and level is not None else None
            for i, piece in enumerate(_pieces(values) if ctx.clique else ()):
                if i < len(saved):
                    weights = saved[i]
                else:
                    weights, _ = _weights(ctx.scorer.scores(piece, inputs), piece, total, mask)
                mine = piece.targets(grad)
                used, to_weights = weights, torch.bmm(mine, piece.sources(values).mT)
                if keep is not None:
                    used, to_weights = (
                        dropped(part, piece.targets(keep)[..., :positions], ctx.dropout)
                        for part in (weights, to_weights)
                    )
                piece.add(to_values, torch.bmm(used.mT, mine))
                to_scores = to_weights.sub_(piece.targets(mean)[..., None]).mul_(weights)
                ctx.scorer.backward(piece, to_scores, inputs, to_inputs)
            for i, here, there in temporal.spans(values.shape[1], ctx.steps):
                weights = times[:, here, ..., i]
                used, to_weights = weights, (grad[:, here] * values[:, there]).sum(-1)
                if keep is not None:
                    used, to_weights = (
                        dropped(part, keep[:, here, ..., positions + i], ctx.dropout) for part in (used, to_weights)
                    )
                to_values[:, there].addcmul_(used[..., None], grad[:, here])
                to_scores = to_weights.sub_(mean[:, here]).mul_(weights)
                ctx.scorer.in_time_backward((here, there), to_scores, inputs, to_inputs)
        return None, None, None, None, None, None, to_values, *to_inputs


def _in_time(scorer: Scorer, steps: tuple[int, ...], values: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
    """The scores in time, -inf outside of the clip. **Shapes:** values (B, T, P, A, D) -> (B, T, P, A, O)"""
    scores = values.new_full((*values.shape[:-1], len(steps)), float("-inf"))
    for i, here, there in temporal.spans(values.shape[1], steps):
        scores[:, here, ..., i] = scorer.in_time((here, there), inputs)
    return scores


def _weights(scores: Tensor, piece: Piece, level: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The softmax with 0 on the diagonal, and the diagonal before. **Shapes:** (F, R, P) -> (F, R, P), (F, R)"""
    rows = None if mask is None else mask[piece.rows]
    if rows is not None:
        scores = scores.masked_fill_(~rows, float("-inf"))
    diagonal = scores.diagonal(piece.rows.start, 1, 2)
    if level is None:
        diagonal.fill_(float("-inf"))
    else:
        diagonal.copy_(piece.targets(level))
    weights = scores.softmax(-1)
    if rows is not None and level is None:
        # Nodes without neighbours.
        weights = weights.masked_fill_(~rows.any(1)[:, None], 0)
    diagonal = weights.diagonal(piece.rows.start, 1, 2)
    rest = diagonal.clone()
    diagonal.zero_()
    return weights, rest


def _pieces(values: Tensor) -> Iterator[Piece]:
    clips, frames, positions, heads, _ = values.shape
    rows = min(positions, max(_AT_ONCE // positions, 1))
    together = max(_AT_ONCE // (rows * positions), 1)
    if torch.compiler.is_compiling():
        # The number of clips may be a symbol: all of them in one piece.
        at_once, step = None, min(frames, together)
    else:
        at_once, step = max(together // frames, 1), min(frames, together)
    for clip in (slice(None),) if at_once is None else _slices(clips, at_once):
        for frame in _slices(frames, step):
            for row in _slices(positions, rows):
                for head in range(heads):
                    yield Piece(clip, frame, row, head)


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))

"""Read-outs with weights that are learnt: over all nodes, or over those of each frame and then over the frames.

Axes: B clips, N nodes of one clip, T frames, P positions of a frame, C channels.
"""

import torch
from torch import Tensor, nn


class AttentionReadout(nn.Module):
    """Weighted mean over the nodes, the weights learnt from their content.

    Source: attention pooling of https://arxiv.org/abs/1802.04712, equation 8. Formula: ``a = softmax_n(w . tanh(V x_n))``,
    ``sum_n a_n x_n``. The scores start at zero, so training starts from the plain mean.

    Args:
        channels: C.

    **Shapes:** (B, N, C) -> pooled (B, C) and weights (B, N).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, max(channels // 4, 1))
        self.score = nn.Linear(max(channels // 4, 1), 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.score(torch.tanh(self.hidden(x))).squeeze(-1).softmax(-1)
        return torch.einsum("bn,bnc->bc", weights.to(x.dtype), x), weights


class FrameReadout(nn.Module):
    """Attention over the positions of each frame, then over the frames; optionally with a recurrent network between them.

    Source: two levels of the attention of https://arxiv.org/abs/1802.04712, equation 8; the recurrent network is a
    bidirectional GRU, https://arxiv.org/abs/1406.1078, added to its input, so that the order of the frames has an effect.

    Args:
        channels: C; even with ``recurrent``.
        recurrent: a GRU over the frames (default no).

    **Shapes:** (B, T, P, C) -> pooled (B, C) and weights (B, T*P), which add up to 1.

    Raises:
        ValueError: odd channels for the two directions.
    """

    by_frame = True

    def __init__(self, channels: int, recurrent: bool = False) -> None:
        super().__init__()
        if recurrent and channels % 2:
            raise ValueError(f"read-out gru: {channels} channels cannot be shared by two directions; they must be even")
        self.of_positions, self.of_frames = AttentionReadout(channels), AttentionReadout(channels)
        self.recurrent = nn.GRU(channels, channels // 2, batch_first=True, bidirectional=True) if recurrent else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        frames, inside = self.of_positions(x.flatten(0, 1))
        frames = frames.unflatten(0, x.shape[:2])
        if self.recurrent is not None:
            frames = frames + self.recurrent(frames)[0]
        pooled, weights = self.of_frames(frames)
        return pooled, (weights[..., None] * inside.unflatten(0, x.shape[:2])).flatten(1)

"""Queries that look for regions in every frame: cross-attention whose key and value projections are folded into the queries.

Axes: B frames of all clips, R regions, P positions of a frame, C channels, A attention heads, D = C/A channels of a head.
"""

import torch
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Multi-head attention from few queries to many positions.

    Source: https://arxiv.org/abs/1706.03762, section 3.2.2, with P keys and R queries.
    Formula: ``a = softmax_p((W_q q_r + b_q) . (W_k x_p) / sqrt(D))``, ``out_r = W_o (W_v sum_p a_rp x_p + b_v) + b_o`` for each
    head. Neither keys nor values are computed: ``q . (W_k x) = (W_k^T q) . x``, and ``sum_p a_p (W_v x_p) = W_v sum_p a_p x_p``.
    That takes ``2 A R P C`` multiply-adds instead of ``2 P C^2 + 2 R P C``, less where ``A R < C``; the result is the same. A
    bias of the keys would not change the softmax and is left out.

    Args:
        channels: C, a multiple of ``heads``.
        heads: A (default 8).

    **Shapes:** queries (B, R, C), positions (B, P, C) -> (B, R, C) and the attention, mean over heads, (B, R, P).

    Raises:
        ValueError: ``channels`` is no multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(
                f"cross-attention of {channels} channels cannot have {heads} attention heads; they must divide the channels"
            )
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.query, self.value, self.out):
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        frames, regions, channels = queries.shape
        width = channels // self.heads
        q = self.query(queries).view(frames, regions, self.heads, width)
        key = self.key.weight.view(self.heads, width, channels)
        # (B, A, R, C) -> one product with the positions for all heads and regions.
        folded = torch.einsum("brad,adc->barc", q, key).flatten(1, 2) / width**0.5
        attention = (folded @ positions.transpose(1, 2)).softmax(-1)
        context = (attention @ positions).view(frames, self.heads, regions, channels)
        value = self.value.weight.view(self.heads, width, channels)
        out = torch.einsum("barc,adc->brad", context, value).flatten(2) + self.value.bias
        return self.out(out), attention.view(frames, self.heads, regions, -1).mean(1)


class RegionLayer(nn.Module):
    """One layer of region queries: cross-attention and a feed-forward part, pre-norm with residuals [ours].

    The queries choose positions and are no part of the responses, as the object queries of DETR
    (https://arxiv.org/abs/2005.12872): a response that held its query would differ from another's whatever the frame shows.

    Args:
        channels: C.
        heads: A (default 8).
        ffn: channels of the feed-forward part; None (default): 2*C.
        dropout: probability after each part and inside the feed-forward part (default 0.1).

    **Shapes:** responses (B, R, C), queries (B, R, C), positions (B, P, C) -> responses (B, R, C), attention (B, R, P).
    """

    def __init__(self, channels: int, heads: int = 8, ffn: int | None = None, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = ffn or 2 * channels
        self.query_norm, self.position_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = CrossAttention(channels, heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, channels),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, responses: Tensor, queries: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        found, attention = self.attention(self.query_norm(responses + queries), self.position_norm(positions))
        responses = responses + self.dropout(found)
        return responses + self.dropout(self.feed_forward(responses)), attention


class RegionAttention(nn.Module):
    """Layers of region queries: what each query responds to in a frame, and at which positions.

    Source: the region-specific semantics activation of ART, https://arxiv.org/abs/2511.21202 (4 layers, softmax over the
    positions of a frame).

    Args:
        channels: C.
        layers: how many, at least 1 (default 4).
        heads: A (default 8).
        ffn: channels of the feed-forward parts; None (default): 2*C.
        dropout: probability (default 0.1).

    **Shapes:** queries (B, R, C), positions (B, P, C) -> responses (B, R, C) and the attention of the last layer (B, R, P), which
    sums to 1 over the positions.

    Raises:
        ValueError: fewer than one layer.
    """

    def __init__(
        self, channels: int, layers: int = 4, heads: int = 8, ffn: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"region attention needs 1 layer or more; given {layers}")
        self.layers = nn.ModuleList(RegionLayer(channels, heads, ffn, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        responses, attention = torch.zeros_like(queries), queries.new_empty(0)
        for layer in self.layers:
            responses, attention = layer(responses, queries, positions)
        return self.norm(responses), attention

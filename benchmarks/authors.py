"""TAG-Head the way its authors wrote it: a PyG Batch put together in every forward pass, and PyG's APPNP over its edges.

Source: TAG-Head, https://arxiv.org/abs/2604.11498, released code. The weights are those of our head; the encoder is PyTorch's
own, and what happens between the modules is written again.

Axes: B clips, T frames, H W token grid, N = T*H*W nodes of one clip, C channels, K classes.
"""

from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import APPNP

from graphs import Chain, Clique
from taggnn.heads import TagHead


class AuthorsHead(nn.Module):
    """The released head as released, with the weights of ours.

    Args:
        head: made by ``TagHead.released``; its parameters are shared, not copied.

    **Shapes:** tokens (B, T, H, W, C) -> logits (B, K).
    """

    def __init__(self, head: TagHead) -> None:
        super().__init__()
        (self.table,) = head.position.tables
        self.project = head.project
        self.transformer = _torchs_own(head.encoder)
        self.propagation = APPNP(K=2, alpha=0.1)
        self.mlp_head = nn.Sequential(head.norm, head.classifier)
        # Edges of one clip, made once and shared by all clips.
        self.register_buffer("edge_index", (Clique() + Chain()).edges(head.grid)[0], persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.classify(self.propagate(self.encode(tokens)))

    def encode(self, tokens: Tensor) -> Tensor:
        """**Shapes:** (B, T, H, W, C) -> (B, N, C)"""
        x = self.project(tokens).flatten(1, 3)
        return self.transformer(x + self.table.flatten(0, 2))

    def propagate(self, x: Tensor) -> Tensor:
        """**Shapes:** (B, N, C) -> the same"""
        batch = Batch.from_data_list([Data(x=clip, edge_index=self.edge_index) for clip in x])
        return self.propagation(batch.x, batch.edge_index).view(x.shape)

    def classify(self, x: Tensor) -> Tensor:
        """**Shapes:** (B, N, C) -> (B, K)"""
        return self.mlp_head(x.mean(1))


def _torchs_own(encoder: nn.TransformerEncoder) -> nn.TransformerEncoder:
    """PyTorch's encoder with the very parameters of ours, not copies."""
    layer = encoder.layers[0]
    channels, heads, ffn = layer.self_attn.embed_dim, layer.self_attn.num_heads, layer.linear1.out_features
    own = nn.TransformerEncoderLayer(channels, heads, ffn, layer.dropout.p, layer.activation, batch_first=True)
    stacked = nn.TransformerEncoder(own, len(encoder.layers), enable_nested_tensor=False)
    stacked.load_state_dict(encoder.state_dict(keep_vars=True), assign=True)
    return stacked

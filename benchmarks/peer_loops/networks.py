"""Networks as a user writes them with PyTorch and PyTorch Geometric, on the backbone that all share.

Axes: B clips, T frames, H W positions, N = T*H*W nodes of a clip, C channels, K classes.
"""

from itertools import product

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import APPNP, GATv2Conv

from benchmarks.peer_loops.job import Job, backbone_of


class PoolNetwork(nn.Module):
    """Backbone, mean over the positions, linear classifier.

    **Shapes:** (B, 3, T, H, W) -> (B, K)
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.backbone = backbone_of(job)
        self.classifier = nn.LazyLinear(job.classes)

    def forward(self, clip: Tensor) -> Tensor:
        return self.classifier(self.backbone(clip).mean((2, 3, 4)))


class GraphNetwork(nn.Module):
    """Backbone, positions, Transformer encoder, a PyG convolution over a Batch made in each forward pass, mean.

    **Shapes:** (B, 3, T, H, W) -> (B, K)
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.backbone = backbone_of(job)
        with torch.no_grad():
            _, channels, *grid = self.backbone.eval()(torch.zeros(1, 3, *job.shape)).shape
        nodes = grid[0] * grid[1] * grid[2]
        self.position = nn.Parameter(0.02 * torch.randn(nodes, channels))
        layer = nn.TransformerEncoderLayer(
            channels, job.encoder_heads, 4 * channels, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, job.encoder_layers, enable_nested_tensor=False)
        heads = job.encoder_heads
        conv = APPNP(K=2, alpha=0.1) if job.head == "appnp" else GATv2Conv(channels, channels // heads, heads)
        self.conv = conv
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, job.classes)
        self.register_buffer("edge_index", edges(*grid))

    def forward(self, clip: Tensor) -> Tensor:
        x = self.encoder(self.backbone(clip).flatten(2).transpose(1, 2) + self.position)
        batch = Batch.from_data_list([Data(x=nodes, edge_index=self.edge_index) for nodes in x])
        x = self.conv(batch.x, batch.edge_index).view(x.shape)
        return self.classifier(self.norm(x).mean(1))


def edges(frames: int, height: int, width: int) -> Tensor:
    """All pairs within a frame, and the same position in neighbouring frames, one after the other: (2, E)."""
    positions = height * width
    found = [
        (frame * positions + source, frame * positions + target)
        for frame, source, target in product(range(frames), range(positions), range(positions))
        if source != target
    ]
    for frame, position in product(range(frames - 1), range(positions)):
        here, there = frame * positions + position, (frame + 1) * positions + position
        found += [(here, there), (there, here)]
    return torch.tensor(found, dtype=torch.long).view(-1, 2).t().contiguous()


NETWORKS = {"pool": PoolNetwork, "gatv2": GraphNetwork, "appnp": GraphNetwork}

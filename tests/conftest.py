"""What several tests compare with: the edges of TAG-Head by plain loops, and its released head put together from PyG."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import APPNP, global_mean_pool


def loops(grid, spatial=True, reach=1):
    """Edges of one clip, written as the paper says them: (edge_index (2, E), edge_type (E,))."""
    frames, height, width = grid
    nodes = [(t, y, x) for t in range(frames) for y in range(height) for x in range(width)]
    edges, kinds = [], []
    for i, (t, *place) in enumerate(nodes):
        for j, (u, *other) in enumerate(nodes):
            if spatial and t == u and i != j:
                edges.append((i, j))
                kinds.append(0)
            if place == other and 1 <= abs(t - u) <= reach:
                edges.append((i, j))
                kinds.append(1)
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T, torch.tensor(kinds, dtype=torch.long)


class Composition(nn.Module):
    """The released head after its description alone; its state dict has the names of the published checkpoints."""

    def __init__(self, grid, classes, ffn, channels=512):
        super().__init__()
        nodes = grid[0] * grid[1] * grid[2]
        self.edges = loops(grid)[0]
        self.pos_embedding = nn.Parameter(torch.randn(1, nodes, channels))
        layer = nn.TransformerEncoderLayer(channels, 8, ffn, 0.5, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.propagation = APPNP(2, 0.1)
        self.mlp_head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, classes))
        # As they start, norms are the identity and biases zero: a swapped pair of them would not show.
        for parameter in self.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 0.5, 0.5)

    def forward(self, tokens):
        x = self.transformer(tokens.reshape(len(tokens), -1, tokens.shape[-1]) + self.pos_embedding)
        batch = Batch.from_data_list([Data(x=clip, edge_index=self.edges) for clip in x])
        x = self.propagation(batch.x, batch.edge_index)
        return self.mlp_head(global_mean_pool(x, batch.batch))


@pytest.fixture(scope="session")
def naive_edges():
    return loops


@pytest.fixture(scope="session")
def composition():
    return Composition

import pytest
import torch
from torch_geometric.nn import GraphConv

from graphs import Clique
from taggnn import kernels
from taggnn.heads import TagHead


def test_edges_are_left_out_in_training_alone():
    torch.manual_seed(0)
    conv, x = GraphConv(1, 1, bias=False), torch.ones(40, 20, 1)
    torch.nn.init.ones_(conv.lin_rel.weight)
    torch.nn.init.zeros_(conv.lin_root.weight)
    kernel = kernels.find(conv, Clique(), (1, 20), edge_dropout=0.25)
    counts = kernel(conv, x)
    assert counts.mean().item() == pytest.approx(0.75 * 19, abs=0.2)
    assert not torch.equal(counts, kernel(conv, x))
    # Each clip has edges of its own.
    assert not torch.equal(counts[0], counts[1])
    assert torch.equal(kernel.eval()(conv, x), torch.full_like(x, 19))


def test_it_runs_on_edge_lists_and_is_refused_elsewhere():
    conv = GraphConv(2, 2)
    assert kernels.find(conv, Clique(), (2, 3), edge_dropout=0.5).impl == "pyg"
    with pytest.raises(ValueError, match="edge_dropout"):
        kernels.find(conv, Clique(), (2, 3), "structured", edge_dropout=0.5)
    with pytest.raises(ValueError, match="edge_dropout"):
        TagHead(8, (2, 2), 3, edge_dropout=1.0)

"""Heads on PyG batches: the batch's own edges are used, and on those of the topology the logits are those of the tokens."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MessagePassing

import graphs
from taggnn.heads import PoolHead, TagHead
from taggnn.nn.layers import GraphLayer

GRID = (3, 1, 2)
ATTRIBUTES = ["type", "offset"]
# Short names and PyG's classes that take edge attributes, each by another argument.
WITH_ATTRIBUTES = {
    "gat": {},
    "gatv2": {},
    "transformer": {},
    "torch_geometric.nn.GINEConv": {},
    "torch_geometric.nn.CGConv": {},
    "torch_geometric.nn.GMMConv": {"kernel_size": 2},
    "torch_geometric.nn.GeneralConv": {},
    "torch_geometric.nn.RGATConv": {"num_relations": 2},
}


def head_of(conv="gat", **options):
    torch.manual_seed(0)
    return TagHead(8, GRID, 5, encoder_layers=1, encoder_heads=2, conv=conv, **options).double().eval()


def tokens_of(clips=2):
    return torch.randn(clips, *GRID, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradients(head, given, tokens):
    return torch.autograd.grad(head(given).logits.pow(2).sum(), [tokens, *head.parameters()])


@pytest.mark.parametrize("conv", ["gat", "gcn", "torch_geometric.nn.RGCNConv"])
@pytest.mark.parametrize("clips", [1, 3])
def test_the_edges_of_the_topology_give_the_logits_and_gradients_of_the_tokens(conv, clips):
    options = {"num_relations": 2} if "RGCN" in conv else {}
    head, tokens = head_of(conv, conv_options=options), tokens_of(clips).requires_grad_()
    batch = graphs.to_batch(tokens, head.topology)
    torch.testing.assert_close(head(batch).logits, head(tokens).logits)
    for found, expected in zip(gradients(head, batch, tokens), gradients(head, tokens, tokens), strict=True):
        torch.testing.assert_close(found, expected)


def test_edges_of_ones_own_are_used():
    head, tokens = head_of(), tokens_of()
    batch = graphs.to_batch(tokens, head.topology)
    none = batch.clone()
    none.edge_index, none.edge_type = batch.edge_index[:, :0], batch.edge_type[:0]
    torch.testing.assert_close(head(none).logits, head(tokens, topology=graphs.NoEdges()).logits)
    assert not torch.allclose(head(none).logits, head(batch).logits)


def test_one_data_is_a_batch_of_one_clip():
    head, tokens = head_of(), tokens_of(1)
    edge_index, _ = head.topology.edges(GRID)
    torch.testing.assert_close(head(Data(tokens[0].flatten(0, -2), edge_index)).logits, head(tokens).logits)


def test_pool_takes_a_batch():
    head, tokens = PoolHead(8, GRID, 5).double().eval(), tokens_of()
    torch.testing.assert_close(head(graphs.to_batch(tokens, graphs.NoEdges())).logits, head(tokens).logits)


@pytest.mark.parametrize(
    "batch",
    [
        Data(edge_index=torch.zeros(2, 0, dtype=torch.long)),
        Data(torch.zeros(6, 8)),
        Data(torch.zeros(5, 8), torch.zeros(2, 0, dtype=torch.long)),
        Batch.from_data_list([Data(torch.zeros(n, 8), torch.zeros(2, 0, dtype=torch.long)) for n in (4, 8)]),
    ],
    ids=["no-nodes", "no-edges", "a-node-is-missing", "nodes-of-one-clip-in-another"],
)
def test_what_is_no_grid_is_refused(batch):
    for head in (TagHead(8, GRID, 5, encoder_layers=0), PoolHead(8, GRID, 5)):
        with pytest.raises(ValueError, match="clip"):
            head(batch)


@pytest.mark.parametrize("conv", WITH_ATTRIBUTES)
def test_attributes_of_the_topology_equal_those_of_a_batch(conv):
    head, tokens = head_of(conv, conv_options=WITH_ATTRIBUTES[conv], edge_attributes=ATTRIBUTES), tokens_of()
    assert head.propagation[0].kernel.impl == "pyg"
    torch.testing.assert_close(head(graphs.to_batch(tokens, head.topology, ATTRIBUTES)).logits, head(tokens).logits)
    with pytest.raises(ValueError, match="edge_attr"):
        head(graphs.to_batch(tokens, head.topology))


@pytest.mark.parametrize("conv", WITH_ATTRIBUTES)
def test_attributes_change_the_answer_and_have_gradients(conv):
    head, tokens = head_of(conv, conv_options=WITH_ATTRIBUTES[conv], edge_attributes=ATTRIBUTES), tokens_of()
    batch = graphs.to_batch(tokens, head.topology, ATTRIBUTES)
    batch.edge_attr = batch.edge_attr.clone().requires_grad_()
    (grad,) = torch.autograd.grad(head(batch).logits.pow(2).sum(), batch.edge_attr)
    assert grad.abs().max() > 0


class Collects(MessagePassing):
    """Sums the attributes of the edges into each node."""

    def __init__(self, in_channels, edge_dim):
        super().__init__(aggr="sum")
        self.linear = nn.Linear(edge_dim, in_channels, bias=False)
        nn.init.eye_(self.linear.weight)

    def forward(self, x, edge_index, edge_attr):
        return self.propagate(edge_index, x=x, edge_attr=edge_attr)

    def message(self, edge_attr):
        return self.linear(edge_attr)


def test_a_convolution_of_ones_own_is_given_them_in_order():
    rule = graphs.parse("clique+chain")
    layer = GraphLayer(
        6, rule, GRID, Collects, activation="none", residual=False, edge_attributes=["direction", *ATTRIBUTES]
    )
    one = graphs.graph(rule, GRID)
    expected = torch.zeros(6, 6)
    for (_, target), row in zip(one.edge_index.T.tolist(), one.attributes(["direction", *ATTRIBUTES]), strict=True):
        expected[target] += row
    torch.testing.assert_close(layer(torch.randn(2, *GRID, 6)), expected.reshape(1, *GRID, 6).expand(2, *GRID, 6))


@pytest.mark.parametrize(
    ("conv", "options"),
    [
        ("gcn", {"edge_attributes": ["type"]}),
        ("gat", {"edge_attributes": ["type"], "impl": "structured"}),
        ("gat", {"edge_attributes": ["colour"]}),
        (Collects, {}),
    ],
    ids=["a-convolution-without", "another-implementation", "unknown", "wanted-and-not-named"],
)
def test_what_cannot_be_given_is_refused_when_the_head_is_built(conv, options):
    with pytest.raises(ValueError, match="edge"):
        head_of(conv, **options)


def test_the_same_layer_runs_on_other_edges_and_grids():
    head = head_of("gatv2", edge_attributes=ATTRIBUTES)
    for topology in ("none", "chain", "clique"):
        assert head(tokens_of(), topology=graphs.parse(topology)).logits.shape == (2, 5)
    head.resize((4, 2, 2))
    assert head(torch.randn(1, 4, 2, 2, 8, dtype=torch.float64)).logits.shape == (1, 5)

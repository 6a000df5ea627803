"""Position table, encoder, graph layer and read-outs against plain formulas."""

import itertools
import sys
from types import ModuleType
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from graphs import Chain, Clique, NoEdges
from taggnn.nn import convs
from taggnn.nn.layers import GraphLayer, PositionTable, encoder, readout


@pytest.mark.parametrize("grid", [(5,), (3, 4), (3, 2, 1), (2, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("factorised", [False, True])
class TestPositionTable:
    def test_every_position_has_its_vector(self, grid, factorised):
        table = PositionTable(4, grid, factorised)
        assert table.grid == grid
        assert len(table.tables) == (len(grid) if factorised else 1)
        added = table(torch.zeros(2, *grid, 4)).detach()
        for index in itertools.product(*map(range, grid)):
            # A factorised table has the size 1 along all axes but its own.
            one = [part[tuple(i % n for i, n in zip(index, part.shape, strict=False))] for part in table.tables]
            torch.testing.assert_close(added[(slice(None), *index)], sum(one).detach().expand(2, 4))
        with pytest.raises(ValueError, match="built for"):
            table(torch.zeros(2, *grid, 1, 4))

    def test_stretching_is_linear_along_every_axis(self, grid, factorised):
        torch.manual_seed(0)
        table = PositionTable(3, grid, factorised).double()
        expected = sum(part.detach() for part in table.tables).expand(*grid, 3)
        new = tuple(size + 2 * (axis != 1) for axis, size in enumerate(grid))
        for axis, (size, longer) in enumerate(zip(grid, new, strict=True)):
            rows = F.interpolate(expected.movedim(axis, -1).flatten(0, -2)[None], size=longer, mode="linear")[0]
            expected = rows.reshape(*expected.movedim(axis, -1).shape[:-1], longer).movedim(-1, axis)
            assert expected.shape[axis] == longer >= size
        table.resize(new)
        assert table.grid == new
        got = table(torch.zeros(1, *new, 3, dtype=torch.float64))[0].detach()
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)

    def test_to_the_same_grid_is_exact(self, grid, factorised):
        table = PositionTable(3, grid, factorised)
        before = [part.detach().clone() for part in table.tables]
        table.resize(grid)
        assert all(torch.equal(old, new) for old, new in zip(before, table.tables, strict=True))
        with pytest.raises(ValueError, match="another number of axes"):
            table.resize((*grid, 2))


def test_the_table_starts_with_the_deviation_it_is_given():
    torch.manual_seed(0)
    assert float(PositionTable(64, (4, 5, 6)).tables[0].detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(PositionTable(64, (4, 5, 6), std=1).tables[0].detach().std()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("given", [(1, 2, 3), (2, 3, 2), (1, 3, 1)], ids=str)
@pytest.mark.parametrize("factorised", [False, True])
def test_tokens_of_another_grid_are_refused(given, factorised):
    # An axis of length 1 would otherwise be broadcast silently.
    table = PositionTable(4, (1, 3, 2), factorised=factorised)
    with pytest.raises(ValueError, match=r"given to a head built for \(1, 3, 2\)"):
        table(torch.zeros(1, *given, 4))


@pytest.mark.parametrize("factorised", [False, True])
def test_resizing_keeps_a_slope_along_one_axis(factorised):
    table = PositionTable(1, (2, 4, 3), factorised)
    for parameter in table.tables:
        parameter.data.zero_()
    rows = table.tables[1 if factorised else 0].data
    rows += torch.tensor([0.0, 2.0, 4.0, 6.0]).reshape(1, 4, 1, 1)
    table.resize((3, 8, 2))
    added = table(torch.zeros(1, 3, 8, 2, 1))[0, ..., 0].detach()
    # Centres of the eight new rows among the four old ones, held at the ends.
    expected = torch.tensor([0.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.0]).reshape(1, 8, 1).expand(3, 8, 2)
    torch.testing.assert_close(added, expected)
    assert all(isinstance(part, nn.Parameter) and part.requires_grad for part in table.tables)


def test_the_post_norm_encoder_is_torchs_own():
    torch.manual_seed(0)
    built = encoder(8, 2, heads=2, ffn=12, norm_first=False, activation="relu").eval()
    plain = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.1, batch_first=True), 2).eval()
    plain.load_state_dict(built.state_dict(), strict=True)
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(built(x), plain(x))


def test_the_pre_norm_encoder_by_its_formula():
    torch.manual_seed(0)
    built = encoder(8, 1, heads=2).double().eval()
    layer = built.layers[0]
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    normed = layer.norm1(x)
    y = x + layer.self_attn(normed, normed, normed)[0]
    y = y + layer.linear2(F.gelu(layer.linear1(layer.norm2(y))))
    assert layer.linear1.out_features == 16
    torch.testing.assert_close(built(x), built.norm(y))


def test_an_encoder_without_layers_is_the_identity():
    x = torch.randn(2, 3, 7)
    assert torch.equal(encoder(7, 0)(x), x)


def test_an_encoder_that_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match=r"6 channels cannot have 4 attention heads"):
        encoder(6, 1, heads=4)
    with pytest.raises(ValueError, match=r"unknown activation of the encoder 'gleu'; did you mean 'gelu'"):
        encoder(8, 1, activation="gleu")


@pytest.mark.parametrize("name", convs.CONVS)
@pytest.mark.parametrize(("grid", "clips"), [((1, 3, 2), 2), ((3, 2, 1), 1)], ids=str)
def test_a_graph_layer_by_its_formula(name, grid, clips, naive_edges):
    torch.manual_seed(0)
    layer = GraphLayer(8, Clique() + Chain(), grid, name).double().eval()
    nn.init.normal_(layer.norm.weight)
    x = torch.randn(clips, *grid, 8, dtype=torch.float64)
    edge_index, _ = naive_edges(grid)
    for clip, got in zip(x, layer(x), strict=True):
        normed = F.layer_norm(clip, (8,), layer.norm.weight, layer.norm.bias)
        out = layer.conv(normed.flatten(0, 2), edge_index).reshape(clip.shape)
        torch.testing.assert_close(got, clip + F.gelu(out), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("activation", "function"), [("relu", F.relu), ("gelu", F.gelu), ("elu", F.elu), ("none", lambda x: x)]
)
def test_each_part_of_a_graph_layer_can_be_left_out(norm, residual, activation, function):
    torch.manual_seed(0)
    layer = GraphLayer(8, NoEdges(), (1, 2, 3), "gcn", norm=norm, activation=activation, residual=residual)
    x = torch.randn(1, 1, 2, 3, 8)
    # A GCN without edges is its linear layer.
    out = function(layer.conv.lin(F.layer_norm(x, (8,)) if norm else x) + layer.conv.bias)
    torch.testing.assert_close(layer(x), x + out if residual else out)


@pytest.mark.parametrize("name", convs.CONVS)
def test_permuting_the_positions_permutes_the_output(name):
    torch.manual_seed(0)
    layer = GraphLayer(8, Clique() + Chain(), (3, 2, 3), name).double().eval()
    x = torch.randn(2, 3, 2, 3, 8, dtype=torch.float64)
    order = torch.tensor([4, 0, 5, 2, 1, 3])

    def permuted(y):
        return y.flatten(2, 3)[:, :, order].reshape(y.shape)

    torch.testing.assert_close(layer(permuted(x)), permuted(layer(x)), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(layer(permuted(x)), layer(x), atol=1e-3)


# These two have edges besides those of the topology.
@pytest.mark.parametrize("name", [name for name in convs.CONVS if name not in ("knn", "adaptive")])
def test_without_edges_every_node_is_on_its_own(name):
    torch.manual_seed(0)
    layer = GraphLayer(8, NoEdges(), (3, 2, 1), name).double().eval()
    single = GraphLayer(8, NoEdges(), (1, 1, 1), name).double().eval()
    single.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 2, 1, 8, dtype=torch.float64)
    alone = single(x.reshape(12, 1, 1, 1, 8)).reshape(x.shape)
    torch.testing.assert_close(layer(x), alone, rtol=1e-10, atol=1e-10)
    # As if the rule of a layer with edges were replaced for once.
    other = GraphLayer(8, Clique() + Chain(), (3, 2, 1), name).double().eval()
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x, NoEdges()), alone, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(other(x), alone, atol=1e-4)


def test_a_convolution_with_edge_types_learns_them_apart(naive_edges):
    torch.manual_seed(0)
    layer = GraphLayer(
        8, Clique() + Chain(), (2, 1, 3), "torch_geometric.nn.RGCNConv", {"num_relations": 2}, norm=False
    )
    x = torch.randn(1, 2, 1, 3, 8)
    edge_index, edge_type = naive_edges((2, 1, 3))
    expected = x + F.gelu(layer.conv(x.reshape(6, 8), edge_index, edge_type)).reshape(x.shape)
    torch.testing.assert_close(layer(x), expected)


class Halves(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.lin = nn.Linear(channels, channels // 2)

    def forward(self, x, edge_index):
        return self.lin(x)


class Stumbles(nn.Module):
    def forward(self, x, edge_index):
        raise KeyError("weights")


def test_a_convolution_that_does_not_fit_is_refused_when_the_layer_is_built(monkeypatch):
    own = ModuleType("own_convs")
    own.Halves, own.Stumbles = Halves, Stumbles
    monkeypatch.setitem(sys.modules, "own_convs", own)
    with pytest.raises(ValueError, match=r"own_convs.Halves must give 8 channels per node; it gave 4"):
        GraphLayer(8, Clique(), (2, 2, 2), "own_convs.Halves")
    with pytest.raises(ValueError, match=r"own_convs.Stumbles does not run on \(x, edge_index\): KeyError: 'weights'"):
        GraphLayer(8, Clique(), (2, 2, 2), "own_convs.Stumbles")


def test_the_trial_run_leaves_the_layer_in_training_mode():
    layer = GraphLayer(8, Clique(), (2, 2, 2), "gat")
    assert layer.training
    assert layer.conv.training


def test_a_graph_layer_moves_to_another_grid_and_refuses_others(naive_edges):
    torch.manual_seed(0)
    layer = GraphLayer(8, Clique() + Chain(), (2, 1, 2), "gatv2", norm=False).double()
    x = torch.randn(1, 3, 2, 1, 8, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"tokens of grid \(3, 2, 1\) given to a graph layer built for \(2, 1, 2\).*resize"
    ):
        layer(x)
    layer.resize((3, 2, 1))
    expected = x + F.gelu(layer.conv(x.reshape(6, 8), naive_edges((3, 2, 1))[0])).reshape(x.shape)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("impl", ["pyg", "dense", "structured", "auto"])
@pytest.mark.parametrize("grid", [(4,), (2, 3), (2, 2, 1, 2)], ids=str)
def test_gradients_of_a_graph_layer_on_other_ranks(grid, impl):
    torch.manual_seed(0)
    layer = GraphLayer(4, Clique() + Chain(), grid, "gat", {"heads": 2}, impl).double()
    x = torch.randn(2, *grid, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x, eps=1e-6, atol=1e-6)


class Wants(Clique):
    """A user's rule for one grid: it refuses others, or lists the edges of its grid for all."""

    sure: ClassVar[bool] = True

    def edges(self, grid, device="cpu"):
        if self.sure and tuple(grid) != (3, 4):
            raise IndexError("no such grid")
        return super().edges((3, 4), device)


class Careless(Wants):
    sure = False


@pytest.mark.parametrize("rule", [Wants(), Careless()], ids=["raises", "careless"])
def test_a_rule_that_knows_one_grid_is_tried_on_that(rule):
    layer = GraphLayer(8, rule, (3, 4), "gcn")
    expected = GraphLayer(8, Clique(), (3, 4), "gcn")
    expected.load_state_dict(layer.state_dict())
    x = torch.randn(1, 3, 4, 8)
    torch.testing.assert_close(layer(x), expected(x))


@pytest.mark.parametrize(
    ("given", "name"),
    [(3, "3"), ("taggnn.nn.layers.ACTIVATIONS", "read-out"), ("taggnn.nn.layers.Men", "in taggnn.nn.layers")],
)
def test_what_is_no_read_out_is_refused(given, name):
    with pytest.raises(ValueError, match=name):
        readout(given, 8)


def test_dropout_of_a_graph_layer_spares_the_residual():
    torch.manual_seed(0)
    layer = GraphLayer(8, NoEdges(), (1, 2, 2), "gcn", dropout=1.0)
    x = torch.randn(1, 1, 2, 2, 8)
    assert torch.equal(layer(x), x)
    assert not torch.equal(layer.eval()(x), x)


def test_read_outs_by_their_formulas():
    torch.manual_seed(0)
    x = torch.randn(3, 5, 8)
    assert torch.equal(readout("mean", 8)(x)[0], x.mean(1))
    assert torch.equal(readout("max", 8)(x)[0], x.max(1).values)
    attention = readout("attention", 8)
    nn.init.normal_(attention.score.weight)
    pooled, weights = attention(x)
    hidden = torch.tanh(x @ attention.hidden.weight.T + attention.hidden.bias)
    scores = (hidden @ attention.score.weight[0]).exp()
    expected = scores / scores.sum(1, keepdim=True)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    torch.testing.assert_close(pooled, (expected[..., None] * x).sum(1))
    assert float(weights.std()) > 0.01


def test_attention_starts_from_the_plain_mean():
    x = torch.randn(2, 7, 8)
    pooled, weights = readout("attention", 8)(x)
    torch.testing.assert_close(pooled, x.mean(1))
    torch.testing.assert_close(weights, torch.full((2, 7), 1 / 7))


@pytest.mark.parametrize("name", ["mean", "max"])
def test_only_attention_has_weights(name):
    assert readout(name, 8)(torch.randn(2, 3, 8))[1] is None


def test_an_unknown_read_out_or_activation_is_refused():
    with pytest.raises(ValueError, match=r"unknown read-out 'men'; did you mean 'mean'"):
        readout("men", 8)
    with pytest.raises(ValueError, match=r"unknown activation 'glu'.*'gelu'"):
        GraphLayer(8, Clique(), (2, 2, 2), activation="glu")

"""Convolutions by name: the class, its defaults, its options, and every way to get a name wrong."""

import functools
import sys
from types import ModuleType

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from taggnn.heads import TagHead
from taggnn.nn import convs
from taggnn.reporting import model_tables

EDGES = torch.tensor([[0, 1, 1, 2, 2], [1, 0, 2, 1, 0]])

# Written by hand, as a user of PyG would: each name with 8 channels.
PLAIN = {
    "gcn": lambda: pyg.GCNConv(8, 8),
    "gat": lambda: pyg.GATConv(8, 2, heads=4),
    "gatv2": lambda: pyg.GATv2Conv(8, 2, heads=4),
    "sage": lambda: pyg.SAGEConv(8, 8),
    "graphconv": lambda: pyg.GraphConv(8, 8),
    "gin": lambda: pyg.GINConv(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))),
    "transformer": lambda: pyg.TransformerConv(8, 2, heads=4),
    "appnp": lambda: pyg.APPNP(2, 0.1),
}


class Gossip(nn.Module):
    """A convolution of a user's own: knows one size only, and no PyG."""

    def __init__(self, channels, loud=1.0):
        super().__init__()
        self.mix = nn.Linear(channels, channels)
        self.loud = loud

    def forward(self, x, edge_index):
        source, target = edge_index
        return self.loud * self.mix(x).new_zeros(x.shape).index_add(0, target, self.mix(x)[source])


@pytest.fixture(autouse=True)
def _module_of_ones_own(monkeypatch):
    own = ModuleType("own_convs")
    own.Gossip, own.number = Gossip, 3
    monkeypatch.setitem(sys.modules, "own_convs", own)


def test_every_name_is_compared():
    # Those of this package take the grid, too, and have tests of their own.
    own = {name for name, row in convs.CONVS.items() if str(row.builder).startswith("taggnn.")}
    assert set(PLAIN) == set(convs.CONVS) - own


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_is_its_class_with_8_channels_in_and_out(name):
    torch.manual_seed(0)
    built, plain = convs.build(name, 8), PLAIN[name]()
    assert type(built) is type(plain)
    plain.load_state_dict(built.state_dict(), strict=True)
    x = torch.randn(3, 8)
    assert torch.equal(built.eval()(x, EDGES), plain.eval()(x, EDGES))
    assert built(x, EDGES).shape == (3, 8)


@pytest.mark.parametrize(
    ("name", "options", "attribute", "value"),
    [
        ("gat", {"heads": 2}, "out_channels", 4),
        ("gat", {"concat": False}, "out_channels", 8),
        ("gcn", {"improved": True}, "improved", True),
        ("appnp", {"K": 5}, "K", 5),
        ("sage", {"aggr": "max"}, "aggr", "max"),
        # Not in SAGEConv's own signature but in that of the class it forwards to.
        ("sage", {"flow": "target_to_source"}, "flow", "target_to_source"),
    ],
    ids=str,
)
def test_options_go_to_the_class(name, options, attribute, value):
    assert getattr(convs.build(name, 8, **options), attribute) == value


def test_a_dotted_path_of_pyg():
    conv = convs.build("torch_geometric.nn.RGCNConv", 8, num_relations=2)
    assert type(conv) is pyg.RGCNConv
    assert (conv.in_channels, conv.out_channels, conv.num_relations) == (8, 8, 2)


def test_a_dotted_path_of_ones_own():
    conv = convs.build("own_convs.Gossip", 8, loud=2.0)
    assert type(conv) is Gossip
    assert conv(torch.randn(3, 8), EDGES).shape == (3, 8)
    assert conv.loud == 2


def test_a_class_a_function_or_a_module_as_it_is():
    assert type(convs.build(Gossip, 8, loud=2.0)) is Gossip
    assert convs.build(Gossip, 8, loud=2.0).loud == 2
    assert type(convs.build(pyg.SAGEConv, 8, aggr="max")) is pyg.SAGEConv
    assert convs.build(lambda channels, loud=1.0: Gossip(channels, loud), 8, loud=3.0).loud == 3
    assert convs.build(functools.partial(pyg.GATConv, heads=2), 8, heads=4).heads == 4
    assert convs.build(functools.partial(Gossip, 8), 8).mix.in_features == 8
    built = Gossip(8)
    assert convs.build(built, 8) is built


def test_layers_that_are_given_a_module_share_it():
    built = Gossip(8)
    head = TagHead(8, (2, 2), 3, conv=built, graph_layers=2, encoder_layers=0)
    assert head.propagation[0].conv is head.propagation[1].conv is built
    apart = TagHead(8, (2, 2), 3, conv=Gossip, graph_layers=2, encoder_layers=0)
    assert apart.propagation[0].conv is not apart.propagation[1].conv
    assert apart(torch.randn(1, 2, 2, 8)).logits.shape == (1, 3)


def test_one_row_is_all_that_a_convolution_needs(monkeypatch):
    monkeypatch.setitem(convs.CONVS, "gossip", convs.Row(Gossip, {"loud": 4.0}, "tells all", ""))
    assert convs.build("gossip", 8).loud == 4
    line = model_tables.conv_table()[1][-1]
    assert (line[0], line[1], line[3], line[4]) == ("gossip", "Gossip(loud=4.0)", "-", "tells all")


def test_gin_takes_a_network_of_ones_own():
    network = nn.Linear(8, 8)
    assert convs.build("gin", 8, nn=network).nn is network


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gatv3", {}, r"unknown convolution 'gatv3'; did you mean 'gatv2'.*the dotted path of a class"),
        (
            "torch_geometric.nn.GCNCnov",
            {},
            r"unknown convolution in torch_geometric.nn 'GCNCnov'; did you mean 'GCNConv'",
        ),
        ("torch_geometrik.nn.GCNConv", {}, r"cannot import 'torch_geometrik.nn'"),
        ("own_convs.number", {}, r"'own_convs.number' is no torch.nn.Module class but 3"),
        ("torch_geometric.nn.global_mean_pool", {}, r"is no torch.nn.Module class"),
        ("gat", {"haeds": 2}, r"unknown option of convolution gat 'haeds'; did you mean 'heads'"),
        (
            "own_convs.Gossip",
            {"lout": 2},
            r"unknown option of convolution own_convs.Gossip 'lout'; did you mean 'loud'",
        ),
        (lambda x: x, {}, r"no torch.nn.Module class.*in_channels, out_channels or channels"),
        (lambda channels: channels, {}, r"must give a torch.nn.Module; it gave 8"),
        (Gossip(8), {"loud": 2}, r"Gossip is built already.*loud"),
        (dict, {}, r"no torch.nn.Module class"),
        ("gat", {"heads": 0}, r"convolution gat: heads must be a whole number, 1 or more; given 0"),
        ("gat", {"heads": "4"}, r"convolution gat: heads must be a whole number, 1 or more; given '4'"),
        ("gatv2", {"heads": -2, "concat": False}, r"heads must be a whole number, 1 or more; given -2"),
        ("torch_geometric.nn.ChebConv", {"K": 0}, r"ChebConv: ChebConv refuses its options.*given .*K=0"),
        ("..GCNConv", {}, r"unknown convolution '..GCNConv'.*dotted path of a class"),
        ("gat", {"heads": 3}, r"convolution gat: 8 channels cannot be shared by heads=3"),
        ("torch_geometric.nn.RGCNConv", {}, r"RGCNConv.*'num_relations'; given in_channels=8, out_channels=8"),
    ],
    # A word of the same form in every process: not the address of an object.
    ids=lambda value: type(value).__name__ if callable(value) else str(value)[:40],
)
def test_what_does_not_fit_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        convs.build(name, 8, **options)

"""Equal or refused: every option of every convolution that a fast implementation knows, one at a time, against PyG."""

import inspect

import pytest
import torch
from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.nn.conv import MessagePassing

from graphs import parse
from taggnn import kernels
from taggnn.kernels import operators
from taggnn.nn import convs
from tests.kernels.conftest import assert_equal_to_pyg, build, tokens

GRID = (3, 2, 1)
EQUAL, REFUSED = "equal", "refused"

# Every argument of every constructor, with a value that is not the default, and whether it is equal or refused. The sizes come
# from the tests; arguments that only concern edge features, which tokens do not have, change nothing.
OPTIONS = {
    "gcn": {
        "improved": (True, REFUSED),
        "cached": (True, REFUSED),
        "add_self_loops": (False, EQUAL),
        "normalize": (False, EQUAL),
        "bias": (False, EQUAL),
        "aggr": ("mean", REFUSED),
    },
    "appnp": {
        "K": (3, EQUAL),
        "alpha": (0.4, EQUAL),
        "dropout": (0.5, REFUSED),
        "cached": (True, REFUSED),
        "add_self_loops": (False, EQUAL),
        "normalize": (False, EQUAL),
        "aggr": ("max", REFUSED),
    },
    "sage": {
        "aggr": ("sum", EQUAL),
        "normalize": (True, EQUAL),
        "root_weight": (False, EQUAL),
        "project": (True, EQUAL),
        "bias": (False, EQUAL),
    },
    "graphconv": {"aggr": ("mean", EQUAL), "bias": (False, EQUAL)},
    "gin": {
        "nn": (nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()), EQUAL),
        "eps": (0.7, EQUAL),
        "train_eps": (True, EQUAL),
        "aggr": ("mean", EQUAL),
    },
    "gat": {
        "heads": (2, EQUAL),
        "concat": (False, EQUAL),
        "negative_slope": (0.01, EQUAL),
        "dropout": (0.5, EQUAL),
        "add_self_loops": (False, EQUAL),
        "edge_dim": (3, EQUAL),
        "fill_value": (0.0, EQUAL),
        "bias": (False, EQUAL),
        "residual": (True, EQUAL),
        "aggr": ("mean", REFUSED),
    },
    "gatv2": {
        "heads": (2, EQUAL),
        "concat": (False, EQUAL),
        "negative_slope": (0.01, EQUAL),
        "dropout": (0.5, EQUAL),
        "add_self_loops": (False, EQUAL),
        "edge_dim": (3, EQUAL),
        "fill_value": (0.0, EQUAL),
        "bias": (False, EQUAL),
        "share_weights": (True, EQUAL),
        "residual": (True, EQUAL),
        "aggr": ("max", REFUSED),
    },
    "transformer": {
        "heads": (2, EQUAL),
        "concat": (False, EQUAL),
        "beta": (True, EQUAL),
        "dropout": (0.5, EQUAL),
        "edge_dim": (3, REFUSED),
        "bias": (False, EQUAL),
        "root_weight": (False, EQUAL),
        "aggr": ("mean", REFUSED),
    },
}
# Arguments of MessagePassing, which all of them take.
INHERITED = {
    "flow": ("target_to_source", REFUSED),
    "node_dim": (0, EQUAL),
    "decomposed_layers": (2, REFUSED),
    "aggr_kwargs": ({}, EQUAL),
}
CASES = [
    pytest.param(name, option, value, fate, id=f"{name}-{option}={'Sequential' if option == 'nn' else value}")
    for name, options in OPTIONS.items()
    for option, (value, fate) in {**options, **INHERITED}.items()
    # PyG's attention layers state their own node_dim.
    if not (option == "node_dim" and name in ("gat", "gatv2", "transformer"))
]
SIZES = {"in_channels", "out_channels", "kwargs"}


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_of_the_installed_pyg_is_left_out(name):
    conv_class = type(convs.build(name, 8))
    taken = set(inspect.signature(conv_class.__init__).parameters) - {"self"} - SIZES
    assert taken <= set(OPTIONS[name]), "a new option: read operators.py, then list here what is to become of it"
    passed = set(inspect.signature(MessagePassing.__init__).parameters) - {"self", "aggr"}
    assert passed == set(INHERITED)


@pytest.mark.parametrize("impl", ["structured", "dense"])
@pytest.mark.parametrize(("name", "option", "value", "fate"), CASES)
def test_an_option_is_equal_or_refused(name, option, value, fate, impl):
    conv = build(name, **{option: value}).eval()
    if fate == EQUAL:
        assert_equal_to_pyg(impl, conv, "clique+chain", GRID, tokens(2, GRID))
        return
    with pytest.raises(ValueError, match=rf"impl {impl}: {type(conv).__name__} with .*{option}"):
        kernels.find(conv, parse("clique+chain"), GRID, impl)


@pytest.mark.parametrize("impl", ["structured", "dense", "scatter"])
@pytest.mark.parametrize("name", ["gat", "gatv2", "transformer"])
def test_dropout_drops_in_training_and_only_there(name, impl):
    torch.manual_seed(0)
    conv = convs.build(name, 8, dropout=0.5)
    kernel, x = kernels.find(conv, parse("clique+chain"), GRID, impl), torch.randn(2, 6, 8)
    assert not torch.equal(kernel(conv, x), kernel(conv, x))
    conv.eval()
    assert torch.equal(kernel(conv, x), kernel(conv, x))


@pytest.mark.parametrize("name", ["gat", "gatv2", "transformer"])
def test_dropout_of_everything_leaves_what_pyg_leaves(name):
    torch.manual_seed(0)
    conv, x = convs.build(name, 8, dropout=1.0), torch.randn(2, 6, 8, requires_grad=True)
    got = kernels.find(conv, parse("clique+chain"), GRID, "structured")(conv, x)
    torch.testing.assert_close(got, kernels.find(conv, parse("clique+chain"), GRID, "pyg")(conv, x))
    got.sum().backward()
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("name", ["gat", "gatv2"])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_the_ends_of_a_slope_are_equal(name, slope):
    assert_equal_to_pyg("structured", build(name, negative_slope=slope), "clique+chain", GRID, tokens(2, GRID))


@pytest.mark.parametrize("slope", [-0.1, 1.5])
def test_a_slope_outside_of_0_to_1_is_refused(slope):
    with pytest.raises(ValueError, match=rf"negative_slope={slope}, outside \[0, 1\]"):
        operators.read(convs.build("gat", 8, negative_slope=slope))


@pytest.mark.parametrize("aggr", ["median", ["mean", "max"], "softmax", "lstm"], ids=str)
def test_other_aggregations_are_refused(aggr):
    with pytest.raises(ValueError, match=r"SAGEConv with aggr=.*impl pyg"):
        operators.read(pyg.SAGEConv(8, 8, aggr=aggr))


def test_an_aggregation_of_ones_own_is_refused():
    class Doubled(pyg.aggr.SumAggregation):
        def forward(self, *args, **kwargs):
            return 2 * super().forward(*args, **kwargs)

    with pytest.raises(ValueError, match=r"aggr='Doubled\(\)'"):
        operators.read(pyg.SAGEConv(8, 8, aggr=Doubled()))


class Bent(pyg.GATConv):
    def message(self, x_j, alpha):
        return 2 * super().message(x_j, alpha)


def test_a_subclass_runs_on_the_edge_list():
    topology, x = parse("clique+chain"), torch.randn(1, 6, 8)
    conv = Bent(8, 2, heads=4)
    kernel = kernels.find(conv, topology, GRID)
    assert kernel.impl == "pyg"
    plain = pyg.GATConv(8, 2, heads=4)
    plain.load_state_dict(conv.state_dict())
    torch.testing.assert_close(kernel(conv, x), 2 * kernels.find(plain, topology, GRID)(plain, x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"Bent runs on edge lists only \(impl pyg\); possible: GCNConv.*subclass"):
        kernels.find(conv, topology, GRID, "structured")


def test_a_convolution_with_other_sources_than_targets_is_refused():
    with pytest.raises(ValueError, match=r"in_channels=\(8, 8\)"):
        operators.read(pyg.GATConv((8, 8), 2, heads=4))


def test_a_message_of_an_instances_own_is_refused():
    conv = convs.build("gcn", 8)
    conv.message = lambda x_j, edge_weight: x_j
    with pytest.raises(ValueError, match=r"GCNConv with its own message"):
        operators.read(conv)


@pytest.mark.parametrize(
    "hook", ["register_message_forward_hook", "register_propagate_forward_pre_hook", "register_forward_hook"]
)
def test_hooks_are_refused_when_built_and_when_called(hook):
    conv, topology = convs.build("gcn", 8), parse("clique+chain")
    kernel = kernels.find(conv, topology, GRID)
    assert kernel.impl == "structured"
    handle = getattr(conv, hook)(lambda *args: None)
    with pytest.raises(ValueError, match=r"GCNConv with hooks on it"):
        kernel(conv, torch.randn(1, 6, 8))
    assert kernels.find(conv, topology, GRID).impl == "pyg"
    handle.remove()
    kernel(conv, torch.randn(1, 6, 8))


def test_an_explainer_is_refused_when_called():
    conv, topology = convs.build("gat", 8), parse("clique+chain")
    kernel = kernels.find(conv, topology, GRID)
    conv.explain = True
    with pytest.raises(ValueError, match=r"GATConv with an explainer attached to it runs on edge lists only: impl pyg"):
        kernel(conv, torch.randn(1, 6, 8))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("gcn", "normalize", False),
        ("gcn", "improved", True),
        ("gcn", "flow", "target_to_source"),
        ("appnp", "K", 3),
        ("appnp", "alpha", 0.7),
        ("gat", "negative_slope", 0.7),
        ("gat", "add_self_loops", False),
        ("gatv2", "negative_slope", 0.7),
        ("gatv2", "add_self_loops", False),
    ],
)
@pytest.mark.parametrize("impl", ["structured", "dense"])
def test_an_option_changed_after_the_kernel_was_built_is_refused(name, option, value, impl):
    conv, x = build(name), tokens(1, GRID)
    kernel = kernels.find(conv, parse("clique+chain"), GRID, impl)
    kernel(conv, x)
    setattr(conv, option, value)
    with pytest.raises(ValueError, match=type(conv).__name__):
        kernel(conv, x)


@pytest.mark.parametrize(("name", "option", "value"), [("sage", "normalize", True), ("gat", "concat", False)])
def test_an_option_of_the_convolution_s_own_layers_is_read_at_each_call(name, option, value):
    conv, x = build(name), tokens(1, GRID)
    fast, reference = (kernels.find(conv, parse("clique+chain"), GRID, impl) for impl in ("structured", "pyg"))
    before = fast(conv, x)
    setattr(conv, option, value)
    if option == "concat":
        conv.bias = None
    after = fast(conv, x)
    assert after.shape != before.shape or not torch.equal(after, before)
    torch.testing.assert_close(after, reference(conv, x))

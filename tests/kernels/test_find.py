"""How an implementation is found: by name, or the fastest that is proven; nothing of it is saved."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch

from graphs import Chain, Clique, Topology, parse
from taggnn import kernels
from taggnn.nn import convs
from taggnn.nn.layers import GraphLayer
from tests.convolutions import OF_PYG

GRID = (3, 2, 1)


@dataclass(frozen=True)
class Ring(Topology):
    """An edge from every node to the next, and from the last to the first."""

    def edges(self, grid, device="cpu"):
        frames, height, width = self.checked(grid)
        target = torch.arange(frames * height * width, device=device)
        return torch.stack([target.roll(1), target]), torch.zeros_like(target)


@pytest.mark.parametrize("name", OF_PYG)
@pytest.mark.parametrize("topology", ["none", "clique", "chain", "clique+chain", "clique+chain(reach=2)"])
def test_auto_is_structured_where_it_is_proven(name, topology):
    assert kernels.find(convs.build(name, 8), parse(topology), GRID).impl == "structured"


def test_auto_says_why_it_takes_the_edge_list(caplog):
    conv = convs.build("gcn", 8)
    with caplog.at_level("INFO", logger="taggnn"):
        kernel = kernels.find(conv, Ring(), GRID)
    assert kernel.impl == "pyg"
    assert f"GCNConv on {Ring()} is computed on its edge list (impl pyg)" in caplog.text
    assert f"impl structured: topology {Ring()} has other edges" in caplog.text
    x = torch.randn(1, 6, 8)
    expected = conv(x[0], Ring().edges(GRID)[0])
    torch.testing.assert_close(kernel(conv, x)[0], expected)
    with pytest.raises(ValueError, match=r"impl structured: topology .*Ring has other edges than clique, chain"):
        kernels.find(conv, Ring(), GRID, "structured")


def test_a_subclass_of_a_rule_is_another_rule():
    @dataclass(frozen=True)
    class Directed(Chain):
        def edges(self, grid, device="cpu"):
            (source, target), kind = super().edges(grid, device)
            forward = source < target
            return torch.stack([source[forward], target[forward]]), kind[forward]

    assert kernels.find(convs.build("gat", 8), Clique() + Directed(), GRID).impl == "pyg"


def test_an_unknown_implementation_is_refused():
    with pytest.raises(ValueError, match=r"unknown implementation 'pgy'; did you mean 'pyg'\? Possible: auto, pyg, sc"):
        kernels.find(convs.build("gcn", 8), parse("clique"), GRID, "pgy")


def test_a_package_that_is_not_there_is_named(monkeypatch):
    def missing(name):
        raise ImportError(f"no {name}")

    conv = convs.build("gcn", 8)
    monkeypatch.setattr(kernels.importlib, "import_module", missing)
    with pytest.raises(
        ValueError, match=r"impl scatter needs the package torch-scatter.*possible without it: auto, pyg"
    ):
        kernels.find(conv, parse("clique"), GRID, "scatter")


@pytest.mark.parametrize("impl", ["scatter", "dense", "structured", "pyg"])
@pytest.mark.parametrize("name", OF_PYG)
def test_a_kernel_owns_nothing_and_can_be_copied(name, impl):
    torch.manual_seed(0)
    conv = convs.build(name, 8).eval()
    kernel = kernels.find(conv, parse("clique+chain"), GRID, impl)
    assert list(kernel.parameters()) == []
    assert kernel.state_dict() == {}
    x = torch.randn(2, 6, 8)
    for other in (copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        torch.testing.assert_close(other(conv, x), kernel(conv, x))


def test_checkpoints_do_not_depend_on_the_implementation():
    layers = [GraphLayer(8, parse("clique+chain"), GRID, "gat", impl=impl) for impl in ("pyg", "dense", "structured")]
    assert len({tuple(layer.state_dict()) for layer in layers}) == 1


def test_no_edge_list_is_made_unless_it_is_run(monkeypatch):
    def forbidden(self, *args, **kwargs):
        raise AssertionError("an edge list was made")

    monkeypatch.setattr(Clique, "edges", forbidden)
    monkeypatch.setattr(Chain, "edges", forbidden)
    topology = parse("clique+chain(reach=2)")
    for name in OF_PYG:
        layer = GraphLayer(8, topology, (6, 5, 7), name)
        layer(torch.randn(1, 6, 5, 7, 8)).sum().backward()
    with pytest.raises(AssertionError, match="an edge list was made"):
        GraphLayer(8, topology, (6, 5, 7), "gcn", impl="pyg")


@pytest.mark.parametrize("impl", ["pyg", "dense", "structured"])
@pytest.mark.parametrize("name", OF_PYG)
def test_a_batch_without_clips_gives_nothing(name, impl):
    conv = convs.build(name, 8)
    x = torch.zeros(0, 6, 8, requires_grad=True)
    out = kernels.find(conv, parse("clique+chain"), GRID, impl)(conv, x)
    assert out.shape == (0, 6, 8)
    out.sum().backward()
    for part, parameter in conv.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), part


@pytest.mark.parametrize("impl", ["pyg", "dense", "structured"])
def test_another_number_of_nodes_is_refused(impl):
    conv = convs.build("gcn", 8)
    kernel = kernels.find(conv, parse("clique+chain"), GRID, impl)
    with pytest.raises(ValueError, match=r"a kernel built for 6 nodes of a clip is given 7"):
        kernel(conv, torch.zeros(2, 7, 8))


@pytest.mark.parametrize("name", OF_PYG)
def test_a_layer_made_on_the_meta_device_computes_when_it_leaves_it(name):
    torch.manual_seed(0)
    real = GraphLayer(8, parse("clique+chain"), GRID, name)
    with torch.device("meta"):
        layer = GraphLayer(8, parse("clique+chain"), GRID, name)
    layer = layer.to_empty(device="cpu")
    layer.load_state_dict(real.state_dict())
    x = torch.randn(1, *GRID, 8)
    torch.testing.assert_close(layer(x), real(x))

"""Masked matrices: bounded memory, shared maxima, precision through every move; the matrix of tests does the rest."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from graphs import parse
from taggnn import kernels
from taggnn.kernels import dense
from taggnn.nn import convs
from tests.kernels.conftest import PreviousFrame, assert_equal_to_pyg, build, results, tokens

CASES = {
    "sage-max": ("sage", {"aggr": "max"}),
    "gatv2": ("gatv2", {"heads": 2}),
    "gatv2-without-loops": ("gatv2", {"heads": 2, "add_self_loops": False, "share_weights": True}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at_once", [1, 500], ids=["one-target", "some-targets"])
def test_equal_to_pyg_when_a_few_targets_are_computed_at_a_time(case, at_once, monkeypatch):
    monkeypatch.setitem(dense._AT_ONCE, "cpu", at_once)
    conv = build(CASES[case][0], 12, **CASES[case][1])
    # Equal values, of which every maximum has several.
    x = (tokens(2, (3, 2, 3), 12) * 2).round() / 2
    assert_equal_to_pyg("dense", conv, PreviousFrame(), (3, 2, 3), x)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor holds."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in tree_leaves(out):
            if isinstance(part, torch.Tensor):
                self.numbers = max(self.numbers, part.untyped_storage().nbytes() // part.itemsize)
        return out


@pytest.mark.parametrize("case", ["sage-max", "gatv2"])
def test_nothing_as_large_as_nodes_by_nodes_by_channels_is_made_or_kept(case, monkeypatch):
    nodes = 36
    monkeypatch.setitem(dense._AT_ONCE, "cpu", 4 * nodes * 12)
    conv, x = build(CASES[case][0], 12, **CASES[case][1]), tokens(1, (4, 3, 3), 12)
    kernel = kernels.find(conv, parse("clique+chain"), (4, 3, 3), "dense")
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        results(kernel, conv, x)
    assert largest.numbers <= max(4 * nodes * 12, nodes * nodes * 2)
    assert sum(kept.values()) < 8 * nodes * nodes * 12


@pytest.mark.parametrize(
    ("largest", "share"), [(7.0, 1 / 3), (0.0, 1 / 4)], ids=["any", "zero-which-pyg-counts-once-more"]
)
def test_equal_neighbours_share_the_gradient_of_their_maximum(largest, share):
    conv, grid = convs.build("sage", 1, aggr="max", root_weight=False, bias=False).double(), (1, 1, 5)
    conv.lin_l.weight.data.fill_(1)
    x = torch.tensor([5.0, largest, largest, largest, -1.0], dtype=torch.float64).reshape(1, 5, 1).requires_grad_()
    for impl in ("pyg", "dense"):
        out = kernels.find(conv, parse("clique"), grid, impl)(conv, x)
        slopes = torch.autograd.grad(out[0, 0, 0], x)[0].flatten().tolist()
        assert slopes == pytest.approx([0, share, share, share, 0])


def test_changes_of_precision_never_round_twice():
    conv, grid = build("gcn"), (3, 2, 2)
    kernel = kernels.find(conv, parse("clique+chain"), grid, "dense").half().double()
    exact = kernels.find(conv, parse("clique+chain"), grid, "pyg")
    x = tokens(1, grid)
    for same in (kernel, copy.deepcopy(kernel), kernel.float()):
        torch.testing.assert_close(same(conv, x), exact(conv, x), rtol=0, atol=1e-12)


def test_a_first_call_under_inference_mode_leaves_training_possible():
    conv, grid = build("gcn"), (2, 2, 2)
    kernel = kernels.find(conv, parse("clique"), grid, "dense")
    with torch.inference_mode():
        kernel(conv, tokens(1, grid))
    results(kernel, conv, tokens(1, grid))

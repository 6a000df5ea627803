"""torch-scatter's segments: what they refuse, and one clip's edges for any batch; the matrix of tests does the rest."""

import sys

import pytest

from graphs import parse
from taggnn import kernels
from taggnn.nn import convs
from tests.kernels.conftest import build, tokens

pytest.importorskip("torch_scatter")


def test_a_maximum_is_refused_because_its_gradients_differ():
    with pytest.raises(
        ValueError, match=r"^impl scatter: torch-scatter's maximum gives the gradient .* possible: pyg, dense"
    ):
        kernels.find(convs.build("sage", 12, aggr="max"), parse("clique"), (1, 2, 2), "scatter")


def test_without_the_package_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(ValueError, match="impl scatter needs the package torch-scatter"):
        kernels.find(build("gat"), parse("clique"), (1, 2, 2), "scatter")


def test_the_edges_are_those_of_one_clip_whatever_the_batch():
    conv, grid = build("gat"), (3, 2, 2)
    kernel = kernels.find(conv, parse("clique+chain"), grid, "scatter")
    sizes = {name: buffer.shape for name, buffer in kernel.named_buffers()}
    for clips in (1, 5):
        kernel(conv, tokens(clips, grid))
    assert {name: buffer.shape for name, buffer in kernel.named_buffers()} == sizes
    assert sizes["propagate.source"] == (parse("clique+chain").num_edges(grid) + 12,)

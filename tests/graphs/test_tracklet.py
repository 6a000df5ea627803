"""Tracklets as edges: chains of regions over time."""

from dataclasses import dataclass

import pytest
import torch

from graphs import Chain, Clique, Topology, Tracklets, graph, parse
from taggnn import kernels
from taggnn.nn import convs


@pytest.mark.parametrize("reach", [1, 2, 9])
@pytest.mark.parametrize("grid", [(1, 2), (4, 1), (5, 3)], ids=str)
def test_a_region_is_joined_with_itself_in_frames_within_reach(grid, reach):
    frames, regions = grid
    expected = [
        (u * regions + r, t * regions + r)
        for t in range(frames)
        for r in range(regions)
        for u in range(frames)
        if 0 < abs(t - u) <= reach
    ]
    one = graph(Tracklets(reach), grid)
    assert sorted(map(tuple, one.edge_index.T.tolist())) == sorted(expected)
    assert one.num_edges == len(expected)
    assert bool((one.edge_type == 1).all())


def test_text_unions_and_axes():
    rule = parse("clique+tracklets(reach=2)")
    assert rule == Clique() + Tracklets(2)
    assert str(rule) == "clique+tracklets(reach=2)"
    assert rule.axes == ("frames", "regions")
    # One longest chain, which keeps the stated axes.
    for joined in (Tracklets(1) + Chain(3), Chain(3) + Tracklets(1)):
        assert joined == Tracklets(3)
    assert Chain(1) + Chain(3) == Chain(3)
    assert isinstance(rule, Topology)


def test_a_chain_of_one_s_own_stays_what_it_is():
    @dataclass(frozen=True)
    class Skipping(Chain):
        step: int = 2

    @dataclass(frozen=True)
    class Backwards(Chain):
        def edges(self, grid, device="cpu"):
            return super().edges(grid, device)

    for rule in (Skipping(1, step=3), Backwards(1)):
        for plain in (Chain(2), Tracklets(2)):
            assert set((plain + rule).parts) == set((rule + plain).parts) == {plain, rule}
        assert rule + rule == rule


def test_a_grid_of_video_is_refused():
    with pytest.raises(ValueError, match="frames, regions"):
        Tracklets().edges((2, 3, 3))


@pytest.mark.parametrize("conv", ["gat", "gatv2", "gcn", "transformer", "appnp"])
@pytest.mark.parametrize("topology", ["tracklets", "clique+tracklets", "tracklets(reach=2)"])
def test_every_chain_kernel_computes_them(conv, topology):
    torch.manual_seed(0)
    layer, rule, x = convs.build(conv, 8).double(), parse(topology), torch.randn(2, 12, 8, dtype=torch.float64)
    found = kernels.find(layer, rule, (4, 3))
    assert found.impl == "structured"
    torch.testing.assert_close(found(layer, x), kernels.find(layer, rule, (4, 3), "pyg")(layer, x))

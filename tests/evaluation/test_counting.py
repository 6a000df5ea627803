"""Counts of backbones and heads against what is counted by hand."""

import pytest
import torch

from taggnn import backbones, heads
from taggnn.evaluation import counting
from taggnn.nn.macs import counted_macs


def test_a_backbone_is_counted_as_it_is_built():
    count = counting.of_backbone("small", (2, 16, 16), width=4)
    module = backbones.build("small", width=4)
    assert count.parameters == sum(p.numel() for p in module.parameters())
    assert (count.channels, count.grid) == backbones.dry_run(module, backbones.video_spec(module, (2, 16, 16)))
    # The stem alone: 4 channels of 3 x 5 x 5 products at 2 x 8 x 8 places.
    assert count.macs > 4 * 75 * 2 * 8 * 8
    # Twice the frames, twice the work.
    assert counting.of_backbone("small", (4, 16, 16), width=4).macs == 2 * count.macs


def test_the_clip_is_the_backbone_s_own():
    count = counting.of_backbone("r2plus1d_18")
    assert count.clip == (16, 112, 112)
    assert count.macs / 1e9 == pytest.approx(40.5, abs=0.05)


def test_pooling_is_one_linear_layer():
    count = counting.of_head("pool", 8, (2, 3, 3), 5)
    assert (count.parameters, count.macs) == (45, 40)


@pytest.mark.parametrize(
    ("name", "options"), [("tag_released", {"ffn": 64}), ("tag", {"conv": "appnp", "dim": 512, "ffn": 64})]
)
def test_a_tag_head_is_encoder_graph_and_classifier(name, options, naive_edges):
    grid, channels, classes = (2, 3, 2), 512, 5
    nodes = 12
    count = counting.of_head(name, channels, grid, classes, **options)
    layer = nodes * (4 * channels**2 + 2 * channels * 64) + 2 * nodes * nodes * channels
    graph = 2 * (naive_edges(grid)[0].shape[1] + nodes) * channels
    # Attention: 128 hidden numbers a node, one score, and the weighted sum.
    readout = 0 if name == "tag_released" else nodes * (channels * 128 + 128 + channels)
    assert count.macs == 2 * layer + graph + channels * classes + readout
    built = heads.build(name, channels, grid, classes, **options)
    assert count.parameters == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize("conv", ["gat", "gatv2", "transformer", "gcn", "sage", "gin"])
def test_the_graph_is_counted_by_definition_whatever_computes_it(conv):
    counts = {
        counting.of_head("tag", 16, (2, 2, 2), 3, conv=conv, impl=impl).macs for impl in ("structured", "dense", "pyg")
    }
    assert len(counts) == 1


def test_every_graph_layer_is_counted():
    before = torch.backends.mha.get_fastpath_enabled()
    none, one, two = (counting.of_head("tag", 16, (2, 2, 2), 3, conv="gcn", graph_layers=n).macs for n in range(3))
    assert two - one == one - none > 0
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_a_projection_to_fewer_channels_is_counted():
    wide, narrow = (counting.of_head("tag", channels, (1, 2, 2), 3, dim=16, encoder_layers=0) for channels in (32, 16))
    assert wide.macs - narrow.macs == 4 * 32 * 16


def test_an_unknown_convolution_has_no_count():
    with pytest.raises(ValueError, match="multiply-adds of TAGConv"):
        counting.of_head("tag", 8, (1, 2, 2), 3, conv="torch_geometric.nn.TAGConv", encoder_heads=2)


@pytest.mark.parametrize("name", ["tag", "pool"])
def test_a_head_without_its_graph_is_counted_alike_on_the_cpu_and_on_meta(name):
    seen = []
    for device in ("cpu", "meta"):
        with torch.device(device), torch.no_grad():
            options = {} if name == "pool" else {"graph_layers": 0}
            head, tokens = heads.build(name, 512, (2, 2, 3), 4, **options).eval(), torch.zeros(1, 2, 2, 3, 512)
            seen.append(counted_macs(lambda head=head, tokens=tokens: head(tokens)))
    assert seen[0] == seen[1] == counting.of_head(name, 512, (2, 2, 3), 4, **options).macs > 0


def test_a_head_on_a_grid_of_two_axes_is_counted():
    tall, flat = (counting.of_head("tag", 16, grid, 3, conv="gcn", encoder_heads=2) for grid in ((4, 5), (4, 5, 1)))
    assert tall.grid == (4, 5)
    assert (tall.parameters, tall.macs) == (flat.parameters, flat.macs)


def test_a_graph_over_regions_is_counted_on_its_own_grid(naive_edges):
    options = {"dim": 16, "attention_heads": 2, "conv": "gcn", "regions": 3}
    none, one = (counting.of_head("art", 8, (4, 2, 5), 3, **options, graph_layers=n).macs for n in range(2))
    nodes = 4 * 3
    # Clique inside a frame, chain along a tracklet: those of a grid of frames and 3 positions.
    assert one - none == nodes * 16**2 + (naive_edges((4, 1, 3))[0].shape[1] + nodes) * 16


def test_the_graph_of_a_head_inside_a_head_is_counted_once():
    grid, tag = (2, 2, 3), {"dim": 16, "encoder_heads": 2, "conv": "gcn"}
    art = {"dim": 8, "attention_heads": 2, "graph_layers": 1}
    both = counting.of_head("tag_art", 12, grid, 3, tag=tag, art=art)
    apart = [counting.of_head("tag", 12, grid, 3, **tag), counting.of_head("art", 16, grid, 3, **art)]
    assert (both.macs, both.parameters) == (sum(c.macs for c in apart), sum(c.parameters for c in apart))

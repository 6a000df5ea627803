"""Multiply-adds and bytes against what is counted edge by edge and tensor by tensor."""

import pytest
import torch

from benchmarks import cost
from benchmarks.case import Case
from benchmarks.sizes import Size
from graphs import parse
from taggnn.nn import convs, macs
from tests.convolutions import OF_PYG

SIZE = Size(2, 3, (2, 3), 8, 2)
TOPOLOGY = parse("clique+chain")


def case(name):
    return Case(name, SIZE, TOPOLOGY, torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("name", [name for name in OF_PYG if name != "appnp"])
def test_projection_is_what_the_counter_sees_of_it(name):
    one = case(name)
    seen = cost.counted_macs(one.call(one.projection(), backward=False))
    assert seen == cost.projection_macs(one.conv, SIZE) > 0


def test_a_convolution_without_weights_has_no_projection():
    one = case("appnp")
    assert one.projection() is None
    assert cost.projection_macs(one.conv, SIZE) == 0


# For each edge, self-loops where the convolution adds them, how many channels are multiplied and added; and for each node.
@pytest.mark.parametrize(
    ("name", "loops", "an_edge", "a_node"),
    [
        ("gcn", True, 8, 0),
        ("appnp", True, 2 * 8, 0),
        ("sage", False, 8, 0),
        ("graphconv", False, 8, 0),
        ("gin", False, 8, 0),
        ("gat", True, 8, 2 * 8),
        ("gatv2", True, 2 * 8, 0),
        ("transformer", False, 2 * 8, 0),
    ],
)
def test_graph_is_counted_edge_by_edge(name, loops, an_edge, a_node, naive_edges):
    nodes = 3 * 2 * 3
    edges = naive_edges((3, 2, 3))[0].shape[1] + (nodes if loops else 0)
    assert cost.graph_macs(convs.build(name, 8), TOPOLOGY, SIZE) == 2 * (edges * an_edge + nodes * a_node)


def test_a_convolution_that_is_not_known_has_no_count():
    conv = convs.build("torch_geometric.nn.TAGConv", 8)
    assert cost.graph_macs(conv, TOPOLOGY, SIZE) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_floor_is_every_tensor_once(dtype):
    one = Case("gat", SIZE, TOPOLOGY, torch.device("cpu"), dtype)
    tensors = [one.x, one.upstream, *one.conv.parameters()]
    once = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert cost.floor_bytes(one.conv, SIZE, dtype, backward=False) == once
    assert cost.floor_bytes(one.conv, SIZE, dtype, backward=True) == 2 * once


def test_a_matrix_product_is_counted_with_its_backward_pass():
    a, b = torch.zeros(3, 4), torch.zeros(4, 5, requires_grad=True)
    assert cost.counted_macs(lambda: a @ b) == 3 * 4 * 5
    assert cost.counted_macs(lambda: (a @ b).sum().backward()) == 2 * 3 * 4 * 5


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_encoder_is_not_counted_as_nothing(device, mode):
    fast = torch.backends.mha.get_fastpath_enabled()
    with mode():
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, device=device).eval()
        x = torch.zeros(1, 5, 8, device=device)
        # Query, key, value and out, the feed-forward part, and the two products of attention.
        assert cost.counted_macs(lambda: layer(x)) == 5 * (4 * 64 + 2 * 8 * 16) + 2 * 5 * 5 * 8
    assert torch.backends.mha.get_fastpath_enabled() == fast


def attention(device, backward, mask=False, dtype=torch.float32):
    """2 clips, 3 heads, 5 queries on 7 keys of 4 channels, values of 4."""
    q, k, v = (torch.zeros(2, 3, n, 4, device=device, dtype=dtype, requires_grad=backward) for n in (5, 7, 7))
    mask = torch.ones(5, 7, dtype=torch.bool, device=device) if mask else None

    def call():
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
        if backward:
            out.sum().backward()

    return call


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_attention_is_two_products(device, mask, dtype):
    a_product = 2 * 3 * 5 * 7 * 4
    assert cost.counted_macs(attention(device, False, mask, dtype)) == 2 * a_product
    # On a CPU it is fused and computes the scores again.
    backward = {"cpu": 5, "meta": 4}[device]
    assert cost.counted_macs(attention(device, True, mask, dtype)) == (2 + backward) * a_product


@pytest.mark.parametrize("backward", [False, True])
def test_a_formula_of_pytorch_s_own_is_taken_alone(backward, monkeypatch):
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    monkeypatch.setitem(macs.flop_registry, attend, lambda *args, **kwargs: 2 * 1000)
    assert cost.counted_macs(attention("cpu", backward)) == 1000 + backward * 5 * 2 * 3 * 5 * 7 * 4


def test_our_formulas_are_pytorch_s_of_other_devices():
    q, k, v, upstream = (torch.zeros(2, 3, n, c) for n, c in ((5, 4), (7, 4), (7, 6), (5, 6)))
    theirs = macs.flop_registry
    aten = torch.ops.aten
    assert macs._attention(q, k, v) == theirs[aten._scaled_dot_product_flash_attention](q, k, v, out_val=None)
    backward = theirs[aten._scaled_dot_product_flash_attention_backward](upstream, q, k, v, out_val=None)
    assert macs._attention_backward(upstream, q, k, v) == backward


def test_the_cpu_has_no_stated_bandwidth():
    assert cost.bandwidth(torch.device("cpu")) is None

"""The structured path as one graph: torch.compile without a break, forward and backward, and torch.export."""

import pytest
import torch

from graphs import parse
from taggnn import kernels
from taggnn.heads.tag import TagHead
from taggnn.nn import convs
from tests.convolutions import OF_PYG

GRID = (3, 2, 3)
CONVS = [*OF_PYG, "sage-max"]


def build(name, topology="clique+chain"):
    torch.manual_seed(0)
    conv = convs.build(name.partition("-")[0], 8, **({"aggr": "max"} if name.endswith("-max") else {}))
    return conv, kernels.find(conv, parse(topology), GRID, "structured")


class Held(torch.nn.Module):
    """A convolution together with its kernel, as a layer holds them."""

    def __init__(self, conv, kernel):
        super().__init__()
        self.conv, self.kernel = conv, kernel

    def forward(self, x):
        return self.kernel(self.conv, x)


@pytest.mark.parametrize("name", CONVS)
def test_compiled_in_one_graph_with_the_same_gradients(name):
    torch._dynamo.reset()
    conv, kernel = build(name)
    # The graphs are traced and run as they are: what the code generator makes of them is PyTorch's affair.
    compiled = torch.compile(Held(conv, kernel), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 18, 8, requires_grad=True)
    weight = torch.randn(2, 18, 8)
    (kernel(conv, x) * weight).sum().backward()
    expected = [x.grad, *(p.grad for p in conv.parameters())]
    x.grad = None
    conv.zero_grad()
    out = compiled(x)
    torch.testing.assert_close(out, kernel(conv, x), rtol=1e-4, atol=1e-5)
    (out * weight).sum().backward()
    for got, value in zip([x.grad, *(p.grad for p in conv.parameters())], expected, strict=True):
        torch.testing.assert_close(got, value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("topology", ["clique+chain", "clique", "chain", "none"])
@pytest.mark.parametrize("name", CONVS)
def test_exported_for_any_number_of_clips(name, topology):
    conv, kernel = build(name, topology)
    held = Held(conv, kernel).eval()
    with torch.no_grad():
        program = torch.export.export(held, (torch.randn(2, 18, 8),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        for clips in (1, 2, 5):
            x = 3 * torch.randn(clips, 18, 8)
            torch.testing.assert_close(program.module()(x), held(x), rtol=1e-4, atol=1e-5)


def test_an_exported_program_compares_some_nodes_at_a_time(monkeypatch):
    monkeypatch.setattr("taggnn.kernels.structured.gatv2._AT_ONCE_EXPORTED", 100)
    conv, kernel = build("gatv2")
    held, x = Held(conv, kernel).eval(), torch.randn(2, 18, 8)
    with torch.no_grad():
        program = torch.export.export(held, (x,))
        torch.testing.assert_close(program.module()(x), held(x), rtol=1e-4, atol=1e-5)
    compared = [node for node in program.graph.nodes if node.target is torch.ops.aten.maximum.default]
    assert max(node.meta["val"].numel() for node in compared) <= 2 * 144


def test_a_whole_head_is_exported():
    torch.manual_seed(0)
    head = TagHead(8, GRID, 5, encoder_layers=1, encoder_heads=2, readout="attention").eval()
    tokens = torch.randn(2, *GRID, 8)
    program = torch.export.export(head, (tokens,))
    torch.testing.assert_close(program.module()(tokens).logits, head(tokens).logits, rtol=1e-4, atol=1e-5)

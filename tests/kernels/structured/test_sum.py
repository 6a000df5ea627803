"""Sums in closed form: long clips, precision through every move, 16 bits without overflow; the matrix of tests does the rest."""

import pytest
import torch

from graphs import parse
from taggnn import heads, kernels
from taggnn.kernels.operators import Sum
from taggnn.kernels.structured.sum import StructuredSum
from taggnn.nn import convs

FAMILIES = {
    "sum": Sum("none"),
    "mean": Sum("mean"),
    "symmetric": Sum("symmetric", self_loops=True),
    "four-steps": Sum("symmetric", self_loops=True, steps=4, teleport=0.15),
    "no-step": Sum("symmetric", self_loops=True, steps=0, teleport=0.15),
}


def adjacency(clique, reach, frames, positions, self_loops):
    """By the definition: (N, N), row = target."""
    n = frames * positions
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            same_frame, same_position = i // positions == j // positions, i % positions == j % positions
            apart = abs(i // positions - j // positions)
            if (clique and same_frame and i != j) or (same_position and 1 <= apart <= reach) or (self_loops and i == j):
                matrix[i, j] = 1
    return matrix


def expected(family, x, clique, reach, frames, positions):
    matrix = adjacency(clique, reach, frames, positions, family.self_loops)
    degree = matrix.sum(1)
    if family.norm == "mean":
        matrix = matrix / degree.clamp(min=1)[:, None]
    if family.norm == "symmetric":
        scale = torch.where(degree > 0, degree.rsqrt(), 0.0)
        matrix = scale[:, None] * matrix * scale
    if family.teleport is None:
        return matrix @ x
    out = x
    for _ in range(family.steps):
        out = (1 - family.teleport) * matrix @ out + family.teleport * x
    return out


@pytest.mark.parametrize("frames", [1, 7, 70, 129, 200])
@pytest.mark.parametrize("reach", [0, 1, 3, 40])
@pytest.mark.parametrize("clique", [True, False], ids=["clique", "apart"])
@pytest.mark.parametrize("name", FAMILIES)
def test_by_its_formula_for_short_and_long_clips(name, clique, reach, frames):
    # Beyond 64 frames only the band of the time matrix is multiplied, in windows.
    torch.manual_seed(0)
    x = torch.randn(2, frames * 2, 3, dtype=torch.float64)
    got = StructuredSum(FAMILIES[name], clique, reach, frames, 2)(x, None)
    torch.testing.assert_close(got, expected(FAMILIES[name], x, clique, reach, frames, 2), rtol=1e-10, atol=1e-10)


def test_long_clips_are_cut_into_windows_and_short_ones_are_not():
    assert StructuredSum(FAMILIES["mean"], True, 1, 64, 2).band is None
    assert StructuredSum(FAMILIES["mean"], True, 3, 200, 2).band == 3
    assert StructuredSum(FAMILIES["four-steps"], True, 1, 200, 2).band == 4


def test_a_bias_is_added_once():
    x, bias = torch.randn(2, 6, 3), torch.randn(3)
    for clique, reach in ((True, 1), (True, 0), (False, 1), (False, 0)):
        kernel = StructuredSum(FAMILIES["symmetric"], clique, reach, 3, 2)
        torch.testing.assert_close(kernel(x, bias), kernel(x, None) + bias)


@pytest.mark.parametrize("way", ["made-single", "through-half", "float64-into-single"])
def test_float64_is_exact_whatever_precision_the_layer_went_through(way):
    torch.manual_seed(0)
    family = FAMILIES["four-steps"]
    kernel = StructuredSum(family, True, 1, 5, 2)
    if way != "float64-into-single":
        kernel = (kernel.half() if way == "through-half" else kernel).double()
    x = torch.randn(1, 10, 3, dtype=torch.float64)
    torch.testing.assert_close(kernel(x, None), expected(family, x, True, 1, 5, 2), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["mean", "symmetric"])
def test_the_sum_of_a_frame_does_not_overflow_in_16_bits(name):
    x = torch.full((1, 800, 2), 200.0, dtype=torch.float16)
    got = StructuredSum(FAMILIES[name], True, 0, 1, 800).half()(x, None)
    torch.testing.assert_close(got, x, rtol=1e-2, atol=0)


def test_steps_cost_no_more_than_one(monkeypatch):
    products = []
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: products.append(a.shape) or torch.matmul(a, b))
    x = torch.randn(1, 12, 2)
    StructuredSum(Sum("symmetric", True, 1, 0.1), True, 1, 4, 3)(x, None)
    one = len(products)
    kernel = StructuredSum(Sum("symmetric", True, 50, 0.1), True, 1, 4, 3)
    products.clear()
    kernel(x, None)
    assert len(products) <= one + 1


def test_the_released_propagation_equals_pyg():
    torch.manual_seed(0)
    conv, grid = convs.build("appnp", 4), (4, 2, 2)
    x = torch.randn(2, 16, 4, dtype=torch.float64)
    kernel = kernels.find(conv, parse("clique+chain"), grid, "structured")
    torch.testing.assert_close(kernel(conv, x), kernels.find(conv, parse("clique+chain"), grid, "pyg")(conv, x))


def test_a_frame_with_one_large_value_is_rounded_once():
    # Its neighbours' sum is the frame's without itself: 48 ones, not the rounding of 1048.
    x = torch.ones(1, 49, 1, dtype=torch.bfloat16)
    x[0, 0] = 1000
    got = StructuredSum(FAMILIES["sum"], True, 0, 1, 49)(x, None)
    assert got[0, 0].item() == 48


@pytest.mark.parametrize("conv", ["sage", "gcn", "appnp"])
def test_a_layer_that_evaluation_moved_can_be_trained(conv):
    head = heads.build("tag", 16, (3, 2, 2), 2, conv=conv, encoder_heads=2)
    with torch.inference_mode():
        head.to("cpu")
    head(torch.randn(2, 3, 2, 2, 16)).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())

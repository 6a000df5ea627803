"""GATv2 over bones by the fused loops equals PyG and the form in float64, in values, every gradient and second derivatives."""

import pytest
import torch

from graphs import parse
from taggnn import kernels
from taggnn.kernels.operators import Dynamic
from taggnn.kernels.structured import fixed
from taggnn.kernels.structured.fused.dropout import keep
from tests.kernels.conftest import build, largest, results, tokens
from tests.kernels.structured.test_edges import BONES, ONE_WAY

# Topology, grid, clips, channels and heads.
CASES = {
    "T1-B1-C3": ("bones(skeleton=hand)+chain", (1, 21), 1, 3, 1),
    "T3-B2-C15": ("bones(skeleton=coco)+chain", (3, 17), 2, 15, 3),
    "T2-B3-reach9-C40": ("bones(skeleton=ntu)+chain(reach=9)", (2, 25), 3, 40, 2),
    "no-chain": ("bones(skeleton=coco)", (3, 17), 2, 8, 2),
}
OPTIONS = {
    "loops": {},
    "no-loops-shared": {"add_self_loops": False, "share_weights": True},
    "mean-relu": {"concat": False, "negative_slope": 0.0},
}


def module_of(adjacency=ONE_WAY, self_loops=False, reach=1, frames=4):
    return fixed.propagation(Dynamic(0.2, self_loops), adjacency, reach, frames)


def operands(clips=2, nodes=12, heads=2, width=5):
    """l, r and a in float32."""
    torch.manual_seed(0)
    shape = (clips, nodes, heads, width)
    return [torch.randn(one).requires_grad_() for one in (shape, shape, shape[2:])]


def doubled(parts):
    return [part.detach().double().requires_grad_() for part in parts]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", OPTIONS)
def test_float32_equals_pyg_in_values_and_every_gradient(options, case, fused_loops):
    topology, grid, clips, channels, heads = CASES[case]
    conv = build("gatv2", channels, heads=heads, std=0.4, **OPTIONS[options])
    reference, kernel = (kernels.find(conv, parse(topology), grid, impl) for impl in ("pyg", "structured"))
    x = tokens(clips, grid, channels)
    expected, got = results(reference, conv, x), results(kernel, conv.float(), x.float())
    for part, value in expected.items():
        assert got[part].dtype == torch.float32
        torch.testing.assert_close(got[part].double(), value, rtol=1e-4, atol=1e-5 * largest(expected), msg=part)


def test_the_loops_are_what_computes(fused_loops, monkeypatch):
    called = []
    monkeypatch.setattr(fused_loops, "call", lambda function, *given: called.append(function))
    module_of()(*operands(), 0.0).sum().backward()
    assert called == ["gatv2_edges_forward", "gatv2_edges_backward"]
    kernel = kernels.find(build("gatv2", 4), parse("bones(skeleton=coco)+chain"), (2, 17))
    assert kernel.describe() == f"structured (fused loops on CPU, built by {fused_loops.built_by})"
    module_of()(*doubled(operands()), 0.0).sum().backward()
    assert len(called) == 2


@pytest.mark.parametrize("self_loops", [False, True], ids=["no-loops", "loops"])
@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("adjacency", [BONES, ONE_WAY], ids=["bones", "one-way"])
def test_a_node_without_neighbours_gets_zeros(adjacency, reach, self_loops, fused_loops):
    module, parts = module_of(adjacency, self_loops, reach), operands()
    wide = doubled(parts)
    got, expected = module(*parts, 0.0), module(*wide, 0.0)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn_like(got)
    grads = torch.autograd.grad((got * weights).sum(), parts)
    others = torch.autograd.grad((expected * weights.double()).sum(), wide)
    for one, other in zip(grads, others, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
    alone = not reach and not self_loops
    assert bool((got.unflatten(1, (4, 3))[:, :, ~adjacency.any(1)] == 0).all()) == alone


def test_the_result_does_not_depend_on_threads(fused_loops):
    def found():
        parts = operands()
        out = module_of()(*parts, 0.0)
        return [out, *torch.autograd.grad(out.square().sum(), parts)]

    before, threads = found(), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for one, other in zip(before, found(), strict=True):
            assert torch.equal(one, other)
    finally:
        torch.set_num_threads(threads)


def test_dropped_weights_are_those_of_the_seed_in_both_directions(fused_loops):
    # On two frames of three nodes: three weights in the frame and two distances in time.
    module, parts, drop = module_of(reach=1, frames=2), operands(nodes=6), 0.4
    torch.manual_seed(7)
    seed = torch.randint(2**62, (1,))
    kept = keep((2, 2, 3, 2), 3 + 2, drop, seed)
    torch.manual_seed(7)
    out = module(*parts, drop)
    weights = torch.randn_like(out)
    got = [out, *torch.autograd.grad((out * weights).sum(), parts)]
    wide = doubled(parts)
    naive = dropped(*wide, kept, drop)
    expected = [naive, *torch.autograd.grad((naive * weights.double()).sum(), wide)]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def dropped(l, r, a, kept, drop):  # noqa: E741
    """The definition for ONE_WAY, two frames and reach 1: each weight of each node, one after the other."""
    frames, joints = 2, 3
    l, r = (part.unflatten(1, (frames, joints)) for part in (l, r))  # noqa: E741
    out = torch.zeros_like(l)
    for clip, frame, joint, head in torch.cartesian_prod(*map(torch.arange, (2, frames, joints, 2))).tolist():
        ends = [(j, frame, j) for j in range(joints) if ONE_WAY[joint, j]]
        # Distances -1 and 1 have the numbers 3 and 4.
        ends += [(3 + int(apart > 0), frame + apart, joint) for apart in (-1, 1) if 0 <= frame + apart < frames]
        z = torch.stack([l[clip, t, j, head] + r[clip, frame, joint, head] for _, t, j in ends])
        weights = (torch.nn.functional.leaky_relu(z, 0.2) @ a[head]).softmax(0)
        for (number, t, j), weight in zip(ends, weights, strict=True):
            if kept[clip, frame, joint, head, number]:
                out = out.index_put(
                    tuple(map(torch.tensor, (clip, frame, joint, head))),
                    weight / (1 - drop) * l[clip, t, j, head],
                    True,
                )
    return out.flatten(1, 2)


def test_second_derivatives_equal_those_in_float64(fused_loops):
    module, parts = module_of(), operands()
    wide = doubled(parts)

    def second(given):
        first = torch.autograd.grad(module(*given, 0.0).square().sum(), given, create_graph=True)
        return torch.autograd.grad(sum(part.square().sum() for part in first), given)

    for one, other in zip(second(parts), second(wide), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)


def test_batches_without_clips_and_inputs_that_are_no_rows(fused_loops):
    module = module_of()
    empty = [part.detach()[:0] for part in operands()[:2]]
    assert module(*empty, operands()[2], 0.0).shape == (0, 12, 2, 5)
    l, r, a = operands()  # noqa: E741
    apart = [part.detach().transpose(1, 2).contiguous().transpose(1, 2) for part in (l, r)]
    torch.testing.assert_close(module(*apart, a, 0.0), module(l, r, a, 0.0))

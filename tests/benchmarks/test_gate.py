"""The gate lets equal ways pass and no others."""

import pytest
import torch

from benchmarks import gate
from benchmarks.case import Case
from benchmarks.sizes import Size
from graphs import parse

SIZE = Size(2, 3, (2, 2), 8, 2)


def case(name="gat", dtype=torch.float64, backward=True):
    return Case(name, SIZE, parse("clique+chain"), torch.device("cpu"), dtype, backward=backward)


def judged(one, way, clips=2):
    reference = one.reference()[0] if clips == 2 else first(one, clips)
    return gate.judge(reference, one.answers(way, clips), one.dtype, None)


def first(one, clips):
    upstream = one.upstream[:clips] if one.backward else None
    return gate.answers(one.way("pyg"), one.x[:clips], dict(one.conv.named_parameters()), upstream)


@pytest.mark.parametrize("name", ["gat", "gcn", "gatv2", "transformer", "sage", "gin", "appnp"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_equal_ways_pass(name, backward):
    one = case(name, backward=backward)
    verdict = judged(one, one.way("dense"))
    assert verdict.equal, str(verdict)
    assert verdict.clips == 2
    assert verdict.against == "float64"


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_small_error_of_the_output_fails(backward):
    one = case(backward=backward)
    right = one.way("dense")

    def wrong(x):
        out = right(x)
        return out + torch.zeros_like(out).index_fill(1, torch.tensor([3]), 1e-6)

    verdict = judged(one, wrong)
    assert not verdict.equal
    assert verdict.worst == "output"


def test_a_forgotten_bias_fails():
    one = case("gcn", backward=False)
    right = one.way("dense")
    assert not judged(one, lambda x: right(x) - one.conv.bias).equal


def test_nan_fails():
    one = case(backward=False)
    right = one.way("dense")
    verdict = judged(one, lambda x: right(x) * float("nan"))
    assert not verdict.equal
    assert verdict.error != verdict.error


def test_a_wrong_gradient_of_a_right_output_fails():
    one = case()
    right = one.way("dense")

    def wrong(x):
        half = x.detach() * 1e-6 + x * (1 - 1e-6)
        return right(half)

    verdict = judged(one, wrong)
    assert not verdict.equal
    assert verdict.worst == "gradient of x"


def test_a_weight_without_gradient_fails():
    one = case("gcn")
    right = one.way("dense")
    verdict = judged(one, lambda x: right(x) - one.conv.bias + one.conv.bias.detach())
    assert not verdict.equal
    assert verdict.worst == "gradient of bias"


def test_a_clip_that_hears_another_fails():
    one = case()
    right = one.way("dense")
    verdict = judged(one, lambda x: right(x) + 1e-6 * (x.flip(0) - x.flip(0).detach()), clips=1)
    assert not verdict.equal
    assert verdict.worst == "gradient of x"


def test_fewer_clips_can_be_compared():
    one = case()
    verdict = judged(one, one.way("dense"), clips=1)
    assert verdict.equal
    assert verdict.clips == 1


def test_a_gradient_that_is_zero_by_nature_may_be_rounding_error():
    one = case("transformer", dtype=torch.float32)
    reference, _ = one.reference()
    assert reference["output"].dtype == torch.float64
    assert float(reference["gradient of lin_key.bias"].abs().max()) < 1e-10
    assert gate.judge(reference, one.answers(one.way("pyg"), 2), torch.float32, None).equal


@pytest.mark.parametrize(
    ("own", "allowed"),
    [(0.0, 1e-5), (2e-6, 1e-5), (1e-5, 2e-5), (1.0, 1e-4), (None, 1e-4), (float("nan"), 1e-5)],
    ids=["exact", "small", "larger", "capped", "unknown", "nan"],
)
def test_no_way_need_be_more_exact_than_the_reference(own, allowed):
    tensor = {"output": torch.ones(1)}
    assert gate.judge(tensor, tensor, torch.float32, own).allowed == pytest.approx(allowed)


@pytest.mark.parametrize(("share", "equal"), [(0.9, True), (1.1, False)], ids=["below", "above"])
def test_the_allowance_is_where_it_ends(share, equal):
    expected = {"output": torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)}
    allowed = gate.judge(expected, expected, torch.float64, 0.0).allowed
    off = {"output": expected["output"] + torch.tensor([4 * share * allowed, 0.0, 0.0], dtype=torch.float64)}
    assert gate.judge(expected, off, torch.float64, 0.0).equal == equal


def test_a_tensor_that_is_missing_or_of_another_shape_is_no_comparison():
    ones = {"output": torch.ones(2, 3)}
    with pytest.raises(ValueError, match="compared"):
        gate.distance(ones, ones | {"gradient of x": torch.ones(2, 3)})
    with pytest.raises(ValueError, match="shape"):
        gate.distance(ones, {"output": torch.ones(2, 1)})


def test_anything_against_nothing_is_infinitely_far():
    assert gate.distance({"output": torch.zeros(2)}, {"output": torch.full((2,), 1e-30)}) == (float("inf"), "output")
    assert gate.distance({"output": torch.zeros(2)}, {"output": torch.zeros(2)})[0] == 0


def test_where_the_reference_strays_in_its_precision_it_is_asked_in_that_precision():
    one = case("gatv2", dtype=torch.float32)
    reference, _ = one.reference()
    peer, found = one.answers(one.way("pyg"), 2), one.answers(one.way("dense"), 2)
    # As if rounding had taken a kink to its other side, for PyG in float32 and for everybody else.
    flipped = {name: tensor + 0.01 * tensor.abs().max() for name, tensor in peer.items()}
    alike = {name: tensor + 0.01 * tensor.abs().max() for name, tensor in found.items()}
    own, _ = gate.distance(reference, flipped)
    assert own > gate.MOST * gate.TOLERANCE[torch.float32]
    assert not gate.judge(reference, alike, torch.float32, own).equal
    verdict = gate.judge(reference, alike, torch.float32, own, flipped)
    assert verdict.equal, str(verdict)
    assert verdict.against == "float32"
    # Whoever did not stray with it, or further, fails.
    assert not gate.judge(reference, found, torch.float32, own, flipped).equal
    further = {name: tensor * 1.02 for name, tensor in alike.items()}
    assert not gate.judge(reference, further, torch.float32, own, flipped).equal

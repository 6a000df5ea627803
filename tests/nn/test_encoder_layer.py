"""The encoder layer is PyTorch's in names and values; its dropout has the right rate, and follows PyTorch's generator."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from taggnn.kernels.structured.fused.attention import attend
from taggnn.kernels.structured.fused.dropout import drop, keep
from taggnn.nn.encoder_layer import EncoderLayer

FORMS = {"post-norm-relu": ("relu", False), "pre-norm-gelu": ("gelu", True)}


def pair(form, dropout=0.5, channels=24, heads=3, ffn=40):
    """Ours and PyTorch's, with the same weights."""
    torch.manual_seed(0)
    activation, norm_first = FORMS[form]
    ours = EncoderLayer(channels, heads, ffn, dropout, activation, batch_first=True, norm_first=norm_first)
    for parameter in ours.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.5)
    plain = nn.TransformerEncoderLayer(
        channels, heads, ffn, dropout, activation, batch_first=True, norm_first=norm_first
    )
    plain.load_state_dict(ours.state_dict(), strict=True)
    return ours, plain, torch.randn(2, 19, channels)


def kept_by(seeds, clips, nodes, heads, channels, ffn):
    """The masks of a layer, in the order in which they are drawn: of attention, and after each linear layer but the first."""
    attention, out, hidden, last = seeds
    return (
        keep((clips, heads, nodes), nodes, 0.5, attention),
        keep((clips, nodes), channels, 0.5, out),
        keep((clips, nodes), ffn, 0.5, hidden),
        keep((clips, nodes), channels, 0.5, last),
    )


def naive(layer, x, kept):
    """The layer written out, with given masks."""
    attention, out, hidden, last = (mask.to(x) * 2 for mask in kept)

    def attended(x):
        own = layer.self_attn
        parts = F.linear(x, own.in_proj_weight, own.in_proj_bias).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (own.num_heads, -1)).transpose(1, 2) for part in parts)
        weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1) * attention
        return own.out_proj((weights @ v).transpose(1, 2).flatten(2)) * out

    def fed(x):
        return layer.linear2(layer.activation(layer.linear1(x)) * hidden) * last

    if layer.norm_first:
        x = x + attended(layer.norm1(x))
        return x + fed(layer.norm2(x))
    x = layer.norm1(x + attended(x))
    return layer.norm2(x + fed(x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["eval", "eval-with-gradient", "no-dropout", "float64"])
def test_values_are_torchs_own(form, case):
    ours, plain, x = pair(form, dropout=0.0 if case in ("no-dropout", "float64") else 0.5)
    if case.startswith("eval"):
        ours, plain = ours.eval(), plain.eval()
    if case == "float64":
        ours, plain, x = ours.double(), plain.double(), x.double()
    with torch.set_grad_enabled(case != "eval"):
        assert torch.equal(ours(x), plain(x))


@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_with_given_masks_are_those_of_the_formula(form, fused_loops):
    ours, plain, x = pair(form)
    x.requires_grad_()
    torch.manual_seed(3)
    seeds = [torch.randint(2**62, (1,)) for _ in range(4)]
    torch.manual_seed(3)
    got = ours(x)
    upstream = torch.randn(got.shape)
    got.backward(upstream)
    exact, y = plain.double(), x.detach().double().requires_grad_()
    expected = naive(exact, y, kept_by(seeds, 2, 19, 3, 24, 40))
    expected.backward(upstream.double())
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-4, atol=1e-5)
    for (name, own), (_, other) in zip(ours.named_parameters(), exact.named_parameters(), strict=True):
        torch.testing.assert_close(own.grad.double(), other.grad, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("together", [1, 2**21], ids=["head-by-head", "all-heads"])
def test_attention_is_that_of_the_formula_however_many_heads_are_computed_at_a_time(together, fused_loops, monkeypatch):
    from taggnn.kernels.structured.fused import attention

    monkeypatch.setattr(attention, "_SCORES", together)
    torch.manual_seed(0)
    qkv = (torch.randn(2, 21, 3, 5, 4) * 3).requires_grad_()
    torch.manual_seed(1)
    got = attend(qkv, 0.25)
    torch.manual_seed(1)
    kept = keep((2, 5, 21), 21, 0.25, torch.randint(2**62, (1,)))
    exact = qkv.detach().double().requires_grad_()
    q, k, v = (part.transpose(1, 2) for part in exact.unbind(2))
    expected = ((q @ k.transpose(2, 3) / 2).softmax(-1) * kept / 0.75 @ v).transpose(1, 2)
    upstream = torch.randn(got.shape)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
    (own,) = torch.autograd.grad(got, qkv, upstream)
    (other,) = torch.autograd.grad(expected, exact, upstream.double())
    torch.testing.assert_close(own.double(), other, rtol=1e-4, atol=1e-4)


def test_gradients_can_be_differentiated_again(fused_loops):
    def second(function):
        torch.manual_seed(2)
        x = torch.randn(1, 4, 3, 2, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
        (first,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    def written_out(x):
        kept = keep((1, 2, 4), 4, 0.5, torch.randint(2**62, (1,)))
        q, k, v = (part.transpose(1, 2) for part in x.unbind(2))
        return ((q @ k.transpose(2, 3) / 2).softmax(-1) * kept * 2 @ v).transpose(1, 2)

    torch.testing.assert_close(second(lambda x: attend(x, 0.5)), second(written_out), rtol=1e-3, atol=1e-4)
    for relu in (False, True):
        x = torch.randn(5, 7, requires_grad=True)
        (first,) = torch.autograd.grad(drop(x, 0.5, relu).pow(3).sum(), x, create_graph=True)
        (found,) = torch.autograd.grad(first.sum(), x)
        # d2/dx2 of (2x)^3 where x is kept
        kept = (first != 0).float()
        torch.testing.assert_close(found, 48 * x.detach() * kept)


def test_gradcheck_of_dropout_with_a_fixed_seed(fused_loops):
    x = torch.randn(4, 9, requires_grad=True)

    def drawn(x):
        torch.manual_seed(0)
        return drop(x, 0.3)

    assert torch.autograd.gradcheck(drawn, (x,), eps=1e-2, atol=1e-2, rtol=1e-2, nondet_tol=0.0)


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_rate_and_independence(probability, fused_loops):
    torch.manual_seed(0)
    rows, columns = 700, 1003
    ones = torch.ones(rows, columns)
    first, second = (drop(ones, probability) for _ in range(2))
    torch.testing.assert_close(first.unique(), torch.tensor([0.0, 1 / (1 - probability)]))
    a, b = (first == 0).double(), (second == 0).double()
    # Within five standard deviations: the rate, and the agreement of neighbours, rows, columns and two calls.
    deviation = (probability * (1 - probability) / ones.numel()) ** 0.5
    assert abs(a.mean() - probability) < 5 * deviation
    both, spread = probability**2, (probability**2 * (1 - probability**2) / ones.numel()) ** 0.5
    pairs = [(a, b), (a[:, 1:], a[:, :-1]), (a[1:], a[:-1]), (a[:, 16:], a[:, :-16]), (a[1:, 1:], a[:-1, :-1])]
    for one, other in pairs:
        assert abs((one * other).mean() - both) < 6 * spread
    # No row or column is drawn more often than chance.
    for axis, count in ((0, rows), (1, columns)):
        scaled = (a.mean(axis) - probability) / (probability * (1 - probability) / count) ** 0.5
        assert scaled.abs().max() < 5.5
        assert 0.85 < scaled.square().mean() < 1.15


def test_draws_follow_torchs_generator(fused_loops):
    ours, _, x = pair("post-norm-relu")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = ours(x), ours(x)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(ours(x), first)
    # As a run that is resumed after the first step.
    assert torch.equal(ours(x), second)


def test_checkpointed_activations_are_computed_again_with_the_same_draws(fused_loops):
    ours, _, x = pair("pre-norm-gelu")
    grads = []
    for again in (False, True):
        layer, y = copy.deepcopy(ours), x.clone().requires_grad_()
        torch.manual_seed(5)
        out = checkpoint(layer, y, use_reentrant=False) if again else layer(y)
        out.sum().backward()
        grads.append([y.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*grads, strict=True):
        assert torch.equal(one, other)


def test_threads_change_nothing(fused_loops):
    ours, _, x = pair("post-norm-relu")
    results = []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            torch.manual_seed(5)
            results.append(ours(x))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_nan_is_not_hidden(fused_loops):
    assert drop(torch.full((3, 20), float("nan")), 0.5, relu=True).isnan().all()
    ours, _, x = pair("post-norm-relu")
    x[0, 0, 0] = float("nan")
    assert ours(x).isnan().any()


@pytest.mark.parametrize("case", ["autocast", "switched-off", "float64", "hook"])
def test_what_the_loops_do_not_compute_is_pytorchs(case, monkeypatch):
    ours, plain, x = pair("post-norm-relu")
    if case == "switched-off":
        monkeypatch.setenv("TAGGNN_FUSED", "0")
    if case == "float64":
        ours, plain, x = ours.double(), plain.double(), x.double()
    seen = []
    if case == "hook":
        ours.self_attn.register_forward_hook(lambda *given: seen.append(1))
    results = []
    for layer in (ours, plain):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
            results.append(layer(x))
    assert torch.equal(*results)
    assert bool(seen) == (case == "hook")


def test_it_compiles_as_a_whole(fused_loops):
    ours, _, x = pair("post-norm-relu")
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    y = x.clone().requires_grad_()
    torch.manual_seed(0)
    out = compiled(y)
    out.sum().backward()
    assert out.shape == x.shape
    assert y.grad.isfinite().all()
    # About half of what a layer with this dropout adds is dropped: two calls differ.
    assert not torch.equal(compiled(x), compiled(x))


def test_it_exports_in_evaluation(fused_loops):
    ours, plain, x = pair("post-norm-relu")
    program = torch.export.export(ours.eval(), (x,))
    torch.testing.assert_close(program.module()(x), plain.eval()(x))
    assert not [node for node in program.graph.nodes if "taggnn" in str(node.target)]

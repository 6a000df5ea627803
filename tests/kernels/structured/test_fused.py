"""The fused loops equal PyG in values and every gradient, and where they cannot be had, the blocks stay, with the reason."""

import pytest
import torch

from graphs import parse
from taggnn import kernels
from taggnn.kernels.operators import Additive, Dynamic
from taggnn.kernels.structured.fused import gat as fused_gat
from taggnn.kernels.structured.fused import gatv2 as fused_gatv2
from taggnn.kernels.structured.fused import library
from taggnn.kernels.structured.fused.dropout import keep
from taggnn.kernels.structured.gat import StructuredGAT
from taggnn.kernels.structured.gatv2 import StructuredGATv2
from tests.kernels.conftest import build, largest, results, tokens

CONVS = {
    "gatv2": ("gatv2", {}),
    "gatv2-no-loops-shared": ("gatv2", {"add_self_loops": False, "share_weights": True}),
    "gatv2-mean-relu": ("gatv2", {"concat": False, "negative_slope": 0.0}),
    "gatv2-linear": ("gatv2", {"negative_slope": 1.0}),
    "gat": ("gat", {}),
    "gat-mean-relu": ("gat", {"concat": False, "negative_slope": 0.0}),
}
# Grid, clips, channels and heads: one frame, one clip, height and width apart, fewer frames than the reach, odd and many
# channels, more positions than a block of targets, other ranks than video's.
SIZES = {
    "T1-1x3-B1-C3": ((1, 1, 3), 1, 3, 1),
    "T3-2x4-B2-C15": ((3, 2, 4), 2, 15, 3),
    "T2-5x7-B1-C80": ((2, 5, 7), 1, 80, 1),
    "T4-V17-B3-C36": ((4, 17), 3, 36, 2),
}
TOPOLOGIES = ["clique", "chain", "clique+chain", "clique+chain(reach=9)"]


def module_of(family, frames, positions, reach=1):
    if family == "gat":
        return StructuredGAT(Additive(0.2, True), True, reach, frames, positions)
    return StructuredGATv2(Dynamic(0.2, True), True, reach, frames, positions)


def operands(family, clips, frames, positions, heads=2, width=5, dtype=torch.float32):
    """v, s, d or l, r, a."""
    torch.manual_seed(0)
    shape = (clips, frames * positions, heads, width)
    shapes = [shape, shape[:3], shape[:3]] if family == "gat" else [shape, shape, shape[2:]]
    return [torch.randn(one).to(dtype).requires_grad_() for one in shapes]


families = pytest.mark.parametrize("family", ["gat", "gatv2"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("name", CONVS)
def test_float32_equals_pyg_in_values_and_every_gradient(name, topology, size, fused_loops):
    grid, clips, channels, heads = SIZES[size]
    conv, options = CONVS[name]
    conv = build(conv, channels, heads=heads, std=0.4, **options)
    reference, kernel = (kernels.find(conv, parse(topology), grid, impl) for impl in ("pyg", "structured"))
    x = tokens(clips, grid, channels)
    expected, got = results(reference, conv, x), results(kernel, conv.float(), x.float())
    for part, value in expected.items():
        assert got[part].dtype == torch.float32
        torch.testing.assert_close(got[part].double(), value, rtol=1e-4, atol=1e-5 * largest(expected), msg=part)


@pytest.mark.parametrize("name", ["gat", "gatv2"])
def test_the_loops_are_what_computes(name, fused_loops, monkeypatch):
    called = []
    monkeypatch.setattr(fused_loops, "call", lambda function, *given: called.append(function))
    conv, grid = build(name, 8, heads=2).float(), (3, 2, 4)
    kernel = kernels.find(conv, parse("clique+chain"), grid)
    results(kernel, conv, tokens(2, grid, 8, torch.float32))
    assert called == [f"{name}_forward", f"{name}_backward"]
    assert kernel.describe() == f"structured (fused loops on CPU, built by {fused_loops.built_by})"
    # What they do not compute.
    results(kernel, conv.double(), tokens(2, grid, 8))
    small = kernels.find(conv, parse("clique+chain"), (3, 1, 2))
    results(small, conv.float(), tokens(2, (3, 1, 2), 8, torch.float32))
    with torch.no_grad():
        torch.export.export(Held(conv, kernel), (tokens(2, grid, 8, torch.float32),)).module()
    assert len(called) == 2


class Held(torch.nn.Module):
    def __init__(self, conv, kernel):
        super().__init__()
        self.conv, self.kernel = conv, kernel

    def forward(self, x):
        return self.kernel(self.conv, x)


@families
def test_values_that_tie_have_the_gradient_of_the_negative_side(family, fused_loops):
    # Every LeakyReLU at zero, on integers that float32 holds exactly.
    parts = operands(family, 2, 3, 4)
    parts = [part.detach().round().requires_grad_() for part in parts]
    wide = [part.detach().double().requires_grad_() for part in parts]
    module = module_of(family, 3, 4)
    (got, expected) = (torch.autograd.grad(module(*given, 0.0).square().sum(), given) for given in (parts, wide))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@families
def test_large_scores_do_not_overflow_and_nan_stays_nan(family, fused_loops):
    module, parts = module_of(family, 2, 4), operands(family, 2, 2, 4)
    with torch.no_grad():
        big = [part * 1e4 for part in parts]
        wide = module(*(part.double() for part in big), 0.0)
        torch.testing.assert_close(module(*big, 0.0).double(), wide, rtol=1e-2, atol=1e-2 * float(wide.abs().max()))
        parts[0][0, 1] = torch.nan
        found = module(*parts, 0.0)
    # The frame of that node, the node itself and its own neighbour in time, and no other clip.
    assert found[0, :4].isnan().all()
    assert found[0, 5].isnan().all()
    assert not found[1].isnan().any()


@families
def test_inputs_that_are_no_rows_and_batches_without_clips(family, fused_loops):
    module, parts = module_of(family, 2, 4), operands(family, 3, 2, 4)
    turned = [part.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for part in parts]
    assert not turned[0].is_contiguous()
    ways = [torch.autograd.grad(module(*given, 0.0).pow(3).sum(), given) for given in (parts, turned)]
    torch.testing.assert_close(*ways, rtol=0, atol=0)
    empty = [part[:0].detach().requires_grad_() if part.ndim > 2 else part for part in parts]
    out = module(*empty, 0.0)
    assert out.shape == (0, 8, 2, 5)
    assert all(not part.any() for part in torch.autograd.grad(out.sum(), empty))


@families
def test_the_result_does_not_depend_on_threads(family, fused_loops):
    module, parts, found = module_of(family, 1, 70), operands(family, 1, 1, 70, heads=1), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            out = module(*parts, 0.3)
            found.append([out, *torch.autograd.grad(out.square().sum(), parts)])
    finally:
        torch.set_num_threads(before)
    for one in found[1:]:
        torch.testing.assert_close(one, found[0], rtol=0, atol=0)


@families
def test_dropped_weights_are_those_of_the_seed_in_both_directions(family, fused_loops):
    module, parts = module_of(family, 3, 5), operands(family, 2, 3, 5)

    def seeded():
        torch.manual_seed(7)
        return module(*parts, 0.4).square().sum()

    # A gradient that is differentiated again is computed in plain operations, with the drawn weights written out.
    once, again = (torch.autograd.grad(seeded(), parts, create_graph=create) for create in (False, True))
    for one, other in zip(once, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.detach().abs().max()))
    assert not torch.equal(module(*parts, 0.4), module(*parts, 0.4))


def test_a_third_is_dropped_independently_of_rows_and_columns(fused_loops):
    kept = keep((4, 5, 50, 2), 53, 1 / 3, torch.tensor([123])).double()
    assert kept.mean() == pytest.approx(2 / 3, abs=0.01)
    rows = kept.flatten(0, -2) - 2 / 3
    for moments, count in ((rows.T @ rows, len(rows)), (rows @ rows.T, rows.shape[1])):
        correlation = moments / count / (2 / 9)
        correlation.fill_diagonal_(0)
        # The largest of all pairs, of about normal numbers.
        assert float(correlation.abs().max()) < 6 / count**0.5


@families
def test_second_derivatives_equal_those_in_float64(family, fused_loops):
    module, parts = module_of(family, 2, 4), operands(family, 1, 2, 4)
    found = []
    for given in (parts, [part.detach().double().requires_grad_() for part in parts]):
        slopes = torch.autograd.grad(module(*given, 0.0).pow(2).sum(), given, create_graph=True)
        found.append(torch.autograd.grad(sum(slope.square().sum() for slope in slopes), given))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@families
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_operators_are_registered_as_compilers_need_them(family, dropout, fused_loops):
    parts = [
        part.detach().unflatten(1, (3, 4)) if part.ndim > 2 else part.detach()
        for part in operands(family, 2, 3, 4, width=16)
    ]
    seed = torch.tensor([5]) if dropout else None
    clique = () if family == "gat" else (True,)
    rule = (*clique, [-1, 1], 0.2, dropout, seed)
    own = fused_gat if family == "gat" else fused_gatv2
    # Without "test_autograd_registration": their gradients are those of an autograd function around them.
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(own._forward, (*parts, *rule), test_utils=checks)
    out, level = own._forward(*parts, *rule)
    torch.library.opcheck(own._backward, (torch.ones_like(out), *parts, out, level, *rule), test_utils=checks)


@families
def test_compiled_for_any_number_of_clips(family, fused_loops):
    torch._dynamo.reset()
    module = module_of(family, 3, 4)
    compiled = torch.compile(module_of(family, 3, 4), fullgraph=True, dynamic=True, backend="aot_eager")
    for clips in (2, 3, 5):
        parts = operands(family, clips, 3, 4)
        ways = [torch.autograd.grad(way(*parts, 0.0).square().sum(), parts) for way in (module, compiled)]
        torch.testing.assert_close(*ways, rtol=1e-5, atol=1e-5)


@families
def test_no_weight_of_a_pair_is_stored(family, fused_loops):
    parts, saved = operands(family, 2, 2, 64), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        module_of(family, 2, 64)(*parts, 0.3)
    assert sum(saved) < 2 * 2 * 2 * 64 * 64


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A process that has found no loops yet, and the folder of its cache."""
    monkeypatch.setattr(library, "_found", None)
    monkeypatch.setattr(library, "_reason", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "taggnn"


def described():
    """What a kernel says before and after its first use, which is equal to PyG's."""
    conv, grid = build("gatv2", 8, heads=2).float(), (2, 2, 2)
    reference, kernel = (kernels.find(conv, parse("clique+chain"), grid, impl) for impl in ("pyg", "structured"))
    before, x = kernel.describe(), tokens(1, grid, 8, torch.float32)
    torch.testing.assert_close(kernel(conv, x), reference(conv, x), rtol=1e-4, atol=1e-5)
    return before, kernel.describe()


def test_without_a_compiler_the_blocks_compute_and_the_reason_is_given(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    before, after = described()
    assert before == after
    assert "structured (in blocks: no C++ compiler found" in after
    assert not fresh.exists()


def test_a_compiler_that_fails_leaves_the_blocks_and_nothing_in_the_cache(fresh, tmp_path, monkeypatch, caplog):
    (compiler := tmp_path / "broken").write_text("#!/bin/sh\necho 'x.cpp:1: error: cannot' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    before, after = described()
    assert f"built at first use by {compiler}" in before
    assert f"in blocks: {compiler} failed: x.cpp:1: error: cannot" in after
    assert list(fresh.iterdir()) == []
    # Once, however often it is used.
    described()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_build_that_is_damaged_is_not_used(fresh):
    fresh.mkdir(mode=0o700, parents=True)
    path = library._path(fresh)
    path.write_bytes(b"\x7fELF")
    path.chmod(0o600)
    before, after = described()
    assert "built before" in before
    assert "in blocks: " in after
    assert path.name in after


def test_what_is_compiled_are_the_files_of_the_package(fresh, tmp_path, monkeypatch):
    (compiler := tmp_path / "seen").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    described()
    words = (tmp_path / "words").read_text().split()
    sources = [word for word in words if word.endswith(".cpp")]
    assert sources == [str(library._FOLDER / name) for name in library._SOURCES]
    assert {word for word in words if not word.startswith("-")} - {*sources} == {words[-1]}


@pytest.mark.parametrize("mode", [0o777, 0o775], ids=oct)
def test_what_others_could_have_written_is_not_run(tmp_path, mode):
    (folder := tmp_path / "cache").mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match="others may write it"):
        library._check_owner(folder)


def test_switched_off_by_the_environment(monkeypatch):
    monkeypatch.setenv("TAGGNN_FUSED", "0")
    assert library.load() is None
    assert "TAGGNN_FUSED=0" in library.describe()

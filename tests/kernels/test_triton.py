"""Fused attention in Triton equals PyG's message passing; without a GPU its kernels run in Triton's interpreter.

The interpreter has to be on before the kernels are imported, so that a separate process runs the checks, and each test
reports its result there. What the interpreter takes and the compiler refuses is found by compiling for Hopper.
"""

import functools
import os
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from math import prod
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from graphs import parse
from taggnn import kernels
from taggnn.nn import convs

triton = pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ROOT = Path(__file__).parents[2]
# The report of the checks in the interpreter, for all workers of this run of the tests.
REPORT: list[Path] = []
here_only = pytest.mark.skipif(INTERPRETED, reason="for the process without the interpreter")


if INTERPRETED:
    from triton.runtime import interpreter

    if hasattr(interpreter, "_LangPatchScope"):
        # The interpreter patches Triton's language at every call of a device function, 40 % of the time: here once a module.
        patch, patched = interpreter._patch_lang, {}

        def patch_once(fn):
            if fn.__module__ not in patched:
                patched[fn.__module__] = patch(fn)
            return interpreter._LangPatchScope()

        interpreter._patch_lang = patch_once
    # Indices of tensors as small as these cannot overflow: checking each of them takes another quarter.
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)


@pytest.fixture(scope="module", autouse=True)
def _report_of_all_workers(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    REPORT.append((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "triton.xml")


@functools.cache
def outcomes():
    """The results of the checks in a process with the interpreter: name -> failure, empty if passed."""
    report = REPORT[-1]
    with FileLock(f"{report}.lock"):
        if not report.exists():
            # Without conftest.py, whose imports take seconds.
            options = ["--noconftest", "-p", "no:cacheprovider", f"--junitxml={report}"]
            command = [sys.executable, "-m", "pytest", __file__, *options]
            environment = {**os.environ, "TRITON_INTERPRET": "1"}
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
            assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return {case.get("name"): "".join(part.text or "" for part in case if part.tag != "system-out") for case in cases}


def interpreted(check):
    """Runs a check in the interpreter: here if it is on, else by the report of the process where it is."""

    @functools.wraps(check)
    def reported(*args, **kwargs):
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("::")[2]
        complaint = outcomes()[name]
        assert not complaint, complaint

    return check if INTERPRETED else reported


CASES = {
    "gat": ("gat", {}),
    "gat-without-loops": ("gat", {"add_self_loops": False}),
    "gatv2": ("gatv2", {"share_weights": True}),
    "gatv2-without-loops": ("gatv2", {"add_self_loops": False, "negative_slope": 0.0}),
    "transformer": ("transformer", {"beta": True}),
}
FAMILIES = pytest.mark.parametrize("case", ["gat", "gatv2", "transformer"])
# Topology, grid, clips, heads. The interpreter's time grows with a kernel's programs, one for each frame, block of positions,
# head and block of channels, and with the frames that a program reads. So every size is the smallest at which what its name
# says can fail: 3 frames for a reach of 2 inside and outside of the clip; 2 clips of 2 frames for a reach that is cut and a chain
# that must end with its clip; 2 heads of 2 frames; height unlike width; and 1 position a frame, where a clique has no edges but
# self-loops. Clique and chain between frames of two blocks of positions are in test_a_frame_of_several_blocks, for all cases.
SIZES = {
    "frame": ("clique+chain", (1, 2, 3), 1, 1),
    "position": ("clique+chain", (2, 1, 1), 1, 1),
    "clips": ("chain(reach=2)", (2, 1, 2), 2, 1),
    "clique": ("clique", (2, 2, 1), 1, 2),
    "clique-position": ("clique", (1, 1, 1), 1, 1),
    "chain": ("chain(reach=2)", (3, 1, 1), 1, 1),
    "none": ("none", (1, 1, 2), 1, 1),
}


def build(case, channels=4, dtype=torch.float64, scale=0.4, heads=1, **more):
    torch.manual_seed(0)
    name, options = CASES[case]
    conv = convs.build(name, channels, heads=heads, **options, **more).to(dtype)
    for parameter in conv.parameters():
        # As they start, biases are zero: one left out would not show.
        torch.nn.init.normal_(parameter, 0.1, scale)
    return conv


def results(conv, topology, grid, x, impl):
    """The output, and the gradients of the input and of every weight."""
    x = x.detach().clone().requires_grad_()
    conv.zero_grad()
    out = kernels.find(conv, parse(topology), grid, impl)(conv, x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # float64, so that the gradient reaches the kernel as a tensor of the output's type and not as one repeated number.
    (out.double() * weights).sum().backward()
    return [out.detach(), x.grad, *(p.grad.clone() for p in conv.parameters() if p.grad is not None)]


def assert_equal(conv, topology, grid, clips=1, channels=4, tolerance=1e-10):
    x = torch.randn(clips, prod(grid), channels, dtype=next(conv.parameters()).dtype)
    # Scores of exactly 0, where the LeakyReLU bends.
    x[:, :2] = 0
    expected, got = (results(conv, topology, grid, x, impl) for impl in ("pyg", "triton"))
    assert len(got) == len(expected) > 4
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        scale = other.abs().max().item()
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(scale, 1.0))


@pytest.mark.parametrize(("topology", "grid", "clips", "heads"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("case", CASES)
@interpreted
def test_values_and_gradients_equal_those_of_the_edge_list(case, topology, grid, clips, heads):
    assert_equal(build(case, heads=heads), topology, grid, clips)


# Kernels know frames and positions only: of another rank, one convolution of each file.
@pytest.mark.parametrize(("grid", "heads"), [((2,), 2), ((2, 3), 1)], ids=str)
@FAMILIES
@interpreted
def test_grids_of_another_rank(case, grid, heads):
    assert_equal(build(case, heads=heads), "clique+chain", grid)


@pytest.mark.parametrize("case", CASES)
@interpreted
def test_a_frame_of_several_blocks(case):
    # 18 positions in blocks of 16.
    assert_equal(build(case), "clique+chain", (2, 3, 6))


@FAMILIES
@interpreted
def test_a_head_of_several_blocks_of_channels(case):
    # 36 channels a head in blocks of 32.
    assert_equal(build(case, 36, scale=0.1), "clique+chain", (2, 1, 2), channels=36)


@pytest.mark.parametrize("case", ["gat-without-loops", "gatv2", "transformer"])
@interpreted
def test_large_scores(case):
    conv = build(case)
    for name, parameter in conv.named_parameters():
        if name.startswith(("att", "lin_query")):
            parameter.data *= 1e4
    assert_equal(conv, "clique+chain", (2, 1, 3), tolerance=1e-8)


@interpreted
def test_the_largest_two_scores_of_a_frame_in_different_blocks():
    # Positions 0 and 16 are the first of their blocks: without self-loops, 16 is the source of 0, and 0 that of all others.
    s, v = torch.zeros(1, 18, 1, dtype=torch.float64), torch.randn(1, 18, 1, 3, dtype=torch.float64)
    s[0, 0], s[0, 16] = 1e4, 9e3
    kernel = kernels.find(build("gat-without-loops"), parse("clique"), (1, 3, 6), "triton").propagate
    out = kernel(v, s, torch.zeros_like(s), 0.0)
    expected = torch.cat([v[:, 16:17], v[:, :1].expand(-1, 17, -1, -1)], 1)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@FAMILIES
@interpreted
def test_lower_precision(case, dtype):
    conv = build(case, dtype=dtype)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 1e-2}[dtype]
    assert_equal(conv, "clique+chain", (2, 1, 3), tolerance=tolerance)


@FAMILIES
@interpreted
def test_mixed_precision_gives_the_wider_type(case):
    conv, x = build(case, dtype=torch.float32), torch.randn(1, 6, 4)
    kernel = kernels.find(conv, parse("clique+chain"), (2, 1, 3), "triton")
    expected = results(conv, "clique+chain", (2, 1, 3), x, "pyg")
    with torch.autocast("cpu", torch.bfloat16):
        got = results(conv, "clique+chain", (2, 1, 3), x, "triton")
        operands, rest = kernel.operator.before(conv, x[0])
        out = kernel.propagate(*(part[None] for part in operands), *rest)
    assert operands[0].dtype == torch.bfloat16
    assert out.dtype == (torch.bfloat16 if case == "transformer" else torch.float32)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.1, atol=0.06 * max(other.abs().max().item(), 1.0))


@interpreted
def test_operands_that_are_not_in_one_piece():
    conv = build("transformer")
    kernel = kernels.find(conv, parse("clique"), (2, 1, 3), "triton").propagate
    q, k, v = (
        torch.randn(1, 2, 3, 6, dtype=torch.float64).transpose(1, 3).contiguous().transpose(2, 3) for _ in range(3)
    )
    assert not q[0, :1].is_contiguous()
    whole = kernel(q.contiguous(), k.contiguous(), v.contiguous(), 0.0)
    torch.testing.assert_close(kernel(q, k, v, 0.0), whole, rtol=0, atol=0)


@FAMILIES
@interpreted
def test_the_whole_graph_compiles(case):
    # The kernels are opaque to the compiler: what it has to understand is everything around them.
    conv, x = build(case), torch.randn(1, 3, 4, dtype=torch.float64)
    kernel = kernels.find(conv, parse("clique+chain"), (1, 1, 3), "triton")
    leaves = [x.requires_grad_(), *conv.parameters()]
    compiled = torch.compile(kernel, fullgraph=True, backend="aot_eager")
    expected, got = (torch.autograd.grad(k(conv, x).square().sum(), leaves) for k in (kernel, compiled))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@FAMILIES
@interpreted
def test_a_second_derivative_is_refused_and_not_wrong(case):
    conv = build(case)
    x = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    out = kernels.find(conv, parse("clique+chain"), (2, 1, 2), "triton")(conv, x)
    (slope,) = torch.autograd.grad(out.square().sum() + x.pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(slope.square().sum(), x)


@FAMILIES
@interpreted
def test_dropout_of_weights_is_refused(case):
    conv = build(case, 4, torch.float32, dropout=0.5)
    kernel = kernels.find(conv, parse("clique"), (1, 1, 2), "triton")
    with pytest.raises(ValueError, match=r"drops no weights, given dropout=0\.5"):
        kernel(conv, torch.randn(1, 2, 4))
    conv.eval()
    assert kernel(conv, torch.randn(1, 2, 4)).shape == (1, 2, 4)


@here_only
@FAMILIES
def test_tensors_on_the_cpu_are_refused(case):
    conv = build(case, dtype=torch.float32)
    with pytest.raises(ValueError, match="impl triton needs a CUDA device, x is on cpu"):
        kernels.find(conv, parse("clique"), (1, 1, 2), "triton")(conv, torch.randn(1, 2, 4))


@here_only
@pytest.mark.parametrize(
    ("name", "options"), [("gcn", {}), ("appnp", {}), ("sage", {"aggr": "max"})], ids=["gcn", "appnp", "sage-max"]
)
def test_sums_and_maxima_are_refused(name, options):
    with pytest.raises(ValueError, match=r"impl triton: .*already at the cost of reading x; use structured"):
        kernels.find(convs.build(name, 8, **options), parse("clique+chain"), (2, 1, 3), "triton")


@here_only
def test_other_topologies_are_refused(naive_edges):
    from graphs import Topology

    class Mine(Topology):
        def edges(self, grid, device="cpu"):
            return naive_edges(grid)

    with pytest.raises(
        ValueError, match=r"impl triton: topology .* has other edges than clique and chain; possible: clique, chain"
    ):
        kernels.find(convs.build("gat", 8), Mine(), (2, 1, 3), "triton")


TYPES = {torch.float64: "*fp64", torch.float32: "*fp32", torch.bfloat16: "*bf16"}
# The largest heads: 128 channels of 16 bits, 64 of 32.
COMPILED = {
    f"{kernel}-{dtype}": (kernel, getattr(torch, dtype))
    for kernel in (
        f"{family}_{part}" for family in ("gat", "dot", "gatv2") for part in ("forward", "targets", "sources")
    )
    for dtype in ("bfloat16", "float32")
}


def launched(family, dtype, monkeypatch):
    """Every launch of a family's forward and backward pass: kernel name -> (kernel, arguments, constants)."""
    from importlib import import_module

    from triton.runtime import JITFunction

    found = {}
    monkeypatch.setattr(
        JITFunction, "run", lambda self, *args, grid, warmup, **more: found.update({self.__name__: (self, args, more)})
    )
    module = import_module(f"taggnn.kernels.triton.{family}")
    frames, positions, heads, channels = 2, 49, 2, 128 if dtype == torch.bfloat16 else 64
    wide = torch.empty(frames * positions, heads, channels, dtype=dtype, device="meta")
    number = torch.empty(frames * positions, heads, dtype=torch.float32, device="meta")
    operands = {
        "gat": (wide, number, number),
        "dot": (wide, wide, wide),
        "gatv2": (wide, wide, torch.empty(heads, channels, dtype=dtype, device="meta")),
    }[family]
    rule = (*(() if family == "dot" else (0.2, False)), frames, positions, True, 1)
    out, lse = module.attend._init_fn(*operands, *rule)
    module.attend_backward._init_fn(out, *operands, out, lse, *rule)
    return found


def compiled(kernel, arguments, constants):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    options = {name: constants.pop(name) for name in ("num_warps", "num_stages")}
    given = dict(zip(kernel.arg_names, arguments, strict=False))
    signature = {
        name: "constexpr" if name in constants else TYPES[given[name].dtype] if hasattr(given[name], "dtype") else "i32"
        for name in kernel.arg_names
    }
    # As in a launch: addresses and steps are multiples of 16.
    whole = {
        (n,): [["tt.divisibility", 16]]
        for n, name in enumerate(given)
        if hasattr(given[name], "dtype") or given[name] % 16 == 0
    }
    source = ASTSource(kernel, signature, constants, whole)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


@here_only
@pytest.mark.parametrize(("name", "dtype"), COMPILED.values(), ids=COMPILED)
def test_the_kernel_compiles_for_hopper_without_spilling(name, dtype, monkeypatch, tmp_path):
    try:
        from triton.knobs import nvidia
    except ImportError:
        pytest.skip("this Triton has no backend for NVIDIA")
    tools = nvidia.ptxas.path, nvidia.cuobjdump.path
    if not all(Path(tool).is_file() for tool in tools):
        pytest.skip(f"no ptxas or cuobjdump at {tools}")
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kernel = compiled(*launched(name.partition("_")[0], dtype, monkeypatch)[name])
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    usage = subprocess.run([tools[1], "-res-usage", str(binary)], capture_output=True, text=True, check=True).stdout
    # Bytes of a thread; of a program: Hopper has 227 KiB.
    assert int(re.search(r"STACK:(\d+)", usage)[1]) <= 64
    assert kernel.metadata.shared <= 227 * 1024
    if dtype == torch.bfloat16:
        assert re.search(r"wgmma|mma\.sync", kernel.asm["ptx"])

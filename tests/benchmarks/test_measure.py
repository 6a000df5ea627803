"""Rows: equal or not there, with ratios that can be computed again."""

import pytest
import torch

from benchmarks import measure
from benchmarks.case import PROJECTION, Case
from benchmarks.measure import BOTH, FORWARD
from benchmarks.sizes import Size
from graphs import parse
from taggnn import kernels

SIZE = Size(2, 2, (2, 3), 8, 2)


def case(name="gat", backward=False, dtype=torch.float32):
    return Case(name, SIZE, parse("clique+chain"), torch.device("cpu"), dtype, backward=backward)


def run(one, impls, **options):
    return measure.measure(one, impls, rounds=2, **options)


def off_by(amount):
    """A finder whose dense implementation is off."""
    find = kernels.find

    class Wrong(torch.nn.Module):
        def __init__(self, kernel):
            super().__init__()
            self.kernel = kernel

        def forward(self, conv, x):
            return self.kernel(conv, x) + amount

    return lambda conv, topology, grid, impl: (Wrong if impl == "dense" else lambda kernel: kernel)(
        find(conv, topology, grid, impl)
    )


def test_a_row_for_each_implementation_and_pass():
    rows, left = run(case(backward=True), ["pyg", "dense"])
    assert [(row["impl"], row["pass"]) for row in rows] == [
        (impl, which) for which in (FORWARD, BOTH) for impl in ("pyg", "dense", PROJECTION)
    ]
    assert left == []
    for row in rows:
        assert row["q20_ms"] <= row["median_ms"] <= row["q80_ms"]
        assert row["samples"] == 2
        assert row["nodes"] == 2 * 12
        assert row["peak_bytes"] > 0
        assert (row["equal"] is None) == (row["impl"] == PROJECTION)
    assert rows[1]["equal"]["equal"]
    assert rows[1]["equal"]["against"] == "float64"


def test_ratios_follow_from_the_rows():
    rows, _ = run(case(), ["pyg", "dense", "structured"])
    pyg, dense, structured, projection = rows
    assert structured["faster_than_pyg"] == pytest.approx(pyg["median_ms"] / structured["median_ms"])
    assert structured["faster_than_dense"] == pytest.approx(dense["median_ms"] / structured["median_ms"])
    assert structured["times_projection"] == pytest.approx(structured["median_ms"] / projection["median_ms"])
    assert structured["memory_of_pyg"] == pytest.approx(structured["peak_bytes"] / pyg["peak_bytes"])
    assert pyg["faster_than_pyg"] == dense["faster_than_dense"] == projection["times_projection"] == 1


def test_ratios_to_what_was_not_measured_are_none():
    rows, _ = run(case("appnp"), ["structured"])
    assert len(rows) == 1
    for ratio in ("faster_than_pyg", "faster_than_dense", "times_projection", "memory_of_pyg"):
        assert rows[0][ratio] is None


def test_ratios_never_cross_sizes_or_passes():
    row = {"conv": "gat", "impl": "pyg", "size": "a", "pass": FORWARD, "median_ms": 2.0}
    others = [row | {"size": "b"}, row | {"pass": BOTH}, row | {"conv": "gcn"}]
    alone = row | {"impl": "dense"}
    measure.add_ratios([*others, alone])
    assert alone["faster_than_pyg"] is None


@pytest.mark.parametrize("amount", [1e-2, float("nan")], ids=["off", "nan"])
def test_what_is_not_equal_has_no_time(amount, monkeypatch):
    monkeypatch.setattr(kernels, "find", off_by(amount))
    rows, left = run(case(), ["pyg", "dense"])
    assert [row["impl"] for row in rows] == ["pyg", PROJECTION]
    assert [(entry["impl"], entry["why"]) for entry in left] == [("dense", "unequal")]
    assert "output off by" in left[0]["reason"]


def test_the_same_without_an_error_is_timed(monkeypatch):
    monkeypatch.setattr(kernels, "find", off_by(0.0))
    rows, left = run(case(), ["pyg", "dense"])
    assert [row["impl"] for row in rows] == ["pyg", "dense", PROJECTION]
    assert left == []


def test_a_refusal_is_told():
    rows, left = run(case("gcn"), ["structured", "flex"])
    assert [row["impl"] for row in rows] == ["structured", PROJECTION]
    assert left[0]["why"] == "refused"
    assert left[0]["reason"].startswith("impl flex: ")
    assert left[0]["conv"] == "gcn"


def test_a_call_that_takes_too_long_is_not_repeated():
    rows, left = run(case(), ["pyg", "dense"], longest=1e-9)
    assert rows == []
    assert [(entry["impl"], entry["why"]) for entry in left] == [("pyg", "time"), ("dense", "time")]


def test_compiled_ones_have_rows_of_their_own(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda kernel, **options: kernel)
    rows, left = run(case(), ["pyg", "dense"], compiled=True)
    assert [row["impl"] for row in rows] == ["pyg", "pyg+compile", "dense", "dense+compile", PROJECTION]
    assert [row["macs_counted"] is None for row in rows] == [False, True, False, True, False]
    assert left == []


def test_a_compiler_that_gives_up_is_told(monkeypatch):
    def compiled(kernel, **options):
        def fails(*_):
            raise RuntimeError("no compiler\nhere")

        return fails

    monkeypatch.setattr(torch, "compile", compiled)
    rows, left = run(case(), ["dense"], compiled=True)
    assert [row["impl"] for row in rows] == ["dense", PROJECTION]
    assert left[0]["impl"] == "dense+compile"
    assert left[0]["reason"] == "RuntimeError: no compiler"


def shortage(*_, **__):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


def test_without_a_reference_there_is_no_row(monkeypatch):
    monkeypatch.setattr(Case, "reference", shortage)
    rows, left = run(case(), ["dense"])
    assert rows == []
    assert left[0]["why"] == "memory"


def test_without_a_reference_rows_can_be_had_and_are_marked(monkeypatch):
    monkeypatch.setattr(Case, "reference", shortage)
    rows, left = run(case(), ["dense"], unchecked=True)
    assert rows[0]["equal"] is None
    assert left == []


def test_an_error_of_the_reference_that_is_no_shortage_is_not_hidden(monkeypatch):
    def broken(self):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(Case, "reference", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run(case(), ["dense"])

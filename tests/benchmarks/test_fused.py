"""python benchmarks/fused.py from its command line to its ratios, its file and its table."""

import json

import pytest

from benchmarks import fused, readme
from taggnn.kernels.structured.fused import library


def test_loops_and_blocks_on_one_thread(bench, tmp_path):
    if library.load() is None:
        pytest.skip(f"no fused loops here: {library.describe()}")
    path = tmp_path / "a.json"
    words = ["--convs", "gatv2", "--grids", "B1-T2-2x3-C8-A2", "--threads", 1, "--rounds", 3, "--out", path]
    ended = bench(fused, *words)
    assert ended.code == 0, ended.err
    found = json.loads(path.read_text())
    assert found["kind"] == "fused"
    assert {(row["impl"], row["pass"]) for row in found["rows"]} == {
        (impl, which) for impl in ("fused", "blocks", "projection") for which in ("forward", "forward+backward")
    }
    named = {(row["impl"], row["pass"]): row for row in found["rows"]}
    for which in ("forward", "forward+backward"):
        loops, blocks = (named[impl, which] for impl in ("fused", "blocks"))
        assert loops["samples"] == 3
        assert loops["error"] < 1e-4
        assert loops["error"] != blocks["error"]
        assert loops["faster_than_blocks"] == pytest.approx(blocks["median_ms"] / loops["median_ms"])
        assert loops["faster_than_blocks_cpu"] == pytest.approx(blocks["cpu_ms"] / loops["cpu_ms"])
    assert "| `gatv2` | B1-T2-2x3-C8-A2 | 1 |" in "\n".join(readme.fused_loops(found))


@pytest.mark.parametrize("words", [["--convs", "gcn"], ["--grids", "G9"], ["--out", "a.txt"]], ids=" ".join)
def test_a_mistake_is_one_line(bench, words):
    ended = bench(fused, *words)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1


def test_without_loops_there_is_nothing_to_measure(bench, monkeypatch):
    monkeypatch.setenv("TAGGNN_FUSED", "0")
    ended = bench(fused)
    assert ended.code == 2
    assert "TAGGNN_FUSED=0" in ended.err

"""python benchmarks/latency.py from its command line to its JSON and picture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import latency
from taggnn import kernels

ROOT = Path(__file__).parents[2]
TINY = ("--grids", "B2-T2-2x3-C8-A2", "B1-T3-2x2-C8-A2", "--iters", 1, "--threads", 1)


@pytest.fixture(scope="module")
def measured(bench, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "tiny.json"
    return bench(latency, *TINY, "--convs", "gat", "gcn,appnp", "--backward", "--out", path), path


def test_the_file_holds_everything(measured):
    ended, path = measured
    assert ended.code == 0, ended.err
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    results = json.loads(path.read_text())
    assert results["kind"] == "latency"
    assert results["machine"]["threads"] == 1
    assert results["machine"]["command"].startswith("python benchmarks/latency.py --grids B2-T2-2x3-C8-A2")
    assert results["settings"]["dtype"] == "float32"
    assert results["settings"]["topology"] == "clique+chain"
    impls = {row["impl"] for row in results["rows"]}
    assert {"pyg", "dense", "structured", "projection"} <= impls
    keys = {
        "conv", "grid", "size", "impl", "pass", "nodes", "edges", "equal", "median_ms", "q20_ms", "q80_ms", "samples",
        "peak_bytes", "macs_projection", "macs_graph", "macs_counted", "floor_bytes", "floor_share",
        "faster_than_pyg", "faster_than_dense", "times_projection", "memory_of_pyg",
    }  # fmt: skip
    for row in results["rows"]:
        assert row.keys() == keys
        assert row["impl"] == "projection" or row["equal"]["error"] <= row["equal"]["allowed"]
    for entry in results["left_out"]:
        assert entry.keys() == {"conv", "grid", "size", "impl", "why", "reason"}


def test_a_row_that_is_not_equal_fails_the_run(bench, tmp_path, monkeypatch):
    find = kernels.find

    class Wrong(torch.nn.Module):
        def __init__(self, kernel):
            super().__init__()
            self.kernel = kernel

        def forward(self, conv, x):
            return 1.01 * self.kernel(conv, x)

    def wrong(conv, topology, grid, impl):
        kernel = find(conv, topology, grid, impl)
        return Wrong(kernel) if impl == "dense" else kernel

    monkeypatch.setattr(kernels, "find", wrong)
    ended = bench(latency, *TINY, "--convs", "gcn", "--impls", "pyg", "dense", "--out", tmp_path / "a.json")
    assert ended.code == 1
    assert "dense: no row (unequal: output off by" in ended.out
    assert not [line for line in ended.out.splitlines() if line.startswith("dense ")]


def test_half_precision_batch_and_topology(bench, tmp_path):
    path = tmp_path / "a.json"
    words = [
        "--dtype",
        "bfloat16",
        "--batch",
        "3",
        "--topology",
        "chain",
        "--reach",
        "2",
        "--impls",
        "dense",
        "--convs",
        "sage",
    ]
    ended = bench(latency, *TINY, *words, "--out", path)
    assert ended.code == 0, ended.err
    results = json.loads(path.read_text())
    assert results["settings"]["topology"] == "chain(reach=2)"
    assert {row["size"] for row in results["rows"]} == {"B3-T2-2x3-C8-A2", "B3-T3-2x2-C8-A2"}
    assert all(row["equal"]["against"] == "float64" for row in results["rows"] if row["impl"] == "dense")


BONES = ("--topology", "bones(skeleton=coco)+chain")


def test_a_skeleton(bench, tmp_path):
    path = tmp_path / "a.json"
    words = ("--grids", "B2-T3-V17-C8-A2", "--impls", "pyg", "structured", "--iters", 1, "--threads", 1, "--backward")
    ended = bench(latency, *words, *BONES, "--out", path)
    assert ended.code == 0, ended.err
    results = json.loads(path.read_text())
    assert results["settings"]["topology"] == "bones(skeleton='coco')+chain"
    shown = {(row["conv"], row["pass"]) for row in results["rows"] if row["impl"] == "structured"}
    assert shown == {(conv, which) for conv in latency.CONVS for which in ("forward", "forward+backward")}
    assert {row["nodes"] for row in results["rows"]} == {2 * 3 * 17}


def test_bones_on_a_grid_of_tokens_are_refused_before_anything_is_measured(bench, tmp_path):
    ended = bench(latency, *TINY, *BONES, "--out", tmp_path / "a.json")
    assert ended.code == 2
    assert "(frames, joints), given (2, 2, 3)" in ended.err
    assert not (tmp_path / "a.json").exists()


BLOCK = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lightning", "jsonargparse", "av", "torchvision", "torch_scatter", "torchmetrics"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
sys.path[0] = "benchmarks"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_script_needs_little_more_than_pytorch_and_pyg(tmp_path):
    words = ["benchmarks/latency.py", *map(str, TINY), "--convs", "gcn", "--out", str(tmp_path / "a.json")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCK, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "structured" in done.stdout
    assert "scatter: no row (refused: impl scatter needs the package torch-scatter" in done.stdout

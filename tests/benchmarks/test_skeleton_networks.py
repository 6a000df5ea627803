"""python benchmarks/skeleton_networks.py from its command line to its ratios and its file."""

import json

import pytest
import torch

from benchmarks import readme, skeleton_networks

CLOCK = skeleton_networks.CLOCKS["cpu"]


def test_a_network_is_proven_then_timed(bench, tmp_path):
    path = tmp_path / "a.json"
    words = ["--networks", "ctr_gcn", "--data", "nw_ucla", "--width", 32, "--batch", 1, "--depths", 1, 1]
    ended = bench(skeleton_networks, *words, "--iters", 1, "--threads", 1, "--clock", "cpu", "--out", path)
    assert ended.code == 0, ended.err
    found = json.loads(path.read_text())
    (row,) = found["rows"]
    assert (found["kind"], row["network"], row["clip"], row["batch"]) == ("skeletons", "ctr_gcn", [3, 52, 20, 1], 1)
    assert row["error"] < 1e-10
    assert row["faster"] == pytest.approx(row["step"]["authors"]["median_ms"] / row["step"]["ours"]["median_ms"])
    # Fewer products than the papers' code, since relations are computed from the mean over frames.
    assert row["macs"]["ours"] < row["macs"]["authors"] < row["macs"]["ours, sf"] * 1.1
    assert "| `ctr_gcn` | nw_ucla, 1 of 3 x 52 x 20 x 1 | ours |" in "\n".join(readme.skeletons(found))


def test_nothing_is_timed_that_is_not_equal(monkeypatch):
    right = skeleton_networks.naive_skeletons.Network.features
    monkeypatch.setattr(
        skeleton_networks.naive_skeletons.Network, "features", lambda self, x: right(self, x) * (1 + 1e-6)
    )
    with pytest.raises(ValueError, match="not equal"):
        skeleton_networks.measured("ctr_gcn", "nw_ucla", skeleton_networks.Shape(1, 32, [1]), 0, CLOCK, 0.1, 1)


def test_published_multiply_adds_of_a_clip():
    """0.618 thousand million for CTR-GCN on NW-UCLA."""
    sizes = skeleton_networks.DATA["nw_ucla"]
    with torch.device("meta"):
        graph = torch.zeros(3, 20, 20)
        network = skeleton_networks.naive_skeletons.published("ctr_gcn", graph, 10, 3, 1, 64, [4, 3, 3]).eval()
        clip = torch.zeros(1, 3, sizes.frames, 20, 1)
    assert skeleton_networks.counted_macs(lambda: network(clip)) / 1e9 == pytest.approx(0.618, abs=0.001)

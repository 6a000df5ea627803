"""python benchmarks/exported.py from its command line to its ratios and its file."""

import json

import pytest

from benchmarks import exported, readme
from taggnn.io import environment

pytestmark = pytest.mark.skipif(not environment.is_there("onnxscript"), reason="needs pip install '.[export]'")


def test_one_model_in_its_three_forms(bench, tmp_path):
    path = tmp_path / "a.json"
    words = ["--models", "small:gcn", "--size", 4, 32, 32, "--iters", 3, "--clips", 2, "--out", path]
    ended = bench(exported, *words)
    assert ended.code == 0, ended.err
    found = json.loads(path.read_text())
    (row,) = found["rows"]
    assert (found["kind"], row["model"], row["clip"], row["clips"]) == ("exported", "small:gcn", [4, 32, 32], 2)
    eager = row["ways"]["eager"]
    for way in ("torch", "onnx"):
        one = row["ways"][way]
        assert one["samples"] == 3
        assert one["difference"] < 1e-4
        assert one["bytes"] > 10**5
        assert one["faster_than_eager"] == pytest.approx(eager["median_ms"] / one["median_ms"])
    assert "| `small`, `gcn` | 4 x 32 x 32 |" in "\n".join(readme.exported(found))

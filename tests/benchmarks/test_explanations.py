"""python benchmarks/explanations.py from its command line to its table and its file."""

import json

import pytest

import taggnn.train
from benchmarks import explanations
from taggnn.data.synthetic_regions import make_regions

WORDS = ["--config", "demo_art", "--data.synthetic", "false", "--head", "pool", "--compare", "[tag]"]
TINY = ["--video.frames", 4, "--video.size", 32, "--video.short_side", 36, "--data.workers", 0, "--loggers", "csv"]


def test_a_row_for_each_method_of_each_head_with_its_share_and_chance(bench, program, tmp_path):
    root = make_regions(tmp_path / "set", {"train": 1, "val": 1, "test": 1}, frames=12, size=48, progress=False)
    words = ["--train.epochs", 1, "--backbone.options", '{"width": 4}', "--run", tmp_path / "run", "--data.root", root]
    assert program(taggnn.train, *WORDS, *TINY, *words, "--thumbnails", 0).code == 0
    few = ["--methods", "attention,gradient_x_token,frame_occlusion", "--clips", 3, "--draws", 2, "--curve_steps", 2]
    ended = bench(explanations, tmp_path / "run", "--out", tmp_path / "found.json", "--threads", 1, *few)
    assert ended.code == 0, ended.err
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    names = {(row["head"], row["method"]) for row in rows}
    assert names >= {("pool", "gradient_x_token"), ("tag", "attention"), ("tag", "gradient_x_token")}
    assert ("pool", "attention") not in names
    for row in rows:
        assert (row["clips"], row["grid"]) == (3, [4, 2, 2])
        assert 0 <= row["inside"]["low"] <= row["inside"]["value"] <= row["inside"]["high"] <= 1
        assert 0 < row["chance"] < 1
        assert row["better"] in (True, False)
    # A map with one value in each frame knows nothing of positions: chance, but for how frames are weighted.
    frame = next(row for row in rows if row["method"] == "frame_occlusion")
    assert frame["inside"]["value"] == pytest.approx(frame["chance"], abs=0.03)
    assert "gradient_x_token" in ended.out

"""python benchmarks/scaling.py from its command line to its slopes."""

import json

import pytest

from benchmarks import fit, measure, scaling

TINY = ("--iters", 1, "--threads", 1, "--positions", 4, 1, 9, 6, "--frames", 1, 2, 3, "--channels", 8, 16, 24)


@pytest.fixture(scope="module")
def measured(bench, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "tiny.json"
    ended = bench(scaling, *TINY, "--convs", "gcn", "--out", path)
    assert ended.code == 0, ended.err
    return ended, json.loads(path.read_text()), path


@pytest.mark.parametrize(
    ("positions", "sides"), [(1, (1, 1)), (49, (7, 7)), (12, (3, 4)), (7, (1, 7)), (1600, (40, 40))]
)
def test_a_frame_is_as_square_as_can_be(positions, sides):
    assert scaling._sides(positions) == sides


def test_every_size_of_every_axis_has_a_row(measured):
    _, results, path = measured
    for axis, values in (("positions", {1, 4, 6, 9}), ("frames", {1, 2, 3}), ("channels", {8, 16, 24})):
        for impl in ("pyg", "dense", "structured", "projection"):
            rows = [row for row in results["rows"] if row["sweep"] == axis and row["impl"] == impl]
            assert {row["value"] for row in rows} == values
    assert results["left_out"] == []
    assert all(row["equal"]["equal"] for row in results["rows"] if row["impl"] != "projection")
    assert path.with_suffix(".png").is_file()


def test_slopes_follow_from_the_rows(measured):
    _, results, _ = measured
    slope = next(s for s in results["slopes"] if s["sweep"] == "positions" and s["impl"] == "dense")
    points = [
        (r["value"], r["median_ms"]) for r in results["rows"] if r["sweep"] == "positions" and r["impl"] == "dense"
    ]
    assert slope["over"] == [4, 6, 9]
    assert slope["slope"] == pytest.approx(fit.slope(fit.upper(points)))


def test_what_takes_too_long_is_left_out_by_name_from_there_on(bench, tmp_path):
    path = tmp_path / "a.json"
    words = ("--convs", "gcn", "--impls", "pyg", "--sweeps", "positions", "--max-seconds", 1e-9)
    ended = bench(scaling, *TINY, *words, "--out", path)
    assert ended.code == 0, ended.err
    results = json.loads(path.read_text())
    assert [(entry["impl"], entry["value"], entry["why"]) for entry in results["left_out"]] == [("pyg", 1, "time")]
    assert results["rows"] == results["slopes"] == []


def test_two_sizes_have_no_slope():
    row = {"conv": "gcn", "sweep": "positions", "pass": measure.FORWARD, "impl": "pyg", "median_ms": 1.0}
    assert scaling.fitted([row | {"value": 1}, row | {"value": 2}]) == []

"""python benchmarks/scaling.py from its command line to its slopes."""

import json

import pytest

from benchmarks import fit, measure, scaling

TINY = ("--iters", 1, "--threads", 1, "--places", 4, 1, 9, 6, "--frames", 1, 2, 3, "--channels", 8, 16, 24)


@pytest.fixture(scope="module")
def measured(bench, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "tiny.json"
    ended = bench(scaling, *TINY, "--convs", "gcn", "--out", path)
    assert ended.code == 0, ended.err
    return ended, json.loads(path.read_text()), path


@pytest.mark.parametrize(("places", "sides"), [(1, (1, 1)), (49, (7, 7)), (12, (3, 4)), (7, (1, 7)), (1600, (40, 40))])
def test_a_frame_is_as_square_as_can_be(places, sides):
    assert scaling._sides(places) == sides


def test_every_size_of_every_axis_has_a_row(measured):
    _, results, path = measured
    for axis, values in (("places", {1, 4, 6, 9}), ("frames", {1, 2, 3}), ("channels", {8, 16, 24})):
        for impl in ("pyg", "dense", "structured", "projection"):
            rows = [row for row in results["rows"] if row["sweep"] == axis and row["impl"] == impl]
            assert {row["value"] for row in rows} == values
    assert results["left_out"] == []
    assert all(row["equal"]["equal"] for row in results["rows"] if row["impl"] != "projection")
    assert path.with_suffix(".png").is_file()


def test_slopes_follow_from_the_rows(measured):
    ended, results, _ = measured
    slope = next(s for s in results["slopes"] if s["sweep"] == "places" and s["impl"] == "dense")
    points = [(r["value"], r["median_ms"]) for r in results["rows"] if r["sweep"] == "places" and r["impl"] == "dense"]
    assert slope["over"] == [4, 6, 9]
    assert slope["slope"] == pytest.approx(fit.slope(fit.upper(points)))
    assert f"{slope['slope']:.2f}" in ended.out


def test_what_takes_too_long_is_left_out_by_name_from_there_on(bench, tmp_path):
    path = tmp_path / "a.json"
    words = ("--convs", "gcn", "--impls", "pyg", "--sweeps", "places", "--max-seconds", 1e-9)
    ended = bench(scaling, *TINY, *words, "--out", path)
    assert ended.code == 0, ended.err
    results = json.loads(path.read_text())
    assert [(entry["impl"], entry["value"], entry["why"]) for entry in results["left_out"]] == [("pyg", 1, "time")]
    assert results["rows"] == results["slopes"] == []
    assert "pyg: left out from 1 on (time: one call took" in ended.out


def test_two_sizes_have_no_slope():
    row = {"conv": "gcn", "sweep": "places", "pass": measure.FORWARD, "impl": "pyg", "median_ms": 1.0}
    assert scaling.fitted([row | {"value": 1}, row | {"value": 2}]) == []


def test_a_size_that_was_not_checked_is_marked():
    row = {
        "conv": "gcn",
        "sweep": "places",
        "pass": measure.FORWARD,
        "impl": "dense",
        "value": 4,
        "median_ms": 1.0,
        "equal": None,
    }
    told = scaling.block("gcn", "places", [row], [])
    assert "1.00*" in told
    assert "not checked at this size" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweeps", "place"], "unknown sweep 'place'; did you mean 'places'?"),
        (["--impls", "fast"], "unknown implementation 'fast'"),
        (["--convs", "gatt"], "did you mean 'gat'"),
        (["--places", "0"], "a whole number of 1 or more, given 0"),
        (["--convs", "gat", "--channels", "6"], "6 channels cannot be shared"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(words, said, bench):
    ended = bench(scaling, *words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1

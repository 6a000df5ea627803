"""python benchmarks/throughput.py from its command line to its JSON and picture."""

import json
import shutil

import pytest

from benchmarks import program, steps, throughput

PARTS = [
    "bare decode", "reading", "reading + transform", "loader, 0 workers", "loader, 1 worker", "backbone", "head",
    "training step", "training",
]  # fmt: skip


@pytest.fixture(scope="module")
def measured(bench, tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "tiny.json"
    words = ("--clips", 9, "--rounds", 2, "--loader-workers", 0, 1, "--out", path)
    return bench(throughput, "--config", tiny, *words), path


def test_the_file_holds_everything(measured, videos):
    ended, path = measured
    assert ended.code == 0, ended.err
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "Warning" not in ended.err
    results = json.loads(path.read_text())
    assert (results["kind"], results["complete"]) == ("throughput", True)
    assert [row["part"] for row in results["rows"]] == PARTS
    keys = {"part", "median_ms", "q20_ms", "q80_ms", "samples", "clips_per_s", "of_step", "of_decode"}
    for row in results["rows"]:
        assert row.keys() == keys
        assert row["samples"] == 2
        assert row["clips_per_s"] == pytest.approx(1e3 / row["median_ms"])
        assert (row["of_decode"] is not None) == row["part"].startswith("reading")
    settings = results["settings"]
    # Nine clips are two batches of four.
    assert (settings["clips"], settings["batch"], settings["workers"]) == (8, 4, 0)
    assert settings["data"] == videos.name
    assert results["machine"]["threads"] == 1
    assert str(videos.parent) not in path.read_text()
    assert str(path.parent) not in path.read_text()


def test_an_interrupted_run_has_written_what_it_measured(bench, tiny, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "train", interrupted)
    path = tmp_path / "a.json"
    ended = bench(throughput, "--config", tiny, "--clips", 4, "--rounds", 1, "--loader-workers", 0, "--out", path)
    assert ended.code == 1
    assert f"interrupted; what was measured before is in {path}" in ended.err
    results = program.read(path)
    assert not results["complete"]
    assert [row["part"] for row in results["rows"]] == [*PARTS[:4], "backbone", "head"]
    assert all(row["of_step"] is None for row in results["rows"])


@pytest.fixture
def few(tiny, videos, tmp_path):
    """``few("left", "a")``: words for a data set of one clip of each name, "a" for one that cannot be read."""

    def few(*names):
        for name in names:
            (tmp_path / "few" / "train" / name).mkdir(parents=True)
            source = videos / "train" / ("clockwise/a_text.mp4" if name.startswith("a") else f"{name}/{name}_000.mp4")
            shutil.copy(source, tmp_path / "few" / "train" / name)
        words = ["--config", tiny, "--data.root", tmp_path / "few", "--data.val_folder", "train"]
        return [*words, "--rounds", 1, "--loader-workers", 0, "--out", tmp_path / "few.json"]

    return few


@pytest.mark.parametrize(
    ("names", "clips"), [(["left", "right"], 2), (["left", "a"], 1)], ids=["two clips", "one of them bad"]
)
def test_few_clips_are_one_batch(names, clips, bench, few, tmp_path):
    # Weights are random here, whatever a recipe says: its file need not be there.
    ended = bench(throughput, *few(*names), "--data.drop_last", "true", "--backbone.weights", "nowhere.pth")
    assert ended.code == 0, ended.err
    settings = program.read(tmp_path / "few.json")["settings"]
    assert (settings["clips"], settings["batch"]) == (clips, clips)
    assert ("left out, since they cannot be read: train/a/a_text.mp4" in ended.out) == (clips == 1)


def test_a_set_without_a_readable_clip_is_one_line(bench, few):
    ended = bench(throughput, *few("a", "ab"))
    assert ended.code == 2
    assert ended.err.endswith("few/train: none of the 2 clips can be read\n")
    assert ended.err.count("\n") == 1


def test_the_stored_command_has_no_folders_of_this_machine():
    words = ["--config", "folder", "--data.root", "/a/b/c", "--out=/x/y.json", "--data.val_list", "val.csv"]
    shown = ["--config", "folder", "--data.root", "c", "--out=y.json", "--data.val_list", "val.csv"]
    assert throughput.without_folders(words) == shown


def table(**clips_per_s):
    """Rows of given rates."""
    names = {
        "decode": "bare decode", "read": "reading", "load": "reading + transform", "none": "loader, 0 workers",
        "one": "loader, 1 worker", "two": "loader, 2 workers", "backbone": "backbone", "head": "head",
        "step": "training step", "whole": "training",
    }  # fmt: skip
    rates = {"decode": 100, "read": 80, "load": 50, "none": 48, "one": 40, "two": 75, "backbone": 100, "head": 200}
    rates |= {"step": 60, "whole": 36} | clips_per_s
    return throughput.rows({names[key]: [10 / rate] for key, rate in rates.items()}, 10)


def test_rows_are_times_of_a_clip_and_ratios():
    row = {row["part"]: row for row in table()}
    assert row["bare decode"]["median_ms"] == pytest.approx(10)
    assert row["reading"]["of_decode"] == pytest.approx(1.25)
    assert row["backbone"]["of_step"] == pytest.approx(0.6)
    assert row["training step"]["of_step"] == 1


def about(workers, threads=1, cores=4):
    return {"device": "cpu", "workers": workers, "threads": threads, "cores": cores}


@pytest.mark.parametrize(
    ("rates", "workers", "waited", "first", "parts"),
    [
        ({}, 1, 0.4, "Loading is the bottleneck", ("62%", "1.25x", "90%", "40%", "With 2 workers it brings 75.0")),
        (
            {"step": 20, "backbone": 40, "head": 60, "whole": 19},
            2,
            0.01,
            "The model is the",
            ("50%", "33%", "17%", "95%"),
        ),
        ({"none": 50, "step": 50, "whole": 25}, 0, 0.5, "Loading and model are equally fast", ("100%",)),
    ],
    ids=["slow loader", "slow model", "no workers"],
)
def test_the_bottleneck_is_the_slower_part(rates, workers, waited, first, parts):
    verdict = throughput.verdict(table(**rates), about(workers), waited=waited)
    assert verdict.startswith(first)
    assert all(part in verdict for part in parts), verdict


@pytest.mark.parametrize(
    ("whole", "workers", "threads", "warned"),
    [(20, 1, 2, True), (20, 1, 1, False), (20, 0, 2, False), (38, 1, 2, False)],
)
def test_more_threads_and_workers_than_cores_are_named_where_training_suffers(whole, workers, threads, warned):
    verdict = throughput.verdict(table(whole=whole), about(workers, threads=threads, cores=2), waited=0.1)
    assert ("more than the 2 cores" in verdict) == warned

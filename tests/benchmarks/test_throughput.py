"""python benchmarks/throughput.py from its command line to its table, sentence, JSON and picture."""

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


def test_it_ends_well(measured):
    ended, path = measured
    assert ended.code == 0, ended.err
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "Warning" not in ended.err
    assert "Lightning" not in ended.err


def test_the_file_holds_everything(measured, videos):
    _, path = measured
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


def test_the_screen_tells_all(measured):
    ended, path = measured
    results = json.loads(path.read_text())
    for part in PARTS:
        assert f"\n{part} " in ended.out
    assert results["bottleneck"] in ended.out
    assert f"{results['settings']['data']}, recipe tiny: 8 clips in batches of 4, 4 frames of 32x32" in ended.out
    assert "\nleft out, since they cannot be read: train/clockwise/a_" in ended.out
    assert max(map(len, ended.out[ended.out.index("part ") :].split("\n\n")[0].splitlines())) <= 120


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clips", "0"], "argument --clips: a whole number of 1 or more, given 0"),
        (["--loader-workers", "-1"], "--loader-workers -1: 0 or more each"),
        (["--out", "a.csv"], "end the name in .json"),
        (["--config", "demoo"], "unknown recipe 'demoo'"),
        (["--video.frams", "8"], "unknown option --video.frams; did you mean video.frames"),
        (["--data.root", "nowhere"], "data root nowhere: no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(words, said, bench):
    ended = bench(throughput, *words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_the_command_is_told_without_the_folders_of_this_machine():
    words = ["--config", "folder", "--data.root", "/a/b/c", "--out=/x/y.json", "--data.val_list", "val.csv"]
    shown = ["--config", "folder", "--data.root", "c", "--out=y.json", "--data.val_list", "val.csv"]
    assert throughput.told(words) == shown


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


def test_a_slow_loader_is_the_bottleneck():
    said = throughput.verdict(table(), about(1), waited=0.4)
    assert said.startswith(
        "Loading is the bottleneck: the loader with 1 worker brings 40.0 clips/s, a step takes 60.0."
    )
    assert "With 2 workers it brings 75.0." in said
    assert "reading takes 62% (1.25x the bare decode), the transform 38%" in said
    assert said.endswith(
        "reaches 36.0 clips/s, 90% of the slower of the two alone, and waits for clips 40% of the time."
    )


def test_a_slow_model_is_the_bottleneck():
    said = throughput.verdict(table(step=20, backbone=40, head=60, whole=19), about(2), waited=0.01)
    assert said.startswith(
        "The model is the bottleneck: the loader with 2 workers brings 75.0 clips/s, a step takes 20.0."
    )
    assert "Of a step the backbone takes 50%, the head 33%, loss, optimiser and loop 17%." in said
    assert "95% of the slower of the two alone" in said


def test_without_workers_loading_and_step_add_up():
    said = throughput.verdict(table(none=50, step=50, whole=25), about(0), waited=0.5)
    assert said.startswith("Loading and model are equally fast")
    assert "100% of one after the other" in said


def test_more_threads_and_workers_than_cores_are_told_where_training_suffers():
    slow = table(whole=20)
    assert "2 threads and 1 worker are more than the 2 cores" in throughput.verdict(
        slow, about(1, threads=2, cores=2), waited=0.1
    )
    for quiet in (about(1, threads=1, cores=2), about(0, threads=2, cores=2)):
        assert "cores" not in throughput.verdict(slow, quiet, waited=0.1)
    assert "cores" not in throughput.verdict(table(whole=38), about(1, threads=2, cores=2), waited=0.1)

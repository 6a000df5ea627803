"""python -m taggnn.runs: what differs between the runs of a folder, how far they are, and what is left out by name."""

import csv
import io
import json
import os

import pytest
from filelock import FileLock

from taggnn import runs
from taggnn.cli import run_titles
from taggnn.evaluation.results import Results
from tests.cli.sweeps import answers

SETTINGS = """seed: {seed}
monitor: val/top1
head: tag
backbone: {{name: small}}
tag: {{conv: {conv}, topology: clique}}
train: {{epochs: 3}}
"""


def run(folder, conv, seed, epochs=3, share=None, when=0):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(SETTINGS.format(conv=conv, seed=seed))
    rows = [f"{epoch},{0.1 * epoch + seed / 100}" for epoch in range(1, epochs + 1)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,val/top1", *rows, ""]))
    if share is not None:
        Results.from_predictions("test", answers(share, seed), resamples=2).write(folder)
    for file in folder.iterdir():
        os.utime(file, (1_700_000_000 + when,) * 2)
    return folder


@pytest.fixture
def folder(tmp_path):
    run(tmp_path / "demo" / "one", "gcn", 0, share=0.5, when=86_400)
    run(tmp_path / "demo" / "two", "gat", 0, share=0.9)
    run(tmp_path / "other", "gat", 50, epochs=1, when=-86_400)
    (run(tmp_path / "damaged", "gat", 6) / "config.yaml").write_text("head: [tag")
    (run(tmp_path / "cut", "gat", 7) / "config.yaml").write_text("seed: 7\nhead: tag\n")
    (run(tmp_path / "broken", "gat", 8, share=0.5) / "results.json").write_text('{"scores": ')
    (tmp_path / "hydra").mkdir()
    (tmp_path / "hydra" / "config.yaml").write_text("lr: 1\n")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "results.json").write_text("{}")
    (tmp_path / "nothing").mkdir()
    return tmp_path


def listed(program, folder, *words):
    ended = program(runs, folder, "--json", *words)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_runs_are_listed_with_what_differs(folder, program):
    found = listed(program, folder)
    assert [row["name"] for row in found["runs"]] == [f"demo{os.sep}one", f"demo{os.sep}two", "other"]
    one, two, other = found["runs"]
    assert [row["differs"] for row in found["runs"]] == ["conv=gcn,seed=0", "conv=gat,seed=0", "conv=gat,seed=50"]
    assert (one["state"], one["epochs"], one["epochs_planned"], one["best_epoch"]) == ("finished", 3, 3, 3)
    assert one["best"] == pytest.approx(0.3)
    assert (other["state"], other["epochs"], other["test"]) == ("interrupted", 1, None)
    assert two["test"] > one["test"]
    assert one["values"] == {"tag.conv": "gcn", "seed": 0}


def test_what_another_version_did_not_have_is_no_difference():
    settings = [
        {"seed": 0, "device": "cpu", "optim.lr": 1, "tag.conv": "gcn", "recipe": "a"},
        {"seed": 1, "optim.lr": 2, "tag.conv": "gat", "recipe": "b", "optim.new": 3},
        {},
    ]
    assert run_titles.differing(settings) == ["recipe", "tag.conv", "optim.lr", "seed"]
    assert run_titles.names(settings) == ["recipe=a,conv=gcn,lr=1,seed=0", "recipe=b,conv=gat,lr=2,seed=1", ""]
    assert run_titles.names(settings, most=2)[0] == "recipe=a,conv=gcn and 2 more"


def test_damaged_and_foreign_folders_are_left_out_by_name(folder, program):
    found = listed(program, folder)
    for name in ("damaged", "cut", "broken", "hydra", "evaluation"):
        assert sum(str(folder / name) in text for text in found["left_out"]) == 1, name
    assert len(found["left_out"]) == 5


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["--sort", "test"], ["two", "one", "other"]),
        (["--sort", "date"], ["one", "two", "other"]),
        (["--sort", "best"], ["other", "one", "two"]),
        (["--sort", "tag.conv"], ["two", "other", "one"]),
        (["--sort", "seed", "--reverse"], ["other", "one", "two"]),
    ],
    ids=["test", "date", "best", "key", "reverse"],
)
def test_they_are_sorted(folder, program, words, order):
    assert [row["name"].rpartition(os.sep)[2] for row in listed(program, folder, *words)["runs"]] == order


def test_an_unknown_column_is_refused(folder, program):
    ended = program(runs, folder, "--sort", "tag.conf")
    assert ended.code == 2
    assert "tag.conv" in ended.err


def test_a_run_that_is_being_trained_says_so(folder, program):
    with FileLock(folder / "other" / ".lock"):
        assert listed(program, folder)["runs"][2]["state"] == "running"


def test_csv_lines_and_page_have_the_same_runs(folder, program, tmp_path):
    rows = list(csv.DictReader(io.StringIO(program(runs, folder, "--csv").out)))
    assert [row["tag.conv"] for row in rows] == ["gcn", "gat", "gat"]
    ended = program(runs, folder, "--page", tmp_path / "runs.html")
    assert len(ended.out.splitlines()) == 4
    page = (tmp_path / "runs.html").read_text().replace("<wbr>", "")
    assert all(row["name"] in page for row in rows)
    assert page.count("<tr>") == 4


def test_no_run_at_all(program, tmp_path):
    assert program(runs, tmp_path).code == 2
    assert program(runs, tmp_path / "none").code == 2

"""Rows of an ablation, their table, and what is not repeated; trainings are replaced by predictions that are written by hand."""

import json

import pytest

from benchmarks import ablations
from benchmarks.ablation_rows import PAPERS
from taggnn.cli import config, planning, variations
from tests.cli.sweeps import answers, finish


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained."""
    started = []

    def run_all(planned, jobs):
        for one in planned:
            if not planning.finished(one):
                finish(one, answers(0.9 if "--backbone.plug" in one.words else 0.6, one.seed))
                started.append(one)

    monkeypatch.setattr(ablations.jobs, "run_all", run_all)
    return started


def test_every_row_is_trained_with_every_seed_and_compared(bench, trained, tmp_path):
    words = ["--paper", "sf", "--rows", "sf", "--seeds", 0, 1, 2, "--out", tmp_path, "--data.root", "DIR"]
    ended = bench(ablations, *words)
    assert ended.code == 0, ended.err
    assert len(trained) == 6
    assert all("--data.root" in one.words for one in trained)
    found = json.loads((tmp_path / "ablation.json").read_text())
    bare, plugged = found["rows"]
    assert (bare["row"], plugged["row"]) == ("bare", "sf")
    assert "difference" not in bare
    assert plugged["difference"]["low"] > 0
    assert plugged["difference"]["seeds"] == [0, 1, 2]
    assert plugged["difference"]["value"] == pytest.approx(plugged["top1"]["mean"] - bare["top1"]["mean"])
    assert (tmp_path / "ablation.png").is_file()


def test_finished_runs_are_not_repeated(bench, trained, tmp_path):
    words = ["--paper", "sf", "--rows", "sf", "--seeds", 0, "--out", tmp_path]
    assert bench(ablations, *words).code == 0
    assert bench(ablations, *words[:-3], 0, 1, *words[-2:]).code == 0
    assert len(trained) == 4


def test_the_table_alone_trains_nothing(bench, trained, tmp_path):
    words = ["--paper", "sf", "--rows", "sf", "--seeds", 0, "--out", tmp_path]
    assert bench(ablations, *words, "--table").code == 2
    assert not trained
    assert bench(ablations, *words).code == 0
    assert bench(ablations, *words, "--table").code == 0
    assert len(trained) == 2


def test_a_training_that_fails_ends_the_program(bench, monkeypatch, tmp_path):
    def run_all(planned, jobs):
        raise ChildProcessError("2 trainings failed")

    monkeypatch.setattr(ablations.jobs, "run_all", run_all)
    ended = bench(ablations, "--paper", "sf", "--rows", "sf", "--out", tmp_path)
    assert ended.code == 2
    assert "2 trainings failed" in ended.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--paper", "gcn"], "gcn"),
        (["--paper", "sf", "--rows", "sfx"], "sfx"),
        (["--paper", "sf", "--rows", "sf", "--table"], "bare"),
    ],
    ids=["paper", "row", "no run"],
)
def test_mistakes_are_named(bench, tmp_path, words, named):
    ended = bench(ablations, *words, "--out", tmp_path)
    assert ended.code == 2
    assert named in ended.err


@pytest.mark.parametrize("paper", list(PAPERS))
def test_the_options_of_every_row_are_those_of_training(paper):
    for row in PAPERS[paper].rows:
        parsed = config.parse(["--config", PAPERS[paper].recipe, "--compare", "[]", *row.options])
        assert parsed.head in ("pool", "tag", "tag_released", "art", "tag_art")


def test_rows_about_text_are_trained_only_with_a_bank(bench, trained, tmp_path, capsys):
    rows = list(PAPERS["art"].rows)
    about = {row.name for row in rows if row.text}
    ended = bench(ablations, "--paper", "art", "--seeds", 0, "--out", tmp_path, "--rows", "one prompt")
    assert ended.code == 2
    assert "art.bank" in ended.err
    assert not trained
    left = ablations.with_text(rows, [], "demo_art", [])
    assert {row.name for row in rows} - {row.name for row in left} == about
    assert ablations.with_text(rows, [], "demo_art", ["--art.bank", "bank.safetensors"]) == rows


@pytest.mark.parametrize("paper", list(PAPERS))
def test_rows_have_names_of_their_own(bench, paper, tmp_path):
    rows = PAPERS[paper].rows
    assert (
        len(set(variations.folder_names(row.name for row in rows).values()))
        == len({row.name for row in rows})
        == len(rows)
    )
    ended = bench(ablations, "--paper", paper, "--list")
    assert ended.code == 0
    assert all(row.name in ended.out for row in rows)


def test_the_papers_figures_stand_in_a_column_of_their_own(bench, trained, tmp_path):
    ended = bench(ablations, "--paper", "tag", "--rows", "released", "--seeds", 0, "--out", tmp_path)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "ablation.json").read_text())
    assert {row["row"]: row["published"].get("Gym99") for row in found["rows"]} == {
        "both edges": None,
        "released": "95.6",
    }
    header = next(line for line in ended.out.splitlines() if ablations.PUBLISHED in line)
    assert ablations.PUBLISHED in header
    assert ablations.stated(PAPERS["tag"])[0] in ended.out
    assert ablations.stated(PAPERS["sf"]) == []


def test_every_question_of_tag_head_has_its_row():
    names = {row.name for row in PAPERS["tag"].rows}
    assert names >= {"both edges", "spatial edges only", "temporal edges only", "no edges", "encoder off", "graph off"}
    assert names >= {"r2plus1d_34", "r2plus1d_34, alone", "slowfast", "slowfast, alone", "i3d", "i3d, alone"}

"""Arms of the study of the graph and their table; trainings are replaced by predictions that are written by hand."""

import json

import pytest

from benchmarks import accuracy
from benchmarks.accuracy_rows import SETS
from taggnn.cli import config, planning, variations
from tests.cli.sweeps import answers, finish


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained; those of tag_graph with edges are right more often."""
    started = []

    def run_all(planned, jobs):
        for one in planned:
            if not planning.finished(one):
                share = 0.9 if one.name == "graph" else 0.6
                finish(one, answers(share, one.seed))
                started.append(one)

    monkeypatch.setattr(accuracy.jobs, "run_all", run_all)
    return started


def test_the_first_arm_minus_each_of_the_others(bench, trained, tmp_path):
    words = ["--set", "order", "--arms", "pool", "without edges", "--seeds", 0, 1, 2, "--out", tmp_path]
    ended = bench(accuracy, *words, "--data.root", "DIR")
    assert ended.code == 0, ended.err
    assert len(trained) == 9
    assert all("order" in one.words and "DIR" in one.words for one in trained)
    first, *others = json.loads((tmp_path / "accuracy.json").read_text())["rows"]
    assert [first["arm"], *(row["arm"] for row in others)] == ["graph", "without edges", "pool"]
    assert "gain" not in first
    for row in others:
        assert row["gain"]["value"] == pytest.approx(first["top1"]["mean"] - row["top1"]["mean"])
        assert 0 < row["gain"]["low"] < row["gain"]["value"] < row["gain"]["high"]
        assert row["gain"]["seeds"] == [0, 1, 2]
        assert row["gain"]["over_seeds"]
    assert bench(accuracy, *words, "--data.root", "DIR").code == 0
    assert len(trained) == 9


def test_one_seed_claims_nothing_about_seeds(bench, trained, tmp_path):
    ended = bench(accuracy, "--set", "order", "--arms", "pool", "--seeds", 0, "--out", tmp_path)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "accuracy.json").read_text())
    assert not found["rows"][1]["gain"]["over_seeds"]
    assert any("seed" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--set", "letters"], "letters"),
        (["--set", "order", "--arms", "pools"], "pools"),
        (["--set", "miracl_words"], "--folds"),
        (["--set", "order", "--table"], "graph"),
    ],
    ids=["set", "arm", "no folds", "no run"],
)
def test_mistakes_are_named(bench, trained, tmp_path, words, named):
    ended = bench(accuracy, *words, "--out", tmp_path)
    assert ended.code == 2
    assert named in ended.err
    assert not trained


@pytest.mark.parametrize("name", list(SETS))
def test_arms_differ_in_the_head_alone_and_have_names_of_their_own(bench, name):
    arms = SETS[name].arms
    assert len(set(variations.folder_names([arm.name for arm in arms]).values())) == len(arms)
    for arm in arms:
        settings = config.parse(["--compare", "[]", *SETS[name].words, *arm.options])
        assert settings.head in ("pool", "tag", "tag_graph", "tag_released")
        assert all(word.startswith(("--head", "--tag_graph.", "--pool.")) for word in arm.options[::2])
    ended = bench(accuracy, "--set", name, "--list")
    assert ended.code == 0
    assert all(arm.name in ended.out for arm in arms)

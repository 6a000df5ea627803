"""python -m taggnn.sweep, from its words to its table; trainings only seem to be, but for one."""

import pytest

from taggnn import sweep, train
from taggnn.cli import jobs, planning, sweeping
from tests.cli.sweeps import Trainer

OVER = ["--over", "tag.topology=clique+chain,chain(reach=2)", "--over=tag.dim=32,null"]
FORMS = ("sweep.csv", "sweep.tex", "sweep.html")


@pytest.fixture
def trainer(tmp_path, tiny, monkeypatch):
    made = Trainer(tmp_path / "fake")
    over = {"tag.topology": ["clique+chain", "chain(reach=2)"], "tag.dim": ["32", "null"]}
    made.prepare(planning.plan(str(tiny), over, [0, 1], [], tmp_path / "any"))
    monkeypatch.setattr(jobs, "COMMAND", made.command)
    monkeypatch.setattr(jobs, "_LOOK", 0.01)
    return made


def test_from_the_plan_to_the_table(trainer, tiny, program, tmp_path):
    words = ["--config", tiny, *OVER, "--seeds", 2, "--out", tmp_path / "out"]
    shown = program(sweep, *words, "--dry_run")
    assert shown.code == 0, shown.err
    assert "8 trainings" in shown.out
    assert not (tmp_path / "out").exists()
    ended = program(sweep, *words, "--jobs", 4)
    assert ended.code == 0, ended.err
    assert len(trainer.started()) == 8
    assert "topology=chain(reach=2),dim=null" in ended.out
    written = {name: (tmp_path / "out" / name).read_bytes() for name in FORMS}
    again = program(sweep, "--table", "--out", tmp_path / "out")
    assert again.code == 0, again.err
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FORMS} == written
    assert program(sweep, *words[:2], *words[3:]).code == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--over", "tag.conv=gcn,gnc"], "conv=gnc"),
        (["--over", "tag.cnov=gcn"], "tag.conv"),
        (["--over", "tag.conv=gcn", "--seeds", "x"], "--seeds"),
        (["--over", "tag.conv=gcn", "--jobs", "0"], "--jobs"),
        (["--over", "tag.conv=gcn", "--optim.lrr", "1"], "optim.lr"),
        (["--over", "tag.conv=gcn", "--shard", "3/2"], "--shard"),
        (["--table"], "--out"),
    ],
    ids=["value", "key", "seeds", "jobs", "word", "shard", "table"],
)
def test_a_typing_mistake_costs_nothing(trainer, tiny, program, tmp_path, words, named):
    known = [] if words == ["--table"] else ["--config", tiny, "--out", tmp_path / "out"]
    ended = program(sweep, *known, *words)
    assert ended.code == 2
    assert named in ended.err
    assert "Traceback" not in ended.err
    assert not trainer.started()


def test_a_failed_training_ends_with_its_name_and_the_table_of_the_others(trainer, tiny, program, tmp_path):
    planned = planning.plan(str(tiny), {"tag.dim": ["32", "null"], "tag.topology": ["clique+chain"]}, [0], [], tmp_path)
    trainer.prepare(planned)
    trainer.that("fails", planned[1])
    over = ["--over", "tag.dim=32,null", "--over", "tag.topology=clique+chain"]
    ended = program(sweep, "--config", tiny, *over, "--seeds", "1", "--out", tmp_path / "out")
    assert ended.code == 1
    assert "dim=null" in ended.err
    assert (tmp_path / "out" / "sweep.csv").read_text().count("\n") == 2


def test_a_real_training_is_what_was_planned(tiny, program, tmp_path):
    (one,) = planning.plan(str(tiny), {"tag.conv": ["gat"]}, [3], ["--train.epochs", "1"], tmp_path)
    ended = program(train, *one.words, "--run", one.folder)
    assert ended.code == 0, ended.err
    assert planning.finished(one)
    found = sweeping.table([one])
    assert found.found.rows[0].seeds == [3]
    assert found.costs["conv=gat"].parameters > found.costs["conv=gat"].head_parameters > 0

"""Trainings of a sweep: each once, several at once, by shards, ended together, resumed; the program only seems to train."""

import pytest
from filelock import FileLock

from taggnn.cli import jobs, planning, sweeping
from taggnn.reporting import sweep_table
from taggnn.runtime.signals import StopRequested
from tests.cli.sweeps import Trainer

OVER = {"tag.conv": ["gcn", "gat"]}
SEEDS = [0, 1]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "mine.yaml").write_text(f"data: {{root: {folder}}}\ntrain: {{epochs: 3}}\ncompare: [pool]\n")
    return str(folder / "mine.yaml")


@pytest.fixture(scope="module")
def ready(tmp_path_factory, config_file):
    """The fake trainer, and plans of the same sweep in any folder, parsed once."""
    trainer = Trainer(tmp_path_factory.mktemp("trainer") / "fake")
    first = planning.plan(config_file, OVER, SEEDS, [], tmp_path_factory.mktemp("out"))
    trainer.prepare(first)
    return trainer, first


@pytest.fixture
def sweep(ready, tmp_path, monkeypatch):
    """``sweep(name)``: the plan with another folder; ``sweep.trainer``: what its trainings are."""
    trainer, first = ready
    for name in ("started", "fails", "kills"):
        (trainer.folder / name).unlink(missing_ok=True)
    monkeypatch.setattr(jobs, "COMMAND", trainer.command)
    monkeypatch.setattr(jobs, "_LOOK", 0.01)

    def planned(name="out"):
        moved = [(one, tmp_path / name / one.folder.parent.name / one.folder.name) for one in first]
        return [
            planning.Planned(one.name, one.values, one.seed, one.words, folder, one.fold, one.settings, one.keys)
            for one, folder in moved
        ]

    planned.trainer = trainer
    return planned


def forms(planned):
    found = sweeping.table(planned)
    return sweep_table.text(found), sweep_table.as_csv(found), sweep_table.latex(found)


def started(sweep):
    return [name for name, *_ in sweep.trainer.started()]


def test_every_run_is_trained_once_seed_by_seed(sweep):
    planned, printed = sweep(), []
    assert jobs.run_all(planned, report=printed.append) == [one.folder for one in planned]
    assert started(sweep) == ["conv=gcn/seed-0", "conv=gat/seed-0", "conv=gcn/seed-1", "conv=gat/seed-1"]
    assert "top-1" in printed[1]
    jobs.run_all(planned, jobs=3, report=printed.append)
    assert len(started(sweep)) == 4
    assert all(one.log.is_file() for one in planned)


def test_shards_are_disjoint_and_make_the_table_of_one_machine(sweep):
    whole, parts = sweep("whole"), sweep("parts")
    jobs.run_all(whole, jobs=2, report=str)
    first = jobs.run_all(parts, shard=(1, 2), report=str)
    partial, _, _ = forms(parts)
    assert "2 of 4 runs are finished" in partial
    second = jobs.run_all(parts, shard=(2, 2), report=str)
    assert sorted([*first, *second]) == sorted(one.folder for one in parts)
    assert not set(first) & set(second)
    assert forms(parts) == forms(whole)


def test_a_signal_ends_all_trainings_and_the_same_call_resumes(sweep):
    whole, killed = sweep("whole"), sweep("killed")
    jobs.run_all(whole, report=str)
    (sweep.trainer.folder / "started").unlink()
    sweep.trainer.that("kills", killed[1])
    with pytest.raises(StopRequested, match="same command"):
        jobs.run_all(killed, jobs=2, report=str)
    assert not planning.finished(killed[1])
    jobs.run_all(killed, jobs=2, report=str)
    begun = {name: int(epochs) for name, epochs, _ in sweep.trainer.started()}
    assert begun["conv=gat/seed-0"] == 2
    assert forms(killed) == forms(whole)


def test_a_training_that_fails_is_named_and_the_others_are_made(sweep):
    planned = sweep()
    sweep.trainer.that("fails", planned[0])
    with pytest.raises(ChildProcessError, match=r"conv=gcn, seed 0: exit code 2(.|\n)*no such luck"):
        jobs.run_all(planned, report=str)
    assert [planning.finished(one) for one in planned] == [False, True, True, True]


def test_what_another_process_trains_is_left_to_it(sweep, monkeypatch):
    planned, printed = sweep(), []
    monkeypatch.setattr(jobs, "LEFT_AFTER", 0.0)
    planned[0].folder.mkdir(parents=True)
    with FileLock(planned[0].folder / ".lock"):
        assert jobs.run_all(planned, report=printed.append) == [one.folder for one in planned[1:]]
    assert "another process" in printed[-1]


def test_several_trainings_share_the_cores(sweep, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(jobs.distributed, "cores", lambda: 8)
    jobs.run_all(sweep(), jobs=2, report=str)
    assert {threads for *_, threads in sweep.trainer.started()} == {"4"}


def test_several_trainings_have_the_gpus_in_turn(sweep, monkeypatch):
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    one = sweep()[0]
    assert [jobs._share(one, slot, 3)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "6", "4"]
    assert "CUDA_VISIBLE_DEVICES" not in jobs._share(one, 0, 1)


SLURM = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("text", "environment", "shard"), [("1/1", {}, (1, 1)), ("2/3", {}, (2, 3)), ("auto", SLURM, (4, 4))]
)
def test_shards_are_read(text, environment, shard):
    assert jobs.shard_of(text, environment) == shard


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "auto"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(ValueError, match="--shard"):
        jobs.shard_of(text, {})

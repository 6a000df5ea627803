"""The same job by every program: what each is given and reports, lines of code, what is missing is named."""

import json
import re
from dataclasses import replace

import pytest
import torch

from benchmarks import peers
from benchmarks.peer_loops import networks
from benchmarks.peer_loops.job import Job, factor
from graphs import Chain, Clique
from taggnn.cli import config


@pytest.fixture(scope="module")
def job(videos):
    words = [
        "--data.root",
        videos,
        "--video.frames",
        4,
        "--video.size",
        16,
        "--data.batch_size",
        2,
        "--data.workers",
        0,
    ]
    settings = config.parse([*map(str, words)], config.parser(peers.SCRIPT))
    made = peers.job_of(settings, "gatv2", 2)
    # The other programs end at the first clip that cannot be read.
    good = {
        split: [item for item in getattr(made, split) if re.search(r"_\d+\.mp4$", item[0])]
        for split in ("train", "test")
    }
    return replace(made, **good)


def test_a_job_is_the_clips_and_the_schedule_of_the_recipe(job, tmp_path):
    assert job.shape == (4, 16, 16)
    assert job.batch_size == 2
    assert {label for _, label in job.train} == set(range(job.classes))
    path = tmp_path / "job.json"
    job.write(path)
    again = Job.read(path)
    assert [tuple(item) for item in again.train] == job.train
    assert again.lr == job.lr


@pytest.mark.parametrize("which", ["torch_loop", "huggingface_loop"])
def test_another_program_reports_its_passes_and_its_accuracy(which, job, tmp_path):
    if not peers.runnable(which):
        pytest.skip("transformers or accelerate is not installed")
    found = peers.other(which, job, tmp_path / "job.json")
    assert found["clips_s"] > 0
    assert 0 <= found["top1"] <= 1
    assert found["peak_bytes"] > 50 * 2**20


def test_a_program_that_fails_is_named_with_its_last_line():
    with pytest.raises(ValueError, match="code 1"):
        peers.process(["-c", "raise RuntimeError('no such clip')"])


def test_edges_are_those_of_the_topology():
    ours = (Clique() + Chain()).edges((3, 2, 2))[0]
    theirs = networks.edges(3, 2, 2)
    assert {*zip(*theirs.tolist(), strict=True)} == {*zip(*ours.tolist(), strict=True)}


@pytest.mark.parametrize("head", networks.NETWORKS)
def test_networks_answer_for_every_clip(head, job):
    network = networks.NETWORKS[head](replace(job, head=head))
    assert network(torch.zeros(2, 3, *job.shape)).shape == (2, job.classes)


def test_the_learning_rate_rises_and_falls_to_zero(job):
    rates = [factor(job, step, 20) for step in range(20)]
    assert rates[9] == rates[10] == max(rates) == 1
    assert sorted(rates[:10]) == rates[:10]
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_lines_are_those_of_code(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('"""A\nmodule."""\n\n# why\nx = 1\n\n\ndef f():\n    """B."""\n    return x\n')
    assert peers.lines(path) == 3


def test_a_table_has_a_row_for_each_program():
    row = {
        "job": "tag",
        "clips_s": 2.0,
        "minutes": 1.0,
        "peak_bytes": 2**20,
        "lines": 9,
        "top1": 0.5,
        "ours_faster": 2.0,
    }
    text = peers.block([{"program": name, **row} for name in ("taggnn", "torch_loop")])
    assert text.splitlines()[-1].split()[:4] == ["tag", "torch_loop", "2.00", "2.00x"]
    assert json.dumps(row)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--jobs", "tug"], "tug"), (["--epochs", "1"], "epochs"), (["--jobs", "skeleton"], "--skeletons")],
)
def test_mistakes_are_named(words, message, bench):
    ended = bench(peers, *words)
    assert ended.code == 2
    assert message in ended.err

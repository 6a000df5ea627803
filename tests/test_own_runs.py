"""What a run is used for after it has ended: more epochs, weights of another run's backbone, tokens."""

import csv
import json
import logging

import pytest
import torch

import taggnn
import taggnn.extract
import taggnn.train
from taggnn import backbones
from taggnn.io import checkpoint
from taggnn.types import VIDEO_AXES, InputSpec

WHOLE = "tests.backbones.networks.ResNet3D"
CLIP = InputSpec("video", VIDEO_AXES, (3, 4, 32, 32))
QUICK = ("--compare", "[]", "--train.limit_batches", 2)


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [(row["epoch"], row["train/loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tiny, program, tmp_path_factory):
    """A run of one epoch whose backbone is a whole network, given by its dotted path."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    words = ["--config", tiny, *QUICK, "--backbone.name", WHOLE, "--backbone.options", "{}"]
    ended = program(taggnn.train, *words, "--run", folder, "--train.epochs", 1)
    assert ended.code == 0, ended.err
    assert "cut at the output of layer2" in ended.out
    return folder, words


def test_a_finished_run_is_extended_by_the_same_command_with_more_epochs(whole, program):
    folder, words = whole
    first, stamp = rows(folder), (folder / "results.json").stat().st_mtime_ns
    ended = program(taggnn.train, *words, "--run", folder, "--train.epochs", 3)
    assert ended.code == 0, ended.err
    assert "extended  from 1 to 3 epochs" in ended.out
    assert [epoch for epoch, _ in rows(folder)] == ["1", "2", "3"]
    assert rows(folder)[:1] == first
    assert torch.load(folder / "last.ckpt", weights_only=True)["progress"]["epoch"] == 3
    assert (folder / "results.json").stat().st_mtime_ns > stamp
    assert json.loads((folder / "results.json").read_text())["scores"]["test"]["top1"] >= 0
    fewer = program(taggnn.train, *words, "--run", folder, "--train.epochs", 2)
    assert fewer.code == 2
    assert "train.epochs 3, now 2" in fewer.err
    assert [epoch for epoch, _ in rows(folder)] == ["1", "2", "3"]


def test_a_backbone_begins_with_the_weights_of_a_run(trained, caplog):
    caplog.set_level(logging.INFO)
    best = trained[0] / "best.ckpt"
    _, state = checkpoint.backbone_of(best)
    built = backbones.build("small", weights=str(best), width=8)
    assert built.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in built.state_dict().items())
    assert "prefix backbone. taken off the names of its entries; left out, not below it: head" in caplog.text


def test_a_whole_network_begins_with_the_weights_of_a_run_that_cut_it(whole, program, caplog):
    caplog.set_level(logging.INFO)
    best = whole[0] / "best.ckpt"
    _, state = checkpoint.backbone_of(best, trust=True)
    built = backbones.build_for(WHOLE, CLIP, str(best))
    assert built.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in built.state_dict().items())
    assert "without what was cut off in it: fc.weight, fc.bias" in caplog.text


def test_a_whole_network_answers_from_its_checkpoint_and_gives_tokens(whole, tiny, program, tmp_path):
    folder, _ = whole
    assert taggnn.load(folder, trust=True).model.grid == (1, 4, 4)
    options = ["--backbone.name", WHOLE, "--backbone.options", "{}", "--backbone.weights", folder / "best.ckpt"]
    ended = program(taggnn.extract, "--config", tiny, *options, "--views", 0, "--out", tmp_path / "tokens")
    assert ended.code == 0, ended.err
    index = json.loads((tmp_path / "tokens" / "index.json").read_text())
    assert index["tokens"] == [1, 4, 4, 16]

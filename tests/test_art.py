"""ART with a text bank through the programs: trained, stopped, resumed, on two processes, evaluated without the bank's file."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
import torch

import taggnn.evaluate
import taggnn.export
import taggnn.train
from taggnn.cli import experiment, terminal
from taggnn.io import checkpoint
from taggnn.text.bank import TextBank
from taggnn.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("no_reports")
PROMPTS = ("a video of {}", "{} seen from the front")
# Nothing that differs by the size of a batch; SGD, because Adam enlarges a gradient that is only rounding.
WORDS = [
    *("--head", "art", "--compare", "[]", "--loggers", "[csv]", "--backbone.frozen_bn", "true"),
    *("--art.dim", "16", "--art.attention_heads", "2", "--art.enhancement_layers", "1", "--art.region_layers", "1"),
    *("--art.dropout", "0", "--art.classifier_dropout", "0", "--art.bank_momentum", "0.9"),
    *("--optim.optimiser", "sgd", "--optim.lr", "0.01", "--optim.gradient_clip", "1"),
]


@pytest.fixture(scope="module")
def classes(videos):
    return sorted(folder.name for folder in (videos / "train").iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def bank(classes, tmp_path_factory):
    """Its classes are in another order than those of the data."""
    torch.manual_seed(3)
    made = TextBank(torch.randn(len(PROMPTS), len(classes), 6), tuple(reversed(classes)), PROMPTS, "made")
    return made.write(tmp_path_factory.mktemp("text") / "bank.safetensors")


def folder_of(out):
    return Path(re.search(r"^run +(.+)$", out, re.MULTILINE)[1])


def in_a_group(commands):
    """Each training in turn, by a process of a group: exit code, output and messages of the last."""
    experiment.write_report = lambda folder: folder / "report.html"
    found = []
    for words in commands:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = terminal.run(taggnn.train.main, "taggnn.train", words)
            except SystemExit as leaving:
                code = leaving.code
        found.append((code, out.getvalue(), err.getvalue()))
    return found


@pytest.fixture(scope="module")
def words(tiny, bank):
    return ["--config", str(tiny), *WORDS, "--art.bank", str(bank)]


@pytest.fixture(scope="module")
def run(words, program, tmp_path_factory):
    ended = program(taggnn.train, *words, "--runs", tmp_path_factory.mktemp("runs"))
    assert ended.code == 0, ended.err
    return folder_of(ended.out)


def state(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["model"]


def test_every_loss_is_a_column(run):
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    losses = ("cross_entropy", "video", "spatial", "temporal", "tracklet", "semantic", "semantic_classifier")
    assert {f"train/{name}" for name in losses} <= set(header)


def test_the_bank_has_followed_its_agent(run, bank, classes):
    found, read = state(run), TextBank.read(bank).ordered(classes, "here")
    start = torch.nn.functional.normalize(read.vectors, dim=-1)
    moved, trained = found["head.bank.bank"] - start, found["head.bank.agent"] - start
    assert 0 < moved.norm() < trained.norm()


@pytest.mark.parametrize("number", [1, 4])
def test_a_killed_run_resumes_bit_for_bit(run, words, program, tmp_path, monkeypatch, number):
    train_batch, done = Trainer.train_batch, []

    def killed(self, *given):
        if len(done) == number:
            raise SystemExit(9)
        done.append(1)
        return train_batch(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train_batch", killed)
        assert program(taggnn.train, *words, "--run", tmp_path / "run", "--save_batches", 1).code == 9
    ended = program(taggnn.train, *words, "--run", tmp_path / "run", "--save_batches", 1)
    assert ended.code == 0, ended.err
    found, whole = state(tmp_path / "run"), state(run)
    assert found.keys() == whole.keys()
    assert [name for name, value in whole.items() if not torch.equal(value, found[name])] == []
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


def test_two_processes_train_the_weights_of_one(run, words, together, tmp_path):
    of_two = [*words, "--data.batch_size", "2", "--runs"]
    commands = [[*of_two, str(tmp_path / "ddp")], [*of_two, str(tmp_path / "fsdp"), "--train.strategy", "fsdp"]]
    for code, out, err in together(2, in_a_group, commands)[0]:
        assert code == 0, err
        found, whole = state(folder_of(out)), state(run)
        assert found.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_a_checkpoint_needs_no_bank(run, videos, program, tmp_path):
    best = shutil.copy(run / "best.ckpt", tmp_path / "best.ckpt")
    stored = torch.load(best, weights_only=True)["architecture"]["head"]["bank"]
    assert (stored["prompts"], stored["channels"]) == ([*PROMPTS], 6)
    data = ["--data.root", videos, "--data.workers", 0, "--data.batch_size", 4]
    ended = program(taggnn.evaluate, "--checkpoint", best, *data, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert checkpoint.load(best).model.head.semantic_names()[0].startswith("a video of ")
    clip = videos / "test" / "left" / "left_000.mp4"
    words = ["--checkpoint", best, "--out", tmp_path / "exported", "--formats", "torch,onnx", "--clip", clip]
    ended = program(taggnn.export, *words)
    assert ended.code == 0, ended.err


def test_another_bank_cannot_resume_it(run, words, classes, program, tmp_path):
    other = TextBank(torch.ones(2, len(classes), 6), tuple(classes), PROMPTS, "other").write(tmp_path / "b.safetensors")
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "results.json").unlink()
    ended = program(taggnn.train, *words, "--art.bank", other, "--run", folder)
    assert ended.code == 2
    assert "art.bank" in ended.err


@pytest.mark.parametrize("kind", ["missing", "other classes", "no bank", "sizes"])
def test_banks_that_cannot_be_are_refused_before_training(words, program, tmp_path, kind):
    path = tmp_path / "bank.safetensors"
    if kind == "other classes":
        TextBank(torch.ones(1, 2, 3), ("walk", "run"), ("{}",), "made").write(path)
    elif kind == "no bank":
        path.write_bytes(b"not a bank")
    given = '{"prompts": ["{}"], "channels": 3}' if kind == "sizes" else path
    ended = program(taggnn.train, *words, "--art.bank", given, "--runs", tmp_path / "runs")
    assert ended.code == 2
    assert "bank" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "runs").exists()

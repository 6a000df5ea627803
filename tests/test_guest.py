"""A user's own source, backbone, convolution, topology, read-out and head with losses, by dotted path, through every program."""

import contextlib
import csv
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import taggnn
import taggnn.compare
import taggnn.evaluate
import taggnn.export
import taggnn.predict
import taggnn.train
from taggnn.cli import experiment, terminal

GUEST = str(Path(__file__).parent / "guest")
HEAD = {
    "conv": "guest_parts.Mix",
    "topology": "guest_parts.Skeleton",
    "readout": "guest_parts.Peaks",
    "dim": 8,
    "encoder_layers": 0,
    "dropout": 0.0,
}
LOSSES = ["slow", "brier", "size"]


@pytest.fixture(scope="module", autouse=True)
def on_the_path():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(GUEST)
        patched.setenv("PYTHONPATH", GUEST)
        yield


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Three classes of moving skeletons; one file cannot be read."""
    root, generator = tmp_path_factory.mktemp("arrays"), np.random.default_rng(0)
    for split, count in {"train": 5, "val": 2, "test": 3}.items():
        for label, name in enumerate(("fall", "still", "rise")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                array = generator.normal(size=(3, 9, 5, 2)).astype(np.float32)
                array[1] += (label - 1) * np.linspace(0, 3, 9)[:, None, None]
                np.save(root / split / name / f"{name}_{number}.npy", array)
        (root / split / "fall" / "bad.npy").write_bytes(b"no array")
    return root


@pytest.fixture(scope="module")
def fixed(arrays):
    """The configuration, but for what a test changes."""
    options = {
        "--data.root": arrays,
        "--data.source": "guest_parts.Arrays",
        "--data.source_options": json.dumps({"frames": 5}),
        "--backbone.name": "guest_parts.JointNet",
        "--backbone.weights": "null",
        "--backbone.options": json.dumps({"channels": 8}),
        "--head": "guest_parts.Head",
        "--head_options": json.dumps(HEAD),
        "--optim.losses": json.dumps({"brier": 0.5}),
        "--optim.optimiser": "sgd",
        "--optim.lr": 0.05,
        "--optim.warmup_epochs": 0,
        "--train.epochs": 2,
        "--data.workers": 0,
        "--loggers": "[csv]",
        "--device": "cpu",
    }
    return ["--config", "folder", *(str(part) for pair in options.items() for part in pair)]


def trained(*words):
    """A run in this process: its code, its messages, its folder."""
    if GUEST not in sys.path:
        sys.path.insert(0, GUEST)
    report, out, err = experiment.write_report, io.StringIO(), io.StringIO()
    # Pictures take longer than the run.
    experiment.write_report = lambda folder: folder / "report.html"
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = terminal.run(taggnn.train.main, "taggnn.train", [str(word) for word in words])
    except SystemExit as leaving:
        code = leaving.code
    finally:
        experiment.write_report = report
    found = re.search(r"^run +(.+)$", out.getvalue(), re.MULTILINE)
    return code, err.getvalue(), found and found[1]


def rows(folder):
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return [
            {k: float(v) for k, v in row.items() if k not in ("seconds", "clips/s")} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def run(fixed, program, tmp_path_factory):
    """A run, and the baseline next to it."""
    words = ["--data.batch_size", 4, "--compare", "[pool]", "--run", tmp_path_factory.mktemp("run")]
    ended = program(taggnn.train, *fixed, *words)
    assert ended.code == 0, ended.err
    return Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1]), ended


def test_it_trains_and_its_losses_are_columns(run):
    folder, ended = run
    first, second = rows(folder)
    for name in LOSSES:
        assert first[f"train/{name}"] > 0, name
    parts = (
        second["train/cross_entropy"] + second["train/slow"] + 0.5 * second["train/brier"] + 0.01 * second["train/size"]
    )
    assert second["train/loss"] == pytest.approx(parts, rel=1e-5)
    assert (first["train/clips"], first["val/clips"]) == (15, 6)
    results = json.loads((folder / "results.json").read_text())
    assert {name: part["weight"] for name, part in results["losses"].items()} == {
        "cross_entropy": 1.0, "slow": 1.0, "brier": 0.5, "size": 0.01,
    }  # fmt: skip
    assert "guest_parts.Mix" in (folder / "config.yaml").read_text()
    assert "brier" in (folder / "report.html").read_text()
    skipped = list(csv.DictReader((folder / "skipped.csv").open(newline="")))
    assert sorted(row["split"] for row in skipped) == ["test", "train", "val"]
    assert "guest_parts.Head" in ended.out


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_and_one_have_the_same_losses(fixed, together, tmp_path, accumulate):
    words = [*fixed, "--train.accumulate", accumulate, "--compare", "[]"]
    code, err, one = trained(*words, "--data.batch_size", 4, "--runs", tmp_path)
    assert code == 0, err
    found = together(2, trained, *words, "--data.batch_size", 2, "--runs", tmp_path)
    assert [code for code, *_ in found] == [0, 0], found
    for mine, theirs in zip(rows(found[0][2]), rows(one), strict=True):
        assert set(theirs) >= {f"train/{name}" for name in LOSSES}
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_accumulated_batches_have_the_losses_of_large_ones(fixed, tmp_path):
    found = []
    for size, accumulate in ((2, 2), (4, 1)):
        ended = trained(*fixed, "--data.batch_size", size, "--train.accumulate", accumulate, "--runs", tmp_path)
        assert ended[0] == 0, ended[1]
        found.append(rows(ended[2]))
    for mine, theirs in zip(*found, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_it_resumes(run, fixed, tmp_path, monkeypatch):
    from taggnn.training.loop import Trainer

    begun, losses = [], Trainer.losses

    def interrupted(self, batch):
        begun.append(1)
        if len(begun) == 6:
            raise KeyboardInterrupt
        return losses(self, batch)

    given = [*fixed, "--data.batch_size", 4, "--compare", "[]", "--save_batches", 1, "--run", tmp_path / "run"]
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "losses", interrupted)
        assert trained(*given)[0] == 130
    code, err, folder = trained(*given)
    assert code == 0, err
    assert rows(folder) == rows(run[0])
    assert (Path(folder) / "predictions.csv").read_bytes() == (run[0] / "predictions.csv").read_bytes()


def test_it_is_evaluated_only_where_its_code_is_trusted(run, arrays, program, tmp_path):
    words = ["--checkpoint", run[0] / "best.ckpt", "--data.root", arrays, "--out", tmp_path / "out", "--device", "cpu"]
    refused = program(taggnn.evaluate, *words)
    assert refused.code == 2
    assert "guest_parts" in refused.err
    assert "--trust" in refused.err
    ended = program(taggnn.evaluate, *words, "--trust")
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (run[0] / "predictions.csv").read_bytes()


def test_it_predicts(run, arrays, program):
    files = sorted((arrays / "test").rglob("*.npy"))
    ended = program(taggnn.predict, *files, "--checkpoint", run[0] / "best.ckpt", "--json", "--trust")
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert len(answers) == len(files)
    assert sum("error" in answer and answer["error"] is not None for answer in answers) == 1
    loaded = taggnn.load(run[0], trust=True)
    named = [loaded.predict(file).best.name for file in files if file.name != "bad.npy"]
    best = [answer["top"][0] for answer in answers if not answer.get("error")]
    assert [str(one.get("class", one.get("name")) if isinstance(one, dict) else one) for one in best] == named
    with pytest.raises(ValueError, match="guest_parts"):
        taggnn.load(run[0])


def test_it_is_compared(run, program, tmp_path):
    ended = program(taggnn.compare, run[0], run[0] / "compare" / "pool", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err


def test_it_is_exported(run, arrays, program, tmp_path):
    file = next((arrays / "test" / "rise").glob("*.npy"))
    words = ["--checkpoint", run[0] / "best.ckpt", "--trust", "--clip", file, "--out", tmp_path]
    ended = program(taggnn.export, *words, "--formats", "[safetensors, torch]")
    assert ended.code == 0, ended.err
    clip = torch.randn(2, 3, 5, 5, 2)
    expected = taggnn.load(run[0], trust=True).model(clip).logits
    for name in ("model.safetensors", "model.pt2"):
        torch.testing.assert_close(taggnn.load(tmp_path / name, trust=True).model(clip).logits, expected)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--optim.losses", "{brie: 1}"], ("optim.losses", "brie", "brier")),
        (["--head", "guest_parts.Hed"], ("guest_parts", "Hed", "Head")),
        (["--head_options", "{conv: guest_parts.Mixx}"], ("guest_parts", "Mixx")),
        (["--data.source", "guest_parts.Array"], ("guest_parts", "Array")),
        (["--backbone.name", "guest_party.JointNet"], ("guest_party",)),
        (["--data.source", "video", "--data.source_options", "{}"], ("expected class folders",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_names_the_part(words, parts, fixed, program, tmp_path):
    ended = program(taggnn.train, *fixed, *words, "--runs", tmp_path)
    assert ended.code == 2, ended.out
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err

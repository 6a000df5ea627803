"""What a file names: code of the user's own is run only where its user says so; a module in the working folder is one."""

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest
import torch

import taggnn
from taggnn.cli import terminal
from taggnn.data.synthetic import make_synthetic
from taggnn.io import architecture, checkpoint, exporters, trust
from taggnn.types import VIDEO_AXES, InputSpec

PLAIN = {
    "backbone": {"name": "small", "width": 4},
    "head": {"name": "tag", "dim": 16, "encoder_layers": 0},
    "input": InputSpec("video", VIDEO_AXES, (3, 4, 16, 16)).plain(),
    "classes": ["a", "b"],
}


def with_part(part, key, value):
    return {**PLAIN, part: {**PLAIN[part], key: value}}


OWN = [
    ("backbone", "name", "mine.Net"),
    ("backbone", "plug", "mine.Plug"),
    ("backbone", "plug", "taggnn.backbones.plugs.sf.unknown"),
    ("head", "name", "os.system"),
    ("input", "kind", "mine.Source"),
    ("head", "conv", "mine.convs.Conv"),
    ("head", "readout", "mine.Readout"),
    ("head", "topology", "mine.rules.Grid4(reach=2)"),
    ("head", "topology", "clique+mine.rules.Bones(joints=17)"),
    ("head", "anything", {"deep": ["mine.Thing"]}),
    # Through a package of ours to what it imports.
    ("head", "name", "taggnn.model.nn.Sequential"),
    ("backbone", "name", "taggnn.runtime.atomic.os"),
    ("backbone", "name", "taggnn.runtime.atomic.write_text"),
    ("head", "name", "taggnn.cli.terminal.os.system"),
    ("head", "conv", "taggnn.data.video.frame_cache.FrameCache"),
    ("head", "topology", "taggnn.heads.TagHead"),
    # Evaluates a text among its arguments.
    ("head", "conv", "torch_geometric.nn.Sequential"),
    ("head", "conv", "torch_geometric.nn.sequential.Sequential"),
    ("head", "readout", "torch_geometric.nn.Sequential"),
    # Runs a program among its arguments.
    ("backbone", "name", "taggnn.io.exported.Exported"),
]


@pytest.mark.parametrize(("part", "key", "value"), OWN, ids=lambda value: str(value)[:30])
def test_code_that_is_not_ours_is_refused_and_never_imported(part, key, value, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    given = with_part(part, key, value)
    named = part if key in ("name", "kind") else key
    with pytest.raises(ValueError, match=rf"best\.ckpt: its ({named}|deep) is "):
        trust.check(given, "best.ckpt")
    assert "mine" not in sys.modules
    trust.check(given, "best.ckpt", trust=True)
    trust.check(given, "best.ckpt", trust=trust.named(given))
    with pytest.raises(ValueError, match=r"best\.ckpt: its "):
        trust.check(given, "best.ckpt", trust=["mine.Other"])


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("head", "conv", "torch_geometric.nn.RGCNConv"),
        ("head", "conv", "gatv2"),
        ("head", "topology", "clique+chain(reach=2)"),
        ("head", "topology", "graphs.Chain"),
        ("head", "name", "taggnn.heads.TagHead"),
        ("backbone", "name", "hf:owner/name.v2"),
        ("backbone", "weights", "some.file"),
        ("backbone", "freeze_stages", ["blocks.norm"]),
    ],
)
def test_names_of_tables_and_classes_of_ours_are_accepted(part, key, value):
    trust.check(with_part(part, key, value), "best.ckpt")


MODULE = """
import pathlib
import numpy as np
import torch
from torch import nn
from taggnn.types import SKELETON_AXES, BadClip, InputSpec, Sample

pathlib.Path("imported").touch()

class Poses:
    endings = frozenset({".npy"})
    def __init__(self, frames=4):
        self.spec = InputSpec("own_parts.Poses", SKELETON_AXES, (3, frames, 5, 2), {"frames": frames})
    @classmethod
    def from_spec(cls, spec):
        return cls(**spec.options)
    def __call__(self, clip, seed):
        try:
            found = np.load(clip.path)
        except (OSError, ValueError) as error:
            return BadClip(clip.name, clip.path, str(error))
        return Sample(torch.from_numpy(found[:, : self.spec.shape[1]]), clip.label)

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv3d(3, width, 1)
    def forward(self, x):
        return self.conv(x).mean(-1)

class Head(nn.Module):
    def __init__(self, channels, grid, classes):
        super().__init__()
        self.linear = nn.Linear(channels, classes)
    def forward(self, tokens):
        return self.linear(tokens.mean((1, 2)))
"""
ARCHITECTURE = {
    "backbone": {"name": "own_parts.Net", "width": 6},
    "head": {"name": "own_parts.Head"},
    "input": {
        "kind": "own_parts.Poses",
        "axes": ["channel", "frame", "joint", "person"],
        "shape": [3, 4, 5, 2],
        "options": {"frames": 4},
    },
    "classes": ["sit", "stand"],
}


@pytest.fixture
def place(tmp_path, monkeypatch, checkpoint_of):
    """A working folder with a module of the user's, a checkpoint that names its parts, and samples in class folders."""
    (tmp_path / "own_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    built, content = checkpoint_of(ARCHITECTURE)
    checkpoint.save("best.ckpt", content)
    generator = torch.Generator().manual_seed(0)
    import numpy as np

    for name in ("sit", "stand"):
        folder = tmp_path / "poses" / name
        folder.mkdir(parents=True)
        for number in range(2):
            np.save(folder / f"{number}.npy", torch.randn(3, 6, 5, 2, generator=generator).numpy())
    (tmp_path / "poses" / "sit" / "bad.npy").write_bytes(b"nothing")
    (tmp_path / "imported").unlink()
    yield tmp_path, built
    sys.modules.pop("own_parts", None)


def test_a_checkpoint_of_ones_own_parts_needs_trust(place):
    folder, built = place
    sys.modules.pop("own_parts")
    for load in (taggnn.load, checkpoint.backbone_of):
        with pytest.raises(ValueError, match=r"best\.ckpt: its backbone is own_parts\.Net, .*trust=True"):
            load("best.ckpt")
    assert not (folder / "imported").exists()
    loaded = taggnn.load("best.ckpt", trust=True)
    clip = torch.randn(2, 3, 4, 5, 2)
    assert torch.equal(loaded.logits(clip), built(clip).logits)
    assert loaded.spec.kind == "own_parts.Poses"


def test_samples_of_another_kind_are_predicted(place):
    folder, built = place
    loaded = taggnn.load("best.ckpt", trust=True)
    files = sorted((folder / "poses").rglob("*.npy"))
    answers = list(loaded.predict(files))
    assert [answer.error is None for answer in answers] == [path.name != "bad.npy" for path in files]
    for path, answer in zip(files, answers, strict=True):
        if answer.error is None:
            x = loaded.clip(path)
            assert x.shape == loaded.spec.shape
            assert torch.equal(answer.probabilities, built(x[None]).logits[0].softmax(-1).detach())
            assert torch.equal(loaded.predict(x).probabilities, answer.probabilities)
            assert torch.equal(loaded.predict(x.numpy()).probabilities, answer.probabilities)
    with pytest.raises(ValueError, match=r"views 2, crops 1: own_parts\.Poses give one view"):
        loaded.predict(files, views=2)
    with pytest.raises(ValueError, match=r"uint8 .*: expected a clip, floating point \(3, 4, 5, 2\)$"):
        loaded.predict(torch.zeros(8, 32, 32, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"expected floating point \(B, 3, 4, 5, 2\)"):
        loaded.logits(torch.zeros(1, 2, 4, 5, 2))


@pytest.mark.parametrize("name", ["safetensors", "torch"])
def test_exported_files_of_ones_own_parts(place, name):
    folder, _ = place
    loaded = taggnn.load("best.ckpt", trust=True)
    clip = torch.randn(3, 4, 5, 2)
    written, failed = exporters.export(loaded, clip, folder / "export", [name])
    assert failed == {}
    path = folder / "export" / written[name].file
    with pytest.raises(ValueError, match=r"its (backbone|input) is own_parts\.\w+, code that is not part of taggnn"):
        taggnn.load(path)
    again = taggnn.load(path, trust=True)
    torch.testing.assert_close(again.logits(clip[None]), loaded.logits(clip[None]))
    file = folder / "poses" / "sit" / "0.npy"
    assert again.predict(file).best.name == loaded.predict(file).best.name


def _as_module(folder, name, words):
    """As ``python -m`` runs it: the working folder is the first that modules are looked for in."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    return terminal.run(import_module(f"taggnn.{name}").main, f"taggnn.{name}", [str(word) for word in words])


def test_programs_take_a_module_of_the_working_folder_with_trust(place, begin):
    folder, _ = place

    def run(name, *words):
        return begin(_as_module, folder, name, words).end()

    words = ("poses", "--checkpoint", "best.ckpt", "--json", "--device", "cpu")
    refused = run("predict", *words)
    assert refused.code == 2
    assert "--trust" in refused.err
    assert "Traceback" not in refused.err
    assert not (folder / "imported").exists()
    command = [sys.executable, "-m", "taggnn.predict", *words, "--trust"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # One of the files is damaged.
    assert done.returncode == 1, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted("error" in one for one in answers) == [False] * 4 + [True]
    measured = (
        "--checkpoint",
        "best.ckpt",
        "--data.root",
        "poses",
        "--data.folder",
        ".",
        "--data.workers",
        0,
        "--out",
        "out",
    )
    assert run("evaluate", *measured).code == 2
    done = run("evaluate", *measured, "--trust", "--device", "cpu")
    assert done.code == 0, done.err
    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["scores"]["test"]["measured"] == 4


def test_views_of_video_are_those_of_its_source(tmp_path, checkpoint_of):
    """The same programs, and nothing of one's own: no trust is needed."""
    root = make_synthetic(tmp_path / "set", {"train": 1, "val": 1, "test": 1}, frames=8, size=16, progress=False)
    from taggnn.data.video.source import VideoSource

    built, content = checkpoint_of({**PLAIN, "input": VideoSource(frames=4, size=16, short_side=16).spec.plain()})
    checkpoint.save(tmp_path / "best.ckpt", content)
    loaded = taggnn.load(tmp_path / "best.ckpt")
    file = root / "test" / "left" / "left_000.mp4"
    assert torch.equal(
        loaded.predict(file).probabilities, built(loaded.clip(file)[None]).logits[0].softmax(-1).detach()
    )
    assert not torch.equal(loaded.predict(file, views=3).probabilities, loaded.predict(file).probabilities)


def test_a_text_bank_is_no_code_at_any_depth():
    bank = {"prompts": ["seen.from.above", "{}"], "channels": 3}
    for head in ({"name": "art", "bank": bank}, {"name": "tag_art", "art": {"bank": bank}}):
        trust.check({**PLAIN, "head": head}, "file")
    trust.check_settings({"art.bank": "bank.safetensors", "tag_art.art": {"bank": "bank.safetensors"}}, "file")
    with pytest.raises(ValueError, match=r"mine\.Conv"):
        trust.check({**PLAIN, "head": {"name": "tag_art", "art": {"bank": bank, "conv": "mine.Conv"}}}, "file")


@pytest.mark.parametrize("head", [{"bank": "/home/other.safetensors"}, {"art": {"bank": "o"}}], ids=["art", "tag_art"])
def test_a_model_opens_no_file_that_its_own_file_names(head):
    content = {"architecture": {**PLAIN, "head": {"name": "art", **head}}, "split_options": {"seed": 0}}
    with pytest.raises(ValueError, match=r"its\.ckpt, architecture\.head.*\.bank"):
        architecture.check(content, "its.ckpt")


def test_an_option_that_cannot_be_names_the_file(checkpoint_of, tmp_path):
    _, content = checkpoint_of(PLAIN)
    content["architecture"] = {**PLAIN, "head": {"name": "tag", "dim": 16, "encoder_heads": 3}}
    checkpoint.save(tmp_path / "its.ckpt", content)
    with pytest.raises(ValueError, match=r"its\.ckpt.*3 attention heads"):
        checkpoint.load(tmp_path / "its.ckpt")

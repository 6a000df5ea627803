"""From a head of one's own, by its dotted path, to the tracklets of a run and of an evaluation."""

import json
import re
import shutil
from pathlib import Path

import av
import pytest
import torch
from torch import nn

import taggnn.evaluate
import taggnn.report
import taggnn.train
from taggnn.cli.tracklets import file_name, write_tracklets
from taggnn.evaluation.predictions import Predictions, read_predictions
from taggnn.evaluation.scoring import Scored
from taggnn.evaluation.tracklets import Tracklets
from taggnn.types import Output

HEAD = f"{__name__}.Regions"


class Regions(nn.Module):
    """Attention of two learned queries over the positions of each frame, and classes from what they see."""

    def __init__(self, channels, grid, classes):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(2, channels))
        self.linear = nn.Linear(2 * channels, classes)

    def forward(self, tokens, targets=None):
        x = tokens.flatten(2, -2)
        regions = (x @ self.queries.T).transpose(2, 3).softmax(-1)
        seen = regions @ x
        weights = seen.mean(-1).softmax(1)
        logits = self.linear((weights.unsqueeze(-1) * seen).sum(1).flatten(1))
        extras = {"regions": regions.unflatten(-1, tokens.shape[2:-1]), "frame_weights": weights}
        return Output(logits, extras | {"semantics": torch.tensor([[0, 9]]).expand(len(x), 2)})


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taggnn.reporting.theme.DPI", 30)
        patch.setattr("taggnn.reporting.tracklet_figure.DPI", 30)
        patch.setattr("taggnn.reporting.tracklet_video.SHORT", 32)
        yield


@pytest.fixture(scope="module")
def run(tiny, program, tmp_path_factory):
    """A run of it, and the result of the program."""
    words = ["--config", tiny, "--runs", tmp_path_factory.mktemp("runs"), "--train.epochs", 1, "--trust"]
    words += ["--head", HEAD, "--tracklets", 2, "--optim.warmup_epochs", 0, "--compare", "[]"]
    ended = program(taggnn.train, *words)
    assert ended.code == 0, ended.err
    return Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1]), ended


def check(folder, number):
    """The files of ``number`` clips: whole, linked in the report, half of them wrong if there are such."""
    files = sorted((folder / "tracklets").iterdir())
    assert {path.suffix for path in files} == {".mp4", ".png", ".safetensors"}
    assert len(files) == 3 * number
    given = read_predictions(folder / "predictions.csv")
    page = (folder / "report.html").read_text(encoding="utf-8")
    found = [Tracklets.read(path) for path in files if path.suffix == ".safetensors"]
    for path in files:
        if path.suffix == ".mp4":
            with av.open(str(path)) as container:
                assert sum(1 for _ in container.decode(video=0)) == 4
            assert f'href="tracklets/{path.name}"' in page
    for each in found:
        row = list(given.names).index(each.name)
        assert each.truth == given.classes[given.labels[row]]
        assert each.probability == pytest.approx(float(given.probabilities[row].max()))
        assert each.pictures.shape == (4, 32, 32, 3)
        assert each.regions.shape[:2] == each.weights.shape == (4, 2)
        torch.testing.assert_close(each.regions.sum((2, 3)), torch.ones(4, 2))
        assert list(each.texts) == [f"{given.classes[0]}, prompt 1", f"{given.classes[1]}, prompt 2"]
    wrong = int((given.probabilities.argmax(1) != given.labels).sum())
    assert sum(not each.right for each in found) >= min(wrong, number // 2)
    return found


def test_training_draws_the_tracklets_of_some_test_clips(run):
    folder, ended = run
    check(folder, 2)
    assert f"tracklets {folder / 'tracklets'}: 2 clips" in ended.out


def test_evaluation_draws_the_same(run, videos, program, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(run[0] / "tracklets", out / "tracklets")
    (out / "tracklets" / "notes.txt").write_text("mine")
    words = ["--checkpoint", run[0], "--data.root", videos, "--data.workers", 0, "--trust", "--out", out]
    ended = program(taggnn.evaluate, *words, "--tracklets", 2)
    assert ended.code == 0, ended.err
    assert (out / "tracklets" / "notes.txt").read_text() == "mine"
    (out / "tracklets" / "notes.txt").unlink()
    now = check(out, 2)
    then = {each.name: each for each in map(Tracklets.read, (run[0] / "tracklets").glob("*.safetensors"))}
    for each in now:
        if each.name in then:
            torch.testing.assert_close(each.regions, then[each.name].regions, rtol=1e-4, atol=1e-6)
    again = program(taggnn.evaluate, *words, "--tracklets", 0)
    assert again.code == 0, again.err
    assert not (out / "tracklets").exists()
    assert "Tracklets</h2>" not in (out / "report.html").read_text(encoding="utf-8")


def test_a_number_out_of_range_is_refused_before_any_work(run, tiny, videos, program, tmp_path):
    words = ["--checkpoint", run[0], "--data.root", videos, "--trust", "--out", tmp_path / "out", "--tracklets", -1]
    for ended in (program(taggnn.evaluate, *words), program(taggnn.train, "--config", tiny, "--tracklets", -1)):
        assert ended.code != 0
        assert "tracklets -1" in ended.err
    assert not (tmp_path / "out").exists()


def test_the_report_is_made_again_from_the_files(run, program, tmp_path):
    copy = shutil.copytree(run[0], tmp_path / "moved")
    for picture in (copy / "tracklets").glob("*.png"):
        picture.unlink()
    ended = program(taggnn.report, copy)
    assert ended.code == 0, ended.err
    check(copy, 2)


class Untouched:
    """Clips that nobody may read."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was looked at")

    __getitem__ = __len__ = __getattr__


@pytest.mark.parametrize(("extras", "number"), [({"pooled"}, 6), ({"regions"}, 0), (set(), 6)])
def test_a_head_without_regions_costs_nothing(extras, number, tmp_path):
    given = Predictions(["a"], ["a"], torch.tensor([0]), torch.ones(1, 1), ["one"])
    scored = Scored(given, 0.0, [], extras=frozenset(extras))
    assert write_tracklets(tmp_path, scored, Untouched(), Untouched(), number, "cpu") == []
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_is_gone_is_reported_and_noted(run, videos, program, tmp_path, monkeypatch):
    monkeypatch.setattr("taggnn.cli.tracklets.collect", lambda *_: ([], ["no tracklets of a\x1b.mp4: gone"]))
    words = ["--checkpoint", run[0], "--data.root", videos, "--data.workers", 0, "--trust", "--out", tmp_path]
    ended = program(taggnn.evaluate, *words, "--graph_effect", "false")
    assert ended.code == 0, ended.err
    assert "no tracklets of a" in ended.out
    assert "\x1b" not in ended.out
    assert any("gone" in note for note in json.loads((tmp_path / "results.json").read_text())["notes"])


@pytest.mark.parametrize(
    ("clip", "name"),
    [
        ("left/left 003.mp4", "03_left_left_003"),
        ("../../etc/passwd", "03_etc_passwd"),
        ("a.b.c", "03_a.b"),
        ("日本.mp4", "03"),
        ("", "03"),
        ("-\x1b]0;x\x07\udcff\n.mp4", "03_0_x"),
        ("x" * 500, "03_" + "x" * 80),
        ("v.mp4 [1.5, end)", "03_v.mp4_1.5_end"),
    ],
)
def test_files_have_names_that_every_system_takes(clip, name):
    assert file_name(3, clip) == name

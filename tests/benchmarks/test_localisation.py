"""python benchmarks/localisation.py from its command line to its table and its file."""

import json

import pytest
import torch
from torch import nn

import taggnn.train
from benchmarks import localisation
from taggnn.data.region_boxes import REGIONS
from taggnn.data.synthetic_regions import make_regions
from taggnn.types import Output

WORDS = ["--config", "demo_art", "--data.synthetic", "false", "--head", "pool", "--compare", "[tag]"]
TINY = ["--video.frames", 4, "--video.size", 32, "--video.short_side", 36, "--data.workers", 0, "--loggers", "csv"]


@pytest.fixture(scope="module")
def run(program, tmp_path_factory):
    """The clips, and a run of a few steps on them: pool, and tag to compare."""
    folder = tmp_path_factory.mktemp("run")
    root = make_regions(folder / "set", {"train": 1, "val": 1, "test": 1}, frames=12, size=48, progress=False)
    words = ["--train.epochs", 1, "--backbone.options", '{"width": 4}', "--run", folder / "run", "--data.root", root]
    ended = program(taggnn.train, *WORDS, *TINY, *words)
    assert ended.code == 0, ended.err
    return root, folder / "run"


def test_a_row_for_each_head_of_a_run_with_its_share_and_chance(bench, run, tmp_path):
    _, folder = run
    ended = bench(localisation, folder, "--out", tmp_path / "found.json", "--threads", 1)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(row["head"], row["maps"], row["regions"]) for row in found["rows"]] == [
        ("pool", "class activation", 1),
        ("tag", "read-out weights", 1),
    ]
    for row in found["rows"]:
        assert (row["clips"], row["frames"], row["skipped"]) == (8, 32, 0)
        assert row["grid"] == [4, 2, 2]
        assert row["any"] == row["best"]
        assert 0 <= row["any"]["low"] <= row["any"]["value"] <= row["any"]["high"] <= 1
        assert row["chance"] == pytest.approx(row["chance_any"])
    # Chance, and the middle of the picture, are of the clips and not of the head.
    assert len({(row["chance"], row["middle"]) for row in found["rows"]}) == 1
    assert "class activation" in ended.out


def test_maps_of_regions_are_those_of_the_extras(run, monkeypatch):
    """A head that looks at the true centre hits in every frame that the grid can hit, with the map that does."""
    root, folder = run
    loaded = localisation.checkpoint.load(folder)
    source = localisation.sources.of(loaded.spec)
    fed = {}

    def recorded(*words):
        fed[words[0]] = boxes_of(*words)
        return fed[words[0]]

    boxes_of = localisation.boxes_of_input
    monkeypatch.setattr(localisation, "boxes_of_input", recorded)
    localisation.measured("first", loaded, root, "val", 8)
    truth = torch.stack(list(fed.values()))

    class Seeing(nn.Module):
        """Attention on the token that holds the centre of the region, and on the opposite one."""

        def forward(self, tokens, targets=None):
            side = source.transform.size[0] / tokens.shape[2]
            x, y = ((truth[..., axis] / side).long().clamp(0, tokens.shape[2] - 1) for axis in (0, 1))
            near = nn.functional.one_hot(y * tokens.shape[3] + x, 4).float().unflatten(-1, (2, 2))
            return Output(torch.zeros(len(tokens), 8), {"regions": torch.stack([near.flip(-1, -2), near], 2)})

    loaded.model.head = Seeing()
    (row,) = localisation.measured("second", loaded, root, "val", 8)
    assert (row["maps"], row["regions"], row["index"]) == ("regions", 2, 1)
    assert row["each"][1] > row["chance"] > row["each"][0]
    assert row["each"][1] <= row["any"]["value"]


def test_the_best_map_is_chosen_on_the_validation_clips(run):
    root, folder = run
    loaded = localisation.checkpoint.load(folder)

    class Random(nn.Module):
        def forward(self, tokens, targets=None):
            torch.manual_seed(0)
            maps = torch.rand(*tokens.shape[:2], 3, *tokens.shape[2:4])
            return Output(torch.zeros(len(tokens), 8), {"regions": maps})

    loaded.model.head = Random()
    (test,), (val,) = (localisation.measured("", loaded, root, split, 8) for split in ("test", "val"))
    assert test["chosen_on"] == val["chosen_on"] == "val"
    assert test["index"] == val["index"] == val["each"].index(max(val["each"]))
    assert test["best"]["value"] == test["each"][val["index"]]


def test_what_cannot_be_measured_is_refused_in_a_line(bench, run, tmp_path):
    root, folder = run
    cases = {
        "no such folder": ([tmp_path / "none"], "no such file"),
        "no regions": ([folder, "--root", root / "test"], REGIONS),
        "no json": ([folder, "--out", "a.txt"], "--out a.txt"),
    }
    for words, message in cases.values():
        ended = bench(localisation, *words)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert message in ended.err

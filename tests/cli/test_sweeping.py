"""The table of a sweep: from the finished runs, wherever they are; costs of their models; what cannot be read is left out."""

import pytest
import torch

from taggnn.cli import planning, sweeping
from tests.cli.sweeps import answers, finish


@pytest.fixture
def planned(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"data: {{root: {tmp_path}}}\ntrain: {{epochs: 3}}\n")
    return planning.plan(str(path), {"tag.conv": ["gcn", "gat"]}, [0, 1], [], tmp_path / "out")


def test_what_is_not_finished_or_damaged_is_not_in_it(planned, tmp_path):
    assert sweeping.table(planned).found is None
    for number, one in enumerate(planned[:3]):
        finish(one, answers(0.6, number))
    found = sweeping.table(planned)
    assert [(row.name, row.seeds) for row in found.found.rows] == [("conv=gcn", [0, 1]), ("conv=gat", [0])]
    assert (found.finished, found.reference) == (3, "conv=gcn")
    damaged = planned[2].folder / "predictions.csv"
    damaged.write_text(damaged.read_text()[:200])
    (planned[1].folder / "config.yaml").write_text("tag: {conv: sage")
    found = sweeping.table(planned)
    assert [(row.name, row.seeds) for row in found.found.rows] == [("conv=gcn", [0])]
    assert {note.partition(" is left out")[0] for note in found.left_out if "left out" in note} == {
        *("conv=gcn, seed 1,", "conv=gat, seed 0,")
    }
    assert not any(str(tmp_path) in note for note in found.notes())


def test_the_reference_can_be_another_variant(planned):
    for number, one in enumerate(planned):
        finish(one, answers(0.6, number))
    rows = sweeping.table(planned, "conv=gat").found.rows
    assert [row.reference for row in rows] == ["conv=gat", None]
    with pytest.raises(ValueError, match="conv=gcn"):
        sweeping.table(planned, "conv=gnc")


def test_the_plan_is_kept(tmp_path):
    over = {"tag.conv": ["gcn", "gat"]}
    sweeping.write(tmp_path, None, over, [0, 1], ["--data.root", "x.y"])
    assert sweeping.read(tmp_path) == {
        "config": None,
        "over": over,
        "seeds": [0, 1],
        "words": ["--data.root", "x.y"],
        "folds": [],
    }
    (tmp_path / "sweep.json").write_text('{"config": null, "over": {"a": 1}, "seeds": [], "words": [], "folds": []}')
    with pytest.raises(ValueError, match="over"):
        sweeping.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        sweeping.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"backbone.name": ["small", "mine.Net"]}, []),
        ({}, ["--tag.conv", "mine.Conv"]),
        ({"tag.dim,head": ["(1,mine.Head)"]}, []),
        ({}, ["--tag={conv: mine.Conv}"]),
        ({}, ["--trust"]),
    ],
    ids=["value", "word", "together", "group", "trust"],
)
def test_a_plan_from_a_stranger_names_no_code(tmp_path, over, words):
    sweeping.write(tmp_path, None, over, [0], ["--data.root=a.b", "--tag.readout", "attention", *words])
    with pytest.raises(ValueError, match="--trust"):
        sweeping.read(tmp_path)
    assert sweeping.read(tmp_path, trusts=True)["over"] == over


def test_costs_and_times_are_those_of_the_models(planned, checkpoint_of):
    heads = {"conv=gcn": {"conv": "gcn"}, "conv=gat": {"conv": "gat"}}
    built = {}
    for number, one in enumerate(planned):
        finish(one, answers(0.6, number))
        architecture = {
            "backbone": {"name": "small", "width": 4},
            "head": {"name": "tag", "dim": 16, "encoder_heads": 4, **heads[one.name]},
            "input": {
                "kind": "video",
                "axes": ["channel", "frame", "height", "width"],
                "shape": [3, 2, 16, 32],
                "options": {"frames": 2},
            },
            "classes": ["a", "b", "c"],
        }
        built[one.name], content = checkpoint_of(architecture)
        torch.save(content, one.folder / "best.ckpt")
    found = sweeping.table(planned)
    assert found.one_backbone
    for name, model in built.items():
        cost = found.costs[name]
        assert cost.parameters == sum(value.numel() for value in model.parameters())
        assert cost.head_parameters == sum(value.numel() for value in model.head.parameters())
        assert 0 < cost.head_macs < cost.macs
        assert cost.ms is None
    sweeping.measure(planned, 0.001)
    timed = sweeping.table(planned)
    assert timed.measured_on
    assert all(cost.ms > cost.head_ms > 0 for cost in timed.costs.values())

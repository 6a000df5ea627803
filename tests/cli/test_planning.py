"""The runs of a sweep before anything is trained: their command lines, mistakes, and which are finished."""

import pytest

from taggnn.cli import config, planning
from tests.cli.sweeps import answers, finish


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"data: {{root: {tmp_path}}}\ntrain: {{epochs: 3}}\ncompare: [pool]\n")
    return str(path)


def test_command_lines_say_what_the_names_say(recipe, tmp_path):
    over = {"tag.topology": ["chain(reach=2)+clique"], "video.size": [[40, 64]], "backbone.weights": [None, "a.pth"]}
    planned = planning.plan(recipe, over, [3, 1], ["--optim.lr", "0.5"], tmp_path / "out")
    assert [(one.seed, one.values["backbone.weights"]) for one in planned] == [
        *((3, "null"), (3, "a.pth"), (1, "null"), (1, "a.pth"))
    ]
    parsed = config.parse(planned[3].words)
    assert (parsed.seed, parsed.optim.lr, parsed.tag.topology) == (1, 0.5, "chain(reach=2)+clique")
    assert (parsed.video.size, parsed.backbone.weights) == ([40, 64], "a.pth")
    assert parsed.compare == []
    assert planned[0].folder.parent == planned[2].folder.parent
    assert len({one.folder for one in planned}) == 4


def test_recipes_vary_too(tmp_path):
    planned = planning.plan(None, {"config": ["demo", "demo_skeleton"]}, [0], [], tmp_path)
    assert [one.settings.recipe for one in planned] == ["demo", "demo_skeleton"]
    assert [one.name for one in planned] == ["config=demo", "config=demo_skeleton"]


@pytest.mark.parametrize(
    ("over", "words", "named"),
    [
        ({"tag.con": ["gcn"]}, [], "tag.conv"),
        ({"tag.dim": ["16", "wide"]}, [], "dim=wide"),
        ({"head": ["tag", "poool"]}, [], "head=poool"),
        ({"seed": ["1"]}, [], "--seeds"),
        ({"runs": ["a"]}, [], "--out"),
        ({"config": ["demo"]}, [], "config"),
        ({}, ["--run=a"], "--out"),
        ({}, ["--optim.lr", "x"], "optim.lr"),
        ({"tag.dim": []}, [], "tag.dim"),
    ],
    ids=["key", "value", "head", "seed", "runs", "config twice", "run", "word", "no value"],
)
def test_mistakes_are_named_before_anything_is_trained(recipe, tmp_path, over, words, named):
    with pytest.raises(ValueError, match=named):
        planning.plan(recipe, over, [0], words, tmp_path)


def test_a_run_is_finished_with_its_epochs_and_its_configuration(recipe, tmp_path):
    (one,) = planning.plan(recipe, {}, [0], [], tmp_path / "out")
    assert not planning.finished(one)
    finish(one, answers(0.5, 0))
    assert planning.finished(one)
    (longer,) = planning.plan(recipe, {}, [0], ["--train.epochs=4"], tmp_path / "out")
    assert not planning.finished(longer)
    (other,) = planning.plan(recipe, {}, [0], ["--optim.lr=7"], tmp_path / "out")
    with pytest.raises(ValueError, match=r"optim\.lr"):
        planning.finished(other)
    (faster,) = planning.plan(recipe, {}, [0], ["--threads=1"], tmp_path / "out")
    assert planning.finished(faster)
    (one.folder / "report.html").unlink()
    assert not planning.finished(one)
    (one.folder / "config.yaml").write_text("a: [b")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        planning.finished(one)


def test_a_value_that_only_building_finds_is_named(tiny, tmp_path):
    planned = planning.plan(str(tiny), {"tag.conv": ["gcn", "gnc"]}, [0, 1], [], tmp_path)
    with pytest.raises(ValueError, match="conv=gnc"):
        planning.check(planned)
    planning.check([one for one in planned if one.name == "conv=gcn"])
    assert not list(tmp_path.iterdir())

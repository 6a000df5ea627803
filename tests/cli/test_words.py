"""Options in Python are the words of a command line, and what a command line cannot hold is refused by the name of its key."""

from pathlib import Path

import pytest
from torch import nn
from torch_geometric.nn import GATv2Conv

from taggnn.cli import config
from taggnn.cli.words import words_of

KEYS = config.parser().keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data.root": "my videos"}, ["--data.root=my videos"]),
        ({"data": {"root": Path("videos"), "folder": None}}, ["--data.root=videos", "--data.folder=null"]),
        ({"train.epochs": 3, "optim": {"lr": 1e-4}}, ["--train.epochs=3", "--optim.lr=0.0001"]),
        ({"graph": True}, ["--graph=true"]),
        ({"compare": ("pool", "art")}, ['--compare=["pool", "art"]']),
        ({"optim": {"losses": {"video": 0.5}}}, ['--optim.losses={"video": 0.5}']),
        ({"backbone.options": {"width": 8}}, ['--backbone.options={"width": 8}']),
        ({"tag.conv": GATv2Conv}, ["--tag.conv=torch_geometric.nn.conv.gatv2_conv.GATv2Conv"]),
    ],
    ids=["text", "tree", "numbers", "bool", "list", "losses", "mapping", "class"],
)
def test_values_of_every_kind(options, words):
    assert words_of(options, KEYS) == words


@pytest.mark.parametrize("value", ["null", "1", "true", "[a]", "a=b", "clique+chain(reach=2)", "ä b"])
def test_text_is_read_back_as_it_was(value):
    # Of a key that takes text only.
    settings = config.parse(["--config=folder", *words_of({"data.root": "x", "recipe": "r", "runs": value}, KEYS)])
    assert settings.runs == value


@pytest.mark.parametrize(
    "options",
    [
        {"tag.conv": nn.Linear(1, 1)},
        {"tag.conv": lambda channels: nn.Identity()},
        {"tag.conv_options": {"heads": object()}},
        {"optim.lr": float("nan")},
        {"tag.conv": "gat", "tag": {"conv": "gcn"}},
        {3: "x"},
    ],
    ids=["module", "lambda", "object-in-a-mapping", "nan", "twice", "no-text"],
)
def test_what_a_command_line_cannot_hold_is_refused(options):
    with pytest.raises(ValueError, match="option"):
        words_of(options, KEYS)

"""CONTRIBUTING.md: each part that it adds by one row works as soon as the row is there."""

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

import graphs
from graphs import spec
from taggnn import backbones, explanation, heads, kernels, text
from taggnn.backbones.table import BACKBONES
from taggnn.data import published, sources
from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.evaluation import ablation, metrics
from taggnn.io import exporters
from taggnn.nn import convs, criteria, layers
from taggnn.training import loggers
from taggnn.types import BadClip

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
BLOCKS = {
    title: block
    for title, section in SECTIONS.items()
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL)
}
TABLES = {
    "A convolution": convs.CONVS,
    "A kernel": kernels.IMPLS,
    "A topology": spec.RULES,
    "A head": heads.HEADS,
    "A read-out": layers.READOUTS,
    "A backbone": BACKBONES,
    "A text encoder": text.ENCODERS,
    "A source of clips": sources.SOURCES,
    "A data set": published.PUBLISHED,
    "A format of skeleton files": formats.FORMATS,
    "A metric": metrics.METRICS,
    "A method of explanation": explanation.METHODS,
    "A criterion": criteria.CRITERIA,
    "An intervention": ablation.INTERVENTIONS,
    "An export format": exporters.EXPORTERS,
    "A logger": loggers.LOGGERS,
}
TOKENS = torch.arange(2 * 12 * 4, dtype=torch.float32).view(2, 2, 2, 3, 4) / 96


def a_convolution(name):
    layer = layers.GraphLayer(4, spec.parse("clique+chain"), (2, 2, 3), conv=name)
    assert layer(TOKENS).shape == TOKENS.shape


def a_kernel(name):
    reference = convs.build("graphconv", 4)
    topology, x = spec.parse("clique+chain"), TOKENS.flatten(1, 3)
    expected = kernels.find(reference, topology, (2, 2, 3), "pyg")(reference, x)
    torch.testing.assert_close(kernels.find(reference, topology, (2, 2, 3), name)(reference, x), expected)


def a_topology(name):
    found = spec.parse(f"{name}+chain")
    assert graphs.graph(found, (2, 2, 3)).edge_index.shape == (2, 12 + 12)


def a_head(name):
    assert heads.build(name, 4, (2, 2, 3), 5)(TOKENS).logits.shape == (2, 5)


def an_intervention(name):
    changed = ablation.INTERVENTIONS[name].make(torch.nn.Identity(), 0)
    assert torch.equal(changed.inputs(TOKENS, torch.arange(2)).flip(-2), TOKENS)


def a_read_out(name):
    assert layers.readout(name, 4)(TOKENS.flatten(1, 3))[0].shape == (2, 4)


def a_backbone(name):
    built = backbones.build(name, clip=(4, 32, 32))
    assert built(torch.zeros(1, 3, 4, 32, 32)).shape == (1, 32, 2, 2, 2)


def a_text_encoder(name):
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(f'{{"model_type": "{name}"}}')
        encode, about = text.open_encoder(folder)
    assert name in about
    assert encode(["leap", "turn"]).shape == (2, 5)


def a_source_of_clips(name):
    source = sources.build(name)
    assert sources.of(source.spec).spec == source.spec
    assert isinstance(source(Clip("gone.npy", 0, "gone.npy"), None), BadClip)


def a_data_set(name):
    assert published.PUBLISHED[name].splits


def a_format_of_skeleton_files(name):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "1.csv"
        path.write_text("\n".join([",".join(["1.5"] * 34)] * 3))
        assert formats.format_of(str(path)) == name
        assert formats.read(Clip(str(path), 0, "1.csv")).coordinates.shape == (1, 3, 17, 2)


def a_metric(name):
    scores = metrics.summarise(torch.eye(7).softmax(1), torch.arange(7))
    assert scores.figures[name] == 1.0


def a_method_of_explanation(name):
    head = heads.build("pool", 4, (2, 2, 3), 5)
    given = explanation.HeadInput(head, TOKENS[:1], None, TOKENS[:1], head)
    found = explanation.explain_tokens(given, 0, name)
    assert torch.equal(found.values, TOKENS[0].norm(dim=-1))
    assert found.signed is False


def a_criterion(name):
    assert criteria.find(name)(torch.zeros(2, 4), torch.tensor([0, 3])).shape == (2,)


def an_export_format(name):
    assert exporters.EXPORTERS[name].file == "weights.safetensors"


def a_logger(name):
    with TemporaryDirectory() as folder:
        curves = loggers.Curves(loggers.available([name]), Path(folder), {"seed": 1}, every=1)
        curves.open(0)
        curves.begin_epoch(0)
        curves.step(1, 4, {"loss": 0.5})
        curves.close(False)
        with closing(sqlite3.connect(Path(folder) / "curves.db")) as file:
            assert ("step/loss", 1, 0.5) in file.execute("select * from curves").fetchall()


@pytest.mark.parametrize("title", BLOCKS)
def test_one_row_is_enough(title):
    table, before = TABLES[title], set(TABLES[title])
    # Whatever a block adds is taken away again.
    rows, modules = dict(table), set(sys.modules)
    try:
        exec(compile(BLOCKS[title], "CONTRIBUTING.md", "exec"), {"__name__": "contributed"})
        (name,) = set(table) - before
        globals()[title.lower().replace(" ", "_").replace("-", "_")](name)
    finally:
        table.clear()
        table.update(rows)
        for module in set(sys.modules) - modules:
            if module.startswith("taggnn"):
                del sys.modules[module]


def test_every_table_has_a_paragraph():
    assert set(TABLES) == set(BLOCKS)
    assert all(len(section.split("```")[0].split()) > 15 for section in SECTIONS.values())


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:taggnn|tests|graphs)/[\w/]+\.\w+(?:\.j2)?)`", TEXT))))
def test_files_it_names_exist(path):
    assert Path(__file__).parents[1].joinpath(path).exists()

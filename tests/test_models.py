"""``python -m taggnn.models``: tables that name everything, details of one, heads in per cent, a README kept up to date."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from torch import nn

from taggnn import backbones, heads, models
from taggnn.evaluation import overhead
from taggnn.heads import HEADS
from taggnn.io import environment
from taggnn.nn import convs
from taggnn.nn.convs import CONVS
from taggnn.reporting import model_tables

ROOT = Path(__file__).parents[1]
README = ROOT / "docs" / "models.md"
RESULTS = ROOT / "benchmarks" / "results" / "head-overhead.json"


def test_the_tables_name_heads_and_convolutions():
    assert [line[0] for line in model_tables.head_table()[1]] == list(HEADS)
    assert [line[0] for line in model_tables.conv_table()[1]] == list(CONVS)
    assert all(line[-1].startswith("https://") for line in model_tables.conv_table()[1])


class Odd(nn.Module):
    """A head that cannot be counted: what it does depends on the numbers in its tokens."""

    def __init__(self, channels, grid, classes):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, tokens):
        return self.linear(tokens.mean((1, 2, 3)) if tokens.sum() > 0 else tokens.amax((1, 2, 3)))


class Flat(nn.Module):
    """A backbone whose features have no height."""

    clip = (4, 16, 16)

    def __init__(self, width=5):
        super().__init__()
        self.conv = nn.Conv3d(3, width, 4, stride=4)

    def forward(self, x):
        return self.conv(x).mean(3)


def test_a_new_row_of_any_table_is_listed(program, monkeypatch):
    monkeypatch.setitem(HEADS, "odd", heads.Row(Odd, "does what it likes"))
    monkeypatch.setitem(CONVS, "tag_conv", convs.Row("torch_geometric.nn.TAGConv", {"K": 2}, "K hops"))
    row = dataclasses.replace(
        backbones.find("small"), name="flat", builder=Flat, clip=(4, 16, 16), grid=None, channels=None
    )
    monkeypatch.setitem(backbones.BACKBONES, "flat", row)
    listed = {line[0]: line for line in model_tables.head_table()[1]}
    assert listed["odd"] == ["odd", f"{(512 * 99 + 99) / 1e6:.3g}", "-", "does what it likes", ""]
    assert {line[0]: line[1:] for line in model_tables.conv_table()[1]}["tag_conv"][0] == "TAGConv(K=2)"
    assert {line[0]: line[3] for line in model_tables.conv_table()[1]}["tag_conv"] == "-"
    ended = program(models, "--only", "[flat]")
    assert ended.code == 0, ended.err
    assert "1 x 4 of 5" in ended.out
    ended = program(models, "--overhead", "--only", "[flat]", "--budget", 0)
    assert ended.code == 0, ended.err
    assert "odd" in ended.out
    assert "tag_released" in ended.out


def test_a_backbone_s_line_has_its_figures():
    header, lines = model_tables.backbone_table(["r2plus1d_18", "s3d", "small"])
    found = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert found["r2plus1d_18"]["M parameters"] == "31.30 (31.51)"
    assert found["r2plus1d_18"]["GMAC"] == "40.52 (40.52)"
    assert found["s3d"]["GMAC"].endswith("(17.98 at 16 x 224 x 224)")
    assert found["small"]["tokens"] == "16 x 7 x 7 of 192"
    assert found["small"]["weights"] == "a file of your own"
    assert found["r2plus1d_18"]["weights"] == "default (download.pytorch.org)"


def test_the_program_lists_what_is_asked_for(program):
    ended = program(models, "--only", "[small, x3d_xs]")
    assert ended.code == 0, ended.err
    assert {"small", "x3d_xs", "tag_released", "gatv2"} <= set(ended.out.split())
    assert "r2plus1d_18" not in ended.out


def test_details_of_one(program):
    out = program(models, "--backbone", "x3d_s").out
    facts = dict(re.split(r"\s{2,}|(?<=^multiply-adds) ", line, maxsplit=1) for line in out.splitlines())
    assert facts["stages"].split(", ") == [f"blocks.{number}" for number in range(6)]
    assert facts["clip"].startswith("13 x 160 x 160")
    assert "published 1.96 G" in facts["multiply-adds"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone", "x3dm"], "unknown backbone 'x3dm'; did you mean 'x3d_m'"),
        (["--only", "[smal]"], "unknown backbone 'smal'; did you mean 'small'"),
        (["--overhed"], "unknown option --overhed"),
        (["--threads", "-1"], "--threads -1: possible are 1 or more"),
        (["--budget", ".nan"], "--budget nan: possible are 0 or more seconds"),
        (["--budget", "-1"], "--budget -1.0: possible are 0 or more seconds"),
        (["--check"], "--check needs --readme"),
        (["--markdown", "--only", "[small]"], "--only: the tables of --markdown and --readme are always of all"),
        (["--markdown", "--results", "nope.json"], "--results nope.json: no such file"),
    ],
)
def test_mistakes_are_told(program, words, message):
    ended = program(models, *words)
    assert ended.code == 2
    assert message in ended.err


def test_overheads_are_added_to_a_file(program, tmp_path):
    path = tmp_path / "overhead.json"
    for name in ("x3d_xs", "small"):
        ended = program(models, "--overhead", "--only", f"[{name}]", "--budget", 0, "--results", path)
        assert ended.code == 0, ended.err
    rows = overhead.read(path)
    assert [row["backbone"] for row in rows] == ["small", "x3d_xs"]
    small = rows[0]
    assert small["heads"]["pool"]["parameters"] == 192 * overhead.CLASSES + overhead.CLASSES
    assert small["ms"] is None
    # By hand: 19,107 of 390,936 parameters.
    assert "4.9 / <0.01 / -" in ended.out
    path.write_text(json.dumps({"schema": 1, "kind": "latency"}))
    assert (
        "holds no overheads" in program(models, "--overhead", "--only", "[small]", "--budget", 0, "--results", path).err
    )


def test_times_are_medians_of_one_clip():
    row = overhead.counted("small")
    row["clip"], row["grid"] = [2, 16, 16], [2, 1, 1]
    timed = overhead.timed(row, 0.01)
    assert timed["ms"] > 0
    assert all(head["ms"] > 0 for head in timed["heads"].values())
    assert timed["samples"] >= 3
    assert timed["environment"]["threads"] >= 1


def test_a_section_goes_between_the_markers_and_nowhere_else(tmp_path):
    text = f"above\n{model_tables.BEGIN}\nold\n{model_tables.END}\nbelow\n"
    assert (
        model_tables.replaced(text, "new", tmp_path) == f"above\n{model_tables.BEGIN}\nnew\n{model_tables.END}\nbelow\n"
    )
    with pytest.raises(ValueError, match="exactly once; found 0"):
        model_tables.replaced("above\n", "new", tmp_path)
    with pytest.raises(ValueError, match="before"):
        model_tables.replaced(f"{model_tables.END}\n{model_tables.BEGIN}\n", "new", tmp_path)


def test_readme_has_the_tables_of_today():
    """What needs transformers is compared where it is installed."""
    text = README.read_text(encoding="utf-8")
    if model_tables.BEGIN not in text:
        pytest.skip("README has no tables of models")
    written = text.split(f"{model_tables.BEGIN}\n")[1].split(f"\n{model_tables.END}")[0]
    today = model_tables.section(RESULTS if RESULTS.exists() else None)
    assert _without_hub(today) == _without_hub(written)
    if environment.is_there("transformers"):
        assert today == written


def test_the_tables_without_a_hub_are_the_rest_of_them():
    text = "a\n\nHugging Face, with x:\n\n| backbone |\n| --- |\n| `hf:b` |\n\nHeads:\n\n| `tag` |"
    assert _without_hub(text) == ["a", "Heads:", "| `tag` |"]


def _without_hub(text):
    """The lines of a section as they are made without transformers."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("Hugging Face, with") or (inside and (not line or line.startswith("|")))
        if line and not inside:
            kept.append(line)
    return kept

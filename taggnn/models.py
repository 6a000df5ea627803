"""``python -m taggnn.models``: every backbone, head and convolution as a table: what it costs, what it takes, where it is from.

Parameters and multiply-adds are counted when the table is made, at each backbone's own clip; published figures are next to
them. ``--backbone NAME`` shows all of one, ``--overhead`` what heads cost on each, ``--markdown`` writes the tables of a README.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from taggnn import backbones
from taggnn.backbones import BACKBONES, HUB
from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.evaluation import overhead
from taggnn.reporting import model_tables
from taggnn.reporting.model_tables import BEGIN, COMMAND, END
from taggnn.runtime import atomic


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    _check(given)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    if given.backbone is not None:
        print(model_tables.details(given.backbone))
        return 0
    names = given.only or [*BACKBONES, *model_tables.hub_models()]
    for name in names:
        backbones.find(name)
    if given.overhead:
        return _overhead(names, given)
    if given.markdown or given.readme:
        return _markdown(given)
    print(model_tables.as_text("Backbones", model_tables.backbone_table(names)))
    print(model_tables.as_text("Heads", model_tables.head_table()))
    print(model_tables.as_text("Convolutions", model_tables.conv_table()))
    print("\nFrame by frame also every image model of timm (pip install timm): timm:NAME, such as timm:resnet50.")
    if not model_tables.hub_models():
        print(
            f"\nWith transformers installed also {', '.join(HUB)}, and any other of the four families: hf:OWNER/NAME."
        )
    return 0


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.models", description="Lists backbones, heads and convolutions with what they cost.")
    add, option = built.add_argument, built.option
    option("--backbone", str | None, None, "show everything about one backbone")
    option("--only", list[str], [], "some backbones instead of all: [r2plus1d_18, x3d_m]")
    add(
        "--overhead",
        action="store_true",
        help="parameters, multiply-adds and time of heads in per cent of the backbone",
    )
    option("--results", Path | None, None, "JSON file of overheads; --overhead adds to it, --markdown reads it")
    option("--budget", float, 20.0, "seconds of timing for each backbone, with --overhead; 0: count only")
    option("--threads", int | None, None, "CPU threads of PyTorch; null: PyTorch's default")
    add("--markdown", action="store_true", help="tables for a README")
    option("--readme", Path | None, None, f"write them into this file, between {BEGIN} and {END}")
    add("--check", action="store_true", help="with --readme: change nothing, exit code 1 if it is out of date")
    return built


def _check(given: Any) -> None:
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"--threads {given.threads}: possible are 1 or more")
    if not 0 <= given.budget < math.inf:
        raise ValueError(f"--budget {given.budget}: possible are 0 or more seconds")
    if given.check and given.readme is None:
        raise ValueError("--check needs --readme: the file to compare with")
    tables = given.markdown or given.readme is not None
    if tables and given.only:
        raise ValueError("--only: the tables of --markdown and --readme are always of all backbones; leave it out")
    if tables and given.results is not None and not given.results.is_file():
        raise FileNotFoundError(f"--results {given.results}: no such file")


def _markdown(given: Any) -> int:
    if given.readme is None:
        print(model_tables.section(given.results))
        return 0
    if not model_tables.hub_models():
        raise ValueError("--readme: one table needs transformers: pip install 'transformers>=5.19'")
    old = given.readme.read_text(encoding="utf-8")
    new = model_tables.replaced(old, model_tables.section(given.results), given.readme)
    if given.check and new != old:
        print(f"{given.readme} is out of date: run {COMMAND}", file=sys.stderr)
        return 1
    if new != old:
        atomic.write_text(given.readme, new)
    print(f"{given.readme} is {'up to date' if new == old else 'written'}")
    return 0


def _overhead(names: Sequence[str], given: Any) -> int:
    rows = []
    for name in tqdm(names, "backbones", leave=False, disable=None):
        row = overhead.counted(name)
        rows.append(overhead.timed(row, given.budget) if given.budget > 0 else row)
    if given.results is not None:
        rows = overhead.write(given.results, rows, [*BACKBONES, *HUB])
    title = "Heads in per cent of the backbone: parameters / multiply-adds / time"
    print(model_tables.as_text(title, model_tables.overhead_table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.models"))

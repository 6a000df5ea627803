"""``python -m taggnn.check --data.root DIR``: what is wrong with labelled clips before anything is trained on them.

Takes the options of ``taggnn.train``, so that ``--config gym99`` and every ``--data.*`` mean the same. Reads the lists, opens
every file, and writes cleaned lists, problems.csv, classes.csv and one page, check.html.

Exit code 0: nothing is wrong. 1: problems were found. 2: a mistake in the command. 130: the check was interrupted.
"""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from taggnn.cli import checking, config, terminal
from taggnn.cli.parser import Parser
from taggnn.data.audit.audit import KINDS, Audit
from taggnn.data.sources import SOURCES
from taggnn.reporting.check_page import About, balance, totals, untrained
from taggnn.runtime import distributed
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> int:
    # Before the parser reads the folder of tokens, which may be missing.
    _refuse_tokens(config.word("data.tokens", arguments))
    given = _parse(arguments)
    _refuse(given)
    found, about, files = checking.check(given, arguments)
    _print(found, about, files)
    return 1 if found.wrong else 0


def parser() -> Parser:
    """Builds the command line: all options of training, of which the help shows what matters here, and four more."""
    built = config.parser()
    built.prog = "taggnn.check"
    built.description = (
        "Checks labelled clips before training: opens every file, finds missing, unreadable, equal and mislabelled clips and "
        "those in two splits, and writes cleaned lists and a page. Takes all options of taggnn.train. Exit code 0: nothing is "
        "wrong; 1: problems were found; 2: a mistake in the command."
    )
    shown = ("data.", *(f"{name}." for name in SOURCES))
    for action in built._actions:
        if not (action.dest.startswith(shown) or action.dest in ("help", "help_all", "config", "seed", "runs", "data")):
            action.help = argparse.SUPPRESS
    for group in built._action_groups:
        if group._group_actions and all(action.help is argparse.SUPPRESS for action in group._group_actions):
            group.title, group.description = None, None
    option = built.option
    option(
        "--depth",
        Literal["packets", "decode"],
        "packets",
        "packets: read every file whole, which finds truncation; decode: decode every frame too, many times slower",
    )
    option("--workers", int, distributed.cores(), "processes that open files")
    option("--limit", float, 60.0, "seconds a file may take, plus one for each megabyte")
    option("--out", str | None, None, "folder of the results; null: <runs>/check/<time>")
    return built


def _parse(arguments: Sequence[str]) -> Namespace:
    built = parser()
    given = {word.split("=")[0] for word in arguments}
    if not given & {"--config", "--data.root", "--data", "--print_config", *config.HELP}:
        built.error("say what to check: --data.root DIR, or --config with a recipe that names it")
    return config.parse(arguments, built)


def _refuse(given: Namespace) -> None:
    _refuse_tokens(given.data.tokens)
    if given.preview is not None:
        raise ValueError("--preview: is an option of taggnn.train; a check draws no clips")
    if given.workers < 1 or not given.limit > 0:
        raise ValueError(
            f"--workers {given.workers}, --limit {given.limit:g}: expected 1 or more workers and a limit above 0 seconds"
        )
    folder = Path(given.out or given.runs)
    file = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if file is not None:
        raise ValueError(
            f"--{'out' if given.out else 'runs'} {folder}: {file} is a file; give a folder for the results"
        )


def _refuse_tokens(folder: str | None) -> None:
    if folder is not None:
        raise ValueError(f"--data.tokens {folder}: the check is of files; give --data.root, and leave the tokens out")


def _print(found: Audit, about: About, files: int) -> None:
    speed = f"{files / about.seconds:,.0f} files/s" if about.seconds else ""
    earlier = f", {about.known:,} of them known from an earlier scan" if about.known else ""
    print(f"\nscanned   {files:,} files in {about.seconds:.1f} s ({speed}{earlier})")
    for split, clips in about.splits.items():
        print(f"{split:9} {len(found.kept[split]):,} of {clips.listed:,} listed clips are kept")
    tally = Counter(one.kind for one in found.findings)
    for kind, row in KINDS.items():
        if tally[kind]:
            level, done = "problem" if row.wrong else "remark", "left out" if row.left_out else "kept"
            print(f"{level:9} {tally[kind]:,} {kind} ({done}): {_example(found, kind)}")
    if tally["two splits"]:
        print(f"leak      clips in two splits: {tally['two splits']:,}; figures measured on these lists are too good")
    counts = balance(found)
    if counts is not None:
        print(
            f"balance   {counts['smallest']:,} to {counts['largest']:,} training clips a class; {counts['many']} classes of more "
            f"than 100, {counts['medium']} between, {counts['few']} of fewer than 20"
        )
    for empty, why in zip(untrained(found), ("all missing or left out", "none in the train list"), strict=True):
        if empty:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            classes = "1 class" if len(empty) == 1 else f"{len(empty)} classes"
            print(f"untrained {classes} without a training clip ({why}): {one_line('; '.join(empty[:5]))}{more}")
    listed, kept = totals(found)
    verdict = "nothing is wrong" if not found.wrong else f"{found.wrong:,} problem{'s' * (found.wrong > 1)}"
    print(f"result    {verdict}; {kept:,} of {listed:,} clips kept")
    if (Path(about.folder) / checking.MISSING).exists():
        print(f"missing   {Path(about.folder) / checking.MISSING}")
    print(f"page      {Path(about.folder) / checking.PAGE}")
    print(f"train     {shlex.join(about.command) or 'nothing is left to train on'}")


def _example(found: Audit, kind: str) -> str:
    first = next(one for one in found.findings if one.kind == kind)
    line = f"{first.source}, line {first.line}: " if first.line else ""
    return one_line(f"{line}{first.name}: {first.message}")


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.check"))

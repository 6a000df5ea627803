"""``python -m taggnn.folds LIST --group speaker --folds 5 --out DIR``: cross-validation by groups.

The clips of a group (speaker, subject, camera) are all in one part, so that what is measured is measured on new ones. Writes
DIR/fold-<n>/train.csv, val.csv and test.csv, a table of counts and a page. ``taggnn.train --data.fold DIR/fold-0`` uses one of
them, ``taggnn.sweep --folds DIR`` all.
"""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.data.lists.folds import Fold, deal, read_rows, write_fold
from taggnn.data.lists.tree import some
from taggnn.reporting.folds_page import folds_page
from taggnn.reporting.page import count
from taggnn.runtime import spreadsheet
from taggnn.runtime.atomic import write_text
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> None:
    given = parser().parse_args(arguments)
    rows = read_rows(given.lists, given.group, given.group_pattern)
    folds = deal(rows, given.folds, given.val_groups, given.seed)
    out = Path(given.out)
    if (out / f"fold-{len(folds)}").exists():
        raise ValueError(
            f"--out {out}: more folds than {len(folds)} are in it, of an earlier call; give another folder"
        )
    for number, fold in enumerate(folds):
        write_fold(out / f"fold-{number}", fold)
    groups = len({row.group for row in rows})
    print(f"clips     {len(rows):,} of {count(groups, 'group')} and {_classes(len(folds[0].classes))}")
    print(*map(one_line, lines(folds)), sep="\n")
    table = write_text(out / "folds.csv", as_csv(folds))
    page = write_text(out / "folds.html", folds_page(folds, f"{', '.join(Path(one).name for one in given.lists)}"))
    print(f"table     {table}\npage      {page}\ntrain     --data.fold {out / 'fold-0'}, or taggnn.sweep --folds {out}")


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.folds",
        description="Divides the clips of lists into folds, so that no speaker, subject or camera is in two parts of one.",
    )
    add, option = built.add_argument, built.option
    add("lists", type=str, nargs="+", help="CSV lists, which are taken together, such as train.csv val.csv test.csv")
    option("--group", str | None, None, "column of the lists that has the group of a clip, such as speaker")
    option(
        "--group_pattern",
        str | None,
        None,
        "instead of a column: regular expression that finds the group in the path of a clip, such as '([FM][0-9]+)_'; its part "
        "in parentheses, or all of it",
    )
    option(
        "--folds",
        int,
        5,
        "how many; each group is tested in exactly one; the number of groups leaves one out each time",
    )
    option(
        "--val_groups",
        int | None,
        None,
        "groups to choose the best epoch on; null: a sixth of those that are not tested",
    )
    option("--seed", int, 0, "of the order in which groups of the same size are dealt")
    add("--out", type=str, required=True, help="folder of the folds")
    return built


def lines(folds: Sequence[Fold]) -> list[str]:
    """The folds for the terminal, a line for each, and a warning for each class that a part lacks."""
    shown, warnings = [], []
    for number, fold in enumerate(folds):
        parts = [
            f"{part} {len(rows):,} clips of {count(len(fold.groups(part)), 'group')}"
            for part, rows in fold.parts.items()
        ]
        shown.append(f"fold-{number:<4} {', '.join(parts)}; tests {some(fold.groups('test'))}")
        warnings += [
            f"warning   fold-{number}: {part} has no clip of {_classes(len(lacks))}: {some(lacks)}"
            for part in fold.parts
            if (lacks := fold.missing(part))
        ]
    return shown + warnings


def _classes(number: int) -> str:
    return f"{number:,} class{'es' * (number != 1)}"


def as_csv(folds: Sequence[Fold]) -> str:
    """A line for each part of each fold: its clips, classes and groups, and the classes that it lacks."""
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["fold", "part", "clips", "classes", "groups", "group_names", "classes_without_clips"])
    for number, fold in enumerate(folds):
        for part, rows in fold.parts.items():
            lacks, groups = fold.missing(part), fold.groups(part)
            cells = [
                number,
                part,
                len(rows),
                len(fold.classes) - len(lacks),
                len(groups),
                " ".join(groups),
                " ".join(lacks),
            ]
            table.writerow(map(spreadsheet.as_text, cells))
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.folds"))

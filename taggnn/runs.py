"""``python -m taggnn.runs FOLDER``: the runs in a folder: what differs, how good they are, how far they have come.

Runs anywhere below the folder are found. Damaged and foreign folders are named and left out.
"""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from taggnn.cli import run_list, terminal, variations
from taggnn.cli.parser import Parser
from taggnn.evaluation.run_rows import RunRow
from taggnn.reporting.runs_page import runs_page
from taggnn.runtime import json_file, spreadsheet
from taggnn.runtime.atomic import write_text
from taggnn.runtime.printable import one_line, width


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    rows, problems = run_list.list_runs(Path(given.folder))
    rows = run_list.ordered(rows, given.sort, given.reverse)
    if given.json:
        print(json_file.text({"runs": [asdict(row) for row in rows], "left_out": problems}, indent=2))
    elif given.csv:
        print(as_csv(rows), end="")
    else:
        print(*map(one_line, run_list.lines(rows, width())), sep="\n")
    for problem in problems:
        print(f"left out  {one_line(problem)}", file=sys.stderr)
    if given.page is not None:
        page = write_text(given.page, runs_page(rows, problems, Path(given.folder).resolve().name))
        print(f"page      {page}", file=sys.stderr)
    return 0 if rows else 1


def as_csv(rows: Sequence[RunRow]) -> str:
    """A line for each run; the keys in which they differ are columns of their own."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    names = [name for name in asdict(rows[0]) if name not in ("differs", "values", "larger_is_better")] if rows else []
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, *keys])
    for row in rows:
        cells = [getattr(row, name) for name in names]
        cells = ["" if cell is None else cell for cell in cells] + [variations.spelled(row.values[key]) for key in keys]
        writer.writerow(map(spreadsheet.as_text, cells))
    return out.getvalue()


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.runs", description="Lists the runs in a folder.")
    add, option = built.add_argument, built.option
    add("folder", type=str, help="a folder of runs, such as runs, runs/demo or that of a sweep")
    option(
        "--sort",
        str,
        "name",
        f"column: {', '.join(run_list.SORTED_BY)}, or a key in which the runs differ, such as tag.conv",
    )
    add("--reverse", action="store_true", help="sort the other way round")
    option("--page", str | None, None, "write the list as a page, too: a file, such as runs.html")
    add("--csv", action="store_true", help="print CSV instead of lines")
    add("--json", action="store_true", help="print JSON instead of lines")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.runs"))

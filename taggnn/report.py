"""``python -m taggnn.report RUN_DIR``: writes the report of a run again from what it left in its folder.

``--against RUN`` adds a comparison with another run, such as the same network without its plug: the figures of both, a paired
test, and the pairs of classes that they confuse most.
"""

import sys
from collections.abc import Sequence

from taggnn.cli import against, terminal
from taggnn.cli.parser import Parser
from taggnn.reporting.run_page import write_report
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> None:
    """Makes the report of one run folder again."""
    given = parser().parse_args(arguments)
    for note in against.add_comparison(given.run_dir, given.against) if given.against else ():
        print(one_line(note))
    print(write_report(given.run_dir))


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.report", description="Writes the report of a run again.")
    built.add_argument("run_dir", type=str, help="a run folder, e.g. runs/demo/<time>")
    built.add_argument(
        "--against",
        nargs="+",
        type=str,
        default=[],
        metavar="RUN",
        help="runs to compare it with, on the same clips; the comparison is kept in its results.json",
    )
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.report"))

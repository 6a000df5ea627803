"""``python -m taggnn.report RUN_DIR``: writes the report of a run again from what it left in its folder.

``--against RUN`` adds a comparison with another run, such as the same network without its plug: the figures of both, a paired
test, and the pairs of classes that they confuse most.
"""

import argparse
import sys
from collections.abc import Sequence

from taggnn.cli import against, terminal
from taggnn.reporting.run_page import write_report
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> None:
    """Makes the report of one run folder again."""
    parser = argparse.ArgumentParser(prog="python -m taggnn.report", description=main.__doc__)
    parser.add_argument("run_dir", help="a run folder, e.g. runs/demo/<time>")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs to compare it with, on the same clips; the comparison is kept in its results.json",
    )
    given = parser.parse_args(arguments)
    for note in against.add_comparison(given.run_dir, given.against) if given.against else ():
        print(one_line(note))
    print(write_report(given.run_dir))


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.report"))

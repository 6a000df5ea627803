"""``python -m taggnn.report RUN_DIR``: writes the report of a run again from what it left in its folder."""

import argparse
import sys
from collections.abc import Sequence

from taggnn.cli import terminal
from taggnn.reporting.run_page import write_report


def main(arguments: Sequence[str]) -> None:
    """Makes the report of one run folder again."""
    parser = argparse.ArgumentParser(prog="python -m taggnn.report", description=main.__doc__)
    parser.add_argument("run_dir", help="a run folder, e.g. runs/demo/<time>")
    print(write_report(parser.parse_args(arguments).run_dir))


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.report"))

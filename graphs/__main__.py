"""Draws a topology: ``python -m graphs --frames 3 --height 2 --width 2`` prints it and writes topology.png.

``--skeleton ntu`` draws the bones of a skeleton through time; ``--grid 4 17 --topology mine.rules.Limbs`` a rule of your own.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from .describe import describe
from .draw import save
from .skeleton import SKELETONS, find
from .spec import RULES, parse


class _Parser(argparse.ArgumentParser):
    # One line; argparse would print the whole usage before it.
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code: 0, or 2 for a mistake in the arguments."""
    parser = _Parser(prog="python -m graphs", description="Draw the graph of a topology on a token grid.")
    parser.add_argument("--frames", type=int, default=3, metavar="T", help="frames of the token grid (default 3)")
    parser.add_argument("--height", type=int, default=2, metavar="H", help="rows of a frame (default 2)")
    parser.add_argument("--width", type=int, default=2, metavar="W", help="columns of a frame (default 2)")
    parser.add_argument(
        "--grid",
        type=int,
        nargs="+",
        metavar="SIZE",
        help="all sizes of a grid with other axes, time first, instead of frames, height and width",
    )
    parser.add_argument(
        "--skeleton", metavar="NAME", help=f"joints instead of height and width: {', '.join(SKELETONS)}"
    )
    parser.add_argument(
        "--topology",
        metavar="RULE",
        help=f"{', '.join(RULES)}, the dotted path of a rule of your own, or a sum of them (default clique+chain; with a "
        "skeleton its bones and a chain)",
    )
    parser.add_argument(
        "--reach", type=int, default=1, metavar="R", help="frames a chain reaches to each side (default 1)"
    )
    parser.add_argument(
        "--out", default="topology.png", metavar="FILE", help=".png, .svg or .pdf (default topology.png)"
    )
    args = parser.parse_args(argv)
    grid = tuple(args.grid or ()) or (args.frames, args.height, args.width)
    try:
        skeleton = find(args.skeleton) if args.skeleton else None
        if skeleton is not None and args.grid is None:
            grid = (args.frames, len(skeleton))
        usual = "clique+chain" if skeleton is None else f"bones(skeleton={skeleton.name})+chain"
        topology = parse(args.topology or usual, args.reach)
        print(describe(topology, grid), flush=True)
        path = save(topology, grid, args.out, skeleton)
    except ImportError:
        parser.error("the picture needs matplotlib: pip install matplotlib")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"\npicture in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

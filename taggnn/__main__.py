"""The programs by name: ``taggnn train ...``, or ``python -m taggnn train ...``, runs ``python -m taggnn.train ...``.

The list of programs, ``--version`` and ``taggnn PROGRAM --help`` need no PyTorch, so that they take no time.
"""

import os
import runpy
import sys

from taggnn.names import unknown
from taggnn.runtime.programs import GROUPS, PROGRAMS, short_help


def overview() -> str:
    """The programs in groups, for the screen."""
    lines = ["usage: taggnn PROGRAM [OPTIONS]", ""]
    for title, programs in GROUPS.items():
        lines += [title, *(f"  {name:11} {summary}" for name, summary in programs.items()), ""]
    lines += [
        "taggnn PROGRAM --help      its usual options, with examples",
        "taggnn PROGRAM --help-all  every option",
        "taggnn --version",
    ]
    return "\n".join(lines)


def main() -> int:
    """Runs the program that the first word of the command line names; without one, lists all of them."""
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help"):
        print(overview())
        return 0
    if sys.argv[1] == "--version":
        # The package is imported before this file of it.
        print(f"taggnn {sys.modules['taggnn'].__version__}")
        return 0
    name = sys.argv.pop(1)
    if name not in PROGRAMS:
        print(f"taggnn: {unknown('program', name, PROGRAMS)}", file=sys.stderr)
        return 2
    if {"-h", "--help"} & set(sys.argv[1:]) and (text := short_help(name)) is not None:
        print(text, end="")
        return 0
    # As `python -m` does it: modules of the working folder can be imported, and results name the program.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    runpy.run_module(f"taggnn.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m taggnn.completion bash``: a script that completes programs, options and their values at the Tab key.

The script is complete in itself: the Tab key starts no Python.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from taggnn.cli import completing, terminal
from taggnn.cli.parser import Parser
from taggnn.runtime.programs import PROGRAMS


def main(arguments: Sequence[str]) -> None:
    shell = parser().parse_args(arguments).shell
    print(completing.script(shell, {name: parser_of(name) for name in PROGRAMS}))


def parser_of(program: str) -> Parser:
    """The command line of a program."""
    return import_module(f"taggnn.{program}").parser()


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.completion", description="Prints a script for the completion of a shell.")
    built.add_argument("shell", choices=completing.SHELLS, type=str, help="the shell")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.completion"))

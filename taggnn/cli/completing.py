"""Completion of shells for ``taggnn``: its programs, their options, and the values that tables and types know."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from taggnn.backbones.table import BACKBONES
from taggnn.cli import config
from taggnn.cli.parser import Parser
from taggnn.data.published import PUBLISHED
from taggnn.heads import HEADS
from taggnn.kernels import IMPLS
from taggnn.nn.convs import CONVS
from taggnn.runtime.programs import PROGRAMS

SHELLS = ("bash", "zsh", "tcsh")


def script(shell: str, parsers: Mapping[str, Parser]) -> str:
    """The script of a shell, made by shtab.

    Args:
        shell: one of ``SHELLS``.
        parsers: program -> its command line.

    Raises:
        ImportError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise ImportError(f"completion needs shtab ({error}): pip install 'taggnn[completion]'") from error
    whole = argparse.ArgumentParser(prog="taggnn", add_help=False)
    below = whole.add_subparsers()
    for program, parser in parsers.items():
        part = below.add_parser(program, add_help=False, help=PROGRAMS[program])
        for action in parser._actions:
            _add(part, action, shtab.FILE)
    return shtab.complete(whole, shell)


def values(option: str, hint: Any) -> Sequence[str]:
    """The values that an option can have, as far as they are known by name."""
    name = option.rsplit(".", 1)[-1].lstrip("-")
    tables: dict[str, Sequence[str]] = {
        "--config": config.recipes(),
        "--head": [*HEADS],
        "--compare": [*HEADS],
        "--backbone.name": [*BACKBONES],
        "--data.dataset": [*PUBLISHED],
    }
    if option in tables:
        return tables[option]
    if option.count(".") == 1 and name in ("conv", "impl"):
        return [*CONVS] if name == "conv" else ["auto", *IMPLS]
    if hint is bool:
        return ("true", "false")
    return [str(one) for one in get_args(hint)] if get_origin(hint) is Literal else ()


def _add(part: argparse.ArgumentParser, action: argparse.Action, files: Any) -> None:
    names = [name for name in action.option_strings if not name.endswith("+")]
    flag = action.nargs == 0 or isinstance(action, argparse._HelpAction)
    if names and flag:
        part.add_argument(
            *names, action="store_true", help=argparse.SUPPRESS if action.help is argparse.SUPPRESS else ""
        )
        return
    known = values(names[0] if names else action.dest, getattr(action, "_typehint", None)) or action.choices
    added = part.add_argument(*(names or [action.dest]), nargs=action.nargs, choices=known and list(known), help="")
    if not known:
        # Most other values are paths.
        added.complete = files  # type: ignore[attr-defined]

"""Names of tables and dotted paths: what they stand for, and how every part of taggnn refuses one that it does not know."""

import importlib
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

# Possible names that a message lists before it only counts them.
LISTED = 20


def unknown(kind: str, given: str, possible: Iterable[str], where: str = "") -> ValueError:
    """Builds the error for an unknown name, so that all of them read alike.

    Args:
        kind: what the name names, in the singular ("convolution", "head", "backbone").
        given: the name as the user wrote it.
        possible: every name that would have been accepted; the message lists the first 20.
        where: the file, row or key that held the name; left out when empty.

    Returns:
        A ``ValueError`` for the caller to raise.
    """
    possible = list(possible)
    near = get_close_matches(str(given), possible, n=3, cutoff=0.5)
    message = f"{where}: " if where else ""
    message += f"unknown {kind} {given!r}"
    if near:
        message += "; did you mean " + " or ".join(repr(name) for name in near) + "?"
    else:
        message += "."
    more = f" ... and {len(possible) - LISTED} more" if len(possible) > LISTED else ""
    return ValueError(message + f" Possible: {', '.join(possible[:LISTED]) or 'none'}{more}")


def is_path(given: object) -> bool:
    """Whether a text has the form of a dotted path, such as "mine.heads.MyHead"."""
    return isinstance(given, str) and "." in given and all(part.isidentifier() for part in given.split("."))


def imported(path: str, kind: str = "object") -> Any:
    """Imports what a dotted path names: "pkg.module.Name".

    Args:
        path: module and name.
        kind: what it is for, in the singular, for messages.

    Raises:
        ValueError: no such module, it fails while it is imported, or it has no such name.
    """
    module, _, attribute = path.rpartition(".")
    if not is_path(path):
        raise ValueError(f"{kind} {path!r}: expected a dotted path such as mine.module.Name")
    try:
        with warnings.catch_warnings():
            # PyG's import calls what PyTorch 2.15 warns of; a user cannot do anything about it.
            warnings.filterwarnings("ignore", ".*torch.jit.script.*")
            home = importlib.import_module(module)
    # A module of one's own may fail in any way while it is imported.
    except Exception as error:
        raise ValueError(f"{kind} {path!r}: cannot import {module!r} ({type(error).__name__}: {error})") from error
    if not hasattr(home, attribute):
        public = [name for name in dir(home) if not name.startswith("_")]
        raise unknown(f"{kind} in {module}", attribute, public)
    return getattr(home, attribute)


def find(kind: str, given: Any, table: Mapping[str, Any]) -> Any:
    """What a name stands for: a row of a table, what a dotted path names, or the given thing itself where it is no name.

    Args:
        kind: what it is, in the singular, for messages.
        given: a key of the table, a dotted path, or a class, callable or instance.
        table: name -> row.

    Raises:
        ValueError: an unknown name, or a path that cannot be imported.
    """
    if not isinstance(given, str):
        return given
    if given in table:
        return table[given]
    if not is_path(given):
        raise unknown(kind, given, [*table, "a dotted path"])
    return imported(given, kind)

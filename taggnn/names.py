"""How every part of taggnn refuses a name it does not know: what was given, what is near, what is possible."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
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


def imported(path: str, what: str = "") -> Any:
    """Imports what a dotted path names, ``package.module.Name``.

    Args:
        path: the dotted path.
        what: what it is to name, for messages.

    Raises:
        ValueError: no such module, nothing of that name in it, or the module fails while it is imported.
    """
    module, _, name = path.rpartition(".")
    start = f"{what} {path}" if what else path
    if not all(part.isidentifier() for part in path.split(".")) or not module:
        raise ValueError(f"{start}: expected a dotted path, package.module.Name")
    try:
        found = import_module(module)
    except Exception as error:
        raise ValueError(f"{start}: module {module} cannot be imported ({type(error).__name__}: {error})") from error
    if not hasattr(found, name):
        possible = [one for one in vars(found) if not one.startswith("_")]
        raise unknown("name", name, possible, where=f"{start}: module {module}")
    return getattr(found, name)


def find(what: str, given: Any, table: Mapping[str, Any]) -> Any:
    """What a name stands for: a row of a table, or what a dotted path imports; anything but text stands for itself.

    Args:
        what: what is looked for, in the singular, for messages.
        given: a name, a dotted path, or the thing itself.
        table: name -> row.

    Raises:
        ValueError: neither a name of the table nor a dotted path that can be imported.
    """
    if not isinstance(given, str):
        return given
    if given in table:
        return table[given]
    if "." in given:
        return imported(given, what)
    raise unknown(what, given, table)

"""Names that users write: errors for unknown ones, and dotted paths of objects."""

import importlib
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any

# Possible names that a message lists; further ones are counted.
LISTED = 20


def unknown(kind: str, given: object, possible: Iterable[object], where: str = "") -> ValueError:
    """Builds the error for an unknown name.

    Args:
        kind: what the name stands for, in the singular ("convolution", "head", "backbone").
        given: the name as the user wrote it.
        possible: every name, or number, that would have been accepted; the message lists the first 20.
        where: the file, row or key with the name; omitted when empty.

    Returns:
        A ``ValueError`` for the caller to raise.
    """
    names = [str(one) for one in possible]
    near = get_close_matches(str(given), names, n=3, cutoff=0.5)
    message = f"{where}: " if where else ""
    message += f"unknown {kind} {given!r}"
    if near:
        message += "; did you mean " + " or ".join(repr(name) for name in near) + "?"
    else:
        message += "."
    more = f" ... and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ValueError(message + f" Possible: {', '.join(names[:LISTED]) or 'none'}{more}")


def is_path(given: object) -> bool:
    """Whether a text has the form of a dotted path: two names or more with dots between them."""
    return isinstance(given, str) and "." in given and all(part.isidentifier() for part in given.split("."))


def imported(path: str, kind: str = "name") -> Any:
    """Imports the object that a dotted path names.

    Args:
        path: module and name in it, "package.module.Name"; a class inside a class is reached too.
        kind: what the path names, for messages (default "name").

    Raises:
        ValueError: not a dotted path, there is no such module, it fails while it is imported, or it has no such name.
    """
    if not is_path(path):
        raise ValueError(f"{path!r} is not a dotted path; write module and name, such as package.module.Name")
    parts = path.split(".")
    module, names = _module(path, parts)
    found: Any = module
    for number, name in enumerate(names):
        if not hasattr(found, name):
            where = ".".join(parts[: len(parts) - len(names) + number])
            public = [one for one in dir(found) if not one.startswith("_")]
            raise unknown(f"{kind} in {where}", name, public)
        found = getattr(found, name)
    return found


def find(kind: str, given: Any, table: Mapping[str, Any]) -> Any:
    """Looks up a user's choice: a row of a table, the object of a dotted path, or the given object itself.

    Args:
        kind: what is chosen, in the singular ("head"), for messages.
        given: a name of the table, a dotted path, or an object, which is returned unchanged.
        table: name -> row.

    Returns:
        ``table[given]``, the imported object, or ``given``.

    Raises:
        ValueError: a name that is not in the table, or a dotted path that cannot be imported.
    """
    if not isinstance(given, str):
        return given
    if given in table:
        return table[given]
    if not is_path(given):
        raise unknown(kind, given, [*table, "the dotted path of a class"])
    try:
        return imported(given, kind)
    except ValueError as error:
        raise ValueError(f"{kind} {given!r}: {error}") from error


def path_of(thing: Any) -> str:
    """The dotted path of a class or function, the inverse of ``imported``, for a checkpoint.

    Args:
        thing: a class, a function or a class method; a text is returned unchanged.

    Raises:
        ValueError: it has no path: an instance, a lambda, or something defined inside a function.
    """
    if isinstance(thing, str):
        return thing
    path = f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', None)}"
    try:
        # A class method is a new, equal object at each access.
        same = hasattr(thing, "__qualname__") and imported(path) == thing
    except ValueError:
        same = False
    if not same:
        raise ValueError(
            f"{thing!r} has no dotted path that a file could hold; define a class or function at the top level of a module, "
            "and give that"
        )
    return path


def _module(path: str, parts: list[str]) -> tuple[ModuleType, list[str]]:
    """The longest part of a path that is a module, and the remaining names."""
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            with warnings.catch_warnings():
                # PyG uses a function that PyTorch 2.15 deprecates; users cannot change that.
                warnings.filterwarnings("ignore", ".*torch.jit.script.*")
                return importlib.import_module(name), parts[count:]
        except ModuleNotFoundError as error:
            # Only a module of the path may be missing: a missing import inside it is the module's error.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise ValueError(f"cannot import {name!r}: it fails on its own import of {error.name!r}") from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"cannot import {name!r}: it fails with {type(error).__name__}: {error}") from error
    whole = ".".join(parts[:-1])
    raise ValueError(
        f"cannot import {whole!r}: No module named {parts[0]!r}; it must be installed, or be in the current folder"
    )

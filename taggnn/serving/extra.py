"""The packages of the extra ``serve``, imported when a server starts and not before."""

from importlib import import_module
from types import ModuleType

from taggnn.runtime import printable

NEEDED = ("starlette", "uvicorn", "python_multipart")


def require() -> None:
    """Imports what a server needs.

    Raises:
        ImportError: a package is not installed; the message names the extra.
    """
    for name in NEEDED:
        imported(name)


def imported(name: str) -> ModuleType:
    """A package of the extra, or a module of one.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    try:
        return import_module(name)
    except ImportError as error:
        reason = printable.one_line(error)
        raise ImportError(f"a server needs Starlette and uvicorn: pip install 'taggnn[serve]' ({reason})") from error

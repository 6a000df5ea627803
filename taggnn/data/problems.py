"""Problems of single rows of a list: training raises them, ``taggnn.check`` collects them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

KINDS = ("missing", "malformed", "repeated", "mislabelled", "two splits")


@dataclass(frozen=True)
class Problem:
    """Something wrong with one row.

    Args:
        kind: one of ``KINDS``: its file does not exist (or cannot be cut from another), the row cannot be understood, it is
            listed before, its name and its label contradict each other, another split has the same clip.
        source: the list file, or its substitute.
        line: line in it, from 1; 0 where it has no lines.
        name: the row's clip, as in the list.
        message: what is wrong, without source and line.
        against: name of the clip of an earlier row that this one contradicts; empty if none.
    """

    kind: str
    source: str
    line: int
    name: str
    message: str
    against: str = ""


class RowError(ValueError):
    """A row that cannot be used: its kind, location and reason.

    Args:
        kind: one of ``KINDS``.
        where: list and line, the beginning of the message.
        message: what is wrong.
        against: as in ``Problem``.
    """

    def __init__(self, kind: str, where: str, message: str, against: str = ""):
        super().__init__(f"{where}: {message}")
        self.kind, self.message, self.against = kind, message, against


@contextmanager
def each_row(problems: list[Problem] | None, source: object, line: int, name: str) -> Iterator[None]:
    """A context for reading one row: a ``RowError`` is collected, or raised if ``problems`` is None."""
    try:
        yield
    except RowError as error:
        if problems is None:
            raise
        problems.append(Problem(error.kind, str(source), line, name, error.message, error.against))

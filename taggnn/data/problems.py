"""What is wrong with single rows of a list: stopped at by a program that trains, collected by one that checks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

KINDS = ("missing", "malformed", "repeated", "mislabelled", "two splits")


@dataclass(frozen=True)
class Problem:
    """Something wrong with one row.

    Args:
        kind: one of ``KINDS``: its file is not there (or cannot be cut out of what is), the row cannot be understood, it is
            listed before, its name and its label contradict each other, another split has the same clip.
        source: the list file, or what stands for it.
        line: where in it, from 1; 0 where it has no lines.
        name: the row's clip, as the list names it.
        said: what is wrong, a sentence that does not repeat the place.
        against: name of the clip of an earlier row that this one contradicts; empty where there is none.
    """

    kind: str
    source: str
    line: int
    name: str
    said: str
    against: str = ""


class RowError(ValueError):
    """A row that cannot be used: its kind, and the place and the reason apart.

    Args:
        kind: one of ``KINDS``.
        where: list and line, as a message begins.
        said: what is wrong.
        against: as ``Problem`` has it.
    """

    def __init__(self, kind: str, where: str, said: str, against: str = ""):
        super().__init__(f"{where}: {said}")
        self.kind, self.said, self.against = kind, said, against


@contextmanager
def each_row(problems: list[Problem] | None, source: object, line: int, name: str) -> Iterator[None]:
    """Around the reading of one row: a ``RowError`` is collected, or passes where ``problems`` is None."""
    try:
        yield
    except RowError as error:
        if problems is None:
            raise
        problems.append(Problem(error.kind, str(source), line, name, error.said, error.against))

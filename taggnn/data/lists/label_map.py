"""Class names and class numbers of a list that states both: they must pair off one to one."""

from collections.abc import Sequence

from taggnn.data.clips import lacking
from taggnn.data.problems import RowError


class LabelMap:
    """Holds each pairing of a name and a number against the line that stated it first.

    A number that no row uses is named by itself ("138"), so that labels keep their meaning. Read against classes of which
    one is still named by its number, as a published checkpoint has all of them, a list gives that class its name.

    Args:
        classes: class names in label order, as the train list has them; None: those that the rows state.
        column: what the list calls its numbers, for messages.
    """

    def __init__(self, classes: Sequence[str] | None, column: str):
        self.classes, self.column = classes, column
        # number -> (name, line), and back.
        self._name_of: dict[int, tuple[str, int]] = {}
        self._number_of: dict[str, tuple[int, int]] = {}
        if classes is not None:
            self._number_of = {name: (number, 0) for number, name in enumerate(classes)}

    def add(self, name: str, number: int, line: int, where: str) -> None:
        """Takes the pairing that a row states.

        Raises:
            RowError: if it contradicts an earlier one, or the classes.
        """
        classes = self.classes
        if classes is not None and number >= len(classes):
            raise RowError(
                "malformed", where, f"{self.column} {number} is out of range; the classes are 0 to {len(classes) - 1}"
            )
        if classes is not None and name not in self._number_of and classes[number] != str(number):
            raise lacking(where, name, classes)
        agreed, before = self._number_of.get(name, (number, line))
        if agreed != number:
            place = f"line {before}" if before else "the train list"
            raise RowError(
                "mislabelled", where, f"class {name!r} has {self.column} {number} here and {agreed} in {place}"
            )
        stated, before = self._name_of.get(number, (name, line))
        if stated != name:
            raise RowError(
                "mislabelled", where, f"{self.column} {number} is {name!r} here and {stated!r} in line {before}"
            )
        self._number_of.setdefault(name, (number, line))
        self._name_of.setdefault(number, (name, line))

    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        names = self._name_of
        known = self.classes
        if known is None:
            known = [str(number) for number in range(max(names, default=-1) + 1)]
        return tuple(names[number][0] if number in names else name for number, name in enumerate(known))

"""Class names and class numbers of a list that has both: they must correspond one to one."""

from collections.abc import Sequence

from taggnn.data.clips import unknown_class
from taggnn.data.problems import RowError


class LabelMap:
    """Compares each pair of name and number with the first line that has either.

    A number without rows is its own name ("138"), so that labels keep their meaning. A known class that is named by its
    number, as in a published checkpoint, gets its name from the list.

    Args:
        classes: class names in label order, from the train list; None: those of the rows.
        column: name of the column of numbers, for messages.
    """

    def __init__(self, classes: Sequence[str] | None, column: str):
        self.classes, self.column = classes, column
        # number -> (name, line), and back.
        self._name_of: dict[int, tuple[str, int]] = {}
        self._number_of: dict[str, tuple[int, int]] = {}
        if classes is not None:
            self._number_of = {name: (number, 0) for number, name in enumerate(classes)}

    def add(self, name: str, number: int, line: int, where: str) -> None:
        """Adds the pair of a row.

        Raises:
            RowError: if it contradicts an earlier one, or the classes.
        """
        classes = self.classes
        if classes is not None and number >= len(classes):
            message = f"{self.column} {number} is out of range; the classes are 0 to {len(classes) - 1}"
            raise RowError("malformed", where, message)
        if classes is not None and name not in self._number_of and classes[number] != str(number):
            raise unknown_class(where, name, classes)
        first_number, before = self._number_of.get(name, (number, line))
        if first_number != number:
            location = f"line {before}" if before else "the train list"
            message = f"class {name!r} has {self.column} {number} here and {first_number} in {location}"
            raise RowError("mislabelled", where, message)
        first_name, before = self._name_of.get(number, (name, line))
        if first_name != name:
            message = f"{self.column} {number} is {name!r} here and {first_name!r} in line {before}"
            raise RowError("mislabelled", where, message)
        self._number_of.setdefault(name, (number, line))
        self._name_of.setdefault(number, (name, line))

    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        names = self._name_of
        known = self.classes
        if known is None:
            known = [str(number) for number in range(max(names, default=-1) + 1)]
        return tuple(names[number][0] if number in names else name for number, name in enumerate(known))

"""Classes that a mirror turns into one another: a left turn, flipped, is a right turn."""

import re
from collections.abc import Mapping, Sequence

from taggnn.names import unknown

_COUNTER = r"(?:counter|anti)[ _-]?clockwise"
_SIDES = re.compile(rf"(?<![a-z])(left|right|clockwise|{_COUNTER}|cw|ccw)(?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "cw": "ccw", "ccw": "cw"}


def flipped_labels(pairs: Mapping[str, str], classes: Sequence[str]) -> list[int]:
    """For each label the one that a clip of it has after a horizontal flip.

    A class in no pair keeps its label. A pair may be named from either side, or from both.

    Args:
        pairs: class name -> name of the class that it becomes.
        classes: class names in label order.

    Raises:
        ValueError: a name that is no class, a class paired with itself or with two others.
    """
    labels = {name: label for label, name in enumerate(classes)}
    partner: dict[str, str] = {}
    for pair in pairs.items():
        for name in pair:
            if name not in labels:
                raise unknown("class", name, classes, where="data.flip_pairs")
        one, other = pair
        if one == other:
            raise ValueError(
                f"data.flip_pairs: class {one!r} is paired with itself; a class in no pair keeps its label"
            )
        for name, becomes in (pair, (other, one)):
            if partner.setdefault(name, becomes) != becomes:
                raise ValueError(
                    f"data.flip_pairs: class {name!r} is paired with {partner[name]!r} and with {becomes!r}; "
                    "a flip can give a clip only one label"
                )
    return [labels[partner.get(name, name)] for name in classes]


def likely_flip_pairs(classes: Sequence[str]) -> dict[str, str]:
    """Classes whose names differ in left and right only, or clockwise and counter-clockwise: pairs to name, most likely.

    ``Pushing from left to right`` and ``Pushing from right to left`` are such a pair.

    Args:
        classes: class names.
    """
    named = {_key(name): name for name in classes}
    pairs: dict[str, str] = {}
    for name in classes:
        other = named.get(_key(name, mirrored=True))
        if other not in (None, name) and other not in pairs:
            pairs[name] = other
    return pairs


def _key(name: str, mirrored: bool = False) -> str:
    """A name in small letters with one spelling of each side, as it is or in a mirror."""

    def side(found: re.Match) -> str:
        word = found[0].lower()
        word = word if word in _OTHER else "cw" if word == "clockwise" else "ccw"
        return _OTHER[word] if mirrored else word

    return _SIDES.sub(side, name).lower()

"""Pairs of classes that a horizontal flip turns into one another: a flipped left turn is a right turn."""

import re
from collections.abc import Mapping, Sequence

from taggnn.names import unknown

_COUNTER = r"(?:counter|anti)[ _-]?clockwise"
_SIDES = re.compile(rf"(?<![a-z])(left|right|clockwise|{_COUNTER}|cw|ccw)(?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "cw": "ccw", "ccw": "cw"}


def flipped_labels(pairs: Mapping[str, str], classes: Sequence[str]) -> list[int]:
    """For each label, the label after a horizontal flip.

    A class in no pair keeps its label. A pair may be given in either order, or in both.

    Args:
        pairs: class name -> class name after a flip.
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
    """Pairs of classes whose names differ in left and right, or in clockwise and counter-clockwise, only.

    ``Pushing from left to right`` and ``Pushing from right to left`` are such a pair.

    Args:
        classes: class names.
    """
    name_of = {_key(name): name for name in classes}
    pairs: dict[str, str] = {}
    for name in classes:
        flipped = _key(name, flipped=True)
        # Without a side in it the flipped key is that of names which differ only in case.
        other = name if flipped == _key(name) else name_of.get(flipped, name)
        if other != name and other not in pairs:
            pairs[name] = other
    return pairs


def _key(name: str, flipped: bool = False) -> str:
    """A name in lower case with one spelling of each side, as it is or with the sides exchanged."""

    def side(found: re.Match) -> str:
        word = found[0].lower()
        word = word if word in _OTHER else "cw" if word == "clockwise" else "ccw"
        return _OTHER[word] if flipped else word

    return _SIDES.sub(side, name).lower()

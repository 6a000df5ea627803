"""Classes that a mirror turns into one another: a left turn, flipped, is a right turn."""

from collections.abc import Mapping, Sequence

from taggnn.names import unknown


def mirrored_labels(pairs: Mapping[str, str], classes: Sequence[str]) -> list[int]:
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
                raise unknown("class", name, classes, where="data.mirrored")
        one, other = pair
        if one == other:
            raise ValueError(f"data.mirrored: class {one!r} is paired with itself; a class in no pair keeps its label")
        for name, becomes in (pair, (other, one)):
            if partner.setdefault(name, becomes) != becomes:
                raise ValueError(
                    f"data.mirrored: class {name!r} is paired with {partner[name]!r} and with {becomes!r}; "
                    "a flip can give a clip only one label"
                )
    return [labels[partner.get(name, name)] for name in classes]

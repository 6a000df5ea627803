"""The page of a division into folds: clips, groups and classes of every part."""

from collections import Counter
from collections.abc import Sequence

from taggnn.data.lists.folds import Fold
from taggnn.reporting.page import count, number, render

# Classes of the second table.
CLASSES = 200


def folds_page(folds: Sequence[Fold], lists: str) -> str:
    """Builds the whole document.

    Args:
        folds: the folds, in their order.
        lists: names of the lists that they were made of.
    """
    clips = sum(len(fold.parts["test"]) for fold in folds)
    groups = sum(len(fold.groups("test")) for fold in folds)
    classes = folds[0].classes
    parts = [(index, part, fold) for index, fold in enumerate(folds) for part in fold.parts]
    tested = [Counter(row.label for row in fold.parts["test"]) for fold in folds]
    return render(
        "folds.html.j2",
        title=lists,
        eyebrow="taggnn folds",
        subtitle=f"{number(clips)} clips of {count(groups, 'group')} in {len(folds)} folds.",
        parts=[
            {
                "fold": index,
                "part": part,
                "clips": len(fold.parts[part]),
                "groups": fold.groups(part),
                "classes": len(classes) - len(fold.missing(part)),
            }
            for index, part, fold in parts
        ],
        lacking=[
            f"fold-{index}: {part} has no clip of {', '.join(fold.missing(part))}."
            for index, part, fold in parts
            if fold.missing(part)
        ],
        count=len(folds),
        classes=[(name, [of[name] for of in tested]) for name in classes[:CLASSES]],
        more=max(0, len(classes) - CLASSES),
    )

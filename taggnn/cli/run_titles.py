"""What several runs are called next to each other: by what differs in their configurations, "conv=gcn,topology=chain,seed=0".

A sweep names its variants in the same way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taggnn.cli import config, variations
from taggnn.evaluation.results import Results

# Number of keys of the configuration in the title of a run.
DIFFERENT = 4


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which configurations differ, in their order, the seed last.

    Args:
        settings: the flat configuration of every run; empty for one that is not known.
    """
    known = [one for one in settings if one]
    keys = [
        key
        for key in dict.fromkeys(key for one in known for key in one)
        if len({str(one.get(key)) for one in known}) > 1
    ]
    return sorted(keys, key=lambda key: key == "seed")


def names(settings: Sequence[Mapping[str, Any]], most: int = DIFFERENT) -> list[str]:
    """What differs of each run, with the shortest keys that say which: "conv=gcn,seed=0"; empty for one that is not known.

    Args:
        settings: the flat configuration of every run.
        most: keys in a name; further ones are counted.
    """
    keys = differing(settings)
    short = variations.short_keys(keys)
    found = []
    for one in settings:
        own = [f"{short[key]}={variations.spelled(one[key])}" for key in keys if key in one]
        more = f" and {len(own) - most} more" if len(own) > most else ""
        found.append(",".join(own[:most]) + more)
    return found


def titles(files: Sequence[Path]) -> list[str]:
    """The title of each run, with the keys of its configuration in which they differ.

    Args:
        files: the predictions.csv of every run, with results.json and config.yaml next to it where there are any.
    """
    differences = names([config.flat(file.parent) for file in files])
    return [
        "; ".join(filter(None, [Results.read(file.parent).title or "", name]))
        for file, name in zip(files, differences, strict=True)
    ]

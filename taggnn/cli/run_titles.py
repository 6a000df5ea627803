"""What several runs are called side by side: their titles, and what differs in their configurations."""

from collections.abc import Sequence
from pathlib import Path

from taggnn.cli import config
from taggnn.evaluation.results import Results

# Number of keys of the configuration in the title of a run.
DIFFERENT = 4


def titles(files: Sequence[Path]) -> list[str]:
    """The title of each run, with the keys of its configuration in which they differ.

    Args:
        files: the predictions.csv of every run, with results.json and config.yaml next to it where there are any.
    """
    settings = [config.flat(file.parent) for file in files]
    known = [one for one in settings if one]
    keys = [
        key
        for key in dict.fromkeys(key for one in known for key in one)
        if len({str(one.get(key)) for one in known}) > 1
    ]
    found = []
    for file, one in zip(files, settings, strict=True):
        own = [f"{key} {one[key]}" for key in keys if key in one]
        more = f" and {len(own) - DIFFERENT} more" if len(own) > DIFFERENT else ""
        parts = [Results.read(file.parent).title or "", ", ".join(own[:DIFFERENT]) + more]
        found.append("; ".join(filter(None, parts)))
    return found

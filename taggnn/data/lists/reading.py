"""Reads clip lists of all formats."""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path

from taggnn.data.clips import ClipList, existing_root, locate
from taggnn.data.lists import authors_csv, folders, path_label, taggnn_csv
from taggnn.data.problems import Problem
from taggnn.data.video.formats import VIDEO_ENDINGS


def read_clips(
    root: str | Path,
    list: str | Path | None = None,
    classes: Sequence[str] | None = None,
    missing: str = "error",
    problems: list[Problem] | None = None,
    endings: Collection[str] | None = None,
) -> ClipList:
    """Reads labelled clips in the format of the list.

    No list: ``root/<class>/<video>`` (folders.py). A list whose name ends in ``.csv``: by its header, our own format
    (taggnn_csv.py) or that of the TAG-Head authors (authors_csv.py). Any other list: text lines ``path label``
    (path_label.py).

    Args:
        root: folder that holds the videos.
        list: list file; None for class folders.
        classes: class names in label order, from the train list; None: the names found.
        missing: what to do with a row whose file does not exist: ``"error"``, or ``"skip"`` to leave it out and name it
            in ``ClipList.missing``.
        problems: collects problems of single rows, which are then left out, and missing files for any value of
            ``missing``; None: the first raises.
        endings: extensions of the files in class folders that count as clips, in lower case; None: those of videos.

    Raises:
        FileNotFoundError: if the root, the list or (with ``missing="error"`` and no ``problems``) a listed file does not
            exist.
        ValueError: if the list has an impossible value; the message names the file and the line.
    """
    root = existing_root(root)
    if missing not in ("error", "skip"):
        raise ValueError(f"missing {missing!r}: possible are 'error' and 'skip'")
    if list is None:
        return folders.read(root, classes, problems, endings or VIDEO_ENDINGS)
    list = Path(list)
    if not list.is_file():
        what = "is a folder; give the list file itself" if list.is_dir() else "no such list file"
        raise FileNotFoundError(f"{list}: {what}")
    try:
        tabular = list.suffix.lower() == ".csv"
        reader = path_label if not tabular else taggnn_csv if taggnn_csv.is_taggnn_csv(list) else authors_csv
        rows, names = reader.read(root, list, classes, problems)
    except csv.Error as error:
        raise ValueError(f"{list}: not a CSV table ({error})") from None
    if not rows and not problems:
        raise ValueError(f"{list}: the list is empty")
    return locate(root, list, rows, tuple(names), missing, problems)

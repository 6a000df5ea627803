"""The clips of one fold that ``taggnn.folds`` wrote: from its lists, or chosen among stored tokens."""

from dataclasses import dataclass
from pathlib import Path

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists import authors_csv, taggnn_csv
from taggnn.data.lists.folds import GROUP
from taggnn.data.lists.splits import SPLITS, Splits
from taggnn.data.lists.text import table_of
from taggnn.data.lists.tree import some


@dataclass(frozen=True)
class Listed:
    """A row of the list of a fold.

    Args:
        names: what its clip may be called in predictions and in stored tokens.
        label: its class name.
        group: who or what it shows; empty where the list has no column ``group``.
        where: the list and its line.
    """

    names: tuple[str, ...]
    label: str
    group: str
    where: str


def read_fold(folder: str | Path) -> dict[str, list[Listed]]:
    """The three lists of a fold, without looking for the files that they name.

    Raises:
        FileNotFoundError: a list is missing.
        ValueError: a list is wrong; names it and the line.
    """
    folder = Path(folder)
    found: dict[str, list[Listed]] = {}
    for part, path in fold_lists(folder).items():
        own = taggnn_csv.is_taggnn_csv(path)
        rows, classes = (taggnn_csv if own else authors_csv).read(Path(), path, None)
        groups = [cells.get(GROUP) or "" for cells in table_of(path, (GROUP,))]
        found[part] = [
            Listed(row.names(Path()), classes[row.label], group, f"{path}, line {row.line}")
            for row, group in zip(rows, groups, strict=True)
        ]
    return found


def fold_lists(folder: Path) -> dict[str, Path]:
    """The lists of a fold by split.

    Raises:
        FileNotFoundError: one is missing.
    """
    lists = {part: folder / f"{part}.csv" for part in SPLITS}
    if absent := [path.name for path in lists.values() if not path.is_file()]:
        raise FileNotFoundError(
            f"{folder}: no {', '.join(absent)} in it; expected the folder of one fold, as taggnn.folds writes it"
        )
    return lists


def select(there: Splits, folder: str | Path, source: str) -> Splits:
    """The clips of a fold among those of other splits, so that what is stored for each clip once serves every fold.

    Clips are found by name, or by the path of their file; clips that the fold does not list are left out, with a note.

    Args:
        there: the splits whose clips are dealt anew.
        folder: of the fold.
        source: what has them, for messages.

    Raises:
        FileNotFoundError, ValueError: as `read_fold`; a listed clip is not there or has another class; names the list and line.
    """
    clips: dict[str, Clip] = {}
    for split in SPLITS:
        for clip in getattr(there, split) or ():
            clips |= {clip.path: clip, clip.name: clip}
    found: dict[str, ClipList] = {}
    used: set[str] = set()
    for part, rows in read_fold(folder).items():
        chosen = []
        for row in rows:
            clip = next((clips[name] for name in row.names if name in clips), None)
            if clip is None:
                raise ValueError(f"{row.where}: no clip {' or '.join(row.names)} in {source}")
            if there.classes[clip.label] != row.label:
                raise ValueError(
                    f"{row.where}: {clip.name} has class {row.label}, and {there.classes[clip.label]} in {source}"
                )
            chosen.append(clip)
        used |= {clip.name for clip in chosen}
        found[part] = ClipList(tuple(chosen), there.classes, str(fold_lists(Path(folder))[part]))
    # Views of training are stored for the clips that were training clips then.
    with_views = sum(bool(getattr(clip, "views", ())) for clip in found["train"])
    if 0 < with_views < len(found["train"]):
        raise ValueError(
            f"fold {folder}: {source} has training views of {with_views:,} of its {len(found['train']):,} training clips; "
            "extract with --views 0, which stores the same for every clip"
        )
    rest = sorted({clip.name for clip in clips.values()} - used)
    notes = [f"fold {folder}: its lists say which clips are train, val and test, not those of {source}"]
    if rest:
        notes.append(
            f"fold {folder}: {len(rest):,} clips of {source} are in none of its lists and are left out: {some(rest)}"
        )
    return Splits(found["train"], found["val"], found["test"], there.classes, (*there.notes, *notes))


def groups_of(folder: str | Path) -> dict[str, str]:
    """What a clip of the test part may be called -> its group; empty where the lists have no groups."""
    return {name: row.group for row in read_fold(folder)["test"] if row.group for name in row.names}

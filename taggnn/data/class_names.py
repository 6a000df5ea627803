"""The class names of a data set, from any file or folder that has them, without reading a clip.

They are those that training finds, in the same order, so that what is made for them fits.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from taggnn.data.clips import class_number
from taggnn.data.lists import authors_csv, folders, taggnn_csv
from taggnn.data.lists.label_map import LabelMap
from taggnn.data.lists.text import table_of
from taggnn.data.published import diving48, finegym
from taggnn.data.published.text import lines
from taggnn.data.skeleton.source import SkeletonSource
from taggnn.data.token_index import INDEX, read_token_index
from taggnn.data.video.formats import VIDEO_ENDINGS

# Columns of a table of classes; the last may be absent.
LABEL, NAME, TEXT = "label", "name", "text"
# The list of a data root whose class folders are not its classes.
TRAIN_LIST = "train.csv"
EXPECTED = (
    "one name a line, a table label,name[,text], a list path,class,label or FileName,Class,ClassEncoded, a category file of "
    "FineGym, Diving48_vocab.json, or a folder: a data root with train.csv or class folders, or stored tokens"
)


class ClassNames(NamedTuple):
    """Class names in label order.

    Args:
        names: as the data set has them.
        texts: name -> a description in words, of those classes that have one besides their name.
    """

    names: tuple[str, ...]
    texts: dict[str, str]


def read_class_names(path: str | Path) -> ClassNames:
    """Reads the class names of a data set.

    Args:
        path: a text file with one name a line; a CSV table ``label,name[,text]``; a list of clips ``path,class,label`` or
            ``FileName,Class,ClassEncoded`` (.csv); a category file of FineGym; Diving48_vocab.json; a data root with a
            ``train.csv``, or with class folders (those of its folder ``train`` where it has one); a folder of ``taggnn.extract``.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: no name in it, a name twice, a label without a name, or another format; names the file and the line.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"classes {path}: no such file or folder; expected {EXPECTED}")
    names, texts = _in_folder(path) if path.is_dir() else _in_file(path)
    if not names:
        raise ValueError(f"{path}: no class name in it; expected {EXPECTED}")
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            raise ValueError(f"{path}: class {name!r} is there twice, as number {first[name]} and as {number}")
    return ClassNames(tuple(names), texts)


def _in_folder(path: Path) -> ClassNames:
    if (path / INDEX).is_file():
        return ClassNames(tuple(read_token_index(path)["classes"]), {})
    if (path / TRAIN_LIST).is_file():
        return _in_file(path / TRAIN_LIST)
    root = path / "train" if (path / "train").is_dir() else path
    names = folders.read(root, None, endings=VIDEO_ENDINGS | SkeletonSource.endings).classes
    if len(names) == 1:
        raise ValueError(
            f"{root}: {names[0]!r} is its only folder with clips; give a list of the clips, or the class names"
        )
    return ClassNames(names, {})


def _in_file(path: Path) -> ClassNames:
    if path.suffix.lower() == ".csv":
        columns = set(table_of(path, (LABEL, NAME)).fieldnames or [])
        if {LABEL, NAME} <= columns and not taggnn_csv.is_taggnn_csv(path):
            return _table(path)
        read: Callable = taggnn_csv.read if taggnn_csv.is_taggnn_csv(path) else authors_csv.read
        return ClassNames(read(path.parent, path, None)[1], {})
    if path.suffix.lower() == ".json":
        return ClassNames(tuple(diving48.names_in(path)), {})
    rows = [text for _, text in lines(path)]
    if rows and finegym.CATEGORY.fullmatch(rows[0]):
        rows = finegym.names_in(path)
    return ClassNames(tuple(rows), {})


def _table(path: Path) -> ClassNames:
    labels, texts, numbers = LabelMap(None, LABEL), {}, set()
    table = table_of(path, (LABEL, NAME))
    for fields in table:
        where = f"{path}, line {table.line_num}"
        name, number = fields[NAME] or "", class_number((fields[LABEL] or "").strip(), f"{where}, {LABEL}")
        if not name.strip():
            raise ValueError(f"{where}, {NAME}: empty")
        labels.add(name, number, table.line_num, where)
        numbers.add(number)
        if text := (fields.get(TEXT) or "").strip():
            texts[name] = text
    if absent := sorted(set(range(max(numbers, default=-1) + 1)) - numbers):
        raise ValueError(f"{path}, {LABEL}: none is {absent[0]}; expected every number from 0 to {max(numbers)}")
    return ClassNames(labels.names(), texts)

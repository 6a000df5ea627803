"""HMDB51, by its three splits.

Paper: https://doi.org/10.1109/ICCV.2011.6126543. Files, anywhere below the folder of annotations (by default the root;
published as ``testTrainMulti_7030_splits/``): ``<class>_test_split1.txt`` for each of the 51 classes, likewise split2 and
split3, with lines ``<file>.avi 1``: 1 for training, 2 for the test, 0 for neither. The clips (published as
``<class>/<file>.avi``) are at any depth below the root and are shown whole. Each split has 3,570 / 1,530 clips. Classes are
sorted by name.
"""

from pathlib import PurePosixPath

from taggnn.data.clips import Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, class_names, whole_clip
from taggnn.data.published.text import lines

SPLITS = {"1": "train", "2": "test"}


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: if there is no list.
    """
    ending = f"_test_{request.version}.txt"
    files = request.index.files(ending)
    if not files:
        request.index.require(f"hmdb51 {request.version}", f"<class>{ending}")
    names = class_names(request.classes, {file.name.removesuffix(ending) for file in files}, "hmdb51")
    rows: dict[str, list[Row]] = {split: [] for split in request.splits}
    for file in files:
        name = file.name.removesuffix(ending)
        for line, text in lines(file):
            where = f"{file}, line {line}"
            stated, _, use = text.rpartition(" ")
            given = f"{name}/{stated.strip()}"
            with each_row(request.problems, file, line, given):
                if use not in ("0", *SPLITS) or not stated:
                    raise RowError("malformed", where, f"{text!r} is not '<file>.avi 0', 1 or 2")
                if use == "0" or SPLITS[use] not in rows:
                    continue
                if name not in names:
                    raise RowError("mislabelled", where, f"{name!r} is no class of the model's")
                path = request.index.clip(PurePosixPath(stated.strip()).stem, name)
                rows[SPLITS[use]].append(whole_clip(line, given, names.index(name), path))
    return Lists(names, {split: Listing(files[0].parent, found) for split, found in rows.items()})


HMDB51 = Published(
    title="HMDB51",
    paper="https://doi.org/10.1109/ICCV.2011.6126543",
    versions=("split1", "split2", "split3"),
    splits=("train", "test"),
    read=read,
    counts={f"split{number}": {"train": 3_570, "test": 1_530} for number in (1, 2, 3)},
    classes={f"split{number}": 51 for number in (1, 2, 3)},
)

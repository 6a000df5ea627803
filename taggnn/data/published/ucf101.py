"""UCF101, by its three splits.

Paper: https://arxiv.org/abs/1212.0402. Files, anywhere below the folder of annotations (by default the root; published as
``ucfTrainTestlist/``):

    classInd.txt      lines ``1 ApplyEyeMakeup``
    trainlist01.txt   lines ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1``, likewise 02 and 03
    testlist01.txt    the same without the number

and the clips (published as ``UCF-101/<class>/``) at any depth below the root, each shown whole. Train and test clips are
9,537 / 3,783, 9,586 / 3,734 and 9,624 / 3,696.
"""

from pathlib import Path, PurePosixPath

from taggnn.data.clips import Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes, whole_clip
from taggnn.data.published.text import lines


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: if a list does not exist.
        ValueError: if classInd.txt has an unexpected format.
    """
    number = request.version.removeprefix("split")
    title = f"ucf101 {request.version}"
    files = {split: request.index.require(title, f"{split}list0{number}.txt") for split in request.splits}
    source = request.index.require(title, "classInd.txt")
    label_of: dict[str, int] = {}
    for line, text in lines(source):
        if text.split()[0] != str(len(label_of) + 1) or len(text.split()) != 2:
            raise ValueError(f"{source}, line {line}: expected '{len(label_of) + 1} <class>', found {text!r}")
        label_of[text.split()[1]] = len(label_of)
    names = matched_classes(request.classes, tuple(label_of), source)
    return Lists(names, {split: Listing(file, _rows(request, file, label_of)) for split, file in files.items()})


def _rows(request: Request, file: Path, label_of: dict[str, int]) -> list[Row]:
    rows = []
    for line, text in lines(file):
        where = f"{file}, line {line}"
        given, _, number = text.partition(" ")
        with each_row(request.problems, file, line, given):
            file_name = PurePosixPath(given)
            name = file_name.parent.name
            if name not in label_of:
                raise RowError("malformed", where, f"{text!r} does not begin with a class of classInd.txt and a slash")
            if number and number.strip() != str(label_of[name] + 1):
                message = f"{name} has the number {number.strip()} here and {label_of[name] + 1} in classInd.txt"
                raise RowError("mislabelled", where, message)
            path = request.index.clip(file_name.stem, name)
            rows.append(whole_clip(line, given, label_of[name], path))
    return rows


UCF101 = Published(
    title="UCF101",
    paper="https://arxiv.org/abs/1212.0402",
    versions=("split1", "split2", "split3"),
    splits=("train", "test"),
    read=read,
    counts={
        "split1": {"train": 9_537, "test": 3_783},
        "split2": {"train": 9_586, "test": 3_734},
        "split3": {"train": 9_624, "test": 3_696},
    },
    classes={"split1": 101, "split2": 101, "split3": 101},
)

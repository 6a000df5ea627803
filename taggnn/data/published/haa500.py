"""HAA500.

Paper: https://arxiv.org/abs/2009.05224. Files of the archive v1.1, at any depth below the root: ``video/<class>/<class>_NNN.mp4``
with NNN from 000 to 019. Without a list: 000 to 015 are for training, 016 for validation, 017 to 019 for the test, which
makes 8,000 / 500 / 1,500 clips of 500 classes. Classes are the folders that are there, sorted by name.
"""

import re

from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, class_names, whole_clip

STEM = re.compile(r"(.+)_(\d{3})")
NUMBERS = {"train": range(16), "val": range(16, 17), "test": range(17, 20)}


def read(request: Request) -> Lists:
    """Reads the rows by the rule of the numbers.

    Raises:
        FileNotFoundError: if there are no class folders of this kind.
    """
    index = request.index
    # (class, number); a class is a folder that holds a video of its name.
    held, strange = set(), []
    for folder, videos in index.clips_by_folder().items():
        parts = [(STEM.fullmatch(stem), stem, path) for stem, path in videos]
        if not any(match and match[1] == folder for match, *_ in parts):
            continue
        for match, stem, path in parts:
            if match and match[1] == folder and int(match[2]) < 20:
                held.add((folder, int(match[2])))
            else:
                strange.append((folder, stem, path))
    if not held:
        raise FileNotFoundError(
            f"haa500: no <class>/<class>_000.mp4 to _019.mp4 below {index.root}; {index.describe()}"
        )
    for folder, stem, file in strange:
        with each_row(request.problems, file.parent, 0, f"{folder}/{stem}"):
            raise RowError("mislabelled", str(file), f"{stem} is none of {folder}_000 to {folder}_019")
    names = class_names(request.classes, {folder for folder, _ in held}, "haa500")
    splits = {}
    for split in request.splits:
        rows = []
        for label, name in enumerate(names):
            for number in NUMBERS[split]:
                given = f"{name}/{name}_{number:03d}"
                video = index.clip(f"{name}_{number:03d}", name) if (name, number) in held else None
                rows.append(whole_clip(0, given, label, video))
        splits[split] = Listing(f"haa500 {split}", rows)
    known = set(names)
    for name in sorted({folder for folder, _ in held} - known):
        with each_row(request.problems, index.root, 0, name):
            raise RowError("mislabelled", f"{index.root}", f"the folder {name} is no class of the model's")
    return Lists(names, splits)


HAA500 = Published(
    title="HAA500",
    paper="https://arxiv.org/abs/2009.05224",
    versions=("v1.1",),
    splits=("train", "val", "test"),
    read=read,
    counts={"v1.1": {"train": 8_000, "val": 500, "test": 1_500}},
    classes={"v1.1": 500},
)

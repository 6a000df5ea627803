"""The files that a program is given, and those in the folders that it is given."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.data.image_folders import is_frame_folder
from taggnn.data.lists.tree import below, left_out
from taggnn.data.video.formats import takes_frame_folders
from taggnn.runtime.printable import one_line
from taggnn.types import InputSpec


def input_files(given: Sequence[str], spec: InputSpec) -> Iterator[Path]:
    """The files as they are, and those below the folders that the model's source reads.

    What was left out of a folder is printed.

    Args:
        given: files and folders.
        spec: of the model's input.

    Raises:
        ValueError: the one folder given has no such file.
    """
    endings = capabilities_of(sources.of(spec)).endings
    for path in map(Path, given):
        if not path.is_dir() or (
            takes_frame_folders(endings) and is_frame_folder(path) and not below(path, endings).files
        ):
            yield path
            continue
        found = below(path, endings)
        skipped = left_out([found], spec.kind)
        if not found.files and len(given) == 1:
            reasons = "".join(f"; {note}" for note in skipped)
            raise ValueError(
                f"{path}: no {spec.kind} in this folder{reasons}; possible endings: {', '.join(sorted(endings))}"
            )
        for note in skipped:
            print(one_line(f"{path}: {note}"), file=sys.stderr)
        # An empty folder among others is one more that cannot be read.
        yield from found.files or [path]

"""A new folder for every run of a program, named by its time, so that no result overwrites another."""

from datetime import datetime
from pathlib import Path


def new_folder(place: Path) -> Path:
    """Makes a folder named by the time, such as ``2026-01-31_18-05-09``; a second one of that second ends in ``_2``.

    Args:
        place: folder to make it in; created when missing.

    Raises:
        OSError: it cannot be made.
        ValueError: a thousand folders of this second are there already.
    """
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in ("", *(f"_{n}" for n in range(2, 1000))):
        folder = place / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            # mkdir says the same where the place itself is a file.
            if not folder.is_dir():
                raise
            continue
        return folder
    raise ValueError(f"{place}: too many folders of {name} in it")

"""Folders of images on the disk, each of which may be one clip; how they are read: ``taggnn.data.video.frame_folder``."""

import os

from taggnn.data.video.formats import IMAGE_ENDINGS

# Of a folder that nobody names: one image alone may be the preview of a video.
LEAST_IMAGES = 2


def is_image(name: str) -> bool:
    """Whether a file counts as an image, by its name."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder with an image in it."""
    try:
        with os.scandir(path) as entries:
            return any(is_image(entry.name) for entry in entries)
    except OSError:
        return False


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file, or a folder of images."""
    return os.path.isfile(path) or is_frame_folder(path)


def state_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Bytes and last modification (ns) of a file, or of all images of a folder: what is read anew when they change.

    Raises:
        OSError: it is not there.
    """
    state = os.stat(path)
    if not os.path.isdir(path):
        return state.st_size, state.st_mtime_ns
    with os.scandir(path) as entries:
        states = [entry.stat() for entry in entries if is_image(entry.name) and entry.is_file()]
    return sum(one.st_size for one in states), max([state.st_mtime_ns, *(one.st_mtime_ns for one in states)])

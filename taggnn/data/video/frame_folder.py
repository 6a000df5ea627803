"""A folder of images as one clip: its frames in the order of their numbers, read one by one.

A file name is a beginning, a number and an end: ``img_00001.jpg``. The number orders the frames, whatever its zeros; without
numbers names do. One number more or less than the usual step is a lost frame, and such a clip is damaged: it is never filled up.

Axes: T frames, H W pixels.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from taggnn.data.image_folders import is_image
from taggnn.data.video.container import MAX_PIXELS, VideoError, import_av
from taggnn.data.video.formats import IMAGE_ENDINGS
from taggnn.data.video.scaling import Scaler
from taggnn.data.video.timeline import Timeline, seconds

# Pillow's names; its other readers run programs, or are for files that nobody takes for frames.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_NUMBER = re.compile(r"(.*?)(\d+)(\D*)")
# What a whole file ends with, and in how many of its last bytes: some programs write more behind it.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL = 4096
# Names in a message.
_NAMED = 3


def frame_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The images of a folder in the order of their numbers.

    Raises:
        VideoError: no image, two sequences, a number twice, or a gap in the numbers; names the files.
    """
    where = os.fspath(folder)
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if is_image(entry.name))
    except OSError as error:
        raise VideoError(where, f"cannot be opened ({error.strerror})") from None
    if not names:
        raise VideoError(where, f"no image in this folder ({' '.join(sorted(IMAGE_ENDINGS))})")
    found = {name: _NUMBER.fullmatch(os.path.splitext(name)[0]) for name in names}
    if not any(found.values()):
        return [Path(folder, name) for name in names]
    _check_one_sequence(where, found)
    by_number: dict[int, str] = {}
    for name, match in found.items():
        assert match is not None, "a name without a number is another sequence"
        before = by_number.setdefault(int(match[2]), name)
        if before != name:
            raise VideoError(where, f"frame {int(match[2])} is there twice: {before} and {name}")
    numbers = sorted(by_number)
    _check_gaps(where, numbers, by_number)
    return [Path(folder, by_number[number]) for number in numbers]


def timeline(folder: str | os.PathLike[str], count: int, rate: float | None, needed: bool) -> Timeline:
    """The times of the frames: frame k at ``k / rate`` seconds.

    Args:
        folder: for messages.
        count: of its frames.
        rate: frames a second; None where it is not stated.
        needed: whether seconds are needed; without a rate one frame a second is taken where they are not.

    Raises:
        VideoError: no rate, and it is needed.
    """
    if rate is None and needed:
        raise VideoError(
            os.fspath(folder),
            "its frames are wanted by seconds, and images have no frame rate: state it with --video.frame_rate",
        )
    exact = Fraction(rate or 1).limit_denominator(1_001_000)
    return Timeline(tuple(seconds(k, exact) for k in range(count)), seconds(count, exact), rate=exact)


def read_views(
    folder: str | os.PathLike[str],
    samples: Sequence[Callable[[int], Sequence[int] | torch.Tensor]],
    short_side: int | None,
    start: float | None,
    stop: float | None,
    origin: float | None,
    rate: float | None,
) -> list[torch.Tensor]:
    """Several views of a folder of images; see `taggnn.data.video.reading.read_views`. An image in several is read once.

    **Shapes:** a uint8 (T, H, W, 3) for each sampler

    Raises:
        VideoError: an image is damaged, has another size than the first one, or `frame_files` refuses the folder.
        ValueError: a sampler returned no index, or one out of range.
    """
    files = frame_files(folder)
    times = timeline(folder, len(files), rate, needed=start is not None or stop is not None)
    cut = (times if origin is None else times.since(origin)).between(start, stop)
    if not cut:
        raise VideoError(os.fspath(folder), f"no frame in the cut; its {len(files)} frames last {times.duration:g} s")
    views = [[int(index) for index in sample(len(cut))] for sample in samples]
    for view in views:
        wrong = [index for index in view if not 0 <= index < len(cut)]
        if not view or wrong:
            raise ValueError(f"{folder}: the sampler returned {wrong or 'no index'}; possible are 0 to {len(cut) - 1}")
    scaler, pictures = _Pictures(short_side), {}
    for index in sorted({index for view in views for index in view}):
        pictures[index] = scaler(files[cut[index]])
    return [torch.from_numpy(np.stack([pictures[index] for index in view])) for view in views]


def iterate(
    folder: str | os.PathLike[str], short_side: int | None, rate: float | None
) -> Iterator[tuple[float, np.ndarray]]:
    """Every frame with its time in seconds; see `taggnn.data.video.reading.iterate_frames`.

    **Shapes:** uint8 (H, W, 3) each

    Raises:
        VideoError: as ``read_views``; or no rate is stated.
    """
    files = frame_files(folder)
    times, scaler = timeline(folder, len(files), rate, needed=True).times, _Pictures(short_side)
    for time, file in zip(times, files, strict=True):
        yield time, scaler(file)


class _Pictures:
    """Reads images as RGB of one short side, all of the size of the first."""

    def __init__(self, short_side: int | None):
        self.scale, self.size, self.first = Scaler(short_side), (0, 0), Path()

    def __call__(self, file: Path) -> np.ndarray:
        """**Shapes:** -> uint8 (H, W, 3)"""
        picture = read_image(file)
        size = (picture.shape[1], picture.shape[0])
        if self.size == (0, 0):
            self.size, self.first = size, file
        if size != self.size:
            was = f"{self.size[0]} x {self.size[1]} of {self.first.name}"
            raise VideoError(str(file.parent), f"{file.name} has {size[0]} x {size[1]} pixels, other than the {was}")
        return self.scale(import_av().VideoFrame.from_ndarray(picture, format="rgb24"))


def read_image(file: Path) -> np.ndarray:
    """One image, upright and in RGB; transparent parts are black.

    **Shapes:** -> uint8 (H, W, 3)

    Raises:
        VideoError: it is damaged, too large, or no image; names it.
    """
    from PIL import Image, ImageOps

    where = str(file.parent)
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise VideoError(where, f"{file.name} has {image.width} x {image.height} pixels: too large")
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except VideoError:
        raise
    except Image.UnidentifiedImageError:
        reason = "it is empty" if not file.stat().st_size else f"no {', '.join(_FORMATS)}"
        raise VideoError(where, f"{file.name} cannot be read: {reason}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(where, f"{file.name} cannot be read: {error}") from None


def image_size(file: Path) -> tuple[int, int]:
    """Width and height of an image as it is stored, from its header; a file that ends too early is found, too.

    Raises:
        VideoError: it is damaged, or no image; names it.
    """
    from PIL import Image

    try:
        with Image.open(file, formats=_FORMATS) as image:
            size, kind = image.size, image.format
        end = _ENDS.get(kind or "", b"")
        if end and end not in _tail(file):
            raise VideoError(str(file.parent), f"{file.name} cannot be read: it ends too early")
        return size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, VideoError):
            raise
        # In the words of the reader of whole images.
        read_image(file)
        raise VideoError(str(file.parent), f"{file.name} cannot be read: {error}") from None


def _tail(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - _TAIL))
        return opened.read()


def _check_one_sequence(where: str, found: dict[str, re.Match[str] | None]) -> None:
    kinds: dict[tuple[str, str], list[str]] = {}
    for name, match in found.items():
        kinds.setdefault((match[1], match[3]) if match else (name, ""), []).append(name)
    if len(kinds) > 1:
        shown = ", ".join(names[0] for names in list(kinds.values())[:_NAMED])
        raise VideoError(
            where, f"{len(kinds)} sequences of images in one folder, such as {shown}; put each into a folder of its own"
        )


def _check_gaps(where: str, numbers: Sequence[int], by_number: dict[int, str]) -> None:
    steps = [after - before for before, after in pairwise(numbers)]
    # Every second frame of a video, numbered as in it, is no gap.
    usual = Counter(steps).most_common(1)[0][0] if steps else 1
    gaps = [(before, step) for before, step in zip(numbers, steps, strict=False) if step != usual]
    if gaps:
        lost = sum(max(1, step // usual - 1) for _, step in gaps)
        shown = ", ".join(f"after {by_number[before]}" for before, _ in gaps[:_NAMED])
        more = f" and {len(gaps) - _NAMED} more gaps" if len(gaps) > _NAMED else ""
        raise VideoError(where, f"{lost} of {lost + len(numbers)} frames are missing in its numbers: {shown}{more}")

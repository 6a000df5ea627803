"""The section of a report with single clips: their pictures with maps, and links to the videos."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from torch import Tensor, cat

from taggnn.explanation.explained import Explained
from taggnn.explanation.thumbnails import FOLDER, KINDS, Thumbnail, read_index
from taggnn.reporting.importance_overlay import SCALE_NOTE, overlaid
from taggnn.reporting.tracklet_overlay import LIGHTENED, resized

# Pixels: the height of a frame, and its width at most.
HEIGHT, WIDEST = 160, 284


@dataclass(frozen=True)
class Shown:
    """A clip on the page.

    Args:
        clip: its facts.
        picture: content of the JPEG; empty: there is none.
        link: address of the video; empty: there is none.
    """

    clip: Thumbnail
    picture: bytes
    link: str


@dataclass(frozen=True)
class Section:
    """The clips by kind, and what their pictures show."""

    kinds: dict[str, list[Shown]]
    caption: str


def picture_of(clip: Explained, method: str) -> Image.Image | None:
    """The frame that counts most, as it is and with its map.

    Args:
        clip: with its map.
        method: of the map.
    """
    importance = clip.maps[method]
    first = clip.pictures[0] if clip.pictures is not None else importance.values[0]
    width = min(WIDEST, max(1, round(HEIGHT * first.shape[1] / first.shape[0]))) if first.ndim > 1 else HEIGHT
    drawn = overlaid(clip, importance, HEIGHT, width, LIGHTENED)
    if drawn is None:
        return None
    frame = int(importance.of_frames.argmax())
    frame = min(len(drawn) - 1, (2 * frame + 1) * len(drawn) // (2 * len(importance.values)))
    parts: list[Tensor] = [drawn[frame]]
    if clip.pictures is not None:
        parts.insert(0, resized(clip.pictures[frame], HEIGHT, width))
    return Image.fromarray(cat(parts, 1).numpy())


def section_of(folder: Path) -> Section | None:
    """The clips that a run has kept; None where there are none.

    Args:
        folder: of the run.

    Raises:
        ValueError: a list that a run has not written; names it.
        OSError: a picture cannot be read.
    """
    method, clips = read_index(folder / FOLDER)
    kinds: dict[str, list[Shown]] = {}
    for clip in clips:
        file = folder / FOLDER / clip.picture
        picture = file.read_bytes() if clip.picture and file.is_file() else b""
        kinds.setdefault(KINDS[clip.kind], []).append(Shown(clip, picture, quote(os.fsencode(clip.video))))
    how = method.replace("_", " ")
    caption = f"The frame that counts most for the predicted class, and the same with its map ({how}). {SCALE_NOTE}"
    return Section(kinds, caption) if clips else None

"""The section of a report about tracklets: figures in the page, and the same as PNG files next to the videos."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from taggnn.evaluation.tracklets import ENDING, FOLDER, Tracklets
from taggnn.reporting.theme import png, svg
from taggnn.reporting.tracklet_figure import caption, strip
from taggnn.runtime.atomic import write_bytes


@dataclass(frozen=True)
class Drawn:
    """A clip on the page.

    Args:
        tracklets: its tracklets.
        chart: the figure.
        picture: the PNG, relative to the page.
        video: the MP4, relative to the page; empty: there is none.
    """

    tracklets: Tracklets
    chart: Markup
    picture: str
    video: str


@dataclass(frozen=True)
class Section:
    """The clips, and what the figures show."""

    clips: list[Drawn]
    caption: str


def section_of(folder: Path) -> Section | None:
    """Draws the tracklets that a run has stored, and writes each as a PNG.

    Args:
        folder: of the run.

    Returns:
        None where there are none.

    Raises:
        ValueError: a file that is none of tracklets, or is damaged; names it.
        OSError: as `taggnn.runtime.atomic.replacing`.
    """
    drawn = []
    for file in files_of(folder):
        tracklets = Tracklets.read(file)
        picture, video = file.with_suffix(".png"), file.with_suffix(".mp4")
        write_bytes(picture, png(strip(tracklets)))
        kind = "wrong" if not tracklets.right else "right"
        chart = svg(strip(tracklets, titled=False), f"tracklets of {tracklets.name}, predicted {kind}")
        names = [f"{FOLDER}/{path.name}" if path.is_file() else "" for path in (picture, video)]
        drawn.append(Drawn(tracklets, chart, *names))
    return Section(drawn, caption([each.tracklets for each in drawn])) if drawn else None


def files_of(folder: Path) -> Iterable[Path]:
    """The files of tracklets of a run, in their order."""
    return sorted((folder / FOLDER).glob(f"*{ENDING}"))

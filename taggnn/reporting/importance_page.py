"""The page of explained clips: how far each method is better than random, then every clip with its maps and curves."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from taggnn.explanation import METHODS
from taggnn.explanation.chain import temporal_chain
from taggnn.explanation.curves import Figure, Verdict, verdict
from taggnn.explanation.explained import Explained
from taggnn.reporting.importance_figure import curves_figure, maps_figure
from taggnn.reporting.importance_overlay import SCALE_NOTE
from taggnn.reporting.page import count, percent, render
from taggnn.reporting.theme import svg


@dataclass(frozen=True)
class Links:
    """The files of a clip, relative to the page; empty: there is none.

    Args:
        picture: PNG of its maps.
        video: MP4 with the maps over it.
        tracklets: PNG of its tracklets.
        clip: the video itself.
    """

    picture: str = ""
    video: str = ""
    tracklets: str = ""
    clip: str = ""


@dataclass(frozen=True)
class Drawn:
    """A clip on the page."""

    clip: Explained
    maps: Markup
    curves: Markup
    rows: list[tuple[str, Verdict]]
    chains: list[tuple[str, str]]
    links: list[tuple[str, str]]


def verdicts(clips: Sequence[Explained]) -> dict[str, Verdict]:
    """Each method next to random orders, over the clips that have its curves."""
    methods = dict.fromkeys(method for clip in clips for method in clip.curves)
    return {method: verdict([clip.curves[method] for clip in clips if method in clip.curves]) for method in methods}


def importance_page(
    clips: Sequence[Explained], links: Sequence[Links], model: str, bad: Sequence[tuple[str, str]]
) -> str:
    """Builds the whole document.

    Args:
        clips: with their maps.
        links: of each clip.
        model: what explains itself: its file and its head.
        bad: (file, reason) of clips that could not be read.
    """
    unsuited = {method: reason for clip in clips for method, reason in clip.unsuited.items()}
    return render(
        "explain.html.j2",
        title=f"Explanation of {count(len(clips), 'clip')}",
        eyebrow="taggnn explanation",
        subtitle=model,
        summary=list(verdicts(clips).items()),
        methods=METHODS,
        clips=[_drawn(clip, files) for clip, files in zip(clips, links, strict=True)],
        unsuited=unsuited,
        bad=bad,
        scale=SCALE_NOTE,
        between=between,
    )


def between(figure: Figure) -> str:
    """The range of random orders: "0.41 to 0.47"."""
    return f"{figure.low:.3f}\u00a0to\u00a0{figure.high:.3f}"


def _drawn(clip: Explained, files: Links) -> Drawn:
    charts = (
        svg(maps_figure(clip, titled=False), f"maps of {clip.name}"),
        svg(curves_figure(clip), f"curves of {clip.name}"),
    )
    named = {"Picture": files.picture, "Video with maps": files.video, "Tracklets": files.tracklets, "Clip": files.clip}
    links = [(name, quote(os.fsencode(path))) for name, path in named.items() if path]
    chains = [(method, _chain(clip, method)) for method, found in clip.maps.items() if found.unit != "frame"]
    return Drawn(clip, *charts, list(verdicts([clip]).items()), chains, links)


def _chain(clip: Explained, method: str) -> str:
    """The most important position of each frame in words: "row 3, column 2 (12 %)"."""
    links = []
    for link in temporal_chain(clip.maps[method].values):
        if len(link.position) == 1 and link.position[0] < len(clip.positions):
            where = clip.positions[link.position[0]]
        elif len(link.position) == 2:
            where = f"row {link.position[0] + 1}, column {link.position[1] + 1}"
        else:
            where = f"position {', '.join(str(index + 1) for index in link.position)}"
        links.append(f"{where} ({percent(link.share)})")
    return " → ".join(links)

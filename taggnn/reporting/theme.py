"""How figures look: colours, fonts, and a matplotlib figure as SVG inside a page or as a PNG file.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), distinguishable with every common colour blindness: blue is
right, vermilion is wrong. Nothing here keeps matplotlib state, and equal input gives equal bytes.
"""

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any
from unicodedata import east_asian_width

import matplotlib
from markupsafe import Markup, escape
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# Pixels of a PNG per inch: twice the size at which a page shows it, so that it stays sharp on dense screens.
DPI = 200
# Pixels of a page per inch of a figure.
PAGE_DPI = 100
# The gid of an artist that shows the rest of it as a tooltip.
TIP = "tip:"
# Tried in this order after the default font; only those that are installed are used.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
)


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance; the page's style sheet uses the same, each as a CSS variable."""

    surface: str
    ink: str
    muted: str
    line: str
    right: str
    wrong: str
    third: str

    def css(self) -> str:
        """The colours as CSS variables."""
        return " ".join(f"--{name}: {colour};" for name, colour in asdict(self).items())


LIGHT = Theme("#ffffff", "#1c2128", "#5d6670", "#dfe3e8", "#0072b2", "#d55e00", "#009e73")
DARK = Theme("#171a1f", "#e8eaed", "#a3acb6", "#333a43", "#56b4e9", "#f08c3a", "#3ccfa2")


def svg(figure: Figure | None, alt: str) -> Markup:
    """A figure as SVG for use inside a page: the page's font, and its colours by CSS variables, light or dark.

    Args:
        figure: drawn in `LIGHT`; without one the result is empty.
        alt: what it shows, for readers who do not see it.
    """
    if figure is None:
        return Markup("")
    buffer = io.StringIO()
    # Several pictures would become one, of few pixels.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "taggnn", "image.composite_image": False}
    with _settings(settings), warnings.catch_warnings():
        # Of letters that no font on this machine has: the browser draws them with its own.
        warnings.filterwarnings("ignore", "Glyph")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.02, metadata=metadata)
    head, _, body = buffer.getvalue().partition("<svg")[2].partition(">")
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert view is not None
    wide = float(view[1]) * PAGE_DPI / 72
    # Nothing reaches beyond its axes, and a style of the drawing would hold for the whole page.
    body = re.sub(r"<style.*?</style>|<metadata.*?</metadata>|<clipPath.*?</clipPath>", "", body, flags=re.DOTALL)
    body = re.sub(r' clip-path="url\([^)]*\)"', "", body)
    # No "<" begins a tag inside the text of a name: matplotlib has escaped it.
    body = re.sub(f'<g id="{TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', body)
    body = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", body).replace("<g/>", "")
    body = re.sub(r"(?<=px); font-family: [^;\"]*", "", body)
    body = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+| ?\n", r"\1", path[0]), body)
    body = re.sub(r"data:image/png;base64,\s*([^\"]*)", _jpeg, body)
    body = re.sub(r"\n *", "\n", body)
    for name, colour in asdict(LIGHT).items():
        body = body.replace(f": {colour}", f": var(--{name})")
    return Markup(
        f'<div class="scroll" tabindex="0"><svg class="chart" viewBox="{view[0][9:-1]}" role="img" '
        f'aria-label="{escape(alt)}" style="max-width: {wide:.0f}px; min-width: {min(wide, 600):.0f}px">{body.strip()}</div>'
    )


def _jpeg(found: re.Match[str]) -> str:
    """A picture inside a drawing as JPEG: frames of videos take a tenth of their bytes as PNG."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, cut to what is drawn."""
    buffer = io.BytesIO()
    with _settings({"hatch.linewidth": 0.6}), warnings.catch_warnings():
        # Of letters that no font on this machine has: boxes are drawn.
        warnings.filterwarnings("ignore", "Glyph")
        # The software's version in the file would make equal pictures differ between machines.
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    return buffer.getvalue()


def size_on_page(png: bytes) -> tuple[int, int]:
    """Width and height in pixels at which a page shows a picture of ``png``: half of its own."""
    # Bytes 16-24 of every PNG are its width and height.
    wide, high = (int.from_bytes(png[at : at + 4], "big") * PAGE_DPI // DPI for at in (16, 20))
    return wide, high


@contextmanager
def _settings(settings: dict[Any, Any]) -> Iterator[None]:
    # Only for the time of drawing, so that a program that also uses matplotlib keeps its own fonts.
    with matplotlib.rc_context({"font.family": list(families()), **settings}):
        yield


def style(axes: Axes, theme: Theme) -> None:
    """Gives axes the colours of a theme, a grid, and a line at the bottom only."""
    axes.set_facecolor(theme.surface)
    axes.set_axisbelow(True)
    axes.grid(color=theme.line, lw=0.7)
    axes.tick_params(colors=theme.muted, labelsize=8.5, length=0)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=theme.muted)


def clean(text: str) -> str:
    """Replaces control characters and halves of surrogate pairs, which no page may hold, by U+FFFD."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(letter if letter >= " " or letter in "\n\t" else "\ufffd" for letter in text)


def shorten(name: str, width: int) -> str:
    """Cuts the middle out of a long name: class names of one family differ at the end as often as at the start."""
    name = " ".join(clean(name).split())
    if len(name) <= width:
        return name
    tail = width // 2
    first, last = name[: width - tail - 1], name[-tail:]
    # Whole words where that costs little, so that no letter stands alone next to the dots.
    if " " in first[-8:]:
        first = first[: first.rindex(" ")]
    if " " in last[:8]:
        last = last[last.index(" ") :]
    return f"{first.strip()} … {last.strip()}" if " " in name else f"{first}…{last}"


def fitted(name: str, columns: int) -> str:
    """As ``shorten``, for a width in letters of the Latin alphabet: Chinese, Japanese and Korean letters take two.

    Args:
        name: of any length.
        columns: the width.
    """
    letters = columns
    while letters > 1 and len(widened(shorten(name, letters))) > columns:
        letters -= 1
    return shorten(name, letters)


def widened(text: str) -> str:
    """A text with a null character after each letter that takes two columns."""
    return "".join(letter + "\0" * (east_asian_width(letter) in "WF") for letter in text)


@cache
def families() -> tuple[str, ...]:
    """Fonts to draw with: matplotlib's own, and those with Chinese, Japanese and Korean letters that are installed."""
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in CJK_FONTS if name in installed))


@cache
def _letters() -> frozenset[int]:
    found: set[int] = set()
    for family in families():
        font = font_manager.get_font(font_manager.findfont(family))
        found.update(font.get_charmap())
    return frozenset(found)


def drawable(name: str) -> bool:
    """Whether the installed fonts have every letter of a name."""
    return all(ord(letter) in _letters() for letter in " ".join(name.split()))

"""A report's HTML: pieces of a page that needs no script, no network and no second file, for light and dark screens."""

import base64
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from taggnn.reporting.pictures import DARK, LIGHT


def escape(value: object) -> str:
    """Makes any text safe inside HTML text and attributes; characters that no page may hold become U+FFFD."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    text = "".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in text)
    return html.escape(text, quote=True)


def percent(share: float | None, digits: int = 1) -> str:
    """0.9625 -> "96.3 %" (a narrow space that does not break); "–" where there is no figure."""
    if share is None or math.isnan(share):
        return "–"
    # Rounding must not turn "nearly all" into "all": 8519 of 8520 is not 100.0 %.
    shown = 100 * share
    edge = 10.0**-digits
    if share < 1:
        shown = min(shown, 100 - edge)
    if share > 0:
        shown = max(shown, edge)
    return f"{shown:.{digits}f}\u202f%"


def number(value: object) -> str:
    """Counts with separators, other numbers with four significant digits, the rest as text (not escaped)."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {number(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(number(item) for item in value)
    return str(value)


def points(share: float) -> str:
    """A difference of shares in points: 0.0123 -> "+1.2"."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def p_value(p: float) -> str:
    """0.0123 -> "p = 0.012"; "p < 0.0001" for what is smaller."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def duration(seconds: float | None) -> str:
    """75 -> "1 min 15 s"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def section(title: str, *body: str, lead: str = "") -> str:
    """A headed part of the page; empty when it has no body. ``lead`` and ``body`` are HTML."""
    content = "\n".join(part for part in body if part)
    if not content:
        return ""
    lead = f'<p class="lead">{lead}</p>\n' if lead else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{lead}{content}\n</section>"


def tile(figure: str, label: str, below: str = "") -> str:
    """One headline figure; plain text."""
    small = f"<small>{escape(below)}</small>" if below else ""
    return f'<div class="tile"><span>{escape(label)}</span><strong>{escape(figure)}</strong>{small}</div>'


def tiles(parts: Iterable[str]) -> str:
    """A row of tiles."""
    return f'<div class="tiles">{"".join(parts)}</div>'


def bar(share: float | None, kind: str = "right") -> str:
    """A table cell with a share as figure and as a bar, in the colour of what is "right" or "wrong"."""
    if share is None or math.isnan(share):
        return '<td class="n">–</td>'
    return f'<td class="n bar" style="--v:{100 * share:.1f}%;--c:var(--{kind})">{percent(share)}</td>'


def cell(value: object, kind: str = "") -> str:
    """A table cell of plain text; ``kind`` "n" for figures, "t" for long text, "q" for muted."""
    return f"<td{_class(kind)}>{escape(value)}</td>"


def table(header: Sequence[tuple[str, str]], rows: Sequence[tuple[str, Sequence[str]]], tall: bool = False) -> str:
    """A table.

    Args:
        header: (title, kind) of each column.
        rows: (row class, cells as HTML) of each row.
        tall: give the table its own scroll bar on screen.
    """
    titles = "".join(f'<th scope="col"{_class(kind)}>{escape(title)}</th>' for title, kind in header)
    lines = "\n".join(f"<tr{_class(mark)}>{''.join(cells)}</tr>" for mark, cells in rows)
    head, content = f"<thead><tr>{titles}</tr></thead>", f"<tbody>\n{lines}\n</tbody>"
    box = "scroll tall" if tall else "scroll"
    return f'<div class="{box}" tabindex="0"><table>{head}\n{content}</table></div>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values side by side."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(number(value))}</dd></div>" for name, value in pairs)
    return f"<dl>{rows}</dl>" if rows else ""


def details(summary: str, body: str, opened: bool = False) -> str:
    """A part that folds away; ``body`` is HTML."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>\n{body}\n</details>"


def code(text: str) -> str:
    """Text with its line ends, in a fixed-width face."""
    return f"<pre><code>{escape(text)}</code></pre>"


def picture(light: bytes, dark: bytes, alt: str, caption: str = "") -> str:
    """A PNG in two themes, inside the page; ``caption`` is HTML."""
    # Drawn at twice its size on the page. Width and height stand at bytes 16-24 of every PNG.
    width, height = (int.from_bytes(light[at : at + 4], "big") // 2 for at in (16, 20))
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{_data(dark)}">'
    image = f'<img src="{_data(light)}" width="{width}" height="{height}" alt="{escape(alt)}">'
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><picture>{source}{image}</picture>{note}</figure>"


def page(title: str, eyebrow: str, subtitle: str, body: Iterable[str]) -> str:
    """The whole document; ``body`` is HTML, the rest plain text."""
    below = f'<p class="sub">{escape(subtitle)}</p>' if subtitle else ""
    content = "\n".join(part for part in body if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} · {escape(eyebrow)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>{below}</header>\n{content}\n'
        f"</main>\n</body>\n</html>\n"
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _style() -> str:
    light, dark = ("".join(f"--{name}:{value};" for name, value in asdict(theme).items()) for theme in (LIGHT, DARK))
    return STYLE.replace("/*light*/", light).replace("/*dark*/", dark)


STYLE = """
:root { color-scheme: light dark; /*light*/ --page: #f5f6f8; }
@media (prefers-color-scheme: dark) { :root { /*dark*/ --page: #0f1114; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 48px 24px 80px; }
header { margin-bottom: 28px; }
.eyebrow { margin: 0; color: var(--muted); font-size: 13px; letter-spacing: .08em; text-transform: uppercase; }
h1 { margin: 4px 0 0; font-size: 34px; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
.sub { margin: 8px 0 0; color: var(--muted); font-size: 17px; max-width: 54em; text-wrap: balance; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 24px 28px 26px;
  margin: 20px 0; }
h2 { margin: 0 0 14px; font-size: 19px; line-height: 1.3; letter-spacing: -.005em; }
h3 { margin: 26px 0 10px; font-size: 15px; }
p { margin: 0 0 12px; max-width: 56em; text-wrap: pretty; }
.lead { margin-top: -8px; color: var(--muted); font-size: 15px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 24px 22px; }
.tile { border-top: 3px solid var(--line); padding-top: 10px; }
.tile:first-child { border-color: var(--right); }
.tile span { display: block; color: var(--muted); font-size: 14px; }
.tile strong { display: block; font-size: 30px; line-height: 1.25; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tile small { display: block; color: var(--muted); font-size: 13.5px; line-height: 1.45; }
.tiles + *, .note + .tiles { margin-top: 20px; }
.note { border-left: 3px solid var(--wrong); padding: 2px 0 2px 14px; margin: 16px 0 0; }
.scroll { overflow-x: auto; }
.tall { max-height: 36rem; overflow-y: auto; border-bottom: 1px solid var(--line); }
table { width: 100%; border-collapse: collapse; font-size: 14.5px; line-height: 1.4; }
th { position: sticky; top: 0; background: var(--surface); box-shadow: inset 0 -1px var(--line); color: var(--muted);
  font-weight: 500;
  font-size: 13px; text-align: left; vertical-align: bottom; padding: 6px 14px 6px 0; white-space: nowrap;
  z-index: 1; }
td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.bar, td.bar { min-width: 152px; }
td.bar { background: linear-gradient(var(--c), var(--c)) no-repeat 0 14px / calc(var(--v) * .48) 7px,
  linear-gradient(var(--line), var(--line)) no-repeat 0 14px / 48% 7px;
  padding-left: 4px; }
.q, .absent td { color: var(--muted); }
.t { min-width: 13em; overflow-wrap: anywhere; }
.chosen td { font-weight: 650; }
.chosen td:first-child { box-shadow: inset 3px 0 var(--right); padding-left: 11px; }
figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 10px; color: var(--muted); font-size: 14px; max-width: 60em; text-wrap: pretty; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; vertical-align: -.04em;
  margin-right: .15em; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 0 28px; margin: 0;
  font-size: 14.5px; }
dl div { display: flex; gap: 14px; padding: 6px 0; border-bottom: 1px solid var(--line); }
dt { color: var(--muted); flex: 0 0 8.5em; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
details { margin-top: 16px; }
h2 + details, .lead + details { margin-top: 0; }
.n + .t { padding-left: 18px; }
dl + details, pre + dl, .tiles + details, figure + details { margin-top: 18px !important; }
summary { cursor: pointer; font-size: 15px; padding: 4px 0; }
details[open] > summary { margin-bottom: 8px; }
pre { margin: 0 0 14px; padding: 14px 16px; background: var(--page); border: 1px solid var(--line);
  border-radius: 8px; overflow-x: auto;
  font: 13px/1.5 ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--right); outline-offset: 2px;
  border-radius: 4px; }
@media (max-width: 560px) { main { padding: 28px 12px 48px; } section { padding: 18px 16px; }
  h1, .tile strong { font-size: 28px; } }
@media print { body, section { background: none; } section { border: 0; padding: 0; break-inside: avoid-page; }
  .tall { max-height: none; } main { max-width: none; padding: 0; } }
"""

"""The table of a sweep as text for the terminal, as CSV, and as LaTeX with the rules of booktabs."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace

from taggnn.evaluation.metrics import METRICS
from taggnn.evaluation.sweep_table import SweepTable
from taggnn.evaluation.variants import Variant
from taggnn.reporting.text_table import text_table
from taggnn.runtime import spreadsheet

# What stands for a figure that is not known, and after an interval that is over the clips only.
UNKNOWN, CLIPS_ONLY = "-", " *"
_CSV = (
    *("variant", "seeds", "clips", "validation", "top1_mean", "top1_std", "top1_lowest", "top1_highest"),
    *("top1_low", "top1_high", "confused_top1"),
    *("groups", "reference", "paired_seeds", "difference", "low", "high", "interval_over"),
    *("parameters", "macs", "ms", "head_parameters", "head_macs", "head_ms"),
)
_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}


def columns(table: SweepTable) -> list[str]:
    """The headings of the table for people."""
    of = "head " if table.one_backbone else ""
    return [
        "variant",
        "seeds",
        *([table.monitor] if table.validation else []),
        "top-1 %",
        "spread",
        "95 %",
        f"minus {table.reference}",
        "95 % interval",
        *(f"{of}{name}" for name in ("parameters", "MACs", "ms")),
    ]


def cells(table: SweepTable, row: Variant) -> list[str]:
    """The cells of a variant, figures as text; accuracies and differences in per cent and points."""
    top1, apart = row.accuracy, row.difference
    interval = f"{100 * apart.low:+.2f} to {100 * apart.high:+.2f}" if apart else ""
    return [
        row.name,
        str(top1.seeds),
        *([validation_cell(table, row.name)] if table.validation else []),
        f"{100 * top1.mean:.2f}",
        f"{100 * top1.std:.2f}" if top1.seeds > 1 else UNKNOWN,
        f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}" if row.interval else UNKNOWN,
        f"{100 * apart.value:+.2f}" if apart else "",
        interval + (CLIPS_ONLY if apart and not row.over_seeds else ""),
        *cost_cells(table, row.name),
    ]


def validation_cell(table: SweepTable, name: str) -> str:
    """The mean of the figure that chose the epochs: a share in per cent, a loss as it is."""
    value, metric = table.validation.get(name), METRICS.get(table.monitor.removeprefix("val/"))
    if value is None:
        return UNKNOWN
    return f"{100 * value:.2f}" if metric is not None and metric.share else f"{value:.4f}"


def cost_cells(table: SweepTable, name: str) -> list[str]:
    """Parameters, multiply-adds and milliseconds: of the head alone where all variants have the same backbone."""
    cost = table.costs.get(name)
    if cost is None:
        return [UNKNOWN] * 3
    if table.one_backbone:
        counts, ms = (cost.head_parameters, cost.head_macs), cost.head_ms
    else:
        counts, ms = (cost.parameters, cost.macs), cost.ms
    return [*(_short(count) for count in counts), UNKNOWN if ms is None else f"{ms:.3g}"]


def footnotes(table: SweepTable) -> list[str]:
    """What the figures and signs of the table mean; `SweepTable.notes` has what a reader must know besides."""
    rows = table.found.rows if table.found else []
    clips = sorted({row.clips for row in rows})
    shown = []
    if rows:
        shown.append(
            f"Top-1 on {' or '.join(f'{count:,}' for count in clips)} test clips: mean and standard deviation over the seeds; "
            f"95 % interval of the mean, and difference to {table.reference} in points with a paired 95 % interval, over "
            f"{_over(rows)}."
        )
    if table.folds:
        shown.append(
            f"Each clip is a test clip in one of {table.folds} folds; a seed is the trainings of all folds with that seed."
        )
    if table.validation:
        shown.append(
            f"{table.monitor}: of the best epoch, mean over the runs. Choose a variant by it, not by its test clips."
        )
    if any(row.difference and not row.over_seeds for row in rows):
        shown.append(f"* One seed: the interval is over the {'groups' if rows[0].groups else 'clips'} only.")
    shown.append(
        f"ms: one clip on {table.measured_on}, measured after the trainings, in turn."
        if table.measured_on
        else "ms: not measured."
    )
    return shown


def _over(rows: Sequence[Variant]) -> str:
    groups = sorted({row.groups for row in rows})
    return "clips and seeds" if groups == [0] else f"{' or '.join(map(str, groups))} groups of clips and seeds"


def text(table: SweepTable, width: int | None = None) -> str:
    """The table for a terminal of so many columns, None (default) for any number, with its notes."""
    rows = table.found.rows if table.found else []
    if not rows:
        return "\n".join(
            [f"no finished run of {table.reference!r}, which the others are compared with", *table.notes()]
        )
    lines = text_table([columns(table), *(cells(table, row) for row in rows)], width, right=True, rule=True)
    return "\n".join([*lines, "", *footnotes(table), *table.notes()])


def as_csv(table: SweepTable) -> str:
    """All figures with full precision, a row for each variant; its values are columns of their own."""
    headline = [key for key, metric in METRICS.items() if metric.headline and key != "top1"]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CSV[:1], *table.keys, *_CSV[1:11], *(f"{key}_mean" for key in headline), *_CSV[11:]])
    for row in table.found.rows if table.found else []:
        top1, apart, cost = row.accuracy, row.difference, table.costs.get(row.name)
        own = table.values[row.name]
        figures: list[object] = [row.name, *(own.get(key, "") for key in table.keys)]
        figures += [" ".join(map(str, row.seeds)), row.clips, _full(table.validation.get(row.name)), _full(top1.mean)]
        # Of one seed no spread is known, and it is not 0.
        figures += [
            _full(top1.std) if top1.seeds > 1 else "",
            _full(top1.lowest),
            _full(top1.highest),
            *(_full(end) for end in row.interval or (None, None)),
            _full(row.confused),
        ]
        figures += [_full(row.figures.get(key)) for key in headline]
        figures += [row.groups or "", row.reference or "", " ".join(map(str, row.paired))]
        figures += [_full(getattr(apart, key, None)) for key in ("value", "low", "high")]
        drawn = "groups" if row.groups else "clips"
        figures.append("" if apart is None else f"{drawn} and seeds" if row.over_seeds else drawn)
        for part in ("parameters", "macs", "ms", "head_parameters", "head_macs", "head_ms"):
            value = getattr(cost, part, None)
            figures.append(_full(value) if isinstance(value, float) else "" if value is None else value)
        writer.writerow([spreadsheet.as_text(figure) for figure in figures])
    return out.getvalue()


def latex(table: SweepTable) -> str:
    """A table for a paper; needs the package booktabs."""
    of = " of the head" if table.one_backbone else ""
    lines = [
        "% \\usepackage{booktabs}",
        *(f"% {_line(note)}" for note in [*footnotes(table), *table.notes()]),
        "\\begin{tabular}{lrrrrrrr}",
        "\\toprule",
        f" & seeds & top-1 (\\%) & difference & 95\\,\\% interval & parameters{of} & MACs{of} & ms \\\\",
        "\\midrule",
    ]
    for row in table.found.rows if table.found else []:
        name, seeds, *rest = cells(replace(table, validation={}), row)
        mean, spread, _, apart, interval, *cost = rest
        accuracy = f"${mean}$" if spread == UNKNOWN else f"${mean} \\pm {spread}$"
        star = "^{*}" if interval.endswith(CLIPS_ONLY) else ""
        ends = interval.removesuffix(CLIPS_ONLY).split(" to ")
        between = f"$[{', '.join(ends)}]{star}$" if apart else "--"
        costs = [_escaped(cell) if cell != UNKNOWN else "--" for cell in cost]
        lines.append(
            " & ".join([_escaped(name), seeds, accuracy, f"${apart}$" if apart else "--", between, *costs]) + " \\\\"
        )
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _short(count: int | None) -> str:
    """1234567 -> "1.23 M"."""
    if count is None:
        return UNKNOWN
    for size, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:.0f}{unit}"
    return str(count)


def _full(value: float | None) -> str:
    return "" if value is None else repr(round(value, 9))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in _line(text))

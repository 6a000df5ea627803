"""The page of a sweep: the accuracies of its variants and their differences to the reference, as a figure and as a table."""

from typing import Any

from taggnn.evaluation.sweep_table import SweepTable
from taggnn.evaluation.variants import Variant
from taggnn.reporting.page import count, number, percent, points, render
from taggnn.reporting.sweep_figure import MOST, sweep_figure
from taggnn.reporting.sweep_table import UNKNOWN, cost_cells, footnotes, validation_cell
from taggnn.reporting.theme import svg


def sweep_page(table: SweepTable) -> str:
    """Builds the whole document; from the same table the same bytes."""
    rows = table.found.rows if table.found else []
    return render(
        "sweep.html.j2",
        title=table.title,
        eyebrow="taggnn sweep",
        subtitle=f"{count(len(table.planned), 'variant')}, {number(table.finished)} of {count(table.runs, 'run')} finished.",
        rows=[_row(table, row) for row in rows],
        table=table,
        of="Head " if table.one_backbone else "",
        figure=svg(
            sweep_figure(rows, table.reference), "accuracy of every variant and its difference to the reference"
        ),
        most=MOST if len(rows) > MOST else None,
        pivot=_pivot(table),
        foot=footnotes(table),
        notes=table.notes(),
        confused=table.found.confused_classes if table.found else 0,
    )


def _row(table: SweepTable, row: Variant) -> dict[str, Any]:
    apart, cost = row.difference, table.costs.get(row.name)
    ends = f"{points(apart.low)} to {points(apart.high)}" if apart else ""
    counts = (cost.head_parameters, cost.head_macs, cost.head_ms) if cost else (None,) * 3
    if cost and not table.one_backbone:
        counts = (cost.parameters, cost.macs, cost.ms)
    shown = ["–" if cell == UNKNOWN else cell for cell in cost_cells(table, row.name)]
    return {
        "name": row.name,
        "reference": row.name == table.reference,
        "seeds": row.accuracy.seeds,
        "validation": validation_cell(table, row.name).replace(UNKNOWN, "–"),
        "mean": percent(row.accuracy.mean),
        "spread": f"{100 * row.accuracy.std:.1f}" if row.accuracy.seeds > 1 else "",
        "between": f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}" if row.interval else "",
        "mca": percent(row.figures.get("mca")),
        "confused": percent(row.confused),
        "difference": points(apart.value) if apart else "",
        "interval": ends if row.over_seeds or not apart else f"{ends} *",
        "costs": [(text, "" if value is None else value) for text, value in zip(shown, counts, strict=True)],
    }


def _pivot(table: SweepTable) -> dict[str, Any] | None:
    """Mean accuracies as a table of two keys, where exactly two vary; a key of one value varies nothing."""
    rows = {row.name: row for row in table.found.rows} if table.found else {}
    columns = {key: list(dict.fromkeys(of[key] for of in table.values.values())) for key in table.keys}
    varied = [key for key in table.keys if len(columns[key]) > 1]
    if len(varied) != 2:
        return None
    down, across = varied
    cells = {(of[down], of[across]): rows.get(name) for name, of in table.values.items()}
    if len(cells) != len(table.values) or len(cells) != len(columns[down]) * len(columns[across]):
        # Keys that change together have no table of their own.
        return None
    return {
        "down": down,
        "across": across,
        "columns": columns[across],
        "rows": [
            (value, [percent(row.accuracy.mean) if (row := cells[value, other]) else "–" for other in columns[across]])
            for value in columns[down]
        ],
    }

"""The files that hold the table of a sweep: CSV, LaTeX and a page."""

from pathlib import Path

from taggnn.evaluation.sweep_table import SweepTable
from taggnn.reporting import sweep_table
from taggnn.reporting.sweep_page import sweep_page
from taggnn.runtime.atomic import write_text

FORMS = {"sweep.csv": sweep_table.as_csv, "sweep.tex": sweep_table.latex, "sweep.html": sweep_page}


def write_table(folder: Path, table: SweepTable) -> list[Path]:
    """Writes a table in all its forms, and returns their paths."""
    return [write_text(folder / name, form(table)) for name, form in FORMS.items()]

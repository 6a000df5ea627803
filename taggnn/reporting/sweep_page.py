"""The page of a sweep."""

from taggnn.evaluation.sweep_table import SweepTable
from taggnn.reporting.sweep_table import text


def sweep_page(table: SweepTable) -> str:
    return text(table)

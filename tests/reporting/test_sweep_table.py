"""The table of a sweep in its forms: the same figures in each, nothing that a reader's program takes for something else."""

import csv
import io
import re
from dataclasses import replace

import pytest

from taggnn.evaluation.sweep_table import Cost, SweepTable
from taggnn.evaluation.variants import variants_of
from taggnn.reporting import sweep_table
from taggnn.reporting.sweep_page import sweep_page
from tests.cli.sweeps import answers


def made(
    seeds, names=("conv=gcn,size=1", "conv=gcn,size=2", "conv=a_b&<i>,size=1", "conv=a_b&<i>,size=2"), planned=None
):
    runs = {name: {seed: answers(0.5 + 0.1 * n, 7 * n + seed) for seed in range(seeds)} for n, name in enumerate(names)}
    values = {name: dict(part.split("=", 1) for part in name.split(",")) for name in names}
    return SweepTable(
        title="conv, size",
        keys=["conv", "size"],
        values=values,
        found=variants_of(runs, names[0], values),
        reference=names[0],
        costs={names[0]: Cost(1_234_567, 999, 2_000_000_000, None, 12.0, 0.5)},
        one_backbone=False,
        planned={name: list(range(planned or seeds)) for name in names},
        left_out=[],
    )


def test_csv_has_every_figure():
    table = made(3)
    rows = list(csv.DictReader(io.StringIO(sweep_table.as_csv(table))))
    assert [row["variant"] for row in rows] == list(table.planned)
    for row, of in zip(rows, table.found.rows, strict=True):
        assert (row["conv"], row["size"]) == tuple(table.values[of.name].values())
        assert float(row["top1_mean"]) == pytest.approx(of.accuracy.mean)
        assert float(row["top1_std"]) == pytest.approx(of.accuracy.std)
        if of.difference:
            assert [float(row[key]) for key in ("difference", "low", "high")] == pytest.approx(
                [of.difference.value, of.difference.low, of.difference.high], abs=1e-8
            )
            assert row["interval_over"] == "clips and seeds"
    assert (rows[0]["parameters"], rows[0]["head_macs"], rows[1]["parameters"]) == ("1234567", "", "")


def test_one_seed_is_marked_everywhere():
    one, three = made(1), made(3)
    assert list(csv.DictReader(io.StringIO(sweep_table.as_csv(one))))[1]["interval_over"] == "clips"
    assert list(csv.DictReader(io.StringIO(sweep_table.as_csv(one))))[1]["top1_std"] == ""
    for form in (sweep_table.text, sweep_table.latex, sweep_page):
        assert "interval over seeds is not known" in re.sub(r"\s+", " ", form(one))
        assert "interval over seeds is not known" not in form(three)
    assert sweep_table.text(one).count(" *\n") + sweep_table.text(one).count(" *  ") == 3


def test_what_is_not_finished_is_counted():
    assert "4 of 8 runs are finished" in sweep_table.text(made(1, planned=2))
    nothing = replace(made(1), found=None)
    for form in (sweep_table.text, sweep_page):
        assert "0 of 4" in form(nothing)
    assert sweep_table.as_csv(nothing).count("\n") == 1


def test_latex_has_a_line_for_each_variant_and_no_special_letters():
    text = sweep_table.latex(made(2))
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert len(body) == 4
    assert all(len(re.split(r"(?<!\\)&", line)) == 8 and line.endswith(" \\\\") for line in body)
    assert body[2].startswith("conv=a\\_b\\&<i>,size=1 & 2 & $")


def test_the_page_shows_names_as_text_and_is_the_same_each_time():
    page = sweep_page(made(2))
    assert page == sweep_page(made(2))
    assert "<i>" not in page
    assert "a_b&amp;&lt;i&gt;" in page
    # Two keys vary: their means are a table of their own.
    assert "Mean top-1 by conv and size" in page


def test_the_figures_are_of_heads_where_backbones_are_the_same():
    table = made(2)
    assert sweep_table.cost_cells(table, table.reference) == ["1.23 M", "2 G", "12"]
    assert sweep_table.cost_cells(replace(table, one_backbone=True), table.reference) == ["999", "-", "0.5"]
    assert sweep_table.cost_cells(table, "conv=gcn,size=2") == ["-", "-", "-"]

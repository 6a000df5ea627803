"""Pictures: every line is drawn, and nothing is drawn of nothing."""

import pytest
from matplotlib import pyplot as plt

from benchmarks import plots

ROWS = [
    {"conv": conv, "pass": which, "impl": impl, "nodes": nodes, "median_ms": float(nodes), "grid": grid, "size": size}
    for conv in ("gat", "gcn")
    for which in ("forward", "forward+backward")
    for impl in ("pyg", "structured", "structured+compile", "projection")
    for nodes, grid, size in ((12, "G1", "B1"), (24, "B2", "B2"))
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, still open."""
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    yield figures
    monkeypatch.undo()
    plt.close("all")


def test_latency_draws_a_panel_for_each_convolution_and_pass(tmp_path, drawn):
    path = plots.latency(ROWS, tmp_path / "a.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    panels = drawn[0].axes
    assert [panel.get_title("left") for panel in panels] == [
        "gat, forward", "gcn, forward", "gat, forward+backward", "gcn, forward+backward",
    ]  # fmt: skip
    for panel in panels:
        assert [line.get_label() for line in panel.lines] == ["pyg", "structured", "structured+compile", "projection"]


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert plots.latency([], tmp_path / "a.png") is None
    assert plots.scaling([], [], tmp_path / "a.png") is None
    assert list(tmp_path.iterdir()) == []

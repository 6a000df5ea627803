"""Accuracy within groups of classes on the screen and on the page of a run."""

import torch

from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.results import Results
from taggnn.reporting.console import figure_lines
from taggnn.reporting.run_page import write_report


def test_every_kind_of_group_has_a_line_and_a_table(tmp_path):
    probabilities = torch.rand(12, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    names = [str(k) for k in range(12)]
    predictions = Predictions(names, names, torch.arange(12) % 3, probabilities, ["a", "b", "c", "d"])
    groups = {"event": ["VT", "VT", "FX", "BB"], "set": ["vault", "vault", "FX_turns", "BB_turns"]}
    results = Results.from_predictions("val", predictions, class_groups=groups, resamples=20)
    lines = figure_lines(results.to_json(), "val")
    shown = {line.split()[0]: line for line in lines if line.strip()}
    assert f"{100 * results.within['val'][0]['within']:.2f} %" in shown["event"]
    assert "set" in shown
    results.write(tmp_path)
    page = write_report(tmp_path).read_text()
    for text in ("Within groups of classes", "Event", "FX_turns"):
        assert text in page
    # A group without a clip has no row.
    assert "BB_turns" not in page

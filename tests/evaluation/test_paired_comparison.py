"""taggnn.evaluation.paired_comparison: the row of a head says what it has over another one, not the other way round."""

import pytest
import torch

from taggnn.evaluation.paired_comparison import paired_comparison
from taggnn.evaluation.predictions import Predictions, write_predictions


def test_the_better_head_gains(tmp_path):
    labels = torch.arange(40) % 2
    # The chosen head has all right, the other one three of four.
    for name, wrong in (("tag", 0), ("pool", 10)):
        said = torch.where(torch.arange(40) < wrong, 1 - labels, labels)
        shares = torch.nn.functional.one_hot(said, 2).float()
        names = [f"clip {number}" for number in range(40)]
        write_predictions(tmp_path / name / "predictions.csv", Predictions(names, names, labels, shares, ["a", "b"]))
    (row,) = paired_comparison({name: tmp_path / name for name in ("tag", "pool")})
    assert (row["name"], row["against"], row["clips"]) == ("tag", "pool", 40)
    assert (row["only_name"], row["only_against"]) == (10, 0)
    assert 0 < row["top1"]["low"] < row["top1"]["value"] < row["top1"]["high"]
    assert row["top1"]["value"] == pytest.approx(0.25)
    assert row["verdict"] == "tag has 10 more clips right than pool; chance alone would hardly do that."

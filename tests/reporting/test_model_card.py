"""The model card: figures of the run's files and nothing else, what is not known, and names that are no markup."""

import csv
import re
from dataclasses import replace

import pytest
import torch

from taggnn import model
from taggnn.data.video.source import VideoSource
from taggnn.evaluation.predictions import Predictions, write_predictions
from taggnn.evaluation.results import Results
from taggnn.io.calibrated import Calibration
from taggnn.io.exporters import Written
from taggnn.io.loaded import Loaded
from taggnn.papers import PAPERS
from taggnn.reporting.model_card import model_card

CLASSES = ("walk | run", "<b>jump</b>", "a `turn`\n# not a heading", "sit")
WRITTEN = {"safetensors": Written("model.safetensors", 2**21, 3e-7, 6, 6, 12.5)}


@pytest.fixture(scope="module")
def recogniser():
    torch.manual_seed(0)
    architecture = {
        "backbone": {"name": "small", "width": 4},
        "head": {"name": "tag", "encoder_layers": 0, "conv": "gcn"},
        "input": VideoSource(frames=2, size=[16, 16]).spec.plain(),
        "classes": list(CLASSES),
    }
    return model.build(architecture).eval(), architecture


@pytest.fixture
def loaded(recogniser, tmp_path):
    built, architecture = recogniser
    (tmp_path / "run").mkdir()
    source = str(tmp_path / "run/best.ckpt")
    return Loaded(built, CLASSES, {"seed": 0}, source, 3, (500, 12, 40, 5), architecture)


@pytest.fixture
def measured(loaded, tmp_path):
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    scores = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 1, 0, 2]), 4).float()
    names = [str(clip) for clip in range(6)]
    predictions = Predictions(names, names, labels, scores, CLASSES)
    write_predictions(tmp_path / "run/predictions.csv", predictions)
    found = Results.from_predictions("test", predictions, missing=2, listed_counts=[2, 3, 1, 2], resamples=20)
    gain = {"value": 0.125, "low": -0.0125, "high": 0.25}
    pair = {"name": "tag", "against": "pool", "clips": 6, "top1": gain, "only_name": 2, "only_against": 1, "p": 0.25}
    environment = {"command": ["python", "-m", "taggnn.train"], "date": "2026-01-31", "seed": 42}
    stated = {
        "title": "demo: tag",
        "best_epoch": 3,
        "paired": [pair],
        "environment": environment,
        "notes": ["a | note"],
    }
    found = replace(found, **stated)
    found.write(tmp_path / "run")
    return found


def section(card, title):
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_figures_are_those_of_the_run(loaded, measured):
    card = model_card(loaded, WRITTEN)
    part = section(card, "What it was measured on")
    assert "6 of 8 listed clips of the split test, 3 of 4 classes" in part
    assert "| Top-1 | 66.7 % |" in part
    assert "Compared with pool on the same clips: top-1 +12.5 points (\u22121.2 to +25.0; McNemar, p = 0.25)." in part
    assert r"| walk \| run | \<b\>jump\</b\> | 2 of 5 |" in part
    trained = section(card, "What it was trained on")
    for given in ("| training clips | 557 |", "| clips of a class | 5 to 500, median 26 |", "| date | 2026-01-31 |"):
        assert given in trained
    assert "```bash\npython -m taggnn.train\n```" in trained
    assert 'taggnn.load("model.safetensors")' in section(card, "How to load it")
    assert "| `model.safetensors` | safetensors | 2.0 | 3e-07 | 6 of 6 |" in section(card, "Files")
    assert next(iter(PAPERS.values())) in section(card, "Papers to cite")
    assert "compared with none" not in card


def test_limits_follow_from_the_files(loaded, measured):
    limits = section(model_card(loaded, WRITTEN), "Limits")
    assert r"2 classes have fewer than 20 training clips: \<b\>jump\</b\>, sit" in limits
    assert "Not one clip was measured of 1 class: sit" in limits
    assert "not calibrated" in limits
    assert r"- a \| note" in limits
    calibrated = replace(loaded, calibration=Calibration(1.5, 9, 1.0, 0.9, 0.2, 0.1, risk=0.05, threshold=0.75))
    limits = section(model_card(calibrated, WRITTEN), "Limits")
    assert "Below the probability 0.750" in limits
    assert "not calibrated" not in limits


def test_without_the_files_of_the_run_nothing_is_claimed(loaded):
    card = model_card(replace(loaded, training_counts=None), WRITTEN)
    assert "## What it was measured on" not in card
    assert "there are no figures" in section(card, "What is not known")
    assert "How many clips of each class" in section(card, "What is not known")
    assert "%" not in section(card, "What it is")


def test_figures_of_other_weights_are_left_out(loaded, measured):
    card = model_card(replace(loaded, epoch=7), WRITTEN)
    assert "## What it was measured on" not in card
    assert "those of epoch 3, and these weights are of epoch 7" in section(card, "What is not known")


def test_a_model_that_was_compared_with_nothing_says_so(loaded, measured, tmp_path):
    replace(measured, paired=None).write(tmp_path / "run")
    assert "compared with none" in section(model_card(loaded, WRITTEN), "What is not known")


def test_names_are_text_and_every_row_has_the_columns_of_its_table(loaded, measured):
    card = model_card(loaded, WRITTEN)
    headings = re.findall(r"^#+ (.*)", card, re.MULTILINE)
    assert "not a heading" not in headings
    assert "2. a \\`turn\\` \\# not a heading" in card
    assert "<b>" not in card
    for table in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        rows = csv.reader(re.sub(r"\\\|", "/", table).splitlines(), delimiter="|")
        assert len({len(row) for row in rows}) == 1


def test_a_damaged_file_of_the_run_is_named(loaded, tmp_path):
    (tmp_path / "run/results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json"):
        model_card(loaded, WRITTEN)

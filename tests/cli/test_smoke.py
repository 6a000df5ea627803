"""``--fast``: what a smoke run changes, and how it is marked."""

import pytest

from taggnn.cli import config, smoke


@pytest.fixture(scope="module")
def fast():
    return config.parse(["--config", "demo", "--fast"])


def test_it_is_short_and_has_its_own_folders(fast):
    assert {key: fast[key] for key in smoke.MOST} == smoke.MOST
    assert (fast.fast, fast.recipe, fast.data.root) == (True, "demo-fast", "datasets/synthetic-fast")
    # The warm-up is shorter than the training.
    assert fast.optim.warmup_epochs < fast.train.epochs


def test_the_command_line_wins_and_small_values_stay():
    words = ["--config", "demo", "--fast", "--train.epochs", "5", "--data.root", "mine", "--tracklets", "0"]
    found = config.parse(words)
    assert (found.train.epochs, found.data.root, found.tracklets, found.data.batch_size) == (5, "mine", 0, 4)


def test_its_results_are_marked_and_others_are_not(fast):
    assert smoke.title(fast, "tag") == "Smoke run, not a result (tag)"
    assert smoke.title(config.parse(["--config", "demo"]), "tag") == "tag"


def test_a_run_folder_keeps_it(fast, tmp_path):
    (tmp_path / "config.yaml").write_text(config.dump(fast), encoding="utf-8")
    again = config.of_run(tmp_path)
    assert again.fast is True
    assert config.changes(again, config.parse(["--config", "demo", "--fast"])) == []
    assert config.changes(again, config.parse(["--config", "demo"]))

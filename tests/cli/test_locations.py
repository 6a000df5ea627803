"""Relative paths of a run start from the folder in which it began, and moved data can be named."""

import os

import pytest

from taggnn.cli import config, locations

WORDS = ["--config", "folder", "--backbone.name", "small", "--backbone.weights", "null"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder whose configuration was written in the folder ``began``."""
    began = tmp_path / "began"
    (began / "videos").mkdir(parents=True)
    (began / "train.csv").touch()
    monkeypatch.chdir(began)
    settings = config.parse(
        [*WORDS, "--data.root", "videos", "--data.train_list", "train.csv", "--data.val_list", "val.csv"]
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(config.dump(settings))
    return tmp_path / "run", began


def test_a_configuration_records_where_it_began(run):
    folder, began = run
    settings = config.of_run(folder)
    assert settings.working_dir == str(began)
    assert (settings.data.root, settings.data.train_list) == ("videos", "train.csv")


def test_elsewhere_its_paths_are_those_of_the_beginning(run, tmp_path, monkeypatch):
    folder, began = run
    (tmp_path / "else/videos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "else")
    for settings in (config.of_run(folder), config.parse(["--config", str(folder / "config.yaml")])):
        assert settings.data.root == str(began / "videos")
        assert settings.data.train_list == str(began / "train.csv")
        # A list that was in the root stays there.
        assert settings.data.val_list == "val.csv"
        assert settings.working_dir == str(tmp_path / "else")


def test_a_path_given_here_is_one_of_here(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = config.parse(["--config", str(run[0] / "config.yaml"), "--data.root", "run"])
    assert settings.data.root == "run"


def test_the_same_command_from_elsewhere_is_the_same_configuration(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--data.root", "began/videos", "--data.train_list", "began/train.csv", "--data.val_list", "val.csv"]
    now = config.parse([*WORDS, *words])
    assert config.changes(config.of_run(run[0]), now) == []
    now.data.root = "began"
    assert [change.split()[0] for change in config.changes(config.of_run(run[0]), now)] == ["data.root"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--resume", "a"], {"resume": "a"}),
        (["--resume=a=b"], {"resume": "a=b"}),
        (["--data.root=b c", "--resume", "a"], {"resume": "a", "data.root": "b c"}),
        (["--resume", "a", "--data.val_list", "v.csv"], {"resume": "a", "data.val_list": "v.csv"}),
    ],
)
def test_the_words_of_a_resumption(words, found):
    assert locations.moved(words) == found


@pytest.mark.parametrize(
    "words",
    [["--resume"], ["--resume", "a", "b"], ["--resume", "a", "--seed", "1"], ["--resume", "a", "--resume", "b"]],
)
def test_other_words_are_refused(words):
    with pytest.raises(ValueError, match=r"--data\.root"):
        locations.moved(words)


def test_a_folder_that_yaml_cannot_hold_is_not_recorded(tmp_path, monkeypatch):
    os.mkdir(tmp_path / "caf\udce9")
    monkeypatch.chdir(tmp_path / "caf\udce9")
    assert config.parse([*WORDS, "--data.root", "."]).working_dir is None

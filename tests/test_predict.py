import json

import pytest
import torch

import taggnn.evaluate
import taggnn.predict
from taggnn.evaluation.predictions import read_predictions


@pytest.fixture
def predict(trained, program):
    return lambda *words: program(taggnn.predict, *words, "--checkpoint", trained[0] / "best.ckpt")


def test_says_what_training_said(predict, trained, videos):
    known = read_predictions(trained[0] / "predictions.csv")
    ended = predict("--json", "--top", 8, *(videos / name for name in known.names))
    assert ended.code == 0, ended.err
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert [answer["file"] for answer in answers] == [str(videos / name) for name in known.names]
    for answer, expected in zip(answers, known.probabilities, strict=True):
        found = torch.zeros(8)
        for place in answer["top"]:
            assert known.classes[place["label"]] == place["class"]
            found[place["label"]] = place["probability"]
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_views_and_crops_are_those_of_evaluation(predict, trained, videos, program, tmp_path, average):
    words = ["--views", 3, "--crops", 2, "--average", average]
    fixed = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", 0, "--out", tmp_path]
    assert program(taggnn.evaluate, *fixed, *words, "--graph_effect", "false").code == 0
    known = read_predictions(tmp_path / "predictions.csv")
    ended = predict("--json", "--top", 8, *(videos / name for name in known.names), *words)
    assert ended.code == 0, ended.err
    for line, expected in zip(ended.out.splitlines(), known.probabilities, strict=True):
        found = torch.zeros(8)
        for place in json.loads(line)["top"]:
            found[place["label"]] = place["probability"]
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--views", 0), "views must be 1 or more, not 0"),
        (("--crops", 0), "crops must be 1 or more, not 0"),
        (("--average", "sum"), "average: unknown value 'sum'"),
    ],
)
def test_impossible_views(predict, videos, words, message):
    ended = predict(videos / "test", *words)
    assert ended.code == 2
    assert message in ended.err
    assert ended.out == ""


def test_text_shows_the_best_first(predict, videos):
    path = videos / "test" / "left" / "left_000.mp4"
    ended = predict(path, "--top", 3)
    first, *ranked = ended.out.splitlines()
    assert first == str(path)
    shares = [float(line.split()[0]) for line in ranked]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)


def test_more_than_all_classes(predict, videos):
    path = videos / "test" / "left" / "left_000.mp4"
    assert len(predict(path, "--top", 99).out.splitlines()) == 1 + 8


def test_folder_with_bad_files(predict, videos):
    ended = predict(videos / "test", "--json")
    assert ended.code == 1
    answers = [json.loads(line) for line in ended.out.splitlines()]
    bad = [answer["file"] for answer in answers if "error" in answer]
    assert len(answers) == 13
    assert [path.split("/")[-1] for path in bad] == [
        f"a_{kind}.mp4" for kind in ("audio", "empty", "no_frames", "text", "truncated")
    ]
    assert "5 of 13 files could not be read" in ended.err


def test_bad_files_alone(predict, videos):
    path = videos / "test" / "clockwise" / "a_text.mp4"
    ended = predict(path)
    assert ended.code == 1
    assert ended.out.splitlines()[0] == str(path)
    assert "could not be read: not a video" in ended.out


def test_what_is_missing_beside_good_files_stops_none_of_them(predict, videos, tmp_path):
    good, missing, empty = videos / "test" / "left" / "left_000.mp4", tmp_path / "away.mp4", tmp_path / "empty"
    empty.mkdir()
    ended = predict(missing, empty, good, "--json")
    answers = {answer["file"]: answer for answer in map(json.loads, ended.out.splitlines())}
    assert list(answers) == [str(missing), str(empty), str(good)]
    assert ["error" in answers[str(path)] for path in (missing, empty, good)] == [True, True, False]
    assert ended.code == 1


@pytest.mark.parametrize("number", ["0", "-2"])
def test_top_out_of_range(number, predict, videos):
    ended = predict(videos / "test", "--top", number)
    assert ended.code == 2
    assert ended.err == f"taggnn.predict: --top {number}: must be 1 or more\n"


def test_a_folder_is_read_through_its_links_and_what_is_left_out_is_named(predict, videos, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(videos / "test" / "left")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "a" / "notes.txt").touch()
    ended = predict(tmp_path / "a", "--json")
    assert [json.loads(line)["file"] for line in ended.out.splitlines()] == [
        str(tmp_path / "a" / "link" / "left_000.mp4")
    ]
    assert "gone.mp4" in ended.err
    assert ".txt 1" in ended.err


def test_nothing_there(predict, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    assert "no video in this folder; possible endings: " in predict(tmp_path).err
    ended = predict(tmp_path / "a.mp4")
    assert ended.code == 2
    assert ended.err == f"taggnn.predict: {tmp_path / 'a.mp4'}: no such file or folder\n"

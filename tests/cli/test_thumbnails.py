"""The clips of a run that its report shows: which ones, their files, and what the report does when clips are gone."""

import json
import re
import shutil

import pytest
import torch
from PIL import Image

from taggnn.evaluation.predictions import Predictions, read_predictions
from taggnn.explanation.thumbnails import Thumbnail, choose, read_index, write_index
from taggnn.reporting.run_page import write_report


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr("taggnn.reporting.theme.DPI", 30)


def test_the_surest_right_the_surest_wrong_and_the_least_sure_are_chosen():
    shares = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.3, 0.7], [0.4, 0.6], [0.95, 0.05], [0.49, 0.51]])
    labels = torch.tensor([0, 1, 0, 0, 1, 0, 1])
    given = Predictions([f"{k}" for k in range(7)], [""] * 7, labels, shares, ["a", "b"])
    assert choose(given, 2) == {"right": [5, 0], "wrong": [1, 3], "unsure": [6, 2]}
    assert choose(given, 9) == {"right": [5, 0, 4, 2, 6], "wrong": [1, 3], "unsure": []}


def test_a_run_keeps_them_and_its_report_links_the_videos(trained, videos):
    folder = trained[0]
    method, clips = read_index(folder / "thumbnails")
    given = read_predictions(folder / "predictions.csv")
    chosen = [given.names[index] for indices in choose(given, 3).values() for index in indices]
    assert [clip.name for clip in clips] == chosen
    assert method == "integrated_gradients"
    page = (folder / "report.html").read_text(encoding="utf-8")
    for clip in clips:
        with Image.open(folder / "thumbnails" / clip.picture) as picture:
            assert picture.size == (320, 160)
        assert (folder / clip.video).resolve() == (videos / clip.name).resolve()
        assert f'href="{clip.video}"' in page


def test_a_report_is_made_without_the_clips_and_the_same_again(trained, tmp_path):
    copy = tmp_path / "elsewhere" / "run"
    shutil.copytree(trained[0], copy)
    pages = [write_report(copy).read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]
    shown = len(re.findall(rb"data:image/jpeg", pages[0]))
    next((copy / "thumbnails").glob("*.jpg")).unlink()
    assert len(re.findall(rb"data:image/jpeg", write_report(copy).read_bytes())) == shown - 1


@pytest.mark.parametrize(
    "change",
    [{"picture": "../../secret.jpg"}, {"kind": "best"}, {"video": "//elsewhere"}, {"probability": "high"}],
    ids=str,
)
def test_an_index_from_a_stranger_shows_no_other_file(tmp_path, change):
    write_index(tmp_path, "occlusion", [Thumbnail("right", "a", "x", "x", 0.5, "01_a.jpg", "a.mp4")])
    content = json.loads((tmp_path / "thumbnails.json").read_text())
    content["clips"][0] |= change
    (tmp_path / "thumbnails.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"thumbnails\.json"):
        read_index(tmp_path)

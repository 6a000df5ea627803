"""The contact sheet: the very clips of training, as pictures, with names that fit."""

import io
import re
from itertools import islice

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

import taggnn.train
from taggnn.data.loader import ClipData
from taggnn.data.synthetic import FLIP_PAIRS
from taggnn.data.video.container import Container
from taggnn.data.video.source import VideoSource
from taggnn.reporting.preview import CAPTION, DPI, EDGE, TEXT, Shown, collect, sheet, wrapped
from taggnn.reporting.theme import families
from taggnn.types import InputSpec, Sample

OPTIONS = {"frames": 4, "short_side": 32, "size": [24, 32]}


def data_of(videos, flip_pairs=None, **options):
    return ClipData(VideoSource(**OPTIONS | options), str(videos), flip_pairs=flip_pairs, batch_size=4, workers=0)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def clip(frames=4, height=40, width=64, value=0):
    """Frame t has the red t + 1 and the green ``value``; blue marks what is a frame."""
    made = torch.zeros(frames, height, width, 3, dtype=torch.uint8)
    made[..., 0] = torch.arange(1, frames + 1)[:, None, None]
    made[..., 1], made[..., 2] = value, 77
    return made


def columns(png, value):
    """The frames t that a sheet shows of the clip of a value, left to right, and their position and size."""
    picture = pixels(png)
    found = (picture[..., 2] == 77) & (picture[..., 1] == value)
    rows, across = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    line = picture[rows[0]][found[rows[0]]]
    return list(dict.fromkeys((line[:, 0] - 1).tolist())), (rows[0], across[0]), (len(rows), len(across))


@pytest.mark.parametrize(
    "source", [VideoSource(), VideoSource(mean=(0.1, 0.5, 0.7), std=(0.2, 0.3, 0.9))], ids=["one", "three"]
)
def test_normalised_clips_are_pictures_again(source):
    frames = torch.randint(0, 256, (3, 112, 112, 3), dtype=torch.uint8)
    assert torch.equal(source.picture(source.transform(frames)), frames)


def test_a_clip_normalised_by_itself_shows_its_mean_as_mid_grey():
    source = VideoSource(size=8, per_clip_norm=True)
    shown = source.picture(torch.tensor([-9.0, -2.5, 0.0, 2.5, 9.0]).expand(3, 1, 1, 5))
    assert shown[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_the_clips_are_those_that_training_sees_first(videos):
    data = data_of(videos, randaugment=2, flip=0.5, flip_pairs={"left": "right", "clockwise": "counter_clockwise"})
    data.setup()
    shown, batches = collect(data, 10), list(islice(data.train_dataloader(), 3))
    trained = [each for each in shown if each.reason is None]
    clips = torch.cat([batch.x for batch in batches])[: len(trained)]
    labels = torch.cat([batch.label for batch in batches])[: len(trained)]
    indices = torch.cat([batch.index for batch in batches])[: len(trained)].tolist()
    assert len(trained) >= 5
    for each, tensor, label, index in zip(trained, clips, labels, indices, strict=True):
        row = data.train_clips[index]
        assert torch.equal(each.trained, data.source.picture(tensor))
        assert (each.name, each.label, each.becomes) == (row.name, data.classes[row.label], data.classes[label])
        assert each.becomes == each.label or each.flipped
        assert torch.equal(each.evaluated, data.source.picture(data.samples("train")[index, 0].x))
    assert any(each.becomes != each.label for each in trained)


def test_both_rows_of_a_clip_share_one_decode(videos, monkeypatch):
    opened, open_one = [], Container.__enter__
    monkeypatch.setattr(Container, "__enter__", lambda self: opened.append(self.path) or open_one(self))
    data = data_of(videos, size=24, temporal_jitter=0.5, flip_pairs=FLIP_PAIRS)
    data.setup()
    good = {row.path for row in data.train_clips if "/a_" not in row.name}
    shown = collect(data, 999)
    read = [path for path in map(str, opened) if path in good]
    assert sum(each.reason is None for each in shown) == len(set(read)) == len(read)


def test_stored_tokens_have_no_pictures(videos):
    class Tokens:
        spec = InputSpec("tokens", ("frame", "channel"), (2, 3))

        def __call__(self, clip, seed):
            return Sample(torch.zeros(2, 3), clip.label)

    data = ClipData(Tokens(), str(videos))
    with pytest.raises(ValueError, match=r"--preview: draws pictures, and tokens have none; leave data\.tokens out"):
        collect(data, 1)


def test_bad_clips_are_on_the_sheet_with_their_reason(videos):
    data = data_of(videos)
    data.setup()
    shown = collect(data, 999)
    assert len(shown) == len(data.train_clips) == 21
    bad = {each.name: each.reason for each in shown if each.trained is None}
    assert {name.split("/")[-1] for name in bad} == {
        f"a_{kind}.mp4" for kind in ("empty", "text", "truncated", "audio", "no_frames")
    }
    assert all(bad.values())


def test_rows_show_every_frame_in_order_training_above_evaluation():
    shown = [Shown("a", "x", clip(value=10), clip(value=20)), Shown("b", "y", clip(value=30), clip(value=40))]
    png = sheet(shown, "title", ["facts"])
    places = [columns(png, value) for value in (10, 20, 30, 40)]
    assert all(frames == [0, 1, 2, 3] for frames, _, _ in places)
    tops = [place[0] for _, place, _ in places]
    assert tops == sorted(tops)
    assert {place[1] for _, place, _ in places} == {EDGE + TEXT + CAPTION}
    assert len({size for *_, size in places}) == 1


@pytest.mark.parametrize(
    ("frames", "expected"), [(16, list(range(16))), (17, list(range(0, 17, 2))), (64, list(range(0, 64, 4)))]
)
def test_long_clips_show_every_kth_frame(frames, expected):
    png = sheet([Shown("a", "x", clip(frames, value=10), clip(frames, value=20))], "", [])
    assert columns(png, 10)[0] == expected


@pytest.mark.parametrize("count", [1, 13])
@pytest.mark.parametrize("shape", [(1, 112, 112), (20, 40, 160), (8, 320, 40), (2, 8, 8)], ids=str)
def test_sheets_stay_of_a_size_that_can_be_looked_at(count, shape):
    shown = [Shown(f"{k}", "x", clip(*shape, value=10 + (k > 0)), clip(*shape, value=20)) for k in range(count)]
    png = sheet(shown, "", [])
    height, width, _ = pixels(png).shape
    assert 600 < width <= 2110
    assert height <= 700 + 200 * count
    frames, _, (high, across) = columns(png, 10)
    assert high >= 20
    assert across >= 15 * len(frames)


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4",
        "train/left/" + "x" * 200 + ".mp4",
        "a b " * 60,
        "money $x_1$ and $",
        "\u4f53\u64cd/\u8df3\u9a6c \udcff\u200b",
        "",
        "/",
    ],
    ids=["short", "no-breaks", "words", "mathematics", "letters", "empty", "slash"],
)
def test_text_is_broken_into_lines_that_fit(text):
    lines = wrapped(text, TEXT, 2, 9, "bold")
    assert len(lines) <= 2
    font = FontProperties(family=list(families()), size=9, weight="bold")
    renderer = FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()
    widths = [renderer.get_text_width_height_descent(line, font, False)[0] for line in lines]
    assert max(widths, default=0) <= TEXT + 2
    assert len(lines) < 2 or max(widths) > TEXT / 2, "not broken without need"
    # Nothing of a short name is lost.
    if len(text) < 20 and text.isascii():
        assert "".join(lines) == text.strip()
    sheet([Shown(text, text, reason=text), Shown(text, text, clip(), clip(), True, "left")], "title", [text])


def test_equal_clips_give_equal_bytes_and_matplotlib_keeps_its_settings():
    before = dict(matplotlib.rcParams)
    shown = [Shown("a", "x", clip(), clip(), flipped=True), Shown("b", "x", reason="broken")]
    assert sheet(shown, "t", ["f"]) == sheet(shown, "t", ["f"])
    assert dict(matplotlib.rcParams) == before


def test_the_program_draws_and_stops(program, tiny, tmp_path):
    ended = program(taggnn.train, "--config", tiny, "--runs", tmp_path, "--preview", 3, "--optim.mixup", 0.4)
    assert ended.code == 0, ended.err
    path = tmp_path / "tiny" / "preview.png"
    assert re.search(r"^preview +(.+)$", ended.out, re.MULTILINE)[1] == str(path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert pixels(path.read_bytes()).std() > 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preview", 0], "preview 0: possible are 1 to 64"),
        (["--preview", "all"], "preview: expected a whole number"),
        (["--preview", 2, "--resume", "runs/x"], "--resume takes the run folder and nothing else"),
    ],
)
def test_refusals(program, words, message):
    ended = program(taggnn.train, *words)
    assert ended.code == 2
    assert message in ended.err

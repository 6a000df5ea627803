"""Figures and videos of tracklets: what is drawn, where it is, and names as text on the page."""

import re

import av
import numpy as np
import pytest
import torch

from taggnn.evaluation.tracklets import Tracklets
from taggnn.reporting import theme, tracklet_video
from taggnn.reporting.page import render
from taggnn.reporting.theme import fitted, png, svg
from taggnn.reporting.tracklet_figure import MOST_FRAMES, MOST_REGIONS, strip
from taggnn.reporting.tracklet_overlay import COLOURS, covered, rgb
from taggnn.reporting.tracklet_section import section_of
from taggnn.reporting.tracklet_video import write_clip


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(theme, "DPI", 30)
    monkeypatch.setattr("taggnn.reporting.tracklet_figure.DPI", 30)
    monkeypatch.setattr(tracklet_video, "SHORT", 32)


def pictures(*shape):
    return torch.randint(256, (*shape, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def made(shape=(4, 2, 3, 5), **changes):
    """Tracklets whose attention is all on one cell of each frame: cell 2 t + r of frame t and region r."""
    regions = torch.zeros(shape).flatten(2)
    for frame in range(shape[0]):
        for region in range(shape[1]):
            regions[frame, region, (2 * frame + region) % regions.shape[2]] = 1
    given = {"name": "a.mp4", "truth": "one", "predicted": "two", "probability": 0.5, "regions": regions.view(shape)}
    return Tracklets(**given | changes)


CASES = {
    "wide": made(pictures=pictures(8, 6, 10), weights=torch.rand(4, 2), texts=["a hand"] * 2),
    "high": made((3, 1, 5, 2), pictures=pictures(3, 40, 6)),
    "one frame": made((1, 1, 1, 1), pictures=pictures(1, 7, 9), weights=torch.ones(1, 1)),
    "many": made((20, 9, 2, 2), pictures=pictures(10, 8, 8), texts=["日本語 " * 30 + "$x_1^ <b>" + "y" * 300] * 9),
    "tokens": made(weights=torch.zeros(4, 2)),
    "joints": made((6, 2, 4), pictures=pictures(12, 8, 8), positions=["head", "$a_b^", "left hand", "日本"]),
    "positions": made((6, 1, 50)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_form_is_drawn_without_a_warning(name, recwarn):
    assert png(strip(CASES[name])).startswith(b"\x89PNG")
    assert [str(warning.message) for warning in recwarn] == []


def test_equal_input_gives_equal_bytes_and_pictures_in_a_page_are_small():
    one, other = (svg(strip(CASES["wide"], titled=False), "it") for _ in range(2))
    assert one == other
    assert one.count("data:image/jpeg") == 3 * 4
    assert "data:image/png" not in one


def lines_of(figure):
    return [
        line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) and line.get_color() == "#14171b"
    ]


def test_the_path_goes_through_the_cells_of_the_attention():
    given = made((3, 2, 2, 3), pictures=pictures(3, 12, 18))
    drawn = lines_of(strip(given))
    assert len(drawn) == 2 * 3
    for region in range(2):
        for column in range(3):
            line = drawn[region * 3 + column]
            axes = line.axes
            left, right, bottom, top = axes.images[column].get_extent()
            assert (bottom, top) == (1, 0)
            for frame, (x, y) in enumerate(zip(line.get_xdata(), line.get_ydata(), strict=True)):
                row, column_of = divmod(2 * frame + region, 3)
                assert x == pytest.approx(left + (right - left) * (column_of + 0.5) / 3)
                assert y == pytest.approx((row % 2 + 0.5) / 2)
            assert len(line.get_xdata()) == column + 1


def test_the_line_of_a_map_goes_through_the_positions_of_the_peaks():
    for region, line in enumerate(lines_of(strip(CASES["joints"]))):
        assert line.get_xdata().tolist() == list(range(6))
        assert line.get_ydata().tolist() == pytest.approx([(2 * frame + region) % 4 for frame in range(6)])


def test_attention_is_coloured_where_it_is():
    strength = torch.zeros(2, 2, 2)
    strength[0, 0, 0] = strength[1, 1, 1] = 1
    drawn = covered(torch.full((20, 20, 3), 128.0), strength, range(2)).astype(float)
    for corner, region in ((drawn[0, 0], 0), (drawn[-1, -1], 1)):
        assert np.abs(corner - rgb(COLOURS[region]).numpy()).max() < 0.2 * 128
    assert drawn[0, -1].tolist() == drawn[-1, 0].tolist() == [128] * 3


def test_not_more_frames_and_regions_than_there_is_room_for():
    figure = strip(CASES["many"])
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 1 + MOST_REGIONS
    assert {len(axes.images) for axes in shown} == {MOST_FRAMES}
    assert any("2 more regions" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("name", CASES)
def test_a_video_has_a_frame_for_each_of_the_input(name, tmp_path):
    given = CASES[name]
    path = write_clip(tmp_path / "new" / "a.mp4", given)
    if given.pictures is None or not given.spatial:
        assert path is None
        assert not (tmp_path / "new").exists()
        return
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(given.pictures)
    assert {frame.shape[axis] % 2 for frame in frames for axis in (0, 1)} == {0}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_a_run_without_tracklets_has_no_section(tmp_path):
    assert section_of(tmp_path) is None
    (tmp_path / "tracklets").mkdir()
    assert section_of(tmp_path) is None


def test_names_and_texts_are_text_on_the_page(tmp_path):
    bad = "<script>alert('x')</script>&\"\x1b\udce9"
    given = made(name=bad, truth=bad, texts=[bad, bad], pictures=pictures(4, 6, 6))
    for number, each in enumerate((given, CASES["joints"])):
        each.write(tmp_path / "tracklets" / f"{number}.safetensors")
    write_clip(tmp_path / "tracklets" / "0.mp4", given)
    section = section_of(tmp_path)
    assert [clip.video for clip in section.clips] == ["tracklets/0.mp4", ""]
    assert [clip.picture for clip in section.clips] == ["tracklets/0.png", "tracklets/1.png"]
    assert (tmp_path / "tracklets" / "0.png").read_bytes().startswith(b"\x89PNG")
    absent = dict.fromkeys(
        (
            "scores",
            "notes",
            "groups",
            "within",
            "thumbnails",
            "comparison",
            "effect",
            "training",
            "calibration",
            "classes",
            "skipped",
            "command",
        )
    )
    page = render(
        "report.html.j2",
        title="t",
        eyebrow="e",
        subtitle="",
        tracklets=section,
        provenance=[],
        config="",
        cite="",
        answers=[],
        **absent,
    )
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert re.findall(r'href="([^"]*)"', page.split("Tracklets</h2>")[1])[:2] == ["tracklets/0.mp4", "tracklets/0.png"]
    assert "\x1b" not in page


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "tracklets").mkdir()
    (tmp_path / "tracklets" / "1.safetensors").write_text("no")
    with pytest.raises(ValueError, match=r"1\.safetensors"):
        section_of(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "short", "a rather long name of a class", "日本語の動作の名前", "日本 and letters"]
)
def test_letters_that_take_two_columns_are_counted_so(text):
    wide = sum(2 if letter > "\u2e80" else 1 for letter in fitted(text, 10))
    assert wide <= 10
    assert fitted(text, 100) == text

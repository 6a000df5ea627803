"""The set with a telling region: what it promises about single frames, and that its boxes are those of its files."""

import json
import os

import av
import numpy as np
import pytest

from taggnn.data import synthetic, synthetic_regions
from taggnn.data.region_boxes import REGIONS, read_boxes
from taggnn.data.synthetic_regions import (
    ATTRIBUTES,
    FLIP_PAIRS,
    HOP,
    MOTIONS,
    camera,
    disc,
    make_clip,
    make_regions,
    phases,
    telling_disc,
)

TINY = {"train": 1, "test": 1}


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_regions(tmp_path_factory.mktemp("data") / "set", TINY, frames=12, size=48, progress=False)


@pytest.mark.parametrize("motion", MOTIONS)
def test_one_attribute_makes_whole_cycles_and_is_seen_to(motion):
    found = phases(motion, np.array([0.1, 0.9, 0.5]), 24)
    moving, cycles = MOTIONS[motion]
    # Eight frames of the clip still show the direction.
    for sampled in (found, found[np.linspace(0, 23, 8).astype(int)]):
        for column, attribute in enumerate(ATTRIBUTES):
            steps = (np.diff(sampled[:, column]) + 0.5) % 1 - 0.5
            assert steps.sum() == pytest.approx(cycles if attribute == moving else 0)
            assert (steps * cycles > 0).all() if attribute == moving else (steps == 0).all()


@pytest.mark.parametrize("index", [0, 7, 23])
@pytest.mark.parametrize("motion", MOTIONS)
def test_at_every_frame_the_phases_are_spread_alike_for_every_class(motion, index):
    lattice = np.arange(16) / 16
    for column in range(len(ATTRIBUTES)):
        starts = np.full((16, len(ATTRIBUTES)), 0.25)
        starts[:, column] = lattice
        found = np.sort([phases(motion, start, 24)[index, column] for start in starts])
        np.testing.assert_allclose(np.diff(np.append(found, found[0] + 1)), 1 / 16, atol=1e-9)


def test_motions_mean_what_their_names_say():
    path = np.full((25, 2), 0.5)
    made = {motion: disc(motion, path, 0.1, np.zeros(3), np.array([0.0, 0.0, 0.0])) for motion in MOTIONS}
    # Up is a smaller y: the first quarter of a hop.
    assert made["hops once"].y.argmin() == 6
    assert made["hops once"].y.min() == pytest.approx(0.5 - HOP)
    assert made["hops twice"].y.argmin() == 3
    assert made["swells once"].radius.argmax() == 6
    assert made["swells twice"].radius.argmin() == 9
    # The coloured half points right, and down a quarter of a turn later: clockwise on the screen.
    assert made["turns once clockwise"].angle[6] == pytest.approx(0.25)
    assert made["turns twice counter-clockwise"].angle[3] == pytest.approx(0.75)
    assert set(FLIP_PAIRS) | set(FLIP_PAIRS.values()) == {name for name in MOTIONS if "clockwise" in name}


def test_the_region_never_leaves_the_frame_and_does_not_follow_the_camera():
    rng = np.random.default_rng(0)
    ways, views = [], []
    for number in range(200):
        one = telling_disc(list(MOTIONS)[number % len(MOTIONS)], 24, rng)
        for centre in (one.x, one.y):
            assert (centre - one.radius).min() > 0
            assert (centre + one.radius).max() < 1
        ways.append(one.x[-1] - one.x[0])
        views.append(camera(24, rng)[-1, 0])
    assert abs(np.corrcoef(ways, views)[0, 1]) < 0.2
    # The camera's way is as long as the region's: standing still in the picture is not what sets it apart.
    assert np.abs(views).mean() > 0.3


def test_boxes_are_exactly_the_frames_of_the_files(root):
    boxes = read_boxes(root / REGIONS)
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*.mp4")}
    assert len(files) == 2 * len(MOTIONS)
    assert boxes.keys() == files.keys()
    for name, path in files.items():
        frames = decode(path).astype(int)
        assert boxes[name].shape == (len(frames), 4) == (12, 4)
        # Of all discs only the telling one has red, on its half: the mean of the red pixels is inside its box.
        red = (frames[..., 0] - frames[..., 1:].max(-1)) > 70
        for picture, (x, y, width, height) in zip(red, boxes[name], strict=True):
            rows, columns = (one + 0.5 for one in picture.nonzero())
            assert len(rows) > 4
            assert np.abs(rows - y).max() <= height / 2 + 1.5
            assert np.abs(columns - x).max() <= width / 2 + 1.5


def test_a_clip_does_not_depend_on_the_others_and_its_box_not_on_the_distractors():
    pictures, boxes = make_clip("hops once", 12, 32, np.random.default_rng(5))
    alone, same = make_clip("hops once", 12, 32, np.random.default_rng(5), others=0)
    np.testing.assert_array_equal(boxes, same)
    assert pictures.shape == (12, 32, 32, 3)
    assert (pictures != alone).any()


def test_an_interrupted_set_is_finished_and_a_whole_one_left_alone(root):
    files = sorted([*root.rglob("*.mp4"), root / REGIONS])
    first = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    assert json.loads((root / "synthetic.json").read_text())["classes"] == list(MOTIONS)
    make_regions(root, TINY, frames=12, size=48, progress=False)
    assert {path: path.stat().st_mtime_ns for path in files} == {path: time for path, (time, _) in first.items()}
    os.remove(files[-1])
    os.remove(root / REGIONS)
    make_regions(root, TINY, frames=12, size=48, progress=False)
    assert {path: path.read_bytes() for path in files} == {path: content for path, (_, content) in first.items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 11}, "frames 11"),
        ({"size": 33}, "size 33"),
        ({"others": -1}, "others -1"),
        ({"clips_per_class": {"train": 0}}, "clips_per_class"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_regions(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_other_settings_are_refused(root):
    with pytest.raises(ValueError, match=r"synthetic\.json.*'others': 3.*'others': 2"):
        make_regions(root, TINY, frames=12, size=48, others=2, progress=False)


def test_a_set_of_every_name_is_drawn_with_all_colours_but_red():
    others = synthetic_regions.OTHERS
    assert (others[:, 0] - others[:, 1:].max(1)).max() < 0.2


@pytest.mark.parametrize("module", [synthetic, synthetic_regions], ids=lambda module: module.__name__)
def test_a_folder_that_cannot_be_made_is_a_message(module, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", ["made", "--root", str(tmp_path / "file" / "set")])
    with pytest.raises(SystemExit) as ended:
        module._main()
    assert ended.value.code == 2
    assert "file" in capsys.readouterr().err

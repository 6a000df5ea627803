"""The synthetic set: what it promises about single frames, and that making it survives interruption."""

import json
import os

import av
import numpy as np
import pytest

from taggnn.data import synthetic
from taggnn.data.synthetic import ATTRIBUTES, MOTIONS, draw, make_synthetic, states, write_video

TINY = {"train": 2, "val": 1}


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("motion", MOTIONS)
def test_one_attribute_moves_and_never_by_half_a_symbol_cycle(motion):
    phases = states(motion, np.array([0.1, 0.9, 0.5, 0.3]), synthetic.SPEED[1], 24)
    moving, direction = MOTIONS[motion]
    sampled = phases[np.linspace(0, 23, 8).astype(int)]
    for column, attribute in enumerate(ATTRIBUTES):
        steps = (np.diff(sampled[:, column]) + 0.5) % 1 - 0.5
        if attribute == moving:
            assert (steps * direction > 0).all()
            assert np.abs(steps).max() < 1 / 3
        else:
            assert (steps == 0).all()


@pytest.mark.parametrize("index", [0, 7, 23])
@pytest.mark.parametrize("motion", MOTIONS)
def test_at_every_frame_the_phases_are_spread_alike_for_every_class(motion, index):
    # Starts on an even lattice stand for the uniform law: a shift on the cycle only permutes an even lattice's gaps.
    lattice = np.arange(16) / 16
    for column in range(4):
        starts = np.full((16, 4), 0.25)
        starts[:, column] = lattice
        phases = np.sort([states(motion, start, 1.1, 24)[index, column] for start in starts])
        gaps = np.diff(np.append(phases, phases[0] + 1))
        np.testing.assert_allclose(gaps, 1 / 16, atol=1e-9)


@pytest.mark.parametrize(
    ("motion", "opposite"),
    [("left", "right"), ("up", "down"), ("clockwise", "counter_clockwise"), ("red_green_blue", "red_blue_green")],
)
def test_a_class_is_the_time_reversal_of_its_pair(motion, opposite):
    forward = states(motion, np.array([0.1, 0.2, 0.3, 0.4]), 0.8, 12)
    backward = states(opposite, forward[-1], 0.8, 12)
    distance = np.abs((forward[::-1] - backward + 0.5) % 1 - 0.5)
    assert distance.max() < 1e-9


def test_a_decoded_frame_carries_no_trail_of_its_neighbours(tmp_path):
    pictures = synthetic.make_clip("right", 9, 32, np.random.default_rng(3))
    write_video(tmp_path / "forward.mp4", pictures)
    write_video(tmp_path / "backward.mp4", pictures[::-1])
    forward, backward = decode(tmp_path / "forward.mp4"), decode(tmp_path / "backward.mp4")
    assert forward.shape == (9, 32, 32, 3)
    np.testing.assert_array_equal(forward, backward[::-1])
    assert np.abs(forward.astype(int) - pictures).mean() < 12


def test_directions_mean_what_their_names_say():
    # A red disc on the ground: its centre of redness follows the motion.
    start = np.array([0.4, 0.5, 0.0, 0.1])
    for motion, axis, sign in [("right", 2, 1), ("left", 2, -1), ("down", 1, 1), ("up", 1, -1)]:
        frames = draw(states(motion, start, 0.1, 2), 64, np.random.default_rng(0)).astype(float)
        redness = (frames[..., 0] - frames[..., 1]).clip(60) - 60
        place = np.arange(64).reshape([1, 64, 1] if axis == 1 else [1, 1, 64])
        centre = (redness * place).sum((1, 2)) / redness.sum((1, 2))
        assert sign * (centre[1] - centre[0]) > 3, motion
    # The bright half points right at phase 0 and down a quarter of a turn later: clockwise on the screen.
    frames = draw(states("clockwise", start, 0.25, 2), 64, np.random.default_rng(0)).astype(int)
    assert frames[1, 38, 26, 0] > frames[1, 26, 26, 0] + 100
    assert frames[0, 32, 32, 0] > frames[0, 32, 20, 0] + 100
    # Order of the colours at the disc's bright side.
    for motion, order in [("red_green_blue", [0, 1, 2]), ("red_blue_green", [0, 2, 1])]:
        frames = draw(states(motion, start, 2 / 3, 3), 64, np.random.default_rng(0))
        assert frames[:, 32, 30].argmax(-1).tolist() == order


def test_a_second_call_does_nothing_and_an_interrupted_set_is_finished(tmp_path):
    root = make_synthetic(tmp_path / "set", TINY, frames=8, size=16, progress=False)
    files = sorted(root.rglob("*.mp4"))
    assert len(files) == 8 * 3
    assert files[0].relative_to(root).as_posix() == "train/clockwise/clockwise_000.mp4"
    assert json.loads((root / "synthetic.json").read_text())["settings"]["frames"] == 8
    first = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    make_synthetic(root, TINY, frames=8, size=16, progress=False)
    assert {path: path.stat().st_mtime_ns for path in files} == {path: time for path, (time, _) in first.items()}

    os.remove(files[3])
    make_synthetic(root, TINY, frames=8, size=16, progress=False)
    assert files[3].read_bytes() == first[files[3]][1]
    assert files[4].stat().st_mtime_ns == first[files[4]][0]


def test_a_write_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="array shape"):
        write_video(tmp_path / "clip.mp4", np.zeros((3, 16, 16, 5), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_file_takes_its_name_when_it_is_whole(tmp_path, monkeypatch):
    def killed(*_):
        assert [path.name[:1] for path in tmp_path.iterdir()] == ["."]
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "clip.mp4", np.zeros((3, 16, 16, 3), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_other_settings_or_a_foreign_folder_are_refused(tmp_path):
    make_synthetic(tmp_path / "set", {"val": 1}, frames=8, size=16, progress=False)
    with pytest.raises(ValueError, match=r"synthetic\.json.*'seed': 0.*'seed': 1"):
        make_synthetic(tmp_path / "set", {"val": 1}, frames=8, size=16, seed=1, progress=False)
    (tmp_path / "mine" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="'train' that is not of a synthetic set"):
        make_synthetic(tmp_path / "mine", TINY, progress=False)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_manifest_is_named(tmp_path, text):
    (tmp_path / "synthetic.json").write_text(text)
    with pytest.raises(ValueError, match=r"synthetic\.json: broken"):
        make_synthetic(tmp_path, TINY, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 7}, "at least 8"),
        ({"size": 33}, "even number"),
        ({"clips_per_class": {"train": 0}}, "1 or more"),
        ({"clips_per_class": {}}, "at least one split"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()

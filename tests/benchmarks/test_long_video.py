import csv
import itertools

import av
import pytest

from benchmarks import long_video
from taggnn.data.synthetic import write_video


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    for name in long_video.CLASSES:
        path = root / long_video.PARTS / name / f"{name}_000.mp4"
        path.parent.mkdir(parents=True)
        rng = long_video.random_of(name)
        still = name == long_video.STILL
        clip = long_video.still(24, rng) if still else long_video.make_clip(name, 24, long_video.SIZE, rng)
        write_video(path, clip)
    out = root / "long.mp4"
    long_video.make(root, 40 / 3600, out)
    return root, out


def test_every_frame_is_there(made):
    with av.open(str(made[1])) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([k / 12 for k in range(480)], abs=1e-3)


def test_the_true_segments_are_the_actions(made):
    with made[1].with_suffix(".csv").open() as file:
        rows = [(float(row["start"]), float(row["end"]), row["class"]) for row in csv.DictReader(file)]
    assert rows
    assert all(end - start == pytest.approx(2) for start, end, _ in rows)
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(rows)]
    assert all(0.9 <= gap <= 6.1 for gap in gaps)
    assert all(name != long_video.STILL for *_, name in rows)


def test_missing_clips_are_named(tmp_path):
    with pytest.raises(SystemExit, match=long_video.CLASSES[0]):
        long_video.make(tmp_path, 1, tmp_path / "x.mp4")


def test_a_window_has_the_length_of_a_clip():
    for name in ("left", long_video.STILL):
        assert len(long_video.window(name, long_video.random_of(name))) == long_video.FRAMES

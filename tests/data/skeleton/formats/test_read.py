"""The format of a file, cuts, and what every format refuses."""

import pickle

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from tests.data.skeleton import trees


@pytest.fixture
def saved(tmp_path):
    """``saved(array)`` is a clip of an ``.npy`` file."""

    def save(array, name="clip.npy", **fields):
        np.save(tmp_path / name, array)
        return Clip(str(tmp_path / name), 0, name, **fields)

    return save


def test_every_row_has_its_own_ending_and_beginning():
    assert ".npy" in formats.ENDINGS
    assert all(ending == ending.lower() and ending[0] == "." for ending in formats.ENDINGS)
    assert all(row.summary for row in formats.FORMATS.values())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.mp4", b"x", r"\.npy"),
        ("1", b"x", "possible are"),
        ("1.npy", b"", "empty"),
        ("1.npy", b"[1]", "begins as json"),
        ("1.json", b"\x93NUMPY", "begins as npy"),
        ("1.json", b"hello", "not readable as JSON"),
    ],
    ids=["ending", "no-ending", "empty", "json-as-npy", "npy-as-json", "neither"],
)
def test_a_file_of_no_format(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(formats.FormatError, match=reason) as raised:
        formats.read(Clip(str(tmp_path / name), 0, name))
    assert raised.value.path == str(tmp_path / name)
    assert name in str(raised.value)
    assert pickle.loads(pickle.dumps(raised.value)).reason == raised.value.reason


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        formats.read(Clip(str(tmp_path / "1.npy"), 0, "1"))


@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 4, 2), (1, 1, 1, 2), (2, 5, 4, 3)], ids=str)
def test_shapes(saved, shape):
    array = np.random.default_rng(0).normal(size=shape)
    read = formats.read(saved(array)).coordinates
    assert read.dtype == torch.float32
    assert torch.equal(read, torch.tensor(array if len(shape) == 4 else array[None], dtype=torch.float32))


@pytest.mark.parametrize(
    "shape", [(), (3,), (5, 3), (5, 4, 1), (5, 4, 4), (1, 1, 5, 4, 3), (0, 4, 3), (5, 0, 3), (0, 5, 4, 3)], ids=str
)
def test_wrong_shapes(saved, shape):
    with pytest.raises(formats.FormatError, match=r"\(T, V, C\) or \(M, T, V, C\)|has 0 frames"):
        formats.read(saved(np.ones(shape)))


@pytest.mark.parametrize(
    ("start", "stop", "frames"),
    [
        (None, None, slice(None)),
        (2.0, 5.0, slice(2, 5)),
        (3, None, slice(3, None)),
        (None, 1, slice(0, 1)),
        (6, 99, slice(6, None)),
    ],
    ids=str,
)
@pytest.mark.parametrize("persons", [None, 2], ids=["one-person", "two-persons"])
def test_cuts(saved, start, stop, frames, persons):
    array = trees.body(8, 4) if persons is None else np.stack([trees.body(8, 4, seed) for seed in range(persons)])
    read = formats.read(saved(array, start=start, stop=stop)).coordinates
    assert np.array_equal(read, (array if persons else array[None])[:, frames])


@pytest.mark.parametrize(("start", "stop"), [(8, None), (9, 12), (3, 3), (1.5, None), (0, 2.5), (-1, 2)], ids=str)
def test_impossible_cuts(saved, start, stop):
    with pytest.raises(formats.FormatError, match="frame"):
        formats.read(saved(trees.body(8, 4), start=start, stop=stop))


def test_missing_joints_are_nan_in_every_coordinate(saved):
    array = trees.body(4, 5)
    array[1, 2, 0] = np.nan
    array[3, 4] = np.nan
    read = formats.read(saved(array)).coordinates[0]
    assert read[1, 2].isnan().all()
    assert read[3, 4].isnan().all()
    assert read.isnan().sum() == 6


def test_a_person_at_zero_is_missing_and_a_joint_at_zero_is_not(saved):
    array = np.stack([trees.body(4, 5), trees.body(4, 5, 1), np.zeros((4, 5, 3), np.float32)])
    array[:, :, 0] = 0
    # The second appears late.
    array[1, :2] = 0
    read = formats.read(saved(array)).coordinates
    assert read.shape == (2, 4, 5, 3)
    assert read[1, :2].isnan().all()
    assert not read[0].isnan().any()
    assert not read[1, 2:].isnan().any()


@pytest.mark.parametrize("value", [0, np.nan], ids=["zero", "nan"])
def test_a_clip_without_anybody(saved, value):
    with pytest.raises(formats.FormatError, match="no joint in any frame"):
        formats.read(saved(np.full((4, 5, 3), value)))


def test_a_person_who_is_absent_in_the_cut(saved):
    array = np.stack([trees.body(6, 4), trees.body(6, 4, 1)])
    array[0, :3] = np.nan
    assert np.array_equal(formats.read(saved(array, start=0, stop=3)).coordinates, array[1:, :3])


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300], ids=str)
def test_a_number_that_is_no_coordinate(saved, value):
    array = trees.body(4, 5).astype(np.float64)
    array[1, 1, 1] = value
    with pytest.raises(formats.FormatError, match="infinite"):
        formats.read(saved(array))

"""NumPy files: headers that lie, objects, truncation."""

import io
import zipfile

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from tests.data.skeleton import trees


class RunsCode:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def read(path):
    return formats.read(Clip(str(path), 0, "clip"))


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["float16", ">f4", "float64", "int32", "uint8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_number_types_and_orders(tmp_path, dtype, order):
    array = np.array(np.random.default_rng(0).integers(1, 99, (2, 5, 4, 3)), dtype=dtype, order=order)
    np.save(tmp_path / "1.npy", array)
    np.savez(tmp_path / "1.npz", keypoint=array)
    assert np.array_equal(read(tmp_path / "1.npy").coordinates, array)
    assert np.array_equal(read(tmp_path / "1.npz").coordinates, array)


def test_an_array_of_objects_is_refused_and_not_run(tmp_path):
    objects = np.array([RunsCode(tmp_path / "ran"), 1], dtype=object)
    np.save(tmp_path / "1.npy", objects)
    np.savez(tmp_path / "1.npz", coordinates=objects)
    for name in ("1.npy", "1.npz"):
        with pytest.raises(formats.FormatError, match="objects"):
            read(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["U3", "bool", "complex64", "datetime64[s]", "f4,f4"])
def test_an_array_of_no_numbers(tmp_path, dtype):
    np.save(tmp_path / "1.npy", np.zeros((4, 5, 3), dtype=dtype))
    with pytest.raises(formats.FormatError, match="kind"):
        read(tmp_path / "1.npy")


@pytest.mark.parametrize("cut", [1, 5, 9, 40, 130, 200], ids=str)
def test_truncated(tmp_path, cut):
    (tmp_path / "1.npy").write_bytes(npy(trees.body(4, 5))[:cut])
    with pytest.raises(formats.FormatError):
        read(tmp_path / "1.npy")


@pytest.mark.parametrize("shape", [(10**12, 25, 3), (2**24, 2, 3), (-1, 4, 3)], ids=str)
def test_a_header_that_claims_more_than_there_is(tmp_path, shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    (tmp_path / "1.npy").write_bytes(file.getvalue())
    with pytest.raises(formats.FormatError):
        read(tmp_path / "1.npy")


def test_an_archive_that_unpacks_to_more_than_its_header_claims(tmp_path):
    with zipfile.ZipFile(tmp_path / "1.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("coordinates.npy", npy(trees.body(4, 5)) + bytes(10**7))
    assert read(tmp_path / "1.npz").coordinates.shape == (1, 4, 5, 3)


@pytest.mark.parametrize("names", ["coordinates confidence", "keypoint score", "keypoint keypoint_score"])
@pytest.mark.parametrize("axis", [False, True], ids=["plain", "last-axis"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_archives_with_confidence(tmp_path, names, axis, save):
    coordinates, confidence = names.split()
    array = np.stack([trees.body(6, 4), trees.body(6, 4, 1)])
    scores = np.random.default_rng(0).uniform(size=(2, 6, 4)).astype(np.float16)
    scores[0, 0, :3] = np.nan, 1.004, -0.1
    save(tmp_path / "1.npz", **{coordinates: array, confidence: scores[..., None] if axis else scores, "label": 3})
    found = formats.read(Clip(str(tmp_path / "1.npz"), 0, "1", 0, 5))
    assert np.array_equal(found.coordinates, array[:, :5])
    wanted = scores[:, :5].astype(np.float32)
    wanted[0, 0, :3] = 0, 1, 0
    assert torch.equal(found.confidence, torch.from_numpy(wanted))


def test_confidence_of_one_person(tmp_path):
    np.savez(tmp_path / "1.npz", coordinates=trees.body(6, 4), confidence=np.ones((6, 4)))
    assert read(tmp_path / "1.npz").confidence.shape == (1, 6, 4)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.ones((4, 5, 3))},
        {"coordinates": np.ones((4, 5, 3)), "keypoint": np.ones((4, 5, 3))},
        {"coordinates": np.ones((4, 5, 3)), "confidence": np.ones((4, 6))},
        {"coordinates": np.ones((4, 5, 3)), "score": np.ones(())},
    ],
    ids=["none", "two", "shape", "scalar"],
)
def test_wrong_archives(tmp_path, arrays):
    np.savez(tmp_path / "1.npz", **arrays)
    with pytest.raises(formats.FormatError, match=r"coordinates|confidence"):
        read(tmp_path / "1.npz")


@pytest.mark.parametrize("cut", [4, 30, 100, 300], ids=str)
def test_truncated_archives(tmp_path, cut):
    np.savez(tmp_path / "1.npz", coordinates=trees.body(4, 5))
    (tmp_path / "1.npz").write_bytes((tmp_path / "1.npz").read_bytes()[:cut])
    with pytest.raises(formats.FormatError, match="archive"):
        read(tmp_path / "1.npz")


def test_a_damaged_archive(tmp_path):
    np.savez_compressed(tmp_path / "1.npz", coordinates=trees.body(40, 25))
    content = bytearray((tmp_path / "1.npz").read_bytes())
    content[200:300] = bytes(100)
    (tmp_path / "1.npz").write_bytes(content)
    with pytest.raises(formats.FormatError):
        read(tmp_path / "1.npz")

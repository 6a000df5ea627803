import io
import struct
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from taggnn.text.matrix import read_matrix

ARRAY = np.arange(24, dtype=np.float64).reshape(2, 3, 4) / 7


class Trap:
    """Reading it as a pickle would run a command."""

    def __reduce__(self):
        return pytest.fail, ("the file was run",)


def write(path, array):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({"any name": torch.from_numpy(np.ascontiguousarray(array))}, path)
    else:
        (np.save if path.suffix == ".npy" else np.savez_compressed)(path, array)
    return path


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_format_gives_the_matrix_in_float32(ending, dtype, tmp_path):
    found = read_matrix(write(tmp_path / f"v{ending}", ARRAY.astype(dtype)))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(ARRAY.astype(dtype).astype(np.float32)))


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_fortran_order_is_undone(ending, tmp_path):
    assert np.allclose(read_matrix(write(tmp_path / f"v{ending}", np.asfortranarray(ARRAY))).numpy(), ARRAY)


def test_two_axes_are_one_prompt(tmp_path):
    assert read_matrix(write(tmp_path / "v.npy", ARRAY[0])).shape == (1, 3, 4)


def test_bfloat16_is_read(tmp_path):
    safetensors.torch.save_file({"v": torch.ones(2, 3, 4).bfloat16()}, tmp_path / "v.safetensors")
    assert torch.equal(read_matrix(tmp_path / "v.safetensors"), torch.ones(2, 3, 4))


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("array", [ARRAY.astype(np.int64), ARRAY[0, 0], ARRAY[None]], ids=["integers", "1-D", "4-D"])
def test_another_kind_of_array_names_its_file(ending, array, tmp_path):
    path = write(tmp_path / f"v{ending}", array)
    with pytest.raises(ValueError, match=str(path)):
        read_matrix(path)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_objects_are_refused_without_running_them(ending, tmp_path):
    path = write(tmp_path / f"v{ending}", np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match=str(path)):
        read_matrix(path)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("cut", [0, 5, 60, -1], ids=["empty", "head", "header", "last byte"])
def test_a_damaged_file_names_itself(ending, cut, tmp_path):
    path = write(tmp_path / f"v{ending}", ARRAY)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=str(path)):
        read_matrix(path)


def _header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "shape", [(2**20, 2**20, 4), (-1, 3, 4), (2**62, 2**62, 4)], ids=["huge", "negative", "overflow"]
)
def test_a_header_that_claims_more_than_the_file_has_costs_no_memory(shape, tmp_path):
    (tmp_path / "v.npy").write_bytes(_header(shape) + bytes(96))
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.writestr("v.npy", _header(shape) + bytes(96))
    for file in ("v.npy", "v.npz"):
        with pytest.raises(ValueError, match=file):
            read_matrix(tmp_path / file)


def test_a_bomb_is_refused(tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros((2, 2**19, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.npy", content.getvalue())
    with pytest.raises(ValueError, match=r"v\.npz"):
        read_matrix(tmp_path / "v.npz")


def test_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", a=ARRAY, b=ARRAY)
    safetensors.torch.save_file({"a": torch.ones(1), "b": torch.ones(2)}, tmp_path / "v.safetensors")
    for file in ("v.npz", "v.safetensors"):
        with pytest.raises(ValueError, match=file):
            read_matrix(tmp_path / file)


def test_other_endings_and_missing_files(tmp_path):
    (tmp_path / "v.pt").touch()
    with pytest.raises(ValueError, match=r"\.npz"):
        read_matrix(tmp_path / "v.pt")
    with pytest.raises(FileNotFoundError, match=r"v\.npy"):
        read_matrix(tmp_path / "v.npy")

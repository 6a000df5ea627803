"""Archives of PyTorch before they are opened: every flipped bit is named, and no bomb is unpacked."""

import io
import pickle
import random
import struct
import zipfile

import pytest
import torch

from taggnn.backbones.weights import read_state_dict
from taggnn.io import checkpoint
from taggnn.runtime import archive

READERS = [read_state_dict, checkpoint.read]


@pytest.fixture
def saved(tmp_path):
    """A file of tensors."""
    path = tmp_path / "weights.ckpt"
    torch.save({"first": torch.arange(1000.0), "second": torch.ones(50, 20)}, path)
    return path


def entries(path):
    with zipfile.ZipFile(path) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def packed(path, contents, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as whole:
        for name, content in contents.items():
            whole.writestr(name, content)


@pytest.mark.parametrize("read", READERS)
def test_a_flipped_bit_of_a_tensor_is_noticed_and_its_entry_named(read, saved):
    before = saved.read_bytes()
    start = before.index(torch.ones(50, 20).numpy().tobytes())
    draws = random.Random(0)
    for _ in range(20):
        content = bytearray(before)
        content[start + draws.randrange(4000)] ^= 1 << draws.randrange(8)
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.ckpt: damaged: its entry weights/data/1 differs"):
            read(saved)


@pytest.mark.parametrize("read", READERS)
def test_what_is_compressed_is_not_unpacked(read, saved, monkeypatch):
    contents = entries(saved)
    contents["weights/data/9"] = bytes(10**6)
    packed(saved, contents, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=r"weights\.ckpt: not opened: its entry \S+ is compressed"):
        read(saved)


@pytest.mark.parametrize("read", READERS)
def test_entries_that_lie_over_each_other_are_not_unpacked(read, saved, monkeypatch):
    """Ten entries of the directory at one and the same place of the file."""
    packed(saved, {"a/data/0": bytes(10**5)})
    content = bytearray(saved.read_bytes())
    end = content.rindex(b"PK\5\6")
    size, start = struct.unpack("<II", content[end + 12 : end + 20])
    one = content[start : start + size]
    tail = content[end:]
    tail[8:20] = struct.pack("<HHII", 10, 10, 10 * size, start)
    saved.write_bytes(content[:start] + 10 * one + tail)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=r"its entries have 1,000,000 bytes, more than the [\d,]+ of the file"):
        read(saved)


class Calls:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "call", [Calls(bytearray, 10**11), Calls(torch.FloatTensor, 10**6, 10**6)], ids=lambda call: call.function.__name__
)
def test_a_call_that_fills_the_memory_is_not_made(read, legacy, call, tmp_path, monkeypatch):
    path = tmp_path / "weights.ckpt"
    torch.save({"first": call}, path, _use_new_zipfile_serialization=not legacy)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=r"weights\.ckpt: not opened: it calls \S*(bytearray|FloatTensor)"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_files_of_the_old_kind_are_read(read, tmp_path):
    path = tmp_path / "weights.ckpt"
    torch.save({"first": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read(path)["first"], torch.ones(3))


def test_a_file_without_checksums_is_read_with_a_warning(tmp_path, caplog):
    path = tmp_path / "weights.pth"
    try:
        torch.serialization.set_crc32_options(False)
        torch.save({"first": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_state_dict(path)["first"], torch.ones(3))
    assert "without checksums" in caplog.text


@pytest.mark.parametrize("size", [4, 100, 3000])
def test_a_cut_archive_is_named(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"weights\.ckpt: cannot be read \({size:,} bytes\)"):
        archive.check(saved, str(saved))


def test_names_in_an_archive_are_shown_without_control_characters(tmp_path):
    path = tmp_path / "weights.ckpt"
    packed(path, {"a\x1b[31m\n": bytes(1000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"a\?\[31m\? is compressed"):
        archive.check(path, "weights.ckpt")


def test_any_bytes_are_refused_or_read_by_a_value_error(tmp_path):
    draws = random.Random(0)
    path = tmp_path / "weights.ckpt"
    content = io.BytesIO()
    torch.save({"first": torch.arange(100.0), "second": {"name": "a"}}, content)
    for beginning in (b"", b"PK\x03\x04", pickle.dumps({"a": 1}), content.getvalue()[:400]):
        for _ in range(5):
            path.write_bytes(beginning + draws.randbytes(300))
            with pytest.raises(ValueError, match=r"weights\.ckpt"):
                checkpoint.read(path)

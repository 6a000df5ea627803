"""Files that are no weights are called what they are."""

import argparse

import pytest
import torch

from taggnn.backbones.weights import read_state_dict

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("content", "called"),
    [
        (POINTER, "Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "a web page"),
        (b"\n  <HTML><body>404</body></HTML>", "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML text"),
        (b'{"error": "not found"}', "a JSON text"),
        (b"\x89HDF\r\n\x1a\n" + bytes(80), "HDF5"),
        (b"\x1f\x8b\x08" + bytes(80), "gzip"),
        (b"", "empty"),
    ],
    ids=["pointer", "page", "HTML", "XML", "JSON", "HDF5", "gzip", "empty"],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, content, called, ending):
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"weights\.{ending} \({len(content)} bytes\) cannot be read .*: it is .*{called}"
    ):
        read_state_dict(path)


def test_the_class_next_to_the_tensors_is_named(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "opt": argparse.Namespace(lr=0.1)}, tmp_path / "opt.pth")
    with pytest.raises(ValueError, match=r"opt\.pth .* holds argparse\.Namespace, .*state dict alone"):
        read_state_dict(tmp_path / "opt.pth")


def test_the_folder_of_a_run_points_at_its_checkpoint(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"is not a file; give its best\.ckpt"):
        read_state_dict(tmp_path)

"""What a file is that cannot be read as weights, so that a message can call it that."""

import re
from pathlib import Path

_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: get that with git lfs pull"),
    (b"<!doctype html", "a web page: open its address in a browser to see what it answered instead of the file"),
    (b"<html", "a web page: open its address in a browser to see what it answered instead of the file"),
    (b"<?xml", "an XML text: open its address in a browser to see what it answered instead of the file"),
    (b"{", "a JSON text, no weights"),
    (b"\x89hdf", "an HDF5 file, as Keras writes it"),
    (b"\x93numpy", "an array of NumPy"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
)


def reason_of(path: Path, error: Exception) -> str:
    """Why a file cannot be read: what it is by its first bytes, or its reader's message.

    Args:
        path: the file.
        error: of its reader.
    """
    with path.open("rb") as file:
        begin = file.read(256).lstrip().lower()
    if not begin:
        return "it is empty"
    kind = next((text for magic, text in _KINDS if begin.startswith(magic)), None)
    if kind is not None:
        return f"it is {kind}"
    # torch.load's own message advises to run the code in the file.
    named = re.search(r"GLOBAL `?([\w.]+)", str(error))
    if named:
        return (
            f"next to its tensors it holds {named[1]}, a class or function of Python, and only tensors and plain types are "
            "read; from a source that you trust, write its state dict alone: torch.save(torch.load(FILE, "
            "weights_only=False)['state_dict'], NEW)"
        )
    lines = str(error).strip().split("\n")
    return f"truncated, or another kind of file? {type(error).__name__}: {lines[0] or 'no reason given'}"

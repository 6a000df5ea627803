"""Files of ``torch.save`` and ``torch.export``, looked at before anything in them is unpacked: damage, bombs, calls.

They are zip archives whose entries are stored as they are, each with a checksum (CRC-32) that PyTorch itself does not compare.
"""

import io
import logging
import pickletools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

# Files older than PyTorch 1.6 are no archives but five pickles, then the tensors, without checksums.
_LEGACY_PICKLES = 5
# What torch.load allows a pickle to call and files of weights do not need: a few bytes of it could fill the memory.
_GREEDY = re.compile(r"(__builtin__|builtins) bytearray|_codecs encode|torch(\.\w+)* \w*Tensor")
# Memory for the comparison of checksums, in bytes.
_BLOCK = 2**20


def is_archive(path: Path) -> bool:
    """Whether a file begins as an archive does."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def check(path: Path, what: str) -> None:
    """Compares the checksum of every entry of an archive, and refuses what unpacks to more than the file's own size.

    Archives written without checksums (``torch.serialization.set_crc32_options(False)``) have only their sizes checked.

    Args:
        path: the archive.
        what: what messages call it, such as "checkpoint runs/folder/best.ckpt".

    Raises:
        ValueError: no archive, damaged (names the entry), or with compressed or overlapping entries, which no model has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_sizes(entries, path.stat().st_size, what)
            if all(entry.CRC == 0 for entry in entries):
                log.warning("%s: written without checksums, so damage in it cannot be noticed", what)
                return
            for entry in entries:
                _check_content(archive, entry, what)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError, RuntimeError, UnicodeError) as error:
        size = path.stat().st_size
        raise ValueError(
            f"{what}: cannot be read ({size:,} bytes): cut off, or damaged: not a whole archive"
        ) from error


def check_calls(path: Path, what: str) -> None:
    """Refuses a file of ``torch.save`` with calls that ``torch.load(weights_only=True)`` allows, and that can fill the memory.

    Raises:
        ValueError: names what is called.
    """
    for content in _pickles(path):
        try:
            # The first of several pickles of the old kind leaves the file where the next one begins.
            for _ in range(_LEGACY_PICKLES):
                for operation, argument, _ in pickletools.genops(content):
                    if operation.name == "GLOBAL" and _GREEDY.fullmatch(str(argument)):
                        raise _Called(str(argument).replace(" ", "."))
        except _Called as error:
            raise ValueError(f"{what}: not opened: it calls {error}, which files of weights do not") from None
        except Exception:
            # No pickle, which torch.load reports.
            continue


class _Called(Exception):
    pass


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    if not is_archive(path):
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                # Compared already, and absent from a file without checksums.
                del entry.CRC
                yield io.BytesIO(archive.read(entry))


def _check_sizes(entries: Sequence[zipfile.ZipInfo], size: int, what: str) -> None:
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(f"{what}: not opened: its entry {_shown(packed[0])} is compressed, and no model's is")
    # Entries may lie over each other.
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        raise ValueError(f"{what}: not opened: its entries have {unpacked:,} bytes, more than the {size:,} of the file")


def _check_content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, what: str) -> None:
    try:
        with archive.open(entry) as content:
            while content.read(_BLOCK):
                pass
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{what}: damaged: its entry {_shown(entry.filename)} differs from its checksum") from error


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:80])

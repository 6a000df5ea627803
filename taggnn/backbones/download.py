"""Published weight files: fetched once into PyTorch's cache, resumed where a connection was cut, verified, moved in whole."""

import errno
import hashlib
import logging
import os
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from tqdm import tqdm

log = logging.getLogger(__name__)

CHUNK = 1 << 20


@dataclass(frozen=True)
class Published:
    """A file that somebody published.

    Attributes:
        url: where it is.
        sha256: its digest or the first digits of it, in hexadecimal; where not given, what follows a dash at the end of
            the file's name, as in PyTorch's and IG-65M's names; empty: none is published.
    """

    url: str
    sha256: str = ""

    def __post_init__(self) -> None:
        in_name = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.name)
        if in_name and not self.sha256:
            object.__setattr__(self, "sha256", in_name[1])

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(urlsplit(self.url).path).name


def fetch(file: Published, folder: str | Path | None = None, timeout: float = 30.0) -> Path:
    """Finds a published file in the cache, or downloads it there.

    What arrived before a connection was cut stays next to the file as ``.part``; the next attempt requests the rest, at once
    while attempts make progress, else when called again. Processes that want the same file wait for each
    other.

    Args:
        file: what to fetch.
        folder: where to look and to put it; None (default): ``checkpoints`` of ``torch.hub.get_dir()``, which torchvision and
            torch.hub use too.
        timeout: seconds without data after which an attempt ends.

    Returns:
        The file's path; its digest is the published one, where one is.

    Raises:
        ValueError: it cannot be downloaded, or is not what was published; the message states what to fetch and where to put it.
        OSError: the disk is full, or the folder cannot be written.
    """
    folder = Path(folder or Path(torch.hub.get_dir()) / "checkpoints")
    target, part = folder / file.name, folder / f"{file.name}.part"
    # No lock where none is needed: a cache that many share may be read-only.
    if target.exists():
        return _checked(target, file)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{file.name}.lock"):
        if target.exists():
            return _checked(target, file)
        _download(file, part, target, timeout)
        try:
            verify(part, file, f"It was deleted. Fetch {file.url} in another way and put it at {target}")
        except ValueError:
            part.unlink()
            raise
        os.replace(part, target)
        _version_file(part).unlink(missing_ok=True)
    return target


def _checked(target: Path, file: Published) -> Path:
    verify(target, file, "Remove it, then it is downloaded again")
    return target


def _download(file: Published, part: Path, target: Path, timeout: float) -> None:
    """Fills ``part`` until it is whole; raises after an attempt without progress."""
    while True:
        before = _size(part)
        try:
            _stream(file, part, timeout)
            return
        except HTTPError as error:
            # The part is as long as the file or longer: of another version, or whole but never moved.
            if error.code == 416 and before:
                part.unlink()
                continue
            reason: Exception = error
        except (URLError, OSError, HTTPException) as error:
            reason = error
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    error.errno, f"{error.strerror} after {_size(part):,} bytes of {file.url}", part
                ) from error
            if _size(part) > before:
                log.info("%s: %s; resuming at byte %d", file.url, error, _size(part))
                continue
        partial = f" {_size(part):,} bytes of it are in {part}: the next attempt resumes there." if _size(part) else ""
        host = urlsplit(file.url).netloc
        raise ValueError(
            f"{file.url} could not be downloaded: {host} is not reachable or does not provide it "
            f"({type(reason).__name__}: {reason}).{partial} Or fetch the file elsewhere and put it at {target}, or give its "
            "path as weights; null trains from random ones, as the recipe scratch does"
        ) from reason


def _stream(file: Published, part: Path, timeout: float) -> None:
    """One attempt: appends what is missing, or starts again where the server does not resume or has another version."""
    have, version_file = _size(part), _version_file(part)
    version = version_file.read_text() if version_file.exists() else ""
    headers = {"User-Agent": "taggnn"}
    # Without a version or a digest, halves of two different files could be joined unnoticed.
    if have and (version or file.sha256):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})
    with urlopen(Request(file.url, headers=headers), timeout=timeout) as answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not resumed:
            have = 0
            tag = answer.headers.get("ETag", "")
            version_file.write_text(answer.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(
            total=total, initial=have, desc=file.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None
        )
        with bar, part.open("ab" if resumed else "wb") as sink:
            while chunk := answer.read(CHUNK):
                sink.write(chunk)
                bar.update(len(chunk))
            sink.flush()
            os.fsync(sink.fileno())
    if total is not None and _size(part) != total:
        raise ConnectionError(f"the connection was cut after {_size(part):,} of {total:,} bytes")


def verify(path: Path, file: Published, advice: str) -> None:
    """Compares a file with the published digest.

    Args:
        path: the file.
        file: what was published.
        advice: what to do about another file, for the message.

    Raises:
        ValueError: another digest.
    """
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if not found.startswith(file.sha256):
        raise ValueError(
            f"{path} is not what was published: its sha256 is {found[: max(len(file.sha256), 8)]}.., that of {file.url} "
            f"{file.sha256}. {advice}"
        )
    log.info("%s: sha256 %s%s", path, found, "" if file.sha256 else " (none is published to compare it with)")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

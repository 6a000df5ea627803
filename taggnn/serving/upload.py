"""The body of a request as a file: written as it arrives, refused as soon as it is larger than allowed.

A clip is the whole body, whatever its content type, or the one file of a multipart form. Nothing that the client names becomes
part of a path: the file has a name of its own, and an ending only if it is one of those that the model's source reads.
"""

import asyncio
import errno
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from taggnn.serving.extra import imported

# Bytes of a field of a form that is no file, and fields of a form.
FIELD_BYTES, FIELDS = 1024, 16
NAME_LETTERS = 255


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of the response.
        reason: for people.
        headers: further headers of the response.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


@dataclass(frozen=True)
class Limits:
    """What a client may use.

    Args:
        size: bytes of a request's body.
        seconds: that sending it may take.
    """

    size: int = 256 * 2**20
    seconds: float = 60.0


@dataclass
class Upload:
    """A clip that was received.

    Args:
        path: of the file.
        name: as the client calls it, for answers; None if it did not.
        size: bytes.
        fields: the other fields of the form.
    """

    path: Path
    name: str | None = None
    size: int = 0
    fields: dict[str, str] = field(default_factory=dict)


class _Form:
    """Parts of a multipart form as they arrive: the file goes to ``write``, small fields are kept."""

    def __init__(self, boundary: bytes, upload: Upload, open_file: Callable[[], IO[bytes]]) -> None:
        self.upload, self._open, self.file = upload, open_file, None
        self._header, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._field, self._content, self._count = "", b"", 0
        self._in_file = self.ended = False
        multipart = imported("python_multipart.multipart")
        self._options = multipart.parse_options_header
        self.parser = multipart.MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    file: IO[bytes] | None

    def _part_begin(self) -> None:
        self._headers, self._content = {}, b""
        self._count += 1
        if self._count > FIELDS:
            raise Refused(400, f"the form has more than {FIELDS} fields")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = self._options(self._headers.get(b"content-disposition"))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = b"filename" in options
        if not self._in_file:
            return
        if self.file is not None:
            raise Refused(400, "the form has more than one file; a request takes one clip")
        self.upload.name = shown_name(options[b"filename"].decode("utf-8", "replace"))
        self.file = self._open()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            assert self.file is not None
            self.file.write(data[start:end])
            self.upload.size += end - start
            return
        self._content += data[start:end]
        if len(self._content) > FIELD_BYTES:
            raise Refused(400, f"field {self._field[:60]!r} of the form has more than {FIELD_BYTES} bytes")

    def _part_end(self) -> None:
        if not self._in_file:
            self.upload.fields[self._field] = self._content.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True


def shown_name(given: str) -> str | None:
    """The last part of a name that a client gave, for people; None for an empty one."""
    return given.replace("\\", "/").rsplit("/", 1)[-1][:NAME_LETTERS] or None


async def receive(
    chunks: AsyncIterator[bytes],
    headers: Mapping[str, str],
    folder: Path,
    limits: Limits,
    endings: Collection[str] = (),
    file_needed: bool = True,
) -> Upload:
    """Writes the body of a request to a file in ``folder``; the caller removes it.

    Args:
        chunks: of the body.
        headers: of the request, by names in lower case.
        folder: for the file; its name in it is drawn at random.
        limits: of the body.
        endings: that the file may have; the first one, in order, without a name.
        file_needed: whether a form without a file is refused.

    Raises:
        Refused: too large, too slow, no clip in it, no form where its type says so, or no space for it. The file is removed.
    """
    check_length(headers, limits)
    upload = Upload(folder / secrets.token_hex(16))
    try:
        with _no_space():
            return await asyncio.wait_for(
                _received(chunks, headers, upload, limits, endings, file_needed), limits.seconds
            )
    except BaseException as error:
        remove(upload)
        if isinstance(error, asyncio.TimeoutError):
            raise Refused(408, f"the clip took more than {limits.seconds:g} seconds to arrive") from None
        raise


def check_length(headers: Mapping[str, str], limits: Limits) -> None:
    """Refuses a body by its announced length, before any of it is read.

    Raises:
        Refused: it is larger than allowed.
    """
    length = headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and int(length) > limits.size:
        raise _too_large(limits)


def remove(upload: Upload) -> None:
    """Removes the file of an upload, whatever ending it got."""
    for path in upload.path.parent.glob(f"{upload.path.stem}*"):
        path.unlink(missing_ok=True)


async def _received(
    chunks: AsyncIterator[bytes],
    headers: Mapping[str, str],
    upload: Upload,
    limits: Limits,
    endings: Collection[str],
    file_needed: bool,
) -> Upload:
    received = 0

    def opened() -> IO[bytes]:
        # Only the owner may read what a stranger has sent.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(upload.path, flags, 0o600), "wb")

    form = _form(headers, upload, opened)
    raw = opened() if form is None else None
    try:
        async for chunk in chunks:
            received += len(chunk)
            if received > limits.size:
                raise _too_large(limits)
            if raw is not None:
                raw.write(chunk)
                upload.size += len(chunk)
            elif form is not None and chunk:
                _parse(form, chunk)
    finally:
        for file in (raw, None if form is None else form.file):
            if file is not None:
                file.close()
    if form is not None and not form.ended:
        raise Refused(400, "the form ends before its last boundary")
    if upload.size == 0 and file_needed:
        raise Refused(400, "no clip was sent: send the file as the body, or as the one file of a multipart form")
    return _with_ending(upload, endings)


def _form(headers: Mapping[str, str], upload: Upload, opened: Callable[[], IO[bytes]]) -> _Form | None:
    kind, options = imported("python_multipart.multipart").parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise Refused(400, "the multipart form has no boundary in its content type")
    return _Form(boundary, upload, opened)


def _parse(form: _Form, chunk: bytes) -> None:
    errors: Any = imported("python_multipart.exceptions").FormParserError
    try:
        form.parser.write(chunk)
    except errors as error:
        raise Refused(400, f"not a multipart form: {str(error)[:200]}") from None


def _with_ending(upload: Upload, endings: Collection[str]) -> Upload:
    """The kind of a skeleton file is known by its ending; one from the list is given to the file, and no other."""
    given = os.path.splitext(upload.name or "")[1].lower()
    if given in endings and upload.size:
        upload.path = upload.path.rename(upload.path.with_suffix(given))
    return upload


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the clip is larger than {limits.size:,} bytes, the limit of this server")


@contextmanager
def _no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused(507, "no space for the clip on this server") from None

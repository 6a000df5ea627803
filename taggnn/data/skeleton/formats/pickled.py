"""Reads pickles of plain types and NumPy arrays without running anything that they name.

Format: https://github.com/python/cpython/blob/main/Lib/pickletools.py, which describes every instruction. ``pickle`` calls what a
file names; here the instructions that data are made of are interpreted, and the few functions that NumPy's arrays name are known
by their names alone. Any other name is refused. Of arrays only the position of their numbers is kept: they are read when needed,
so that a file of gigabytes is opened in a few seconds and takes as much memory as its index.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, NoReturn

import numpy as np

from taggnn.data.skeleton.formats.arrays import check_shape
from taggnn.data.skeleton.formats.recording import Array

# Four times what the largest published file has; with it the memory is bounded, whatever a file repeats.
MAX_INSTRUCTIONS = 2**25
# Longer texts are the numbers of arrays, which old protocols write as text.
_LONGEST_TEXT = 1024
_MARK = object()

# Names that stand for NumPy's arrays and types: module (as of NumPy 1 and 2) and name -> what they mean here.
_NAMES = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "array" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "buffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("builtins", "bytes"): "bytes",
    ("__builtin__", "bytes"): "bytes",
    ("collections", "OrderedDict"): "dict",
}


@dataclass(frozen=True, slots=True)
class _Name:
    meaning: str


@dataclass(slots=True)
class _Type:
    """A NumPy number type; its byte order follows in a state."""

    code: str
    order: str = "<"


@dataclass(slots=True)
class _Span:
    """Bytes of the file, perhaps written as text with one character for each."""

    begin: int
    length: int
    text: bool = False


@dataclass(slots=True)
class StoredArray:
    """An array of numbers in the file.

    Args:
        file: the open file.
        shape: its shape.
        dtype: as NumPy writes it, such as "<f4".
        fortran: whether the first axis changes fastest.
    """

    file: BinaryIO
    shape: tuple[int, ...] = ()
    dtype: str = ""
    fortran: bool = False
    span: _Span | bytes = b""

    def read(self) -> Array:
        """The numbers.

        Raises:
            ValueError: fewer than the shape needs, or too many for a clip.
            OSError: as reading a file.
        """
        kind = np.dtype(self.dtype or "V")
        check_shape(self.shape, kind.kind)
        wanted = prod(self.shape) * kind.itemsize
        # As text a byte takes one or two.
        if isinstance(self.span, _Span) and not wanted <= self.span.length <= wanted * (1 + self.span.text):
            raise ValueError(f"an array {self.shape} of {self.dtype} has {self.span.length:,} bytes")
        content = _bytes(self.file, self.span)
        if len(content) != wanted:
            raise ValueError(f"an array {self.shape} of {self.dtype} has {len(content):,} bytes")
        return np.frombuffer(content, kind).reshape(self.shape, order="F" if self.fortran else "C")


def load(file: BinaryIO) -> Any:
    """The object in a pickle: dicts, lists, tuples, texts, numbers, and ``StoredArray``.

    Args:
        file: open, buffered; it must stay open as long as arrays are to be read.

    Raises:
        ValueError: truncated, or it names anything but NumPy's arrays; says what.
    """
    try:
        return _Machine(file).run()
    except (IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not readable as a pickle: {type(error).__name__} at byte {file.tell():,}") from None


def _bytes(file: BinaryIO, span: Any) -> bytes:
    if isinstance(span, bytes):
        return span
    if not isinstance(span, _Span):
        raise ValueError(f"the numbers of an array are a {type(span).__name__}")
    # By position: processes of a loader share the file.
    content = os.pread(file.fileno(), span.length, span.begin)
    return content.decode("utf-8").encode("latin1") if span.text else content


class _Machine:
    """The stack machine of the format, limited to data."""

    def __init__(self, file: BinaryIO):
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.codes: dict[bytes, Callable[[], None]] = {
            b"\x80": self._proto,
            # The length of a frame, which says nothing about the data.
            b"\x95": lambda: self._drop_bytes(8),
            b"(": lambda: self.stack.append(_MARK),
            b"0": self._drop,
            b"N": lambda: self.stack.append(None),
            b"\x88": lambda: self.stack.append(True),
            b"\x89": lambda: self.stack.append(False),
            b"K": lambda: self.stack.append(self._take(1)[0]),
            b"M": lambda: self.stack.append(int.from_bytes(self._take(2), "little")),
            b"J": lambda: self.stack.append(int.from_bytes(self._take(4), "little", signed=True)),
            b"\x8a": lambda: self.stack.append(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True)),
            b"G": lambda: self.stack.append(struct.unpack(">d", self._take(8))[0]),
            b"\x8c": lambda: self._text(1),
            b"X": lambda: self._text(4),
            b"\x8d": lambda: self._text(8),
            b"C": lambda: self._span(1),
            b"B": lambda: self._span(4),
            b"\x8e": lambda: self._span(8),
            b"\x96": lambda: self._span(8),
            b"]": lambda: self.stack.append([]),
            b"}": lambda: self.stack.append({}),
            b")": lambda: self.stack.append(()),
            b"\x85": lambda: self._tuple(1),
            b"\x86": lambda: self._tuple(2),
            b"\x87": lambda: self._tuple(3),
            b"t": lambda: self.stack.append(tuple(self._marked())),
            b"a": lambda: self._extend([self.stack.pop()]),
            b"e": lambda: self._extend(self._marked()),
            b"s": lambda: self._update([self.stack.pop(-2), self.stack.pop()]),
            b"u": lambda: self._update(self._marked()),
            b"q": lambda: self._put(self._take(1)[0]),
            b"r": lambda: self._put(int.from_bytes(self._take(4), "little")),
            b"\x94": lambda: self._put(len(self.memo)),
            b"h": lambda: self.stack.append(self.memo[self._take(1)[0]]),
            b"j": lambda: self.stack.append(self.memo[int.from_bytes(self._take(4), "little")]),
            b"c": lambda: self._global(self._line(), self._line()),
            b"\x93": lambda: self._global(self.stack.pop(-2), self.stack.pop()),
            b"R": self._reduce,
            b"b": self._build,
        }

    def run(self) -> Any:
        read, codes = self.file.read, self.codes
        for _ in range(MAX_INSTRUCTIONS):
            code = read(1)
            if code == b".":
                return self.stack.pop()
            if code not in codes:
                self._refuse(code)
            codes[code]()
        raise ValueError(f"a pickle of more than {MAX_INSTRUCTIONS:,} instructions")

    def _refuse(self, code: bytes) -> NoReturn:
        where = f"at byte {self.file.tell() - len(code):,}"
        if not code:
            raise ValueError(f"truncated: the pickle ends {where}")
        raise ValueError(
            f"a pickle with the instruction {code!r} {where}, which plain types and NumPy arrays do not need"
        )

    def _take(self, count: int) -> bytes:
        found = self.file.read(count)
        if len(found) < count:
            raise ValueError(f"truncated: the pickle ends at byte {self.size:,}")
        return found

    def _skip(self, count: int) -> int:
        begin = self.file.tell()
        if count > self.size - begin:
            raise ValueError(f"truncated: {count:,} bytes should follow at byte {begin:,} of {self.size:,}")
        self.file.seek(count, os.SEEK_CUR)
        return begin

    def _drop_bytes(self, count: int) -> None:
        self._take(count)

    def _proto(self) -> None:
        version = self._take(1)[0]
        if not 2 <= version <= 5:
            raise ValueError(f"a pickle of protocol {version}; possible are 2 to 5")

    def _line(self) -> str:
        return self.file.readline(_LONGEST_TEXT).rstrip(b"\n").decode("utf-8", "replace")

    def _text(self, width: int) -> None:
        length = int.from_bytes(self._take(width), "little")
        if length > _LONGEST_TEXT:
            self.stack.append(_Span(self._skip(length), length, text=True))
        else:
            self.stack.append(self._take(length).decode("utf-8", "surrogatepass"))

    def _span(self, width: int) -> None:
        length = int.from_bytes(self._take(width), "little")
        self.stack.append(_Span(self._skip(length), length))

    def _drop(self) -> None:
        self.stack.pop()

    def _tuple(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _marked(self) -> list[Any]:
        """What lies above the last mark, which is removed."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("a pickle without the mark of a list or a dict")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError(f"a pickle that appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or not all(isinstance(key, (str, int)) for key in items[::2]):
            raise ValueError(f"a pickle that sets items of a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _global(self, module: Any, name: Any) -> None:
        meaning = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if meaning is None:
            raise ValueError(
                f"refused: it wants to run {str(module)[:60]}.{str(name)[:60]}; only NumPy arrays and plain types are read"
            )
        self.stack.append(_Name(meaning))

    def _reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or type(arguments) is not tuple:
            raise ValueError(f"refused: it wants to call a {type(name).__name__}")
        self.stack.append(self._made(name.meaning, arguments))

    def _made(self, meaning: str, arguments: tuple[Any, ...]) -> Any:
        match meaning, arguments:
            case "array", (_Name("ndarray"), tuple(), _):
                return StoredArray(self.file)
            case "dtype", (str() as code, *_):
                return _Type(code)
            case "scalar", (_Type() as kind, data):
                return _value(self.file, kind, data)
            case "encode", (str() as text, "latin1" | "latin-1"):
                return text.encode("latin1")
            case "encode", (_Span() as span, "latin1" | "latin-1"):
                return span
            case "buffer", (data, _Type() as kind, tuple() as shape, "C" | "F" as order):
                return _stored(self.file, shape, kind, order == "F", data)
            case "bytes", ():
                return b""
            case "dict", ():
                return {}
        raise ValueError(f"refused: it makes a NumPy {meaning} in a way that is not known")

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        match made, state:
            case StoredArray(), (int(), tuple() as shape, _Type() as kind, fortran, data):
                self.stack[-1] = _filled(made, _stored(self.file, shape, kind, bool(fortran), data))
            case _Type(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                made.order = order
            case _:
                raise ValueError(f"refused: it sets the state of a {type(made).__name__} in a way that is not known")


def _stored(file: BinaryIO, shape: tuple[Any, ...], kind: _Type, fortran: bool, data: Any) -> StoredArray:
    if not all(type(size) is int and size >= 0 for size in shape) or not isinstance(data, (_Span, bytes)):
        raise ValueError("refused: it holds an array of objects, or of a shape that is none")
    return StoredArray(file, shape, _numbers(kind), fortran, data)


def _filled(made: StoredArray, found: StoredArray) -> StoredArray:
    """The same object, which the memory of the machine may refer to, with the content of another."""
    made.shape, made.dtype, made.fortran, made.span = found.shape, found.dtype, found.fortran, found.span
    return made


def _numbers(kind: _Type) -> str:
    """The NumPy name of a type of numbers; made from a text that is checked, never by NumPy's own reader of states."""
    if kind.code[:1] not in ("f", "i", "u", "b") or kind.code[1:] not in ("1", "2", "4", "8") or kind.code == "f1":
        raise ValueError(f"refused: an array of type {kind.code[:20]!r}; possible are floats, integers and booleans")
    return ("<" if kind.order in "=|" else kind.order) + kind.code


def _value(file: BinaryIO, kind: _Type, data: Any) -> int | float | bool:
    dtype = np.dtype(_numbers(kind))
    content = _bytes(file, data)
    if len(content) != dtype.itemsize:
        raise ValueError(f"a number of type {kind.code} has {len(content)} bytes")
    return np.frombuffer(content, dtype)[0].item()

"""Runs exported models, programs of torch.export and of ONNX, without running any other code in their files.

Axes: B clips, K classes.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from taggnn.names import unknown
from taggnn.types import InputSpec, Output

# The name of the metadata in the files.
META = "taggnn.json"
_DIGEST = "taggnn_digest"
# Digits of the position where META begins.
_POSITION_DIGITS = 12
_ENTRY = re.compile(
    r"data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)"
    r"|sample_inputs/model\.pt)|models/model\.json|extra/taggnn\.json|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)"
)
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|torch\.sym_\w+|_operator\.(?!_|attr|item|method)\w+"
)
_WORD = re.compile(
    r"[suz]\d+|Symbol|Integer|True|False|positive|integer|nonnegative|Add|Mul|Pow|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|Min|Max|Abs"
    r"|Equality|Unequality|GreaterThan|StrictGreaterThan|LessThan|StrictLessThan|And|Or|Not"
)


class Program(Protocol):
    """A program on one device: inputs -> logits."""

    def __call__(self, clip: Tensor) -> Tensor:
        """**Shapes:** float32 (B, *spec.shape) -> logits (B, K)"""


class Exported(nn.Module):
    """An exported program as a model, for inference in float32, without extras and losses.

    Args:
        kind: a name of ``KINDS``.
        content: the file.
        meta: its metadata, see ``taggnn.export``.
        source: its path, for messages.

    **Shapes:** x (B, *spec.shape) -> logits (B, K)

    Raises:
        ValueError: the program does not run here; in ``forward``, inputs of another size.
        ImportError: ONNX Runtime is not there.
    """

    # For type checkers: a call of nn.Module returns Any.
    __call__: Callable[..., Output]

    def __init__(self, kind: str, content: bytes, meta: Mapping[str, Any], source: str) -> None:
        super().__init__()
        self.kind, self.source = kind, source
        self.spec = InputSpec.read(meta["architecture"]["input"])
        self.found = {**meta["found"], "exported": f"{KINDS[kind].title}, {len(content) / 2**20:.1f} MiB"}
        self.dtype = torch.float32
        self._content = content
        self.open(torch.device("cpu"))

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Output:
        self.spec.check(x, self.source)
        return Output(self._program(x.to(self.device, self.dtype)))

    def accepting(self, spec: InputSpec) -> "Exported":
        """Returns the model itself, after a check that it was exported for such inputs.

        Raises:
            ValueError: it was exported for others.
        """
        if (spec.axes, spec.shape) != (self.spec.axes, self.spec.shape):
            why = "; an exported program has its backbone in it" if spec.kind == "tokens" else ""
            raise ValueError(f"{self.source} takes {self.spec}, not {spec}{why}")
        return self

    def to(self, device: torch.device | str) -> "Exported":  # type: ignore[override]
        """Opens the program on a device."""
        device = torch.device(device)
        if device != self.device:
            self.open(device)
        return self

    def open(self, device: torch.device) -> None:
        """Opens the program on a device, also if it is open there."""
        self.check_device(device)
        self._program, self.device = KINDS[self.kind](self._content, device, self.source), device

    def check_device(self, device: torch.device | str) -> None:
        """Refuses a device on which the program cannot compute.

        Raises:
            ValueError: neither the CPU nor CUDA, or ONNX Runtime was built without it.
        """
        KINDS[self.kind].check(torch.device(device), self.source)

    def describe(self) -> str:
        """The facts that were found when the model was built, one a line."""
        return "\n".join(f"{part:9} {fact}" for part, fact in self.found.items())


class TorchProgram:
    """A program of torch.export."""

    title = "torch.export"

    def __init__(self, content: bytes, device: torch.device, source: str) -> None:
        from torch.export.passes import move_to_device_pass

        try:
            program = torch.export.load(io.BytesIO(content))
        except Exception as error:
            raise ValueError(f"{source}: torch {torch.__version__} cannot open it: {_first_line(error)}") from error
        self._run = (program if device.type == "cpu" else move_to_device_pass(program, device)).module()

    def __call__(self, clip: Tensor) -> Tensor:
        return self._run(clip)

    @staticmethod
    def check(device: torch.device, source: str) -> None:
        if device.type not in ("cpu", "cuda"):
            raise unknown("device", str(device), ["cpu", "cuda"], source)

    @staticmethod
    def meta(content: bytes, source: str) -> dict[str, Any]:
        """The metadata of the file, after a check that it holds no code.

        Raises:
            ValueError: damaged, not written by ``taggnn.export``, or with a part that loading would run.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                damaged = archive.testzip()
                entries = (
                    {name.partition("/")[2]: archive.read(name) for name in archive.namelist()} if not damaged else {}
                )
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
            raise ValueError(f"{source}: damaged, or not a file of torch.export ({error})") from error
        if damaged:
            raise ValueError(f"{source}: damaged ({damaged} has another checksum)")
        if f"extra/{META}" not in entries:
            raise _foreign(source)
        meta = read_meta(entries[f"extra/{META}"], source)
        try:
            unexpected = _unexpected_part(entries)
        except ValueError as error:
            raise _changed(source) from error
        if unexpected is not None:
            raise ValueError(f"{source}: not opened, as it holds more than a program and its weights ({unexpected})")
        return meta


class OnnxProgram:
    """A program of ONNX, run by ONNX Runtime with as many threads as PyTorch has."""

    title = "ONNX"

    def __init__(self, content: bytes, device: torch.device, source: str) -> None:
        runtime = _runtime(source)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.device = device
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda":
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        try:
            self._session = runtime.InferenceSession(content, options, providers=providers)
        except Exception as error:
            raise ValueError(
                f"{source}: ONNX Runtime {runtime.__version__} cannot open it: {_first_line(error)}"
            ) from error

    def __call__(self, clip: Tensor) -> Tensor:
        (logits,) = self._session.run(["logits"], {"clip": clip.contiguous().cpu().numpy()})
        return torch.from_numpy(logits).to(self.device)

    @staticmethod
    def check(device: torch.device, source: str) -> None:
        possible = ["cpu"]
        if "CUDAExecutionProvider" in _runtime(source).get_available_providers():
            possible.append("cuda")
        if device.type not in possible:
            raise ValueError(
                f"{source}: this ONNX Runtime computes on {' and '.join(possible)}, not on {device}"
                + ("; pip install onnxruntime-gpu in place of onnxruntime" if device.type == "cuda" else "")
            )

    @staticmethod
    def meta(content: bytes, source: str) -> dict[str, Any]:
        """The metadata of the file.

        Raises:
            ValueError: changed since it was written, or not written by ``taggnn.export``.
        """
        length = len(_digest_field(b"", 0))
        field, before = content[-length:], content[:-length]
        if _DIGEST.encode() not in field:
            raise _foreign(source, "cut off, or ") if _DIGEST.encode() not in content else _changed(source)
        start = int(field[-_POSITION_DIGITS:]) if field[-_POSITION_DIGITS:].isdigit() else 0
        if field != _digest_field(before, start):
            raise _changed(source)
        return read_meta(before[start:], source)


# name of a format -> class that runs it
KINDS: dict[str, Any] = {"torch": TorchProgram, "onnx": OnnxProgram}
ENDINGS = {".pt2": "torch", ".onnx": "onnx"}


def open_program(path: str | Path) -> tuple[Exported, dict[str, Any]]:
    """Opens what ``taggnn.export`` wrote as ``.pt2`` or ``.onnx``.

    Args:
        path: the file; its suffix names the format.

    Returns:
        The program, on the CPU, and the metadata of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, changed, not written by ``taggnn.export``, or too new for what is installed.
        ImportError: ONNX Runtime is not there.
    """
    path = Path(path)
    kind = ENDINGS[path.suffix]
    if not path.is_file():
        raise FileNotFoundError(f"exported model {path}: no such file")
    content = path.read_bytes()
    meta = KINDS[kind].meta(content, str(path))
    return Exported(kind, content, meta, str(path)), meta


def sealed(content: bytes, meta: Mapping[str, Any]) -> bytes:
    """Adds two entries to the metadata of an ONNX file: ``META``, and the digest of everything before it.

    An ONNX file is a list of fields (Protocol Buffers), and appended fields belong to the model.
    """
    text = json.dumps(meta).encode()
    content += _field(META, text)
    return content + _digest_field(content, len(content) - len(text))


def _digest_field(content: bytes, start: int) -> bytes:
    return _field(_DIGEST, f"{hashlib.sha256(content).hexdigest()} {start:0{_POSITION_DIGITS}d}".encode())


def _field(key: str, value: bytes) -> bytes:
    """One entry of ModelProto.metadata_props (14), with key (1) and value (2); all are length-delimited (wire type 2)."""
    entry = b"\x0a" + _length_delimited(key.encode()) + b"\x12" + _length_delimited(value)
    return b"\x72" + _length_delimited(entry)


def _length_delimited(value: bytes) -> bytes:
    count, size = len(value), b""
    while count > 127:
        size += bytes([count & 127 | 128])
        count >>= 7
    return size + bytes([count]) + value


def _unexpected_part(entries: Mapping[str, bytes]) -> str | None:
    """A part of a torch.export archive other than tensors and known operators: the loader would unpickle or evaluate it."""
    for name in entries:
        if not _ENTRY.fullmatch(name) or (name == "data/sample_inputs/model.pt" and entries[name]):
            return name
    for name in entries:
        for key, value in _pairs(json.loads(entries[name])) if name.endswith(".json") else ():
            if key in _PLAIN and not _PLAIN[key](value):
                return f"{key} {str(value)[:80]}"
    return None


def _is_size(value: Any) -> bool:
    """Whether a text is a formula of sizes, as torch.export writes them."""
    words = re.findall(r"[^\W\d]\w*", str(value))
    return bool(re.fullmatch(r"[\w\s='(),*+/-]*", str(value))) and all(map(_WORD.fullmatch, words))


# key -> whether a value is harmless
_PLAIN: dict[str, Callable[[Any], object]] = {
    "use_pickle": lambda value: value is False,
    "target": lambda value: not isinstance(value, str) or _TARGET.fullmatch(value),
    "expr_str": _is_size,
}


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _pairs(part)


def read_meta(content: bytes, source: str) -> dict[str, Any]:
    """Reads the metadata of an exported file: architecture and the other fields of ``Loaded``.

    Raises:
        ValueError: not written by ``taggnn.export``.
    """
    try:
        # A class name may have bytes that are no UTF-8.
        meta = json.loads(content.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise _foreign(source) from error
    needed = {"architecture", "split_options", "found"}
    if not isinstance(meta, dict) or not needed <= set(meta) or not isinstance(meta["architecture"], dict):
        raise _foreign(source)
    if not {"backbone", "head", "input", "classes"} <= set(meta["architecture"]):
        raise _foreign(source)
    return meta


def _changed(source: str) -> ValueError:
    return ValueError(f"{source}: damaged, or changed since it was exported")


def _foreign(source: str, perhaps: str = "") -> ValueError:
    return ValueError(f"{source}: {perhaps}not written by taggnn.export, so its classes and its input are not known")


def _runtime(source: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{source}: ONNX Runtime is not installed: pip install onnxruntime ({error})") from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

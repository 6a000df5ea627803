"""Exported models run as the model they were made from: programs of torch.export and of ONNX, and no code of theirs with them.

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

# What the files say of themselves stands in them under this name.
META = "taggnn.json"
_DIGEST = "taggnn_digest"
# Digits of the place where META begins.
_PLACE = 12
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
    """A program that answers inputs, on one device."""

    def __call__(self, clip: Tensor) -> Tensor:
        """**Shapes:** float32 (B, *spec.shape) -> logits (B, K)"""


class Exported(nn.Module):
    """An exported program as a model; it infers only, in float32, and never has extras or losses.

    Args:
        kind: a name of ``KINDS``.
        content: the file.
        meta: what it says of itself, see ``taggnn.export``.
        source: its path, for messages.

    **Shapes:** x (B, *spec.shape) -> logits (B, K)

    Raises:
        ValueError: the program does not run here; in ``forward``, inputs of another size.
        ImportError: ONNX Runtime is not there.
    """

    # What a call gives, for type checkers: nn.Module says Any.
    __call__: Callable[..., Output]

    def __init__(self, kind: str, content: bytes, meta: Mapping[str, Any], source: str) -> None:
        super().__init__()
        self.kind, self.source = kind, source
        self.spec = InputSpec.read(meta["architecture"]["input"])
        self.found = {**meta["found"], "exported": f"{KINDS[kind].says}, {len(content) / 2**20:.1f} MiB"}
        self.dtype = torch.float32
        self._content = content
        self.open(torch.device("cpu"))

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Output:
        self.spec.check(x, self.source)
        return Output(self._program(x.to(self.device, self.dtype)))

    def accepting(self, spec: InputSpec) -> "Exported":
        """The model itself, for inputs such as it was exported for.

        Raises:
            ValueError: they are others.
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
            ValueError: it is none of the processor's or of CUDA's, or ONNX Runtime was built without that.
        """
        KINDS[self.kind].check(torch.device(device), self.source)

    def describe(self) -> str:
        """What was found when the model was built, one line a fact."""
        return "\n".join(f"{part:9} {fact}" for part, fact in self.found.items())


class TorchProgram:
    """A program of torch.export."""

    says = "torch.export"

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
        """What the file says of itself, once it is known to hold no code.

        Raises:
            ValueError: damaged, not written by ``taggnn.export``, or with something in it that loading would run.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                damaged = archive.testzip()
                entries = (
                    {name.partition("/")[2]: archive.read(name) for name in archive.namelist()} if not damaged else {}
                )
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
            raise ValueError(f"{source}: damaged, or no file of torch.export ({error})") from error
        if damaged:
            raise ValueError(f"{source}: damaged ({damaged} has another checksum)")
        if f"extra/{META}" not in entries:
            raise _foreign(source)
        meta = read_meta(entries[f"extra/{META}"], source)
        try:
            odd = _odd_part(entries)
        except ValueError as error:
            raise _changed(source) from error
        if odd is not None:
            raise ValueError(f"{source}: has more in it than a program and its weights ({odd}), and is not opened")
        return meta


class OnnxProgram:
    """A program of ONNX, run by ONNX Runtime with as many threads as PyTorch has."""

    says = "ONNX"

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
        """What the file says of itself.

        Raises:
            ValueError: changed since it was written, or not written by ``taggnn.export``.
        """
        length = len(_digest_field(b"", 0))
        field, before = content[-length:], content[:-length]
        if _DIGEST.encode() not in field:
            raise _foreign(source, "cut off, or ") if _DIGEST.encode() not in content else _changed(source)
        start = int(field[-_PLACE:]) if field[-_PLACE:].isdigit() else 0
        if field != _digest_field(before, start):
            raise _changed(source)
        return read_meta(before[start:], source)


# name of a format -> how it is run
KINDS: dict[str, Any] = {"torch": TorchProgram, "onnx": OnnxProgram}
ENDINGS = {".pt2": "torch", ".onnx": "onnx"}


def open_program(path: str | Path) -> tuple[Exported, dict[str, Any]]:
    """Opens what ``taggnn.export`` wrote as ``.pt2`` or ``.onnx``.

    Args:
        path: the file; its ending says what it is.

    Returns:
        The program, on the CPU, and what the file says of itself.

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
    """The bytes of an ONNX file with two entries more in its metadata: ``META``, and the digest of all before it.

    A file of ONNX is a list of fields (Protocol Buffers): what is written behind them belongs to the model.
    """
    said = json.dumps(meta).encode()
    content += _field(META, said)
    return content + _digest_field(content, len(content) - len(said))


def _digest_field(content: bytes, start: int) -> bytes:
    return _field(_DIGEST, f"{hashlib.sha256(content).hexdigest()} {start:0{_PLACE}d}".encode())


def _field(key: str, value: bytes) -> bytes:
    """ModelProto.metadata_props (14), one entry of key (1) and value (2), all of them counted bytes (wire type 2)."""
    entry = b"\x0a" + _counted(key.encode()) + b"\x12" + _counted(value)
    return b"\x72" + _counted(entry)


def _counted(value: bytes) -> bytes:
    count, size = len(value), b""
    while count > 127:
        size += bytes([count & 127 | 128])
        count >>= 7
    return size + bytes([count]) + value


def _odd_part(entries: Mapping[str, bytes]) -> str | None:
    """What an archive of torch.export holds beside tensors and known operators: its loader unpickles and evaluates such."""
    for name in entries:
        if not _ENTRY.fullmatch(name) or (name == "data/sample_inputs/model.pt" and entries[name]):
            return name
    for name in entries:
        for key, value in _pairs(json.loads(entries[name])) if name.endswith(".json") else ():
            if key in _PLAIN and not _PLAIN[key](value):
                return f"{key} {str(value)[:80]}"
    return None


def _is_size(value: Any) -> bool:
    """Whether a text is a formula of numbers of clips, as torch.export writes sizes."""
    words = re.findall(r"[^\W\d]\w*", str(value))
    return bool(re.fullmatch(r"[\w\s='(),*+/-]*", str(value))) and all(map(_WORD.fullmatch, words))


# key -> whether a value is harmless
_PLAIN: dict[str, Callable[[Any], object]] = {
    "use_pickle": lambda value: value is False,
    "target": lambda value: not isinstance(value, str) or _TARGET.fullmatch(value),
    "expr_str": _is_size,
}


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys of nested mappings with what they hold."""
    if isinstance(value, dict):
        yield from value.items()
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _pairs(part)


def read_meta(content: bytes, source: str) -> dict[str, Any]:
    """What an exported file says of itself: architecture and the rest of what ``taggnn.io.checkpoint.Loaded`` holds.

    Raises:
        ValueError: it is not of ``taggnn.export``.
    """
    try:
        meta = json.loads(content)
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
        raise ImportError(f"{source}: ONNX Runtime is not installed: pip install 'taggnn[export]' ({error})") from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

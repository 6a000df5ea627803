"""Runs exported models: ONNX files, and programs of torch.export that were just written.

Axes: B clips, K classes.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from taggnn import papers
from taggnn.io import metadata, onnx_graph
from taggnn.names import unknown
from taggnn.types import InputSpec, Output

_DIGEST = "taggnn_digest"
# Digits of the position where META begins.
_POSITION_DIGITS = 12


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

    def describe(self, bibtex: bool = False) -> str:
        """The facts that were found when the model was built, one a line.

        Args:
            bibtex: the entries of its papers follow, those that `taggnn.papers` has (default False).
        """
        return papers.described(self.found, bibtex)


class TorchProgram:
    """A program of torch.export. Opening it executes code from the content: only for what this process wrote itself."""

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
        """The metadata of the file, after a check that its graph has known operators only.

        Raises:
            ValueError: changed since it was written, not written by ``taggnn.export``, or with other parts.
            ImportError: the package onnx is not there.
        """
        length = len(_digest_field(b"", 0))
        field, before = content[-length:], content[:-length]
        if _DIGEST.encode() not in field:
            raise (
                metadata.foreign(source, "cut off, or ")
                if _DIGEST.encode() not in content
                else metadata.changed(source)
            )
        start = int(field[-_POSITION_DIGITS:]) if field[-_POSITION_DIGITS:].isdigit() else 0
        if field != _digest_field(before, start):
            raise metadata.changed(source)
        onnx_graph.check(content, source)
        return metadata.read(before[start:], source)


# name of a format -> class that runs it
KINDS: dict[str, Any] = {"torch": TorchProgram, "onnx": OnnxProgram}
# Files of taggnn.export that hold programs.
ENDINGS = (".pt2", ".onnx")


def open_onnx(path: Path) -> tuple[Exported, dict[str, Any]]:
    """Opens what ``taggnn.export`` wrote as ``.onnx``.

    Args:
        path: the file.

    Returns:
        The program, on the CPU, and the metadata of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, changed, not written by ``taggnn.export``, or too new for what is installed.
        ImportError: ONNX Runtime is not there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"exported model {path}: no such file")
    content = path.read_bytes()
    meta = OnnxProgram.meta(content, str(path))
    return Exported("onnx", content, meta, str(path)), meta


def sealed(content: bytes, meta: Mapping[str, Any]) -> bytes:
    """Adds two entries to the metadata of an ONNX file: the metadata, and the digest of everything before it.

    An ONNX file is a list of fields (Protocol Buffers), and appended fields belong to the model.
    """
    text = json.dumps(meta).encode()
    content += _field(metadata.META, text)
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


def _runtime(source: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{source}: ONNX Runtime is not installed: pip install onnxruntime ({error})") from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

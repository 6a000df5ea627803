"""A trained model in other formats: safetensors, a program of torch.export, ONNX.

Each file is opened again and must answer real clips as the model itself before it gets its name.

Axes: B clips, K classes.
"""

import hashlib
import io
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.export import ExportedProgram
from tqdm import tqdm

from taggnn import model
from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.io import checkpoint, environment, infer
from taggnn.io.exported import Exported, sealed
from taggnn.io.loaded import Loaded
from taggnn.io.metadata import META
from taggnn.model import Recogniser
from taggnn.runtime import atomic, json_file
from taggnn.types import InputSpec

TOLERANCE = 1e-4
# Seconds for timing each format.
_SECONDS = 2.0


@dataclass(frozen=True)
class Written:
    """A file whose logits equal those of the model it was made from.

    Args:
        file: its name in the folder.
        size: bytes.
        difference: largest difference of a logit over all compared clips.
        same: number of clips with the same most probable class.
        clips: number of compared clips.
        milliseconds: for one clip, the median.
    """

    file: str
    size: int
    difference: float
    same: int
    clips: int
    milliseconds: float


def export(
    loaded: Loaded, clip: Tensor, folder: str | Path, formats: Sequence[str] | None = None
) -> tuple[dict[str, Written], dict[str, str]]:
    """Writes a model in several formats, and keeps the files whose logits equal its own.

    The programs take any number of clips of the size that the model was built for. Their graph layers are computed by impl
    auto, which never changes the result.

    Args:
        loaded: from a checkpoint; the files are compared on the device of its model.
        clip: a real one, as ``loaded.clip`` gives it.
        folder: where to write; created when missing.
        formats: names of ``EXPORTERS``; None (default): all.

    Returns:
        What was written, and for each other format the reason why it was not.

    **Shapes:** clip float32 (*spec.shape)

    Raises:
        ValueError: the model was not made from an architecture, or its logits are not finite.
        OSError: the disk is full, or the folder cannot be written.
    """
    if loaded.architecture is None:
        raise ValueError(
            f"{loaded.source}: this model was not made from an architecture and cannot be described in a file"
        )
    batches = _batches(clip, loaded.spec)
    answers = [loaded.logits(batch).cpu() for batch in batches]
    if not all(answer.isfinite().all() for answer in answers):
        raise ValueError(f"{loaded.source}: the logits of a clip are not finite; nothing is exported")
    # An implementation may need a device or a package that is missing where the file is used.
    head = {key: value for key, value in loaded.architecture["head"].items() if key != "impl"}
    architecture = {**loaded.architecture, "head": head}
    copy = model.build(architecture)
    copy.load_state_dict(loaded.model.state_dict())
    copy.eval()
    meta = _meta(loaded, architecture, copy)
    traced = Traced(copy)
    written, failed = {}, {}
    for name in tqdm(list(EXPORTERS) if formats is None else formats, "exporting", leave=False, disable=None):
        exporter = EXPORTERS[name]
        path = Path(folder) / exporter.file
        try:
            with _quiet(), exporter.write(path, traced, meta) as opened:
                opened.to(loaded.device)
                difference, same = _compared(opened, batches, answers)
                took = milliseconds(partial(opened.logits, clip[None]))
        except OSError:
            raise
        except Exception as error:
            failed[name] = _sentence(error)
            continue
        written[name] = Written(path.name, path.stat().st_size, difference, same, sum(map(len, batches)), took)
    return written, failed


class _Logits(nn.Module):
    """A recogniser without its extras."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, clip: Tensor) -> Tensor:
        return self.recogniser(clip).logits


class Traced:
    """A model, and its program for any number of clips, traced once, on first use."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser

    @cached_property
    def program(self) -> ExportedProgram:
        # With one clip, the batch size would become a constant.
        clips = self.recogniser.spec.example(2)
        with torch.no_grad():
            traced = torch.export.export(
                _Logits(self.recogniser).eval(), (clips,), dynamic_shapes={"clip": {0: torch.export.Dim.DYNAMIC}}
            )
        traced.example_inputs = None
        return traced


@contextmanager
def _write_safetensors(path: Path, traced: Traced, meta: Mapping[str, Any]) -> Iterator[Loaded]:
    # Cloned: safetensors refuses tensors that share memory.
    content = save_tensors({name: value.clone() for name, value in traced.recogniser.state_dict().items()})
    described = {**meta, "sha256": hashlib.sha256(content).hexdigest()}
    with atomic.replacing(path) as weights, atomic.replacing(path.with_suffix(".json")) as description:
        weights.write_bytes(content)
        description.write_text(json_file.text(described, indent=2) + "\n", encoding="utf-8")
        yield checkpoint.read_weights(weights, description, trust=True)


@contextmanager
def _write_torch(path: Path, traced: Traced, meta: Mapping[str, Any]) -> Iterator[Loaded]:
    content = io.BytesIO()
    torch.export.save(traced.program, content, extra_files={META: json.dumps(meta)})
    with _kept(path, content.getvalue()) as opened:
        # taggnn.load builds the model from the file's weights; what is compared is the program, which others run.
        stored, own = opened.model.state_dict(), traced.recogniser.state_dict()
        if not all(torch.equal(stored[name].cpu(), value.cpu()) for name, value in own.items()):
            raise ValueError("its weights differ from the model's; it is not kept")
        yield replace(opened, model=Exported("torch", content.getvalue(), meta, path.name))


@contextmanager
def _write_onnx(path: Path, traced: Traced, meta: Mapping[str, Any]) -> Iterator[Loaded]:
    absent = [package for package in ("onnx", "onnxscript", "onnxruntime") if not environment.is_there(package)]
    if absent:
        raise ImportError(f"needs {' and '.join(absent)}: pip install {' '.join(absent)}")
    program = torch.onnx.export(
        traced.program, dynamo=True, input_names=["clip"], output_names=["logits"], verbose=False
    )
    assert program is not None
    content = program.model_proto
    _name_batch_axis(content.graph)
    content.producer_name, content.producer_version = "taggnn", environment.versions()["taggnn"]
    content.model_version = 1
    with _kept(path, sealed(content.SerializeToString(), meta)) as opened:
        yield opened
    if traced.recogniser.spec.kind == "video":
        atomic.write_text(path.with_name("infer.py"), Path(infer.__file__).read_text(encoding="utf-8"))


def _name_batch_axis(graph: Any) -> None:
    """Calls the free axis of an ONNX graph "batch"; the exporter numbers it."""
    number = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == number:
                size.dim_param = "batch"


@contextmanager
def _kept(path: Path, content: bytes) -> Iterator[Loaded]:
    """Writes a program and opens it; the file gets its name when the block ends without an error."""
    # Dotted paths in it are trusted: the model was built from them already.
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(content)
        try:
            opened = checkpoint.load(temporary, trust=True)
        except ValueError as error:
            raise ValueError(str(error).replace(str(temporary), path.name)) from error
        yield opened


class Exporter(NamedTuple):
    """A row of ``EXPORTERS``.

    Args:
        write: ``(path, traced, meta)`` writes the file and yields the opened model; the file gets its name only when the block
            ends without an error.
        file: its name in the folder.
        summary: what it is for, in one line.
    """

    write: Callable[[Path, Traced, Mapping[str, Any]], AbstractContextManager[Loaded]]
    file: str
    summary: str


EXPORTERS: dict[str, Exporter] = {
    "safetensors": Exporter(_write_safetensors, "model.safetensors", "weights alone, for taggnn"),
    "torch": Exporter(_write_torch, "model.pt2", "a program of torch.export, for PyTorch without taggnn"),
    "onnx": Exporter(_write_onnx, "model.onnx", "for ONNX Runtime and other readers of ONNX"),
}


def _meta(loaded: Loaded, architecture: Mapping[str, Any], recogniser: Recogniser) -> dict[str, Any]:
    return {
        "architecture": {**architecture, "classes": list(loaded.classes)},
        "found": recogniser.found,
        "preprocessing": capabilities_of(sources.of(loaded.spec)).preprocessing(),
        **loaded.plain(),
        "versions": environment.versions(),
    }


def _batches(clip: Tensor, spec: InputSpec) -> list[Tensor]:
    """The clip alone, and shifted in time, shifted along its last axis and flipped, as batches of several sizes."""
    time = spec.axes.index("frame") if "frame" in spec.axes else 0
    later, shifted = clip.roll(1, time), clip.roll(max(1, clip.shape[-1] // 4), -1)
    return [clip[None], torch.stack([clip, later, shifted]), torch.stack([shifted.flip(-1), later.flip(1)])]


def _compared(opened: Loaded, batches: Sequence[Tensor], answers: Sequence[Tensor]) -> tuple[float, int]:
    """The largest difference of a logit, and the number of clips with the same best class.

    Raises:
        ValueError: the difference is larger than rounding errors.
    """
    difference, same = 0.0, 0
    allowed = TOLERANCE * max(1.0, *(float(answer.abs().max()) for answer in answers))
    for batch, answer in zip(batches, answers, strict=True):
        found = opened.logits(batch).cpu()
        if found.shape != answer.shape:
            raise ValueError(
                f"its logits of {len(batch)} clips have shape {tuple(found.shape)}, not {tuple(answer.shape)}"
            )
        apart = float((found - answer).abs().max())
        if not apart <= allowed:
            raise ValueError(
                f"its logits differ from the model's by {apart:.2g}, more than {allowed:.2g}; it is not kept"
            )
        difference = max(difference, apart)
        same += int((found.argmax(-1) == answer.argmax(-1)).sum())
    return difference, same


def milliseconds(run: Callable[[], Any]) -> float:
    """The time of one call: the median over a few seconds of calls."""
    run()
    begin, taken = time.perf_counter(), list[float]()
    while len(taken) < 3 or (time.perf_counter() - begin < _SECONDS and len(taken) < 100):
        start = time.perf_counter()
        # A GPU is waited for by the copy.
        run().cpu()
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


def _sentence(error: Exception) -> str:
    # PyTorch's exporter first explains how to report an error; the reason is in the error that caused it.
    while type(error).__module__.startswith("torch.onnx") and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    plain = isinstance(error, ValueError | ImportError) and type(error).__module__ == "builtins"
    return lines[0] if plain and lines else f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


@contextmanager
def _quiet() -> Iterator[None]:
    names = ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

"""``python -m taggnn.export --checkpoint X``: a trained model as safetensors, as a program of torch.export and as ONNX.

Each file is opened again and must answer real clips as the model itself before it gets its name.

Axes: B clips, K classes.
"""

import hashlib
import io
import json
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.export import ExportedProgram
from tqdm import tqdm

from taggnn import model
from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.data.video.reading import VideoError
from taggnn.evaluation.predictions import read_predictions
from taggnn.io import checkpoint, environment
from taggnn.io.checkpoint import Loaded
from taggnn.io.exported import META, Exported, sealed
from taggnn.io.trust import add_option as add_trust
from taggnn.model import Recogniser
from taggnn.names import unknown
from taggnn.runtime import atomic
from taggnn.runtime.device import find_device
from taggnn.types import InputSpec

# Largest difference of a logit, in parts of the largest logit (at least 1), that rounding may make.
TOLERANCE = 1e-4
# Seconds for timing each format.
_SECONDS = 2.0


@dataclass(frozen=True)
class Written:
    """A file that answers as the model it was made from.

    Args:
        file: its name in the folder.
        size: bytes.
        difference: largest difference of a logit over all clips it was asked.
        same: for how many of them the most probable class is the same.
        clips: how many they were.
        milliseconds: for one clip, the median.
    """

    file: str
    size: int
    difference: float
    same: int
    clips: int
    milliseconds: float


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    formats = _formats(given.formats)
    device = find_device(given.device)
    loaded = checkpoint.load(given.checkpoint, given.dataset, given.trust)
    if isinstance(loaded.model, Exported):
        raise ValueError(
            f"{loaded.source} is exported already: give the checkpoint or the .safetensors it was made from"
        )
    folder = Path(given.out) if given.out else Path(loaded.source).parent / "export"
    path, clip = _clip(given.clip, loaded)
    loaded.to(device)
    print(loaded.model.describe())
    print(f"clip      {path}")
    written, failed = export(loaded, clip, folder, formats)
    eager = _milliseconds(lambda: loaded.logits(clip[None]))
    _report(folder, loaded, path, device, eager, written, failed)
    _print(folder, eager, written, failed)
    return 1 if failed else 0


def export(
    loaded: Loaded, clip: Tensor, folder: str | Path, formats: Sequence[str] | None = None
) -> tuple[dict[str, Written], dict[str, str]]:
    """Writes a model in several formats, and keeps those that answer as it does.

    The programs are for any number of clips of the size that the model was built for. Graph layers are computed by impl auto
    in them, which never changes the result.

    Args:
        loaded: from a checkpoint; where its model lies, the files are asked.
        clip: a real one, as ``loaded.clip`` gives it.
        folder: where to write; made when missing.
        formats: names of ``EXPORTERS``; None (default): all.

    Returns:
        What was written, and for each other format why it was not.

    **Shapes:** clip float32 (*spec.shape)

    Raises:
        ValueError: the model was not made from a specification, or answers with numbers that are not finite.
        OSError: the disk is full, or the folder cannot be written.
    """
    if loaded.architecture is None:
        raise ValueError(
            f"{loaded.source}: this model was not made from an architecture, and cannot be described in a file"
        )
    batches = _batches(clip, loaded.spec)
    answers = [loaded.logits(batch).cpu() for batch in batches]
    if not all(answer.isfinite().all() for answer in answers):
        raise ValueError(f"{loaded.source} answers a clip with numbers that are not finite; nothing is exported")
    # An implementation that needs a device or a package of its own would need it wherever the file goes.
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
                took = _milliseconds(lambda opened=opened: opened.logits(clip[None]))
        except OSError:
            raise
        except Exception as error:
            failed[name] = _sentence(error)
            continue
        written[name] = Written(path.name, path.stat().st_size, difference, same, sum(map(len, batches)), took)
    return written, failed


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.export", description="Writes a trained model for use without its checkpoint, and checks it."
    )
    add = built.add_argument
    add(
        "--checkpoint",
        type=str,
        required=True,
        help="a run's folder or checkpoint, or a file that TAG-Head's authors published",
    )
    add("--dataset", type=str | None, default=None, help=f"for the authors' files: {', '.join(checkpoint.RELEASED)}")
    add_trust(add)
    add("--out", type=str | None, default=None, help="folder to write to; null: export next to the checkpoint")
    add("--formats", type=str, default=",".join(EXPORTERS), help=_HELP)
    add(
        "--clip",
        type=str | None,
        default=None,
        help="video to check the files with; null: the first of predictions.csv beside the checkpoint that can be read",
    )
    add(
        "--device", type=str | None, default=None, help="where to check them: cpu, cuda; null: a GPU where there is one"
    )
    return built


class _Logits(nn.Module):
    """A recogniser without its extras."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, clip: Tensor) -> Tensor:
        return self.recogniser(clip).logits


class Traced:
    """A model, and its program for any number of clips, traced once, when it is asked for."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser

    @cached_property
    def program(self) -> ExportedProgram:
        # Of one clip, the number would be taken for a constant.
        clips = self.recogniser.spec.example(2)
        with torch.no_grad():
            traced = torch.export.export(
                _Logits(self.recogniser).eval(), (clips,), dynamic_shapes={"clip": {0: torch.export.Dim.DYNAMIC}}
            )
        traced.example_inputs = None
        return traced


@contextmanager
def _write_safetensors(path: Path, traced: Traced, meta: Mapping[str, Any]) -> Iterator[Loaded]:
    # Cloned: a file of safetensors holds no tensor twice.
    content = save_tensors({name: value.clone() for name, value in traced.recogniser.state_dict().items()})
    described = {**meta, "sha256": hashlib.sha256(content).hexdigest()}
    with atomic.replacing(path) as weights, atomic.replacing(path.with_suffix(".json")) as description:
        weights.write_bytes(content)
        description.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        yield checkpoint.read_weights(weights, description, trust=True)


@contextmanager
def _write_torch(path: Path, traced: Traced, meta: Mapping[str, Any]) -> Iterator[Loaded]:
    content = io.BytesIO()
    torch.export.save(traced.program, content, extra_files={META: json.dumps(meta)})
    with _kept(path, content.getvalue()) as opened:
        yield opened


@contextmanager
def _write_onnx(path: Path, traced: Traced, meta: Mapping[str, Any]) -> Iterator[Loaded]:
    absent = [package for package in ("onnx", "onnxscript", "onnxruntime") if not environment.is_there(package)]
    if absent:
        raise ImportError(f"needs {' and '.join(absent)}: pip install 'taggnn[export]'")
    program = torch.onnx.export(
        traced.program, dynamo=True, input_names=["clip"], output_names=["logits"], verbose=False
    )
    with _kept(path, sealed(program.model_proto.SerializeToString(), meta)) as opened:
        yield opened


@contextmanager
def _kept(path: Path, content: bytes) -> Iterator[Loaded]:
    """Writes a program and opens it; it gets its name when the block ends well."""
    # What it names is trusted: its model has been built of it already.
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(content)
        try:
            opened = checkpoint.load(temporary, trust=True)
        except ValueError as error:
            raise ValueError(str(error).replace(str(temporary), path.name)) from error
        yield opened


class Exporter(NamedTuple):
    """A format, all that there is to say of it.

    Args:
        write: ``(path, traced, meta)`` writes the file and gives the opened model within its block; the file gets its name only
            when the block ends well.
        file: its name in the folder.
        summary: what it is good for, in one line.
    """

    write: Callable[[Path, Traced, Mapping[str, Any]], AbstractContextManager[Loaded]]
    file: str
    summary: str


EXPORTERS: dict[str, Exporter] = {
    "safetensors": Exporter(_write_safetensors, "model.safetensors", "weights alone, for taggnn"),
    "torch": Exporter(_write_torch, "model.pt2", "a program of torch.export, for PyTorch without taggnn"),
    "onnx": Exporter(_write_onnx, "model.onnx", "for ONNX Runtime and what else reads ONNX"),
}
_HELP = "which, with commas between them: " + "; ".join(f"{name}: {row.summary}" for name, row in EXPORTERS.items())


def _meta(loaded: Loaded, architecture: Mapping[str, Any], recogniser: Recogniser) -> dict[str, Any]:
    return {
        "architecture": {**architecture, "classes": list(loaded.classes)},
        "split_options": loaded.split_options,
        "found": recogniser.found,
        "source": loaded.source,
        "epoch": loaded.epoch,
        "training_counts": loaded.training_counts,
        "versions": environment.versions(),
    }


def _batches(clip: Tensor, spec: InputSpec) -> list[Tensor]:
    """The clip alone, and moved in time, along its last axis and mirrored, as batches of several sizes."""
    time = spec.axes.index("frame") if "frame" in spec.axes else 0
    later, aside = clip.roll(1, time), clip.roll(max(1, clip.shape[-1] // 4), -1)
    return [clip[None], torch.stack([clip, later, aside]), torch.stack([aside.flip(-1), later.flip(1)])]


def _compared(opened: Loaded, batches: Sequence[Tensor], answers: Sequence[Tensor]) -> tuple[float, int]:
    """The largest difference of a logit, and for how many clips the best class is the same.

    Raises:
        ValueError: the difference is more than rounding makes.
    """
    difference, same = 0.0, 0
    allowed = TOLERANCE * max(1.0, *(float(answer.abs().max()) for answer in answers))
    for batch, answer in zip(batches, answers, strict=True):
        found = opened.logits(batch).cpu()
        if found.shape != answer.shape:
            raise ValueError(
                f"it answers {len(batch)} clips with {tuple(found.shape)} in place of {tuple(answer.shape)}"
            )
        apart = float((found - answer).abs().max())
        if not apart <= allowed:
            raise ValueError(
                f"its logits differ from the model's by {apart:.2g}, more than {allowed:.2g}; it is not kept"
            )
        difference = max(difference, apart)
        same += int((found.argmax(-1) == answer.argmax(-1)).sum())
    return difference, same


def _milliseconds(run: Callable[[], Any]) -> float:
    """The median of a few seconds of runs."""
    run()
    begin, taken = time.perf_counter(), []
    while len(taken) < 3 or (time.perf_counter() - begin < _SECONDS and len(taken) < 100):
        start = time.perf_counter()
        # A GPU is waited for by the copy.
        run().cpu()
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


def _clip(given: str | None, loaded: Loaded) -> tuple[str, Tensor]:
    """The video to check with, and its clip."""
    if given is not None:
        return given, loaded.clip(given)
    table = Path(loaded.source).parent / "predictions.csv"
    if not table.is_file():
        raise ValueError(f"--clip: give a video to check the files with; there is no {table} to take one from")
    for path in read_predictions(table).paths:
        try:
            return path, loaded.clip(path)
        except VideoError:
            continue
    raise ValueError(f"--clip: give a video to check the files with; none of those in {table} can be read")


def _formats(given: str) -> list[str]:
    names = [name.strip() for name in given.strip("[]").split(",") if name.strip()]
    for name in names:
        if name not in EXPORTERS:
            raise unknown("format", name, EXPORTERS, "--formats")
    if not names:
        raise ValueError(f"--formats: none given; possible: {', '.join(EXPORTERS)}")
    return list(dict.fromkeys(names))


def _sentence(error: Exception) -> str:
    # What PyTorch's exporter says first is how to report it; why stands in the error that it began with.
    while type(error).__module__.startswith("torch.onnx") and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    plain = isinstance(error, ValueError | ImportError) and type(error).__module__ == "builtins"
    return lines[0] if plain and lines else f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to themselves what the libraries say while they translate."""
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


def _report(
    folder: Path,
    loaded: Loaded,
    clip: str,
    device: torch.device,
    eager: float,
    written: Mapping[str, Written],
    failed: Mapping[str, str],
) -> None:
    content = {
        "checkpoint": loaded.source,
        "clip": clip,
        "tolerance": TOLERANCE,
        "formats": {name: vars(one) for name, one in written.items()},
        "failed": dict(failed),
        "eager_milliseconds": eager,
        "environment": environment.describe(device, seed=loaded.split_options["seed"]) | _versions(),
    }
    atomic.write_text(folder / "export.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _versions() -> dict[str, str]:
    return {
        package: environment.version_of(package) for package in ("onnx", "onnxscript", "onnxruntime", "safetensors")
    }


def _print(folder: Path, eager: float, written: Mapping[str, Written], failed: Mapping[str, str]) -> None:
    print(f"\n{'':12} {'file':18} {'MiB':>7}  {'difference':>10}  {'top-1':>7}  {'ms':>8}")
    print(f"{'checkpoint':12} {'':18} {'':7}  {'':10}  {'':7}  {eager:8.1f}")
    for name, one in written.items():
        same = f"{one.same} of {one.clips}"
        print(
            f"{name:12} {one.file:18} {one.size / 2**20:7.1f}  {one.difference:10.1e}  {same:>7}  {one.milliseconds:8.1f}"
        )
    threads = torch.get_num_threads()
    print(f"\ndifference: largest of a logit; ms: one clip, {threads} thread{'s' if threads > 1 else ''}")
    print(f"folder    {folder}")
    for name, reason in failed.items():
        print(f"taggnn.export: {name} was not written: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.export"))

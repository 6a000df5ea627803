"""``python -m taggnn.export --checkpoint X``: a trained model as safetensors, as a program of torch.export and as ONNX."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from taggnn.cli import terminal
from taggnn.cli.checkpoint_options import add_checkpoint
from taggnn.cli.parser import Parser
from taggnn.data.video.reading import VideoError
from taggnn.evaluation.predictions import read_predictions
from taggnn.io import checkpoint, environment
from taggnn.io.exported import Exported
from taggnn.io.exporters import EXPORTERS, TOLERANCE, Written, export, milliseconds
from taggnn.io.loaded import Loaded
from taggnn.names import unknown
from taggnn.reporting import model_card
from taggnn.runtime import atomic
from taggnn.runtime.device import find_device


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
    eager = milliseconds(lambda: loaded.logits(clip[None]))
    logits = loaded.to(torch.device("cpu")).logits(clip[None])[0]
    _report(folder, loaded, path, logits, device, eager, written, failed)
    atomic.write_text(folder / model_card.FILE, model_card.model_card(loaded, written))
    _print(folder, eager, written, failed)
    return 1 if failed else 0


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.export", description="Writes a trained model for use without its checkpoint, and checks it."
    )
    add, option = built.add_argument, built.option
    formats = "; ".join(f"{name}: {row.summary}" for name, row in EXPORTERS.items())
    add_checkpoint(add, exported=False)
    option("--out", str | None, None, "folder to write to; null: export next to the checkpoint")
    option("--formats", str, ",".join(EXPORTERS), f"which, separated by commas: {formats}")
    option(
        "--clip",
        str | None,
        None,
        "video to check the files with; null: the first readable one of predictions.csv next to the checkpoint",
    )
    option("--device", str | None, None, "where to check them: cpu, cuda; null: a GPU if there is one")
    return built


def _clip(given: str | None, loaded: Loaded) -> tuple[str, Tensor]:
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


def _report(
    folder: Path,
    loaded: Loaded,
    clip: str,
    logits: Tensor,
    device: torch.device,
    eager: float,
    written: Mapping[str, Written],
    failed: Mapping[str, str],
) -> None:
    packages = ("onnx", "onnxscript", "onnxruntime", "safetensors")
    versions = {package: environment.version_of(package) for package in packages}
    content = {
        "checkpoint": loaded.source,
        "clip": os.path.abspath(clip),
        "logits": logits.tolist(),
        "tolerance": TOLERANCE,
        "formats": {name: vars(file) for name, file in written.items()},
        "failed": dict(failed),
        "eager_milliseconds": eager,
        "environment": environment.describe(device, seed=loaded.split_options["seed"]) | versions,
    }
    atomic.write_text(folder / "export.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _print(folder: Path, eager: float, written: Mapping[str, Written], failed: Mapping[str, str]) -> None:
    print(f"\n{'':12} {'file':18} {'MiB':>7}  {'difference':>10}  {'top-1':>7}  {'ms':>8}")
    print(f"{'checkpoint':12} {'':18} {'':7}  {'':10}  {'':7}  {eager:8.1f}")
    for name, row in written.items():
        same, size = f"{row.same} of {row.clips}", row.size / 2**20
        print(f"{name:12} {row.file:18} {size:7.1f}  {row.difference:10.1e}  {same:>7}  {row.milliseconds:8.1f}")
    threads = torch.get_num_threads()
    print(f"\ndifference: largest of a logit; ms: one clip, {threads} thread{'s' if threads > 1 else ''}")
    print(f"folder    {folder}")
    for name, reason in failed.items():
        print(f"taggnn.export: {name} was not written: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.export"))

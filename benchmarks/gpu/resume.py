"""Does a run that was interrupted on this device end as if it had not been, and does its model answer on the CPU as here?

    python -m benchmarks.gpu.resume --device cuda

The whole of ``taggnn.train``, in float32 and in mixed precision, on clips that need no video library.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch

import taggnn.train
from benchmarks import program
from benchmarks.gpu.clips import Noise, make
from benchmarks.gpu.record import Record, part
from taggnn.cli import experiment, terminal
from taggnn.data.clips import Clip
from taggnn.evaluation.predictions import read_predictions
from taggnn.io import checkpoint
from taggnn.training.loop import Trainer

SCRIPT = "benchmarks/gpu/resume.py"
SAME = ("model", "ema", "optimiser", "scaler", "steps", "progress")


def work(record: Record, device: torch.device, quick: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder) / "clips", 6 if quick else 40)
        for precision in ("32-true",) if device.type == "cpu" else ("32-true", "bf16-mixed", "16-mixed"):
            with record.trying(precision=precision):
                interrupted(record, device, precision, root, Path(folder) / precision)


def interrupted(record: Record, device: torch.device, precision: str, root: Path, folder: Path) -> None:
    """Adds the row of one precision."""
    words = ["--data.source", "benchmarks.gpu.clips.Noise", "--data.root", str(root), "--data.batch_size", "4"]
    words += ["--data.workers", "0", "--backbone.name", "small", "--backbone.weights", "null", "--compare", "[]"]
    words += ["--train.epochs", "2", "--optim.warmup_epochs", "0", "--optim.ema", "0.9", "--device", str(device)]
    words += [
        "--tag.dim",
        "16",
        "--precision",
        precision,
        "--train.deterministic",
        "true",
        "--save_batches",
        "1",
        "--loggers",
        "[csv]",
    ]
    run([*words, "--run", str(folder / "whole")])
    plain, calls = Trainer.train_batch, []

    def stopping(self: Trainer, *given) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        plain(self, *given)

    with mock.patch.object(Trainer, "train_batch", stopping):
        code = run([*words, "--run", str(folder / "part")])
    stopped = checkpoint.read(folder / "part" / "last.ckpt")["progress"]["step"]
    run(["--resume", str(folder / "part"), "--trust"])
    one, other = (checkpoint.read(folder / name / "last.ckpt") for name in ("whole", "part"))
    unequal = [key for key in SAME if not equal(one.get(key), other.get(key))]
    here = read_predictions(folder / "whole" / "predictions.csv")
    loaded = taggnn.load(folder / "whole" / "best.ckpt", trust=True)
    model = loaded.model.cpu().eval()
    source = Noise.from_spec(loaded.spec)
    with torch.inference_mode():
        clips = zip(here.names, here.labels.tolist(), strict=True)
        there = torch.cat([model(source(Clip(name, label, name), None).x[None]).logits for name, label in clips])
    moved = float((there.softmax(1) - here.probabilities).abs().max())
    allowed = 1e-3 if precision == "32-true" else 5e-2
    record.add(
        {
            "precision": precision,
            "ok": not unequal and stopped == 2 and code != 0 and moved <= allowed,
            "stopped_after_steps": stopped,
            "unequal": unequal,
            "probabilities_differ_on_cpu": moved,
        }
    )


def run(words: list[str]) -> int:
    """``taggnn.train``; its output is shown where it fails."""
    out = io.StringIO()
    # Without the report, whose pictures take longer than such a run.
    report = mock.patch.object(experiment, "write_report")
    with report, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = terminal.run(taggnn.train.main, "taggnn.train", words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    if code == 2:
        raise RuntimeError(out.getvalue().strip().splitlines()[-1])
    return code


def equal(one: object, other: object) -> bool:
    """Whether two parts of a checkpoint are equal to the last bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def main(arguments: list[str]) -> int:
    return part("resume", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

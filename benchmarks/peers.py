"""The same training job by taggnn and by what users write or pick instead: clips/s, minutes, memory, lines, accuracy.

    python benchmarks/peers.py                                        # the demo's clips, made where they are not there
    python benchmarks/peers.py --jobs tag skeleton --skeletons DIR    # DIR: NW-UCLA as published
    python benchmarks/peers.py --config miracl_words --data.root DIR  # any recipe on videos, as taggnn.train takes it

Each program is a process of its own, with the same clips, backbone, batch, schedule, epochs, workers and threads; they run in
turn. The other programs are in benchmarks/peer_loops. Clips/s are those of the passes over the training clips after the first
one; minutes are the whole process from its start to its end, for taggnn with the validation after each epoch and the report,
which the others do without.

| job | ours | others |
|---|---|---|
| pool | head pool | a loop in plain PyTorch with PyAV and torchvision; Hugging Face's Trainer with the same clips |
| tag | head tag with GATv2 | encoder and PyG's GATv2 on Batch.from_data_list, in both |
| released | head tag_released | encoder and PyG's APPNP on Batch.from_data_list, as its authors wrote it |
| skeleton | ctr_gcn | CTR-GCN as its paper writes it, files in memory and NumPy for each sequence |
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ast
import csv
import importlib.util
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from jsonargparse import Namespace
from tqdm import tqdm

from benchmarks import layout, machine, program
from benchmarks.peer_loops.job import Job
from benchmarks.throughput import without_folders
from taggnn.cli import build, config, terminal
from taggnn.evaluation.results import Results
from taggnn.names import unknown

SCRIPT = "benchmarks/peers.py"
LOOPS = Path(__file__).parent / "peer_loops"
OURS = "taggnn"
_TORCH, _TRAINER, _SKELETON = "torch_loop", "huggingface_loop", "skeleton_loop"
Row = dict[str, Any]


@dataclass(frozen=True)
class Contest:
    """A job and who does it.

    Args:
        head: of taggnn.
        network: of the other programs, key of ``networks.NETWORKS``.
        others: modules of ``benchmarks.peer_loops``.
    """

    head: str
    network: str
    others: tuple[str, ...]


CONTESTS = {
    "pool": Contest("pool", "pool", (_TORCH, _TRAINER)),
    "tag": Contest("tag", "gatv2", (_TORCH, _TRAINER)),
    "released": Contest("tag_released", "appnp", (_TORCH, _TRAINER)),
    "skeleton": Contest("pool", "", (_SKELETON,)),
}
# What a user writes for each program; ours is a command.
FILES = {_TORCH: ("torch_loop", "clips", "networks"), _TRAINER: ("huggingface_loop", "clips", "networks")}
FILES[_SKELETON] = ("skeleton_loop",)


def parser() -> program.Parser:
    """The command line, but for what ``taggnn.train`` reads."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    add = built.add_argument
    add("--jobs", nargs="+", default=["pool", "tag", "released"], help=f"of {', '.join(CONTESTS)}")
    add("--skeletons", type=Path, help="folder of NW-UCLA, for the job skeleton")
    add("--epochs", type=program.positive, default=3, help="passes over the training clips, 2 or more (default 3)")
    add("--rounds", type=program.positive, default=1, help="runs of each program, in turn (default 1)")
    add("--out", type=Path, help="JSON file (default in runs/benchmarks)")
    return built


def main(arguments: list[str]) -> int:
    given, rest = parser().parse_known_args(arguments)
    names = program.names(given.jobs)
    for name in names:
        if name not in CONTESTS:
            raise unknown("job", name, CONTESTS)
    if given.epochs < 2:
        raise ValueError(f"--epochs {given.epochs}: the first pass is not counted, give 2 or more")
    if "skeleton" in names and given.skeletons is None:
        raise ValueError("--jobs skeleton: give the folder of NW-UCLA with --skeletons")
    path = program.out_path(given.out, torch.device("cpu"), "float32", "peers")
    terminal.quiet()
    facts = machine.describe(torch.device("cpu"), 0, SCRIPT, without_folders(arguments))
    print(machine.sentence(facts))
    rows: list[Row] = []
    for name in names:
        words = ["--config", "nw_ucla", "--data.root", str(given.skeletons)] if name == "skeleton" else rest
        rows += contest(name, words, given.epochs, given.rounds)
        program.write(path, {"kind": "peers", "machine": facts, "settings": {"epochs": given.epochs}, "rows": rows})
    print(f"\n{block(rows)}\n\n{path}")
    return 0


def contest(name: str, words: list[str], epochs: int, rounds: int) -> list[Row]:
    """Runs all programs of a job in turn.

    Args:
        name: key of ``CONTESTS``.
        words: options of ``taggnn.train``.
        epochs: passes over the training clips.
        rounds: runs of each program.
    """
    row = CONTESTS[name]
    fixed = [*words, "--head", row.head, "--compare", "[]", "--train.epochs", str(epochs), "--loggers", "csv"]
    # Reads the recipe's own warm-up as a part of the shorter run.
    settings = config.parse([*fixed, "--optim.warmup_epochs", "1", "--optim.schedule", "cosine"], config.parser(SCRIPT))
    fixed += ["--optim.warmup_epochs", "1", "--optim.schedule", "cosine", "--optim.milestones", "[]"]
    job = job_of(settings, row.network, epochs)
    programs = [OURS, *(other for other in row.others if runnable(other))]
    found: dict[str, list[Row]] = {which: [] for which in programs}
    with tempfile.TemporaryDirectory() as folder, tqdm(total=rounds * len(programs), disable=None) as bar:
        for number in range(rounds):
            for which in programs:
                bar.set_description(f"{name} {which}")
                seeded = replace(job, seed=number)
                run = Path(folder) / f"{which}-{number}"
                found[which].append(
                    ours(run, [*fixed, "--seed", str(number)])
                    if which == OURS
                    else other(which, seeded, Path(folder) / "job.json")
                )
                bar.update()
    ratio_of = median(run["clips_s"] for run in found[OURS])
    return [
        {
            "job": name,
            "program": which,
            "clips": len(job.train),
            "runs": runs,
            "clips_s": median(run["clips_s"] for run in runs),
            "minutes": median(run["minutes"] for run in runs),
            "peak_bytes": max(run["peak_bytes"] for run in runs),
            "top1": sum(run["top1"] for run in runs) / len(runs),
            "lines": 1 if which == OURS else sum(lines(LOOPS / f"{file}.py") for file in FILES[which]),
            "ours_faster": ratio_of / median(run["clips_s"] for run in runs),
        }
        for which, runs in found.items()
    ]


def job_of(settings: Namespace, network: str, epochs: int) -> Job:
    """The job that the settings of a run describe."""
    data = build.data_of(settings)
    train, test = data.splits.train, data.splits.test or data.splits.val
    assert train is not None
    assert test is not None
    options = dict(settings.backbone.options)
    return Job(
        train=[(clip.path, clip.label) for clip in train.clips],
        test=[(clip.path, clip.label) for clip in test.clips],
        classes=len(data.classes),
        shape=tuple(data.spec.shape[1:]) if data.spec.kind == "video" else tuple(data.spec.shape[1:3]),
        head=network,
        backbone=(settings.backbone.name, options),
        encoder_layers=settings.tag.encoder_layers,
        encoder_heads=settings.tag.encoder_heads,
        batch_size=settings.data.batch_size,
        workers=settings.data.workers,
        threads=settings.threads or machine.cores(),
        epochs=epochs,
        lr=settings.optim.lr,
        weight_decay=settings.optim.weight_decay,
        warmup_epochs=1,
        label_smoothing=settings.optim.label_smoothing,
        gradient_clip=settings.optim.gradient_clip or float("inf"),
        seed=0,
    )


def runnable(which: str) -> bool:
    """Whether what a program needs is installed; says what is not."""
    if which != _TRAINER:
        return True
    missing = [name for name in ("transformers", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"left out: {which}, {' and '.join(missing)} not installed", file=sys.stderr)
    return not missing


def ours(folder: Path, words: list[str]) -> Row:
    """Runs ``taggnn.train``, and reads its files."""
    spent, peak, _ = process(["-m", "taggnn.train", *words, "--run", str(folder)])
    with (folder / "metrics.csv").open() as file:
        passes = [float(row["clips/s"]) for row in csv.DictReader(file)]
    top1 = Results.read(folder).scores["test"]["top1"]
    return {"clips_s": median(passes[1:]), "minutes": spent / 60, "peak_bytes": peak, "top1": top1}


def other(which: str, job: Job, path: Path) -> Row:
    """Runs another program, and reads its last line."""
    job.write(path)
    spent, peak, printed = process(["-m", f"benchmarks.peer_loops.{which}", str(path)])
    found = json.loads(printed.splitlines()[-1])
    clips_s = len(job.train) / median(found["seconds"][1:])
    return {"clips_s": clips_s, "minutes": spent / 60, "peak_bytes": peak, "top1": found["top1"]}


def process(words: list[str]) -> tuple[float, int, str]:
    """Runs Python to its end.

    Returns:
        Seconds, bytes of its largest process, what it printed.

    Raises:
        ValueError: it failed; the message has its last line.
    """
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        started = subprocess.Popen([sys.executable, *words], stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(started.pid, 0)
        spent = time.perf_counter() - began
        started.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if started.returncode:
            last = (err.read().strip() or out.read().strip()).splitlines()[-1:]
            raise ValueError(f"{' '.join(words[:2])} ended with code {started.returncode}: {' '.join(last)}")
        # Kilobytes but on macOS.
        return spent, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), out.read()


def lines(path: Path) -> int:
    """Lines of code of a file, without comments, docstrings and blank lines."""
    text = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code = [line.strip() for number, line in enumerate(text.splitlines(), 1) if number not in left_out]
    return sum(bool(line) and not line.startswith("#") for line in code)


def block(rows: list[Row]) -> str:
    """The rows for the screen."""
    header = ["job", "program", "clips/s", "ours faster", "minutes", "MiB", "lines", "top-1"]
    cells = [
        [
            row["job"],
            row["program"],
            layout.digits(row["clips_s"]),
            layout.times(row["ours_faster"]) if row["program"] != OURS else "",
            f"{row['minutes']:.2f}",
            f"{row['peak_bytes'] / 2**20:.0f}",
            str(row["lines"]),
            f"{row['top1']:.3f}",
        ]
        for row in rows
    ]
    return layout.table(header, cells, left=2)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

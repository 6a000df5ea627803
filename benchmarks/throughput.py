"""How many clips a second each part of training can take, from the bare decode to the whole: where the bottleneck is.

    python benchmarks/throughput.py                                   # the demo's clips, made where they are not there
    python benchmarks/throughput.py --config folder --data.root DIR   # any data set and recipe, as taggnn.train takes them
    python benchmarks/throughput.py --config folder --data.root DIR --clips 16 --rounds 3 --loader-workers 0 2 4

All options but those below are those of taggnn.train; weights are random. Prints a table and writes
runs/benchmarks/DEVICE-throughput-DATA.json as it goes, and a picture at the end.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from jsonargparse import Namespace
from tqdm import tqdm

from benchmarks import layout, loading, machine, program, steps
from benchmarks.timing import Times
from taggnn.cli import build, config, terminal
from taggnn.data.dataset import ClipDataset
from taggnn.model import Recogniser
from taggnn.training.device import precision_of
from taggnn.training.options import Optimisation
from taggnn.training.step import Step

SCRIPT = "benchmarks/throughput.py"
DECODE, READ, LOAD, STEP, TRAINING = "bare decode", "reading", "reading + transform", "training step", "training"
BACKBONE, HEAD = "backbone", "head"
PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16 mixed", "16-mixed": "float16 mixed"}
Row = dict[str, Any]


def parser() -> program.Parser:
    """The command line, but for what ``taggnn.train`` reads."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    parser.add_argument(
        "--clips", type=program.positive, default=128, help="of the training split, at most (default 128)"
    )
    parser.add_argument("--rounds", type=program.positive, default=5, help="passes over them for each part (default 5)")
    parser.add_argument(
        "--loader-workers", type=int, nargs="+", default=[0, 1, 2], help="loaders to measure (default 0 1 2)"
    )
    parser.add_argument("--out", type=Path, help="JSON file (default in runs/benchmarks); the picture is next to it")
    return parser


def main(arguments: list[str]) -> int:
    given, rest = parser().parse_known_args(arguments)
    settings = config.parse(rest, config.parser(SCRIPT))
    if settings.data.tokens is not None:
        raise ValueError("--data.tokens: clips are measured from their video files on, give these with --data.root")
    terminal.quiet()
    torch.set_num_threads(settings.threads or machine.cores())
    if any(workers < 0 for workers in given.loader_workers):
        raise ValueError(f"--loader-workers {' '.join(map(str, given.loader_workers))}: 0 or more each")
    device = steps.where(settings)
    precision = precision_of(settings.precision, device)
    path = _out_path(given.out, device, settings)
    data = build.data_of(settings)
    # Random weights: what they are changes no time, and nothing is downloaded for it.
    model = build.recogniser_of(settings, data, settings.head, None)
    model.check_device(device)
    whole = data.train_dataloader().dataset
    clips, bad = loading.part_of(whole, settings.seed, max(given.clips // data.batch_size, 1) * data.batch_size)
    size = min(data.batch_size, len(clips))
    # Whole batches, so that a pass of the model and one of the loader are over the same clips.
    clips.clips = replace(clips.clips, clips=clips.clips.clips[: len(clips) // size * size])
    facts = machine.describe(device, settings.seed, SCRIPT, without_folders(arguments))
    about = _about(settings, data, model, precision, device, clips, size, given.rounds)
    print(f"{machine.sentence(facts)}\n{_sentence(about)}")
    if bad:
        print(f"left out, since they cannot be read: {', '.join(bad)}")

    counts = sorted({*given.loader_workers, data.workers})
    calls = _calls(settings, model, clips, size, counts, device, Step(model, Optimisation(), precision).autocast)
    batch = next(iter(loading.loader(clips, settings.seed, size, 0, pinned=False)))
    loops = {
        STEP: steps.Repeated(batch, len(clips) // size),
        TRAINING: loading.loader(clips, settings.seed, size, data.workers, device.type == "cuda"),
    }
    # A copy: the parts are timed with the weights as they were.
    trained = copy.deepcopy(model)
    seconds: dict[str, list[float]] = {name: [] for name in (*calls, *loops)}
    waited: list[float] = []
    found: dict[str, Any] = {"kind": "throughput", "machine": facts, "settings": about, "rows": [], "complete": False}

    def note(name: str, spent: float) -> None:
        seconds[name].append(spent)
        program.write(path, found | {"rows": rows(seconds, len(clips))})
        bar.update()

    try:
        # disable=None: no bar where nobody watches.
        with tqdm(total=given.rounds * len(seconds), unit="pass", disable=None, file=sys.stderr) as bar:
            bar.set_description("warming up")
            for call in calls.values():
                call()
            # All of them in turn, so that noise of the machine affects all equally.
            for _ in range(given.rounds):
                for name, call in calls.items():
                    bar.set_description(name)
                    note(name, _timed(call))
                for name, batches in loops.items():
                    bar.set_description(name)
                    (spent,), waiting = steps.train(settings, trained, len(data.classes), batches, 1)
                    if name == TRAINING:
                        waited += waiting
                    note(name, spent)
    except KeyboardInterrupt:
        print(f"{SCRIPT}: interrupted; what was measured before is in {path}", file=sys.stderr)
        return 1
    table = rows(seconds, len(clips))
    found |= {
        "rows": table,
        "waited_for_clips": median(waited),
        "bottleneck": verdict(table, about, median(waited)),
    }
    found["complete"] = True
    program.write(path, found)
    print(f"\n{block(table)}\n\n{found['bottleneck']}\n")
    # Here, because a result is worth more than its picture.
    from benchmarks import plots

    print(f"{path}\n{plots.throughput(found, path.with_suffix('.png'))}")
    return 0


def without_folders(arguments: list[str]) -> list[str]:
    """The command line without this machine's folders: of a whole path only its last part."""
    words = []
    for word in arguments:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        words.append(f"{option}{equals}{Path(value).name if Path(value).is_absolute() else value}")
    return words


def loader_name(workers: int) -> str:
    """What the row of a loader is called."""
    return f"loader, {workers} worker{'s' if workers != 1 else ''}"


def rows(seconds: dict[str, list[float]], clips: int) -> list[Row]:
    """A row for each part that was measured: milliseconds a clip, clips a second, and two ratios.

    Args:
        seconds: of each pass, by part.
        clips: in a pass.
    """
    times = {name: Times(tuple(measured)) for name, measured in seconds.items() if measured}

    def ratio(name: str, whole: str) -> float | None:
        return times[name].median / times[whole].median if whole in times else None

    return [
        {
            "part": name,
            **{key: value if key == "samples" else value / clips for key, value in passes.row().items()},
            "clips_per_s": clips / passes.median,
            "of_step": ratio(name, STEP),
            "of_decode": ratio(name, DECODE) if name in (READ, LOAD) else None,
        }
        for name, passes in times.items()
    ]


def verdict(table: list[Row], about: dict[str, Any], waited: float) -> str:
    """Says where the bottleneck is.

    Args:
        table: the rows, all of them.
        about: the settings, of which count ``workers`` of the loader in training, ``threads`` of the model and ``cores``.
        waited: the part of training in which the loop waited for clips.
    """
    rate = {row["part"]: row["clips_per_s"] for row in table}
    time_of = {row["part"]: row["median_ms"] for row in table}
    workers = about["workers"]
    load, step, whole = rate[loader_name(workers)], rate[STEP], rate[TRAINING]
    backbone, head = time_of[BACKBONE] / time_of[STEP], time_of[HEAD] / time_of[STEP]
    rest = max(1 - backbone - head, 0)
    of_step = f"Of a step the backbone takes {backbone:.0%}, the head {head:.0%}, loss, optimiser and loop {rest:.0%}."
    reading = min(time_of[READ] / time_of[LOAD], 1)
    of_loading = (
        f"Of loading a clip, reading takes {reading:.0%} ({layout.times(time_of[READ] / time_of[DECODE])} the bare decode), "
        f"the transform {1 - reading:.0%}."
    )
    by = loader_name(workers).replace("loader, ", "the loader with ")
    brings = f"{by} brings {layout.digits(load)} clips/s, a step takes {layout.digits(step)}"
    if load < 0.9 * step:
        others = {count: value for count, value in _loaders(rate).items() if value > 1.1 * load}
        best = max(others, key=others.get, default=None)
        more = (
            ""
            if best is None
            else f" With {best} worker{'s' if best != 1 else ''} it brings {layout.digits(others[best])}."
        )
        first = f"Loading is the bottleneck: {brings}.{more} {of_loading}"
    elif load > 1.1 * step:
        first = f"The model is the bottleneck: {brings}. {of_step}"
    else:
        first = f"Loading and model are equally fast: {brings}. {of_loading} {of_step}"
    possible = min(load, step) if workers else 1 / (1 / load + 1 / step)
    limit = "the slower of the two alone" if workers else "one after the other"
    crowded = workers and about["device"] == "cpu" and about["threads"] + workers > about["cores"]
    advice = (
        f" {about['threads']} threads and {workers} worker{'s' if workers != 1 else ''} are more than the {about['cores']} "
        "cores: fewer of either may be faster."
        if crowded and whole < 0.7 * possible
        else ""
    )
    return (
        f"{first} Training as a whole reaches {layout.digits(whole)} clips/s, {whole / possible:.0%} of {limit}, and waits for "
        f"clips {waited:.0%} of the time.{advice}"
    )


def block(table: list[Row]) -> str:
    """The table for the screen."""
    header = ["part", "clips/s", "ms a clip", "20-80 %", "of a step", "of decode"]
    return layout.table(header, [_cells(row) for row in table])


def _cells(row: Row) -> list[str]:
    return [
        row["part"],
        layout.digits(row["clips_per_s"]),
        layout.digits(row["median_ms"]),
        f"{layout.digits(row['q20_ms'])} - {layout.digits(row['q80_ms'])}",
        "-" if row["of_step"] is None else f"{row['of_step']:.0%}",
        layout.times(row["of_decode"]),
    ]


def _loaders(rate: dict[str, float]) -> dict[int, float]:
    return {int(name.split()[1]): value for name, value in rate.items() if name.startswith("loader, ")}


def _calls(
    settings: Namespace,
    model: Recogniser,
    clips: ClipDataset,
    size: int,
    counts: list[int],
    device: torch.device,
    context: Callable[[], Any],
) -> dict[str, Callable[[], object]]:
    """All that is measured in turn, each a pass over the clips."""
    keys = list(loading.loader(clips, settings.seed, size, 0, pinned=False).order)
    depths, plain = loading.depths(clips, keys), loading.untransformed(clips)
    loaders = {count: loading.loader(clips, settings.seed, size, count, device.type == "cuda") for count in counts}
    batch = next(iter(loading.loader(clips, settings.seed, size, 0, pinned=False)))
    return {
        DECODE: lambda: [loading.decode(depth) for depth in depths],
        READ: lambda: _items(plain, keys),
        LOAD: lambda: _items(clips, keys),
        **{loader_name(count): _epoch(loader) for count, loader in loaders.items()},
        **steps.parts(model, batch, len(clips) // size, device, context),
    }


def _items(dataset: ClipDataset, keys: list[loading.Key]) -> None:
    with loading.one_thread():
        for key in keys:
            dataset[key]


def _epoch(loader: Any) -> Callable[[], None]:
    def call() -> None:
        for _ in loader:
            pass

    return call


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _out_path(given: Path | None, device: torch.device, settings: Namespace) -> Path:
    kind = f"throughput-{Path(settings.data.root).resolve().name}"
    return program.out_path(given, device, "throughput", kind) if given else program.OWN / f"{device.type}-{kind}.json"


def _about(
    settings: Namespace,
    data: Any,
    model: Recogniser,
    precision: str,
    device: torch.device,
    clips: ClipDataset,
    size: int,
    rounds: int,
) -> dict[str, Any]:
    """What was measured, as plain types; the data by the name of their folder."""
    return {
        "device": str(device),
        "dtype": PRECISIONS.get(precision, precision),
        "recipe": settings.recipe,
        "data": Path(settings.data.root).resolve().name,
        "clips": len(clips),
        "batch": size,
        **{key: data.spec.options[key] for key in ("frames", "short_side", "size")},
        "workers": data.workers,
        "rounds": rounds,
        "backbone": settings.backbone.name,
        "head": str(model.found["head"]),
        "threads": torch.get_num_threads(),
        "cores": machine.cores(),
        "av": loading.av.__version__,
        "caches": "warm, the same files in every pass",
    }


def _sentence(about: dict[str, Any]) -> str:
    height, width = about["size"]
    return (
        f"{about['data']}, recipe {about['recipe']}: {about['clips']} clips in batches of {about['batch']}, {about['frames']} "
        f"frames of {height}x{width}; backbone {about['backbone']}, {about['dtype']}; PyAV {about['av']}; files in the cache"
    )


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

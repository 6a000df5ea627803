"""A training step of a released recipe, with our head and with its authors' formulation: clips/s, peak memory, the head's part.

    python benchmarks/training.py --device cuda                       # gym99: 64 x 112 x 112, batches of 8, R(2+1)D-34
    python benchmarks/training.py --device cuda --recipe haa500 --precisions bf16-mixed
    python benchmarks/training.py --device cpu --backbone small --frames 8 --size 32 --batch_size 2    # a try without a GPU

Random clips in memory and random weights: neither changes a time. A step is forward, backward and optimiser; its head part is
the head alone, forward and backward, on the tokens of the backbone. Both formulations share their weights and are timed in turn.
Prints a table and writes benchmarks/results/DEVICE-training-RECIPE.json.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks import layout, machine, memory, program, timing
from benchmarks.head import AUTHORS, OURS, PRESETS, compare
from taggnn.names import unknown

SCRIPT = "benchmarks/training.py"
STEP, HEAD = "step", "head"
PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16 mixed"}
EAGER, COMPILED = "eager", "compiled"
# The first calls of a compiled module compile it, and again for what they learn of its inputs.
_WARM = 3
Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """What a step works on: a recipe's, or others.

    Args:
        recipe: its name.
        backbone: by name.
        clip: frames, height and width.
        batch: clips in it.
    """

    recipe: str
    backbone: str
    clip: tuple[int, int, int]
    batch: int

    def __str__(self) -> str:
        return (
            f"recipe {self.recipe}: backbone {self.backbone}, {self.batch} clips of {' x '.join(map(str, self.clip))}"
        )


def parser() -> program.Parser:
    """The command line."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    add = parser.add_argument
    add("--recipe", default="gym99", help=f"one of {', '.join(PRESETS)} (default gym99)")
    add("--device", default="cuda", help="cuda (default) or cpu")
    add("--precisions", nargs="+", default=list(PRECISIONS), help="32-true, bf16-mixed (default both)")
    add("--modes", nargs="+", default=[EAGER, COMPILED], help="eager, compiled (default both)")
    add("--backbone", help="another one than the recipe's, by name")
    add("--frames", type=program.positive, help="other than the recipe's")
    add("--size", type=program.positive, help="pixels of a side, other than the recipe's")
    add("--batch_size", type=program.positive, help="clips of a step, other than the recipe's")
    add("--threads", type=program.positive, help="of PyTorch on the CPU (default: all cores)")
    add("--seed", type=int, default=0, help="of weights and clips (default 0)")
    add("--budget", type=program.seconds, default=5.0, help="seconds for each row (default 5)")
    add("--iters", type=program.positive, help="exactly so many calls for each row, whatever they take")
    add("--out", type=Path, help="JSON file (default in runs/benchmarks)")
    return parser


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    precisions, modes = program.names(given.precisions), program.names(given.modes)
    for what, given_names, possible in (("precision", precisions, PRECISIONS), ("mode", modes, (EAGER, COMPILED))):
        for name in given_names:
            if name not in possible:
                raise unknown(what, name, possible)
    device = program.device_of(given.device)
    program.set_threads(given.threads)
    sizes, settings = read(given)
    path = (
        program.out_path(given.out, device, "", "")
        if given.out
        else program.OWN / f"{device.type}-training-{sizes.recipe}.json"
    )
    facts = machine.describe(device, given.seed, SCRIPT, arguments)
    print(f"{machine.sentence(facts)}\n{sizes}\n")
    rows, left = [], []
    with memory.limited(device), tqdm(total=len(precisions) * len(modes), disable=None, file=sys.stderr) as bar:
        for precision in precisions:
            for mode in modes:
                bar.set_description(f"{precision} {mode}")
                made = partial(step_of, settings, sizes, device, given.seed)
                found, without = measure(made, precision, mode, device, sizes.batch, given.budget, given.iters)
                rows += found
                left += without
                bar.update()
    about = {
        "device": str(device),
        "dtype": " and ".join(PRECISIONS[name] for name in precisions),
        "recipe": sizes.recipe,
        "backbone": sizes.backbone,
        "clip": list(sizes.clip),
        "batch": sizes.batch,
        "optimiser": settings.optim.optimiser,
        "budget_s": given.budget,
        "iters": given.iters,
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32) if device.type == "cuda" else None,
        "clips": "random, in memory",
    }
    program.write(path, {"kind": "training", "machine": facts, "settings": about, "rows": rows, "left_out": left})
    print(block(rows, left))
    print(path)
    return 1 if any(entry["why"] == "unequal" for entry in left) else 0


def read(given: argparse.Namespace) -> tuple[Sizes, Any]:
    """The sizes and the settings of the recipe, changed by the command line."""
    # Imported here, because --help does not need it.
    from taggnn.cli import config

    if given.recipe not in PRESETS:
        raise unknown("recipe", given.recipe, PRESETS)
    settings = config.parse(["--config", given.recipe])
    side = given.size or settings.video.size
    sizes = Sizes(
        given.recipe,
        given.backbone or settings.backbone.name,
        (given.frames or settings.video.frames, side, side),
        given.batch_size or settings.data.batch_size,
    )
    return sizes, settings


@dataclass(frozen=True)
class Step:
    """The parts of a training step in one precision and mode; both heads have the same weights.

    Args:
        model: the recogniser with our head.
        theirs: the authors' formulation of the head.
        optimiser: of all weights.
        clips: a batch.
        labels: of it.
    """

    model: nn.Module
    theirs: nn.Module
    optimiser: torch.optim.Optimizer
    clips: Tensor
    labels: Tensor

    def calls(self, context: Callable[[], AbstractContextManager[Any]]) -> dict[tuple[str, str], Callable[[], None]]:
        """(part, by) -> a call of it."""
        with torch.no_grad(), context():
            leaf = self.model.features(self.clips).tokens
        leaf = leaf.detach().requires_grad_()

        def step(logits: Callable[[Tensor], Tensor]) -> None:
            with context():
                loss = F.cross_entropy(logits(self.model.features(self.clips).tokens), self.labels)
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)

        def head(logits: Callable[[Tensor], Tensor]) -> None:
            with context():
                loss = F.cross_entropy(logits(leaf), self.labels)
            loss.backward()
            self.optimiser.zero_grad(set_to_none=True)
            leaf.grad = None

        ways = {OURS: lambda tokens: self.model.head(tokens).logits, AUTHORS: self.theirs}
        return {
            (part, by): partial(call, way) for part, call in ((STEP, step), (HEAD, head)) for by, way in ways.items()
        }

    @property
    def held_bytes(self) -> int:
        """Of weights, statistics and the optimiser's memory: what is there before a step."""
        states = [
            value for state in self.optimiser.state.values() for value in state.values() if torch.is_tensor(value)
        ]
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.model.state_dict().values(), *states))


def step_of(settings: Any, sizes: Sizes, device: torch.device, seed: int, mode: str) -> Step:
    """Builds a step, as training would, on random clips.

    Raises:
        ValueError: ``mode`` is not possible on this machine.
    """
    from benchmarks.authors import AuthorsHead
    from taggnn import model
    from taggnn.training import compiling

    torch.manual_seed(seed)
    compiling.check(mode == COMPILED, device)
    recogniser = model.attach(
        sizes.backbone,
        "tag_released",
        PRESETS[sizes.recipe].classes,
        clip=sizes.clip,
        **settings.tag_released.as_dict(),
    ).to(device)
    theirs = AuthorsHead(recogniser.head).to(device)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimiser = kinds[settings.optim.optimiser](recogniser.parameters(), lr=settings.optim.lr)
    compiling.compile_parts(recogniser, mode == COMPILED)
    if mode == COMPILED:
        theirs.compile()
    clips = torch.randn(sizes.batch, *recogniser.spec.shape, device=device)
    labels = torch.arange(sizes.batch, device=device) % PRESETS[sizes.recipe].classes
    return Step(recogniser, theirs, optimiser, clips, labels)


def measure(
    made: Callable[[str], Step],
    precision: str,
    mode: str,
    device: torch.device,
    clips: int,
    budget: float,
    rounds: int | None = None,
) -> tuple[list[Row], list[Row]]:
    """Measures the step and its head part by both formulations, in turn, when they have been found equal.

    Args:
        made: builds the step, given the mode.
        precision: of ``PRECISIONS``.
        mode: "eager" or "compiled".
        device: where to compute.
        clips: of a batch.
        budget: seconds for each row.
        rounds: exactly so many calls instead.

    Returns:
        The rows; and what has none, with the reason.
    """
    from taggnn.training.device import precision_of

    what = {"precision": precision, "mode": mode}
    try:
        precision_of(precision, device)
        step = made(mode)
    except ValueError as error:
        return [], [{**what, "by": "both", "why": "not possible", "reason": str(error)}]
    # Eagerly and in float32; that the other ways are sound is PyTorch's matter.
    wrong = _unequal(step) if mode == EAGER else None
    if wrong:
        return [], [{**what, "by": "both", "why": "unequal", "reason": wrong}]
    step.model.train()
    step.theirs.train()
    mixed = partial(torch.autocast, device.type, torch.bfloat16) if precision == "bf16-mixed" else nullcontext
    calls, left = {}, []
    try:
        calls, left = _runnable(step.calls(mixed), what, mode)
        times = timing.in_turn(calls, timing.clock(device), budget, rounds)
        peaks = {name: memory.peak(call, device) for name, call in calls.items()}
    except (RuntimeError, MemoryError) as error:
        if not memory.is_shortage(error):
            raise
        return [], [{**what, "by": "both", "why": "memory", "reason": "more memory than there was"}]
    finally:
        held = step.held_bytes
        del step, calls
        _forget(device)
    rows = [
        {
            **what,
            "part": part,
            "by": by,
            "clips_per_s": clips / measured.median,
            **measured.row(),
            "peak_bytes": peaks[part, by],
            "held_bytes": held,
        }
        for (part, by), measured in times.items()
    ]
    add_ratios(rows)
    return rows, left


def add_ratios(rows: list[Row]) -> None:
    """Adds the ratios of our rows to the authors', of one precision and mode, and of every head part to its own step."""
    found = {(row["part"], row["by"]): row for row in rows}
    for row in rows:
        theirs = found.get((row["part"], AUTHORS)) if row["by"] == OURS else None
        step = found.get((STEP, row["by"]))
        row["faster_than_authors"] = theirs and theirs["median_ms"] / row["median_ms"]
        row["memory_of_authors"] = theirs and (
            row["peak_bytes"] / theirs["peak_bytes"] if theirs["peak_bytes"] else None
        )
        row["share_of_step"] = row["median_ms"] / step["median_ms"] if step and row["part"] == HEAD else None


def block(rows: list[Row], left: list[Row]) -> str:
    """The table for the screen, what has no row, and a sentence for each precision and mode."""
    header = [
        "precision",
        "mode",
        "part",
        "by",
        "clips/s",
        "ms",
        "20-80 %",
        "vs authors",
        "of step",
        "MiB",
        "of authors'",
    ]
    cells = [
        [
            row["precision"],
            row["mode"],
            row["part"],
            row["by"],
            layout.digits(row["clips_per_s"]),
            layout.digits(row["median_ms"]),
            f"{layout.digits(row['q20_ms'])} - {layout.digits(row['q80_ms'])}",
            layout.times(row["faster_than_authors"]),
            "-" if row["share_of_step"] is None else f"{row['share_of_step']:.0%}",
            layout.mebibytes(row["peak_bytes"]),
            layout.share(row["memory_of_authors"]),
        ]
        for row in rows
    ]
    notes = [note_of(entry) for entry in left]
    return "\n".join([*([layout.table(header, cells, left=4)] if rows else []), *notes, *sentences(rows)]) + "\n"


def note_of(entry: Row) -> str:
    """What has no row, and why."""
    return f"{entry['precision']} {entry['mode']}, {entry['by']}: no row ({entry['why']}: {entry['reason']})"


def sentences(rows: list[Row]) -> list[str]:
    """What our head gains in each precision and mode, of itself and of the whole step."""
    named = {(row["precision"], row["mode"], row["part"], row["by"]): row for row in rows}
    found = []
    for precision, mode in dict.fromkeys((row["precision"], row["mode"]) for row in rows):
        head, step = (named.get((precision, mode, part, OURS)) for part in (HEAD, STEP))
        theirs = named.get((precision, mode, STEP, AUTHORS))
        if head and step and theirs:
            found.append(
                f"{PRECISIONS[precision]}, {mode}: {layout.digits(step['clips_per_s'])} clips/s a step, the authors' "
                f"{layout.digits(theirs['clips_per_s'])}; the head's part {layout.times(head['faster_than_authors'])} as fast, "
                f"the whole step {layout.times(step['faster_than_authors'])}; a step's peak memory is "
                f"{layout.share(step['memory_of_authors'])} of theirs."
            )
    return found


def _unequal(step: Step) -> str | None:
    """Why the two formulations are not equal, in eval mode and float32; None where they are."""
    head = step.model.head
    tokens = torch.randn(2, *head.grid, step.model.features(step.clips[:1]).tokens.shape[-1], device=step.clips.device)
    verdicts = compare(head, tokens, backward=True)
    return "; ".join(f"{part}: {verdict}" for part, verdict in verdicts.items() if not verdict.equal) or None


def _runnable(
    calls: dict[tuple[str, str], Callable[[], None]], what: Row, mode: str
) -> tuple[dict[tuple[str, str], Callable[[], None]], list[Row]]:
    """The calls that run, warm; and those that the compiler refuses."""
    left: list[Row] = []
    for by in (OURS, AUTHORS):
        try:
            for part in (STEP, HEAD):
                for _ in range(_WARM if mode == COMPILED else 1):
                    calls[part, by]()
        except Exception as error:
            if mode == EAGER or memory.is_shortage(error):
                raise
            reason = f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
            left.append({**what, "by": by, "why": "does not compile", "reason": reason})
            calls = {name: call for name, call in calls.items() if name[1] != by}
    return calls, left


def _forget(device: torch.device) -> None:
    """Gives back what the last model held, compiled code included."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

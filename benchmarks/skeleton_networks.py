"""Skeleton networks as their papers write them against ours: a training step, and what SF-Head costs at inference.

    python benchmarks/skeleton_networks.py                              # CTR-GCN on NW-UCLA and NTU, batch 16, 2 threads
    python benchmarks/skeleton_networks.py --networks st_gcn agcn aagcn st_gcn++ ctr_gcn --data nw_ucla

The same random weights and clips for both. Nothing is timed before outputs and every gradient were found equal in float64, in
training mode. A step is the forward pass, cross-entropy, the backward pass and SGD; all are called in turn in one run.

Axes: B clips, T frames, V joints, M persons.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks import gate, layout, machine, naive_skeletons, program, timing
from graphs import skeleton as skeletons
from graphs.bones import adjacency_subsets, distance_subsets
from taggnn import model
from taggnn.backbones import BACKBONES
from taggnn.model import Recogniser
from taggnn.nn.macs import counted_macs
from taggnn.types import SKELETON_AXES, InputSpec

SCRIPT = "benchmarks/skeleton_networks.py"
NETWORKS = [name for name, row in BACKBONES.items() if row.kind == "skeleton"]


class Data(NamedTuple):
    """Clips of a data set: skeleton, T, M, K."""

    skeleton: str
    frames: int
    persons: int
    classes: int


Clock = Callable[[Callable[[], object], int], list[float]]


def _by_process(call: Callable[[], object], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return seconds


CLOCKS: dict[str, Clock] = {"wall": timing.clock(torch.device("cpu")), "cpu": _by_process}


class Shape(NamedTuple):
    """B, and the width and depths of a network."""

    batch: int
    width: int
    depths: list[int]


DATA = {"nw_ucla": Data("nw_ucla", 52, 1, 10), "ntu": Data("ntu", 64, 2, 60)}


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("--networks", nargs="+", choices=NETWORKS, default=["ctr_gcn"])
    built.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    built.add_argument("--batch", type=program.positive, default=16, help="B (default 16)")
    built.add_argument(
        "--width", type=program.positive, default=64, help="channels of the first blocks, a multiple of 32 (default 64)"
    )
    built.add_argument("--depths", nargs="+", type=program.positive, default=[4, 3, 3], help="blocks of each width")
    built.add_argument("--threads", type=program.positive, default=2, help="of PyTorch (default 2)")
    built.add_argument("--seed", type=int, default=0, help="of weights and clips (default 0)")
    built.add_argument("--budget", type=program.seconds, default=30.0, help="seconds for each way (default 30)")
    built.add_argument("--iters", type=program.positive, help="exactly so many calls of each, whatever they take")
    built.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: time of this process alone, for a machine with other work"
    )
    built.add_argument("--out", type=Path, help="JSON file")
    return built


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    path = program.out_path(given.out, torch.device("cpu"), "float32", "skeletons")
    program.set_threads(given.threads)
    facts = machine.describe(torch.device("cpu"), given.seed, SCRIPT, arguments)
    print(f"{machine.sentence(facts)}\n")
    rows = []
    cases = [(network, data) for network in program.names(given.networks) for data in program.names(given.data)]
    for network, data in tqdm(cases, unit="case", disable=None):
        shape = Shape(given.batch, given.width, given.depths)
        rows.append(measured(network, data, shape, given.seed, CLOCKS[given.clock], given.budget, given.iters))
        print(table(rows[-1:]))
    settings = {
        "device": "cpu",
        "dtype": "float32",
        "width": given.width,
        "depths": given.depths,
        "clock": given.clock,
        "budget": given.budget,
    }
    program.write(path, {"kind": "skeletons", "machine": facts, "settings": settings, "rows": rows})
    print(f"\n{path}")
    return 0


def measured(
    network: str, data: str, shape: Shape, seed: int, clock: Clock, budget: float, iters: int | None
) -> dict[str, Any]:
    """One network on one data set, proven equal, then timed.

    Raises:
        ValueError: ours is not equal to the restatement.
    """
    torch.manual_seed(seed)
    sizes = DATA[data]
    spec = _spec(sizes)
    bare, plugged = (_recogniser(network, spec, sizes.classes, shape, plug) for plug in (None, "sf"))
    authors = naive_skeletons.published(
        network, _graph(network, sizes.skeleton), sizes.classes, 3, sizes.persons, shape.width, shape.depths
    )
    state = {key.removeprefix("backbone."): value for key, value in bare.state_dict().items() if "head." not in key}
    last = "fcn" if network == "st_gcn" else "fc"
    weight = bare.state_dict()["head.classifier.weight"]
    state[f"{last}.weight"] = weight[:, :, None, None] if last == "fcn" else weight
    state[f"{last}.bias"] = bare.state_dict()["head.classifier.bias"]
    authors.load_state_dict(state)
    error = _proven(authors, bare, spec)
    x, labels = torch.randn(shape.batch, *spec.shape), torch.randint(sizes.classes, (shape.batch,))
    steps = {
        "authors": _step(authors.train(), authors, x, labels),
        "ours": _step(bare.train(), lambda clips: bare(clips).logits, x, labels),
        "ours, sf": _step(plugged.train(), lambda clips: plugged(clips).logits, x, labels),
    }
    trained = timing.in_turn(steps, clock, budget, iters)
    bare.eval(), plugged.eval()
    with torch.inference_mode():
        ways = {"ours": lambda: bare(x), "ours, sf": lambda: plugged(x)}
        inferred = timing.in_turn(ways, clock, budget, iters)
    one = spec.example()
    macs = {
        "authors": counted_macs(lambda: authors.eval()(one)),
        "ours": counted_macs(lambda: bare(one)),
        "ours, sf": counted_macs(lambda: plugged(one)),
    }
    return {
        "network": network,
        "data": data,
        "clip": list(spec.shape),
        "batch": shape.batch,
        "error": error,
        "step": {way: one.row() for way, one in trained.items()},
        "inference": {way: one.row() for way, one in inferred.items()},
        "macs": macs,
        "faster": trained["authors"].median / trained["ours"].median,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for the screen."""
    header = ["network", "clips", "way", "step ms", "of the authors'", "inference ms", "GMAC a clip"]
    lines = []
    for row in rows:
        for way in ("authors", "ours", "ours, sf"):
            step, inference = row["step"][way]["median_ms"], row["inference"].get(way, {}).get("median_ms")
            ratio = row["step"]["authors"]["median_ms"] / step
            clips = f"{row['data']} {row['batch']} x {' x '.join(map(str, row['clip']))}"
            cells = [layout.digits(step), layout.times(ratio), layout.digits(inference)]
            lines.append([row["network"], clips, way, *cells, f"{row['macs'][way] / 1e9:.4f}"])
    return layout.table(header, lines, left=3)


def _spec(sizes: Data) -> InputSpec:
    joints = len(skeletons.find(sizes.skeleton))
    shape = (3, sizes.frames, joints, sizes.persons)
    return InputSpec("skeleton", SKELETON_AXES, shape, {"skeleton": sizes.skeleton})


def _graph(network: str, skeleton: str) -> Tensor:
    return (distance_subsets if network == "st_gcn" else adjacency_subsets)(skeletons.find(skeleton))


def _recogniser(network: str, spec: InputSpec, classes: int, shape: Shape, plug: str | None) -> Recogniser:
    names = [f"class {label}" for label in range(classes)]
    backbone = {"name": network, "width": shape.width, "depths": shape.depths, "plug": plug}
    head = {"name": "pool", "dropout": 0.0}
    built = model.build({"backbone": backbone, "head": head, "input": spec.plain(), "classes": names})
    with torch.no_grad():
        # Nothing that begins at zero hides a part.
        for parameter in built.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) / 10)
    return built


def _step(network: nn.Module, logits: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, nesterov=True)

    def call() -> None:
        F.cross_entropy(logits(x), labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return call


def _proven(authors: nn.Module, ours: Recogniser, spec: InputSpec) -> float:
    """The largest relative error of outputs and gradients, in float64 and training mode.

    Raises:
        ValueError: it is larger than rounding.
    """
    # Fewer frames: the same arithmetic in less memory.
    x = torch.randn(2, *spec.resized(frame=9).shape, dtype=torch.float64)
    before = [{key: value.clone() for key, value in one.state_dict().items()} for one in (authors, ours)]
    answers = []
    upstream = None
    for network, call in ((authors, authors), (ours, lambda clips: ours(clips).logits)):
        network.double().train()
        # A gradient by its shape and order: both have the same entries, under other names.
        leaves = {_common(name): parameter for name, parameter in network.named_parameters()}
        given = x.clone().requires_grad_()
        out = call(given)
        upstream = torch.randn_like(out) if upstream is None else upstream
        gradients = torch.autograd.grad(out, [given, *leaves.values()], upstream)
        named = dict(zip(["gradient of x", *leaves], gradients, strict=True))
        answers.append({"output": out.detach(), **named})
    reference = answers[0]
    found = {name: answers[1][name].reshape(value.shape) for name, value in reference.items()}
    error, worst = gate.distance(reference, found)
    for network, state in zip((authors, ours), before, strict=True):
        network.float().load_state_dict(state)
    if not error <= gate.TOLERANCE[torch.float64]:
        raise ValueError(f"not equal: {worst} is off by {error:.1e}, so nothing is timed")
    return error


def _common(name: str) -> str:
    return name.removeprefix("backbone.").replace("head.classifier.", "fc.").replace("fcn.", "fc.")


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

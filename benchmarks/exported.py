"""Time of an exported model: the recogniser itself, its program of torch.export and its ONNX, called in turn in one run.

    python benchmarks/exported.py                                  # small and r2plus1d_18, three convolutions
    python benchmarks/exported.py --models r2plus1d_18:gcn --clips 4

Weights are random. A file whose output differs from that of the recogniser is never written, so never measured.

Axes: B clips, T frames, H W pixels.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tempfile
from typing import Any

import torch
from tqdm import tqdm

import taggnn
from benchmarks import machine, program, timing
from taggnn import backbones, model
from taggnn.data.video.source import VideoSource
from taggnn.io.exporters import EXPORTERS, export
from taggnn.io.loaded import Loaded

SCRIPT = "benchmarks/exported.py"
MODELS = ("small:gat", "small:gatv2", "r2plus1d_18:gat", "r2plus1d_18:gcn")
EAGER, PROGRAMS = "eager", ("torch", "onnx")
_CLASSES = 99


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("--models", nargs="+", default=list(MODELS), help="backbone:convolution of head tag")
    built.add_argument("--clips", type=program.positive, default=1, help="B (default 1)")
    built.add_argument("--threads", type=program.positive, help="of PyTorch and ONNX Runtime (default: all cores)")
    built.add_argument("--seed", type=int, default=0, help="of weights and clips (default 0)")
    built.add_argument("--budget", type=program.seconds, default=3.0, help="seconds for each way (default 3)")
    built.add_argument("--iters", type=program.positive, help="exactly so many calls of each, whatever they take")
    built.add_argument("--size", nargs=3, type=program.positive, help="T H W of a clip (default: the backbone's own)")
    built.add_argument("--out", type=Path, help="JSON file")
    return built


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    names = program.names(given.models)
    for name in names:
        backbones.find(name.partition(":")[0])
    path = program.out_path(given.out, torch.device("cpu"), "float32", "exported")
    program.set_threads(given.threads)
    facts = machine.describe(torch.device("cpu"), given.seed, SCRIPT, arguments)
    print(f"{machine.sentence(facts)}\n")
    rows = []
    for name in tqdm(names, unit="model", disable=None):
        row = measure(name, given.clips, given.size, given.seed, given.budget, given.iters)
        rows.append(row)
        tqdm.write(line(row), file=sys.stdout)
    settings = {"device": "cpu", "dtype": "float32", "clips": given.clips, "budget": given.budget}
    program.write(path, {"kind": "exported", "machine": facts, "settings": settings, "rows": rows})
    print(f"\n{path}")
    return 0


def measure(
    name: str, clips: int, size: list[int] | None, seed: int, budget: float, iters: int | None
) -> dict[str, Any]:
    """One model in its three forms.

    Raises:
        ValueError: the output of one of them differs from that of the recogniser, or it cannot be written.
    """
    backbone, _, conv = name.partition(":")
    torch.manual_seed(seed)
    clip = tuple(size or backbones.find(backbone).clip)
    classes = [str(label) for label in range(_CLASSES)]
    architecture = {
        "backbone": {"name": backbone},
        "head": {"name": "tag", "conv": conv or "gat"},
        "input": VideoSource(frames=clip[0], size=list(clip[1:])).spec.plain(),
        "classes": classes,
    }
    built = model.build(architecture).eval()
    loaded = Loaded(built, tuple(classes), {"seed": seed}, name, architecture=architecture)
    batch = torch.randn(clips, *built.spec.shape)
    with tempfile.TemporaryDirectory() as folder:
        written, failed = export(loaded, batch[0], folder, PROGRAMS)
        if failed:
            raise ValueError(f"{name}: " + "; ".join(f"{way}: {reason}" for way, reason in failed.items()))
        forms = {EAGER: loaded} | {way: taggnn.load(Path(folder) / EXPORTERS[way].file) for way in PROGRAMS}
    calls = {way: lambda form=form: form.logits(batch) for way, form in forms.items()}
    times = timing.in_turn(calls, timing.clock(torch.device("cpu")), budget, iters)
    found = {way: one.row() for way, one in times.items()}
    for way in PROGRAMS:
        found[way] |= {
            "difference": written[way].difference,
            "bytes": written[way].size,
            "faster_than_eager": times[EAGER].median / times[way].median,
        }
    return {"model": name, "clip": list(clip), "clips": clips, "ways": found}


def line(row: dict[str, Any]) -> str:
    """A row for the screen."""
    cells = [
        f"{row['model']:20} {' x '.join(map(str, row['clip'])):14} eager {row['ways'][EAGER]['median_ms']:8.1f} ms"
    ]
    for way in PROGRAMS:
        one = row["ways"][way]
        cells.append(
            f"{way} {one['median_ms']:8.1f} ms ({one['faster_than_eager']:.2f}x, differs by {one['difference']:.1e})"
        )
    return "  ".join(cells)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

"""How much of each method's map lies on the true region, and whether it is better than random, on clips for which it is known.

    python -m taggnn.train --config demo_art --head tag --compare [pool] --run runs/regions
    python benchmarks/explanations.py runs/regions                           # its head, and those that it was compared with
    python benchmarks/explanations.py runs/regions --methods all --clips 8

The true regions are in regions.csv in the root of the clips. *Inside* is the share of what speaks for the predicted class that
lies on the region (`taggnn.evaluation.localisation.importance_inside`), with its 95 % interval over clips, *chance* that of a
uniform map. *Peak* is the share of frames whose most important token has its centre in the region. *Deletion* and *insertion* are
areas under curves (`taggnn.explanation.curves`), with where 95 % of the random orders are.

Axes: B clips, T frames, H W token grid.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import layout, machine, program
from benchmarks.localisation import boxes_of_clip, heads_of, root_of
from taggnn.cli.explaining import DEFAULT, methods_of
from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.data.loader import ClipData
from taggnn.data.region_boxes import REGIONS, read_boxes
from taggnn.data.video.source import VideoSource
from taggnn.evaluation.localisation import importance_inside, localisation, over_frames
from taggnn.explanation.curves import DRAWS, STEPS, Curves, verdict
from taggnn.explanation.explained import explained
from taggnn.io import checkpoint
from taggnn.io.loaded import Loaded
from taggnn.model import Recogniser
from taggnn.types import BadClip

SCRIPT = "benchmarks/explanations.py"


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    built.add_argument("--root", type=Path, help=f"folder of the clips and {REGIONS} (default: that of the run)")
    built.add_argument("--split", choices=["train", "val", "test"], default="test", help="of the clips (default test)")
    named = f"names with commas between, or all (default {','.join([*DEFAULT, 'random'])})"
    built.add_argument("--methods", default=",".join([*DEFAULT, "random"]), help=named)
    built.add_argument(
        "--clips", type=program.positive, default=24, help="evenly spaced clips of the list (default 24)"
    )
    built.add_argument("--draws", type=program.positive, default=DRAWS, help=f"random orders (default {DRAWS})")
    built.add_argument("--curve_steps", type=program.positive, default=STEPS, help=f"steps (default {STEPS})")
    built.add_argument("--threads", type=program.positive, default=2, help="of PyTorch (default 2)")
    built.add_argument("--out", type=Path, help="JSON file")
    return built


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    path = program.out_path(given.out, torch.device("cpu"), "float32", "explanations")
    program.set_threads(given.threads)
    methods = methods_of(given.methods.split(","))
    # All are opened before the first is measured.
    opened = [
        (folder, checkpoint.load(folder), given.root or root_of(run))
        for one in given.runs
        for run, folder in heads_of(one)
    ]
    rows = []
    for folder, loaded, root in opened:
        rows += measured(str(folder), loaded, root, given.split, methods, given.clips, given.draws, given.curve_steps)
    facts = machine.describe(torch.device("cpu"), 0, SCRIPT, arguments)
    print(table(rows))
    settings = {"device": "cpu", "dtype": "float32", "split": given.split}
    program.write(path, {"kind": "explanations", "machine": facts, "settings": settings, "rows": rows})
    print(f"\n{path}")
    return 0


def measured(
    run: str, loaded: Loaded, root: Path, split: str, methods: Sequence[str], number: int, draws: int, curve_steps: int
) -> list[dict[str, Any]]:
    """A row for each method that suits the head of a run.

    Raises:
        ValueError: it is no model of videos, or no clip can be read.
    """
    source, model, boxes = sources.of(loaded.spec), loaded.model, read_boxes(root / REGIONS)
    if not isinstance(model, Recogniser) or not isinstance(source, VideoSource) or len(model.grid) != 3:
        raise ValueError(f"{run}: expected the checkpoint of a model of videos with a grid of T, H and W")
    # Nothing is trained here, so nothing needs a warning about flips.
    source.flip = 0.0
    data = ClipData(source, str(root), classes=list(loaded.classes), workers=0, **dict(loaded.split_options))
    data.setup()
    samples = data.samples(split)
    chosen = [index * len(samples.clips) // number for index in range(min(number, len(samples.clips)))]
    maps: dict[str, list[Tensor]] = {}
    curves: dict[str, list[Curves]] = {}
    truth: list[Tensor] = []
    right = skipped = 0
    for index in tqdm(chosen, desc=split, unit="clip", disable=None, leave=False):
        sample, clip = samples[index, 0], samples.clips[index]
        if isinstance(sample, BadClip):
            skipped += 1
            continue
        found = explained(
            *(model, sample.x[None], clip.name, loaded.classes, methods, capabilities_of(source)),
            curve_steps=curve_steps, draws=draws,
        )  # fmt: skip
        right += found.predicted == loaded.classes[sample.label]
        truth.append(boxes_of_clip(clip.name, clip.path, boxes, source))
        for method, importance in found.maps.items():
            maps.setdefault(method, []).append(over_frames(importance.values[None], sample.x.shape[1])[0])
            curves.setdefault(method, []).append(found.curves[method])
    if not truth:
        raise ValueError(f"{run}: none of the {len(chosen)} clips could be read")
    size, of_clips = source.transform.size, torch.stack(truth)
    shared = {
        "run": run,
        "head": loaded.architecture["head"]["name"] if loaded.architecture else type(model.head).__name__,
        "grid": list(model.grid),
        "size": list(size),
        "top1": right / len(truth),
        "skipped": skipped,
    }
    return [
        {**shared, "method": method, **_figures(torch.stack(found), of_clips, size), **asdict(verdict(curves[method]))}
        for method, found in maps.items()
    ]


def _figures(maps: Tensor, boxes: Tensor, size: Sequence[int]) -> dict[str, Any]:
    inside, peaks = importance_inside(maps, boxes, size), localisation(maps[:, :, None], boxes, size)
    return {
        "inside": asdict(inside.share),
        "chance": inside.chance,
        "frames": inside.frames,
        "peak": asdict(peaks.best),
        "peak_chance": peaks.chance,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for the screen."""
    header = [
        "head",
        "method",
        "inside %",
        "chance",
        "peak %",
        "chance",
        "deletion",
        "random",
        "insertion",
        "random",
        "",
    ]
    lines = [
        [
            *(row["head"], row["method"], _share(row["inside"]), f"{100 * row['chance']:.1f}"),
            *(_share(row["peak"]), f"{100 * row['peak_chance']:.1f}"),
            *(f"{row['deletion']['value']:.3f}", _range(row["deletion"])),
            *(f"{row['insertion']['value']:.3f}", _range(row["insertion"])),
            "" if row["better"] else "no better than random",
        ]
        for row in rows
    ]
    facts = {
        f"{row['run']}: {row['clips']} clips, grid {row['grid']}, top-1 on them {100 * row['top1']:.1f} %"
        for row in rows
    }
    return "\n".join([layout.table(header, lines, left=2), *sorted(facts)])


def _share(share: Mapping[str, float]) -> str:
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


def _range(figure: Mapping[str, float]) -> str:
    return f"{figure['low']:.3f} to {figure['high']:.3f}"


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

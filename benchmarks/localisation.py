"""How often the attention of trained heads lies on the true region, on clips for which it is known.

    python -m taggnn.train --config demo_art --run runs/art                  # makes datasets/synthetic_regions and trains
    python benchmarks/localisation.py runs/art                               # its head, and those that it was compared with
    python benchmarks/localisation.py runs/art/compare/pool --split val --out found.json

The true regions are in regions.csv in the root of the clips. A frame counts where the region is visible in the input; a map
hits where the centre of its largest token lies in the region. *Any* is the share of frames in which one of the R maps of the
head hits, *best* that of one map, the same one in all clips, which hits most often on the validation clips; in brackets their
95 % intervals over clips. *Chance* is that of random positions, of as many maps. *The middle of the picture* is a peak that
never moves; *reachable* are the frames in which the region holds the centre of a token at all.

Axes: B clips, T frames, R maps of a frame, H W token grid, K classes.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks import layout, machine, program
from taggnn.cli import config
from taggnn.data import sources
from taggnn.data.clips import ClipList
from taggnn.data.loader import ClipData
from taggnn.data.region_boxes import REGIONS, read_boxes
from taggnn.data.video.boxes import boxes_of_input
from taggnn.data.video.reading import iterate_frames
from taggnn.data.video.source import VideoSource
from taggnn.evaluation.localisation import class_activation, localisation, middle_share, over_frames
from taggnn.heads.pool import PoolHead
from taggnn.io import checkpoint
from taggnn.io.loaded import Loaded
from taggnn.model import Recogniser
from taggnn.types import Output

SCRIPT = "benchmarks/localisation.py"
Maps = Callable[[nn.Module, Tensor, Output], Tensor | None]


def _regions(head: nn.Module, tokens: Tensor, output: Output) -> Tensor | None:
    """The attention of each tracklet over the positions of each frame."""
    return output.extras.get("regions")


def _weights(head: nn.Module, tokens: Tensor, output: Output) -> Tensor | None:
    """The weights of the read-out, as one map a frame."""
    weights = output.extras.get("weights")
    return None if weights is None or weights.shape != tokens.shape[:-1] else weights[:, :, None]


def _activation(head: nn.Module, tokens: Tensor, output: Output) -> Tensor | None:
    """The class-activation map of the predicted class."""
    if not isinstance(head, PoolHead):
        return None
    return class_activation(tokens, head.classifier.weight, output.logits.argmax(1))


# Name -> what gives the maps (B, T, R, H, W) of a head that has them.
MAPS: dict[str, Maps] = {"regions": _regions, "read-out weights": _weights, "class activation": _activation}


class Seen(NamedTuple):
    """What a model does on the clips.

    **Shapes:** maps (B, T, R, H, W), boxes (B, T, 4)
    """

    maps: dict[str, Tensor]
    boxes: Tensor
    top1: float
    skipped: int


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    built.add_argument("--root", type=Path, help=f"folder of the clips and {REGIONS} (default: that of the run)")
    built.add_argument("--split", choices=["train", "val", "test"], default="test", help="of the clips (default test)")
    built.add_argument("--batch", type=program.positive, default=16, help="clips in a batch (default 16)")
    built.add_argument("--threads", type=program.positive, default=2, help="of PyTorch (default 2)")
    built.add_argument("--out", type=Path, help="JSON file")
    return built


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    path = program.out_path(given.out, torch.device("cpu"), "float32", "localisation")
    program.set_threads(given.threads)
    folders = [head for run in given.runs for head in heads_of(run)]
    # All are opened before the first is measured.
    opened = [(folder, checkpoint.load(folder), given.root or root_of(run)) for run, folder in folders]
    rows = []
    for folder, loaded, root in opened:
        rows += measured(str(folder), loaded, root, given.split, given.batch)
    facts = machine.describe(torch.device("cpu"), 0, SCRIPT, arguments)
    print(table(rows))
    settings = {"device": "cpu", "dtype": "float32", "split": given.split}
    program.write(path, {"kind": "localisation", "machine": facts, "settings": settings, "rows": rows})
    print(f"\n{path}")
    return 0


def heads_of(run: Path) -> list[tuple[Path, Path]]:
    """(run, folder with best.ckpt) of the head of a run, and of the heads that it was compared with."""
    return [(run, run), *((run, found.parent) for found in sorted(run.glob("compare/*/best.ckpt")))]


def root_of(run: Path) -> Path:
    """The folder of the clips of a run.

    Raises:
        ValueError: it trained on stored tokens, or is a folder below a run.
    """
    # A head that a run was compared with has the configuration of the run.
    folder = next((one for one in (run, *run.resolve().parents[:2]) if (one / "config.yaml").is_file()), None)
    root = None if folder is None else config.of_run(folder).data.root
    if root is None or not (Path(root) / REGIONS).is_file():
        raise ValueError(f"{run}: the folder of its clips is not known, or has no {REGIONS} (root {root}); give --root")
    return Path(root)


def measured(run: str, loaded: Loaded, root: Path, split: str, batch: int) -> list[dict[str, Any]]:
    """A row for each kind of maps that the head of a run has.

    Raises:
        ValueError: it has none, or is no model of videos.
    """
    source, model, boxes = sources.of(loaded.spec), loaded.model, read_boxes(root / REGIONS)
    if not isinstance(model, Recogniser) or not isinstance(source, VideoSource) or len(model.grid) != 3:
        raise ValueError(f"{run}: expected the checkpoint of a model of videos with a grid of T, H and W")
    # Nothing is trained here, so nothing needs a warning about flips.
    source.flip = 0.0
    data = ClipData(
        source, str(root), classes=list(loaded.classes), batch_size=batch, workers=0, **dict(loaded.split_options)
    )
    data.setup()
    seen = look(model, source, data, split, boxes)
    if not seen.maps:
        raise ValueError(f"{run}: its head {type(model.head).__name__} has no maps; possible are {', '.join(MAPS)}")
    size = source.transform.size
    chosen = _chosen_on_validation(model, source, data, boxes) if _several(seen) and split != "val" else {}
    shared = {
        "run": run,
        "head": loaded.architecture["head"]["name"] if loaded.architecture else type(model.head).__name__,
        "grid": list(model.grid),
        "size": list(size),
        "top1": seen.top1,
        "skipped": seen.skipped,
        "middle": middle_share(seen.boxes, size),
    }
    return [
        {
            **shared,
            "maps": name,
            "regions": maps.shape[2],
            "chosen_on": "val" if name in chosen else split,
            **asdict(localisation(maps, seen.boxes, size, chosen.get(name))),
        }
        for name, maps in seen.maps.items()
    ]


def _several(seen: Seen) -> bool:
    return any(maps.shape[2] > 1 for maps in seen.maps.values())


def _chosen_on_validation(
    model: Recogniser, source: VideoSource, data: ClipData, boxes: Mapping[str, Any]
) -> dict[str, int]:
    """Kind of maps -> the one of them that hits most often on the validation clips; empty where there are none."""
    if data.val_clips is None:
        return {}
    seen, size = look(model, source, data, "val", boxes), source.transform.size
    return {name: localisation(maps, seen.boxes, size, resamples=2).index for name, maps in seen.maps.items()}


@torch.inference_mode()
def look(model: Recogniser, source: VideoSource, data: ClipData, split: str, boxes: Mapping[str, Any]) -> Seen:
    """Calls a model on the clips of a split and collects its maps and the true boxes.

    Raises:
        ValueError: a clip has no boxes, or none can be read.
    """
    clips: ClipList = getattr(data, f"{split}_clips")
    maps: dict[str, list[Tensor]] = {}
    truth, right, skipped = [], 0, 0
    model.eval()
    for batch in tqdm(data.eval_dataloader(split), desc=split, unit="batch", disable=None, leave=False):
        skipped += len(batch.skipped)
        if not len(batch):
            continue
        tokens = model.features(batch.x).tokens
        output = model.head(tokens)
        right += int((output.logits.argmax(1) == batch.label).sum())
        for name, find in MAPS.items():
            found = find(model.head, tokens, output)
            if found is not None:
                maps.setdefault(name, []).append(over_frames(found, batch.x.shape[2]))
        truth += [boxes_of_clip(clips[index].name, clips[index].path, boxes, source) for index in batch.index.tolist()]
    if not truth:
        raise ValueError(f"none of the {len(clips)} {split} clips could be read")
    joined = {name: torch.cat(parts) for name, parts in maps.items()}
    return Seen(joined, torch.stack(truth), right / len(truth), skipped)


def boxes_of_clip(name: str, path: str, boxes: Mapping[str, Any], source: VideoSource) -> Tensor:
    if name not in boxes:
        raise ValueError(
            f"{REGIONS}: no region of {name}; it has {len(boxes)} videos, such as {next(iter(boxes), '-')}"
        )
    height, width = next(iter(iterate_frames(path)))[1].shape[:2]
    return boxes_of_input(torch.from_numpy(boxes[name]), width, height, source)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for the screen, and what they are measured on."""
    header = ["run", "head", "maps", "R", "any %", "chance", "best %", "chance", "map", "top-1 %"]
    lines = [
        [
            *(row["run"], row["head"], row["maps"], str(row["regions"])),
            *(_share(row["any"]), f"{100 * row['chance_any']:.1f}"),
            *(_share(row["best"]), f"{100 * row['chance']:.1f}"),
            *(str(row["index"]), f"{100 * row['top1']:.1f}"),
        ]
        for row in rows
    ]
    facts = dict.fromkeys(map(_facts, rows))
    return "\n".join([layout.table(header, lines, left=3), *facts])


def _facts(row: Mapping[str, Any]) -> str:
    """What a row is measured on."""
    grid, size = (" x ".join(map(str, row[part])) for part in ("grid", "size"))
    middle, reachable = (f"{100 * row[part]:.1f} %" for part in ("middle", "reachable"))
    skipped = f"; {row['skipped']} clips could not be read" if row["skipped"] else ""
    return (
        f"{row['frames']:,} frames of {row['clips']} clips, grid {grid}, input {size}; the middle of the picture: {middle}, "
        f"reachable: {reachable}{skipped}"
    )


def _share(share: Mapping[str, float]) -> str:
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))

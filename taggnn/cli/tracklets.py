"""What a run keeps of the tracklets of some test clips: a file of each, and a video."""

import re
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from taggnn.data.dataset import ClipDataset
from taggnn.evaluation.scoring import Scored
from taggnn.evaluation.tracklet_clips import EXTRA, choose, collect
from taggnn.evaluation.tracklets import ENDING, FOLDER
from taggnn.reporting.tracklet_video import write_clip
from taggnn.runtime import distributed
from taggnn.runtime.printable import one_line

TRACKLETS = 6
TRACKLETS_HELP = (
    "test clips whose tracklets are drawn, where the head has regions: half of them right, half wrong; 0: none"
)
# Letters of a clip's name in the name of its files.
_LONGEST = 80


def write_tracklets(
    folder: Path,
    scored: Scored,
    model: nn.Module,
    samples: ClipDataset,
    number: int,
    device: torch.device | str,
) -> list[str]:
    """Writes the tracklets of some of the clips that were scored into ``folder/tracklets``; in the first process only.

    Files of an earlier evaluation in it are removed. A head without regions costs nothing.

    Args:
        folder: of the run.
        scored: the predictions.
        model: the model that made them.
        samples: the clips, as evaluation sees them.
        number: how many clips; 0 for none.
        device: where the model is.

    Returns:
        A sentence on each clip that was left out, for results.json.
    """
    if not distributed.is_main_process():
        return []
    _clear(folder / FOLDER)
    if not number or scored.predictions is None or EXTRA not in scored.extras:
        return []
    chosen = choose(scored.predictions, number)
    found, notes = collect(model, samples, scored.predictions, chosen, device)
    for index, tracklets in enumerate(found, start=1):
        name = file_name(index, tracklets.name)
        tracklets.write(folder / FOLDER / f"{name}{ENDING}")
        write_clip(folder / FOLDER / f"{name}.mp4", tracklets)
    if found:
        print(f"tracklets {folder / FOLDER}: {len(found)} clips")
    for note in notes:
        print(one_line(note))
    return notes


def file_name(number: int, clip: str) -> str:
    """The name of a clip's files, without ending: unique by its number, of letters that every system and every link takes.

    ``file_name(3, "left/left 003.mp4")`` is ``03_left_left_003``.
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", re.sub(r"\.\w{1,5}$", "", clip)).strip("_.-")
    return f"{number:02}_{plain[:_LONGEST]}".rstrip("_.-")


def _clear(folder: Path) -> None:
    """Removes the files of an earlier evaluation, and no others."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.glob(f"*{ENDING}"):
        for ending in (".mp4", ".png", ENDING):
            path.with_suffix(ending).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()

"""What a run keeps of single test clips: the surest right, the surest wrong and the least sure ones, with their maps."""

import io
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from taggnn.cli.tracklets import file_name
from taggnn.data.capabilities import capabilities_of
from taggnn.data.dataset import ClipDataset
from taggnn.evaluation.metrics import predicted_classes
from taggnn.evaluation.scoring import Scored
from taggnn.explanation.explained import explained
from taggnn.explanation.thumbnails import FOLDER, INDEX, Thumbnail, choose, write_index
from taggnn.model import Recogniser, TokenView
from taggnn.reporting.thumbnail_section import picture_of
from taggnn.runtime import distributed
from taggnn.runtime.atomic import write_bytes
from taggnn.runtime.printable import one_line
from taggnn.types import BadClip

THUMBNAILS = 3
THUMBNAILS_HELP = (
    "test clips of each kind that the report shows with a map: surest right, surest wrong, least sure; 0: none"
)
# The cheapest that was better than random orders for tag and pool alike; gradient x token was not for tag.
METHOD, STEPS = "integrated_gradients", 16


def write_thumbnails(
    folder: Path, scored: Scored, model: nn.Module, samples: ClipDataset, number: int, device: torch.device | str
) -> list[str]:
    """Writes the thumbnails of some of the clips that were scored into ``folder/thumbnails``; in the first process only.

    Files of an earlier evaluation in it are removed. An exported model, which shows no tokens, has none.

    Args:
        folder: of the run.
        scored: the predictions.
        model: the model that made them, on ``device``.
        samples: the clips, as evaluation sees them.
        number: of each kind; 0 for none.
        device: where the model is.

    Returns:
        A sentence on each clip that was left out, for results.json.
    """
    if not distributed.is_main_process():
        return []
    _clear(folder / FOLDER)
    predictions = scored.predictions
    if not number or predictions is None or not isinstance(model, Recogniser | TokenView):
        return []
    at = {clip.name: index for index, clip in enumerate(samples.clips)}
    best, labels = predicted_classes(predictions.probabilities).tolist(), predictions.labels.tolist()
    capabilities, classes = capabilities_of(samples.source), predictions.classes
    found, notes = list[Thumbnail](), list[str]()
    for kind, rows in choose(predictions, number).items():
        for row in rows:
            name = predictions.names[row]
            sample = samples[at[name], 0]
            if isinstance(sample, BadClip):
                notes.append(f"no thumbnail of {name}: it could not be read again: {sample.reason}")
                continue
            facts = (
                kind,
                name,
                classes[labels[row]],
                classes[best[row]],
                float(predictions.probabilities[row, best[row]]),
            )
            try:
                clip = explained(
                    model,
                    sample.x[None].to(device),
                    name,
                    classes,
                    [METHOD],
                    capabilities,
                    best[row],
                    draws=0,
                    steps=STEPS,
                )
            except (ValueError, RuntimeError) as error:
                # A head of one's own need not have gradients.
                notes.append(f"no thumbnail of {name}: {str(error).splitlines()[0]}")
                continue
            drawn = picture_of(clip, METHOD) if clip.maps else None
            picture = "" if drawn is None else f"{file_name(len(found) + 1, name)}.jpg"
            if drawn is not None:
                buffer = io.BytesIO()
                drawn.save(buffer, "JPEG", quality=88)
                write_bytes(folder / FOLDER / picture, buffer.getvalue())
            found.append(Thumbnail(*facts, picture, _relative(predictions.paths[row], folder)))
    if found:
        write_index(folder / FOLDER, METHOD, found)
    for note in notes:
        print(one_line(note))
    return notes


def _relative(file: str, folder: Path) -> str:
    """The path of a video from the run's folder, whatever the present folder is when the report is made again."""
    try:
        return Path(os.path.relpath(os.path.abspath(file), os.path.abspath(folder))).as_posix()
    except ValueError:
        # On another drive.
        return ""


def _clear(folder: Path) -> None:
    """Removes the files of an earlier evaluation, and no others."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.glob("[0-9][0-9]_*.jpg"):
        path.unlink(missing_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()

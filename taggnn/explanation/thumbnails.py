"""The clips of a test that a run's report shows with their maps: the surest right, the surest wrong and the least sure ones.

A run keeps them in ``RUN/thumbnails``: a JPEG each, and ``thumbnails.json``, from which the report is made.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from typing_extensions import TypedDict

from taggnn.evaluation.metrics import predicted_classes
from taggnn.evaluation.predictions import Predictions
from taggnn.runtime import json_file, schema
from taggnn.runtime.atomic import write_text

FOLDER, INDEX = "thumbnails", "thumbnails.json"
KINDS = {"right": "Surest right", "wrong": "Surest wrong", "unsure": "Least sure"}


@dataclass(frozen=True)
class Thumbnail:
    """A clip that the report shows.

    Args:
        kind: key of ``KINDS``.
        name: of the clip.
        truth: its class.
        predicted: the class that the model gave it.
        probability: of that class.
        picture: name of the JPEG in the folder; empty: the input has no pictures.
        video: the file, relative to the run's folder, with slashes; empty: it has no relative path.
    """

    kind: str
    name: str
    truth: str
    predicted: str
    probability: float
    picture: str
    video: str


class _Row(TypedDict):
    kind: str
    name: str
    truth: str
    predicted: str
    probability: float
    picture: str
    video: str


class _Index(TypedDict):
    method: str
    clips: list[_Row]


def choose(predictions: Predictions, number: int) -> dict[str, list[int]]:
    """Chooses the clips by the probability of the predicted class; of equal ones the first of the list; no clip twice.

    Args:
        predictions: of all clips.
        number: of each kind, as far as there are such.

    Returns:
        Key of ``KINDS`` -> indices in the predictions.
    """
    best = predicted_classes(predictions.probabilities)
    sure = predictions.probabilities.gather(1, best[:, None])[:, 0].tolist()
    right = (best == predictions.labels).tolist()
    order = sorted(range(len(sure)), key=lambda index: -sure[index])
    found = {
        "right": [index for index in order if right[index]][:number],
        "wrong": [index for index in order if not right[index]][:number],
    }
    taken = {index for indices in found.values() for index in indices}
    found["unsure"] = [index for index in sorted(order, key=sure.__getitem__) if index not in taken][:number]
    return found


def write_index(folder: Path, method: str, clips: Sequence[Thumbnail]) -> Path:
    """Writes the list of the thumbnails.

    Args:
        folder: of the thumbnails.
        method: of their maps.
        clips: in the order of the report.
    """
    content = {"method": method, "clips": [asdict(clip) for clip in clips]}
    return write_text(folder / INDEX, json_file.text(content, indent=1) + "\n")


def read_index(folder: Path) -> tuple[str, list[Thumbnail]]:
    """Reads what ``write_index`` wrote: the method and the clips; none where there is no such file.

    Raises:
        ValueError: another kind of file, or a picture outside of the folder; names it.
    """
    path = folder / INDEX
    if not path.is_file():
        return "", []
    content = json_file.read(path)
    schema.check(content, _Index, str(path))
    clips = [Thumbnail(**{key: row[key] for key in Thumbnail.__dataclass_fields__}) for row in content["clips"]]
    for clip in clips:
        # A folder from a stranger must not show another file of this machine, nor lead elsewhere.
        inside = not clip.picture or Path(clip.picture).name == clip.picture
        if clip.kind not in KINDS or not inside or clip.video.startswith(("/", "\\")):
            raise ValueError(
                f"{path}: kind {clip.kind!r}, picture {clip.picture!r}, video {clip.video!r}: not what a run has written"
            )
    return str(content["method"]), clips

"""What a process answers the page about a clip: its classes, what they depend on over time, and its nearest training clips.

Axes: T frames of the input, t frames of the tokens, H W the token grid, h w the picture.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import Clip
from taggnn.data.video.reading import VideoError
from taggnn.explanation import METHODS, Importance, explain
from taggnn.io.exported import Exported
from taggnn.io.loaded import Loaded
from taggnn.io.trust import Trust
from taggnn.reporting.tracklet_overlay import COLOURS, covered, grey, resized, rgb
from taggnn.serving.neighbours import Index, digest_of
from taggnn.serving.prediction import about, opened, predicted, threshold_of
from taggnn.serving.representation import representations
from taggnn.serving.worker import Answer
from taggnn.types import BadClip

# Pictures of a clip, neighbours, and the shorter side of each picture, in pixels.
FRAMES, NEIGHBOURS, SIDE = 16, 6, 128
# Classes with a bar.
BARS = 10
# Methods that rate tokens or frames and need no further package; the first one is used unless another is chosen.
CHEAP = ("integrated_gradients", "occlusion", "frame_occlusion", "attention", "gradient_x_token")


@dataclass
class Analyst:
    """A model with its source and its index.

    Args:
        loaded: the model.
        index: of training clips; None: no neighbours.
        reject: probability below which the answer is none of the classes; None: never.
    """

    loaded: Loaded
    index: Index | None
    reject: float | None = None

    def __post_init__(self) -> None:
        self.source = self.loaded.reader
        self.picture = capabilities_of(self.source).picture

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to ``{"do": "look", "clip": {...}, "method"}``: plain types, pictures as JPEG in base64."""
        clip = Clip(**request["clip"])
        sample = self.source(clip, None)
        if isinstance(sample, BadClip):
            return {"error": sample.reason.replace(clip.path, "the clip")}
        prediction = self.loaded.predict(sample.x, BARS, reject=self.reject)
        found: dict[str, Any] = {**prediction.plain(), "notes": []}
        if isinstance(self.loaded.model, Exported):
            found["notes"].append("An exported program shows no tokens: no map and no neighbours, give the checkpoint.")
            return {**found, "frames": self._pictures(sample.x, None)}
        x = sample.x[None].to(self.loaded.device, self.loaded.model.dtype)
        found |= self._map(sample.x, x, request["method"], prediction.best.label, found["notes"])
        found["neighbours"] = self._neighbours(x)
        return found

    def _map(self, x: Tensor, batch: Tensor, method: str, target: int, notes: list[str]) -> dict[str, Any]:
        try:
            importance = explain(self.loaded.model, batch, target, method)
        except (ValueError, ImportError) as error:
            notes.append(f"No map: {error}")
            return {"frames": self._pictures(x, None)}
        over_time = importance.of_frames
        most = float(over_time.abs().max()) or 1.0
        return {
            "frames": self._pictures(x, importance),
            "map": {"method": method, "signed": importance.signed, "unit": importance.unit},
            "over_time": [float(value) / most for value in over_time],
            "grid": _grid(importance) if importance.values.ndim == 2 else None,
        }

    def _pictures(self, x: Tensor, importance: Importance | None) -> list[str]:
        if self.picture is None:
            return []
        pictures = _small(self.picture(x))
        chosen = [
            len(pictures) * (2 * n + 1) // (2 * min(FRAMES, len(pictures))) for n in range(min(FRAMES, len(pictures)))
        ]
        if importance is None or importance.values.ndim != 3:
            return [_jpeg(pictures[frame].numpy()) for frame in chosen]
        strength, regions = _strength(importance)
        out = []
        for frame in chosen:
            time = frame * strength.shape[1] // len(pictures)
            out.append(_jpeg(covered(grey(pictures[frame]), strength[:, time], regions)))
        return out

    def _neighbours(self, x: Tensor) -> list[dict[str, Any]]:
        if self.index is None:
            return []
        vector = representations(self.loaded.model, x)[0][0]
        if len(vector) != self.index.vectors.shape[1]:
            return []
        return [
            {
                "name": one.clip.name,
                "class": self.loaded.classes[one.clip.label],
                "label": one.clip.label,
                "similarity": one.similarity,
                "picture": self._middle(one.clip),
            }
            for one in self.index.nearest(vector, NEIGHBOURS)
        ]

    def _middle(self, clip: Clip) -> str | None:
        """The picture in the middle of a clip; None where it cannot be read any more."""
        if self.picture is None:
            return None
        sample = self.source(clip, None)
        if isinstance(sample, BadClip):
            return None
        pictures = self.picture(sample.x)
        return _jpeg(_small(pictures[len(pictures) // 2 :][:1])[0].numpy())


def build(
    run: str,
    index: str | None = None,
    dataset: str | None = None,
    trust: Trust = False,
    device: str | None = None,
    threads: int | None = None,
    seconds: float = math.inf,
    reject: float | str | None = None,
) -> tuple[Answer, dict[str, Any]]:
    """What answers ``predict`` and ``look``, as ``prediction.build``; a ``Job`` of a ``Worker``.

    Args:
        run, dataset, trust, device, threads, seconds: as for ``prediction.opened``.
        index: file of an ``Index``; None: no neighbours.
        reject: as for ``threshold_of``.

    Raises:
        ValueError, OSError: the model or the index cannot be loaded.
    """
    loaded = opened(run, dataset, trust, device, threads, seconds)
    known = None if index is None else Index.read(Path(index), digest_of(loaded.source))
    if known is not None and any(not 0 <= clip.label < len(loaded.classes) for clip in known.clips):
        raise ValueError(f"{index}: a label is out of range; remove the file")
    threshold = threshold_of(loaded, reject)
    analyst = Analyst(loaded, known, threshold)
    answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        "predict": lambda request: predicted(loaded, request["path"], request["top"], {"reject": threshold}),
        "look": analyst,
    }

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        try:
            return answers[request["do"]](request)
        except VideoError as error:
            return {"error": error.reason}

    about_it = about(loaded)
    return answer, {**about_it, "neighbours": 0 if known is None else len(known.clips), "maps": methods()}


def methods() -> dict[str, str]:
    """The methods that the page offers: name -> summary."""
    return {name: METHODS[name].summary for name in CHEAP if name in METHODS and not METHODS[name].package}


def _strength(importance: Importance) -> tuple[Tensor, list[int]]:
    """Importance as what covers pictures, 0 to 1 of the largest in the clip: for the class, and against it.

    **Shapes:** -> (2, t, H, W)
    """
    values = importance.values
    most = values.abs().max().clamp_min(1e-12)
    both = torch.stack([values.clamp_min(0), (-values).clamp_min(0)]) / most
    return both, [0, 1] if importance.signed else [0]


def _grid(importance: Importance) -> str:
    """Importance of joints (rows) over frames (columns) as a PNG of one pixel each, transparent where it is 0."""
    strength, _ = _strength(importance)
    colours = torch.stack([rgb(COLOURS[0]), rgb(COLOURS[1])])
    picture = torch.cat([colours[strength.argmax(0)], 255 * strength.amax(0).unsqueeze(-1)], -1).round().to(torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture.transpose(0, 1).contiguous().numpy(), "RGBA").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _small(pictures: Tensor) -> Tensor:
    """Pictures at the size that the page shows. **Shapes:** uint8 (T, h, w, 3) -> uint8 (T, h, w, 3)"""
    height, width = pictures.shape[1:3]
    scale = SIDE / min(height, width)
    return resized(pictures, round(height * scale), round(width * scale))


def _jpeg(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=88)
    return base64.b64encode(buffer.getvalue()).decode("ascii")

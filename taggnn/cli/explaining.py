"""Explains clips and writes what was found: a PNG, an MP4 and the maps of each clip, explanations.json, and a page."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from taggnn.cli.tracklets import file_name
from taggnn.data import sources
from taggnn.data.capabilities import Capabilities, capabilities_of
from taggnn.data.video.reading import VideoError
from taggnn.evaluation.tracklet_clips import EXTRA, of_output, semantic_names
from taggnn.explanation import METHODS
from taggnn.explanation.chain import temporal_chain
from taggnn.explanation.explained import Explained, explained
from taggnn.io.loaded import Loaded
from taggnn.model import Recogniser
from taggnn.names import unknown
from taggnn.reporting import importance_video, tracklet_video
from taggnn.reporting.importance_figure import maps_figure
from taggnn.reporting.importance_page import Links, importance_page, verdicts
from taggnn.reporting.theme import png
from taggnn.reporting.tracklet_figure import strip
from taggnn.runtime import json_file
from taggnn.runtime.atomic import replacing, write_bytes, write_text

# Those that need no further package and no pass over every edge of a dense graph.
DEFAULT = ("integrated_gradients", "occlusion", "attention", "gradient_x_token", "frame_occlusion")
PAGE, FIGURES, SCHEMA = "index.html", "explanations.json", 1


def methods_of(given: Sequence[str]) -> list[str]:
    """The methods that a user named; "all" for all of them.

    Raises:
        ValueError: an unknown one.
    """
    if list(given) == ["all"]:
        return list(METHODS)
    for name in given:
        if name not in METHODS:
            raise unknown("method", name, [*METHODS, "all"], "--methods")
    return list(dict.fromkeys(given))


def target_of(given: str | None, classes: Sequence[str]) -> int | None:
    """The label of a class that a user named, by its name or its number; None: the most probable one of each clip.

    Raises:
        ValueError: no such class.
    """
    if given is None:
        return None
    if given in classes:
        return list(classes).index(given)
    if given.isdecimal() and int(given) < len(classes):
        return int(given)
    raise unknown("class", given, classes, "--target")


def explain_files(
    loaded: Loaded, files: Sequence[Path], methods: Sequence[str], target: int | None, **settings: Any
) -> Iterator[Explained | tuple[str, str]]:
    """Explains files one after the other.

    Args:
        loaded: the model.
        files: the clips.
        methods: keys of ``METHODS``.
        target: label; None: the most probable class.
        settings: further arguments of ``explained``.

    Yields:
        The explained clip, or (file, reason) of one that cannot be read.

    Raises:
        ValueError: the model cannot be explained, or no method suits it.
    """
    if not isinstance(loaded.model, Recogniser):
        raise ValueError(
            f"{loaded.source}: an exported model does not show its tokens; give the run's folder or the checkpoint it was made of"
        )
    capabilities = capabilities_of(sources.of(loaded.spec))
    for file in files:
        try:
            x = loaded.clip(file)
        except VideoError as error:
            yield str(file), error.reason
            continue
        found = explained(
            loaded.model, x[None], file.name, loaded.classes, methods, capabilities, target, str(file), **settings
        )
        if not found.maps:
            raise ValueError("; ".join(f"{method}: {reason}" for method, reason in found.unsuited.items()))
        yield found


def write_clip(folder: Path, number: int, clip: Explained, loaded: Loaded) -> Links:
    """Writes the files of one clip: PNG, MP4, the maps as safetensors, and of a head with regions its tracklets.

    Args:
        folder: of the page.
        number: of the clip, from 1.
        clip: with its maps.
        loaded: the model.
    """
    name = file_name(number, clip.name)
    write_bytes(folder / f"{name}.png", png(maps_figure(clip)))
    tensors = {method: importance.values.contiguous() for method, importance in clip.maps.items()}
    for method, importance in clip.maps.items():
        more = {"edges": importance.edges, "edge_index": importance.edge_index, "pixels": importance.pixels}
        tensors |= {f"{method}.{part}": tensor.contiguous() for part, tensor in more.items() if tensor is not None}
    with replacing(folder / f"{name}.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))
    video = importance_video.write_clip(folder / f"{name}.mp4", clip)
    tracklets = _tracklets(folder, name, clip, loaded)
    return Links(f"{name}.png", "" if video is None else video.name, tracklets, _relative(clip.video, folder))


def write_page(
    folder: Path, clips: Sequence[Explained], links: Sequence[Links], loaded: Loaded, bad: Sequence[tuple[str, str]]
) -> Path:
    """Writes ``explanations.json`` and the page, and returns the path of the page."""
    write_text(folder / FIGURES, json_file.text(as_plain(clips, bad), indent=1) + "\n")
    head = type(loaded.model.head).__name__ if isinstance(loaded.model, Recogniser) else ""
    return write_text(folder / PAGE, importance_page(clips, links, f"{loaded.source}, {head}", bad))


def as_plain(clips: Sequence[Explained], bad: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The figures of explained clips as plain types."""
    return {
        "schema": SCHEMA,
        "kind": "explanation",
        "methods": {method: asdict(row) for method, row in verdicts(clips).items()},
        "clips": [
            {
                "file": clip.video,
                "class": clip.target,
                "predicted": clip.predicted,
                "probability": clip.probability,
                "methods": {
                    method: {
                        "curves": asdict(verdicts([clip])[method]) if method in clip.curves else None,
                        "chain": [link._asdict() for link in temporal_chain(importance.values)],
                    }
                    for method, importance in clip.maps.items()
                },
                "unsuited": dict(clip.unsuited),
            }
            for clip in clips
        ],
        "skipped": [{"file": file, "reason": reason} for file, reason in bad],
    }


@torch.no_grad()
def _tracklets(folder: Path, name: str, clip: Explained, loaded: Loaded) -> str:
    """Writes the tracklets of a clip, of a head that has them; returns the name of the PNG."""
    model = loaded.model
    assert isinstance(model, Recogniser)
    x = loaded.clip(clip.video)
    output = model(x[None].to(model.device, model.dtype))
    if EXTRA not in output.extras:
        return ""
    capabilities: Capabilities = capabilities_of(sources.of(loaded.spec))
    spatial = {"height", "width"} <= set(loaded.spec.axes)
    probability = output.logits[0].float().softmax(0).max().item()
    # The true class is not known here: the figure states the predicted one.
    facts = (clip.name, clip.predicted, clip.predicted, probability)
    found = of_output(output.extras, x, capabilities, semantic_names(model.head), loaded.classes, spatial, *facts)
    write_bytes(folder / f"{name}_tracklets.png", png(strip(found)))
    tracklet_video.write_clip(folder / f"{name}_tracklets.mp4", found)
    return f"{name}_tracklets.png"


def _relative(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        # On another drive.
        return ""

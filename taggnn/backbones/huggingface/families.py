"""The video transformers of Hugging Face that are known here: their families, some models of the hub, their configurations."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taggnn.backbones.huggingface import hub
from taggnn.backbones.tokens import Grid
from taggnn.names import unknown

log = logging.getLogger(__name__)

PREFIX = "hf:"


@dataclass(frozen=True)
class Family:
    """What differs between the models of one structure and those of another.

    Attributes:
        classes: the name of its classes in transformers: ``classes + "Model"``, ``classes + "Config"``.
        frames: the configuration's key for T of a clip.
        size: its key for H and W.
        class_tokens: how many tokens before those of the grid have no position.
        after: parts after the last hidden state, which are removed.
        paper: link.
        clip: T, H, W of its configuration's defaults.
        step: frames, rows and columns of pixels of a token, likewise.
        channels: C, likewise.
        mean, std: of pixel values in [0, 1], where a model has no file that states them.
    """

    classes: str
    frames: str
    size: str
    class_tokens: int
    after: tuple[str, ...]
    paper: str
    clip: Grid
    step: Grid
    channels: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


_B, _L = 768, 1024
FAMILIES: dict[str, Family] = {
    "videomae": Family(
        *("VideoMAE", "num_frames", "image_size", 0, (), "https://arxiv.org/abs/2203.12602"),
        *((16, 224, 224), (2, 16, 16), _B),
    ),
    "timesformer": Family(
        *("Timesformer", "num_frames", "image_size", 1, (), "https://arxiv.org/abs/2102.05095"),
        *((8, 224, 224), (1, 16, 16), _B, (0.45,) * 3, (0.225,) * 3),
    ),
    "vivit": Family(
        *("Vivit", "num_frames", "image_size", 1, ("pooler",), "https://arxiv.org/abs/2103.15691"),
        *((32, 224, 224), (2, 16, 16), _B, (0.5,) * 3, (0.5,) * 3),
    ),
    "vjepa2": Family(
        *("VJEPA2", "frames_per_clip", "crop_size", 0, ("predictor",), "https://arxiv.org/abs/2506.09985"),
        *((64, 256, 256), (2, 16, 16), _L),
    ),
}


@dataclass(frozen=True)
class Known:
    """A model of the hub whose structure is stated here, so that it can be built without access to the hub.

    Attributes:
        config: what differs from transformers' defaults of the family, with ``model_type``.
        sampling, parameters, gmacs, figures: as in ``taggnn.backbones.Backbone``.
        paper: where it is not the family's.
    """

    config: Mapping[str, Any]
    sampling: str
    parameters: float | None
    gmacs: float | None
    figures: str
    paper: str = ""


_VIDEOMAE = "VideoMAE, table 6"
KNOWN: dict[str, Known] = {
    "MCG-NJU/videomae-base": Known(
        {"model_type": "videomae", "use_mean_pooling": False}, "16 x 4 at 30 fps", 87, 180, _VIDEOMAE
    ),
    "MCG-NJU/videomae-base-finetuned-kinetics": Known(
        {"model_type": "videomae"}, "16 x 4 at 30 fps", 87, 180, _VIDEOMAE
    ),
    "MCG-NJU/videomae-large-finetuned-kinetics": Known(
        {
            "model_type": "videomae",
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
        },
        "16 x 4 at 30 fps",
        305,
        597,
        _VIDEOMAE,
    ),
    "OpenGVLab/VideoMAEv2-Base": Known(
        {"model_type": "videomae", "layer_norm_eps": 1e-6},
        "16 x 4 at 30 fps",
        87,
        180,
        "those of VideoMAE's ViT-B, the same structure",
        "https://arxiv.org/abs/2303.16727",
    ),
    "facebook/timesformer-base-finetuned-k400": Known(
        {"model_type": "timesformer"},
        "8 x 32 at 30 fps",
        121.4,
        590 / 3,
        "TimeSformer, table 2: 0.59 T for three crops",
    ),
    "google/vivit-b-16x2-kinetics400": Known(
        {"model_type": "vivit"}, "32 x 2 at 25 fps", 88.9, 455.2, "ViViT, table 2, model 1"
    ),
    "facebook/vjepa2-vitl-fpc64-256": Known(
        {"model_type": "vjepa2"}, "64 frames at 4 fps", 300, None, "V-JEPA 2's model card"
    ),
}


def split(name: str) -> str | None:
    """The part of a backbone's name after ``hf:``, or None without that prefix."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def configuration(source: str, config: Mapping[str, Any] | None = None, published: bool = False) -> dict[str, Any]:
    """The structure of a model, complete: plain types that build it again without the hub.

    Args:
        source: a family's name (``FAMILIES``), a hub id, or a folder.
        config: values to change; with ``model_type`` among them it is complete, and nothing is read.
        published: whether published weights are to be loaded into it, so that the hub's own configuration is read; if not,
            that of ``KNOWN`` is enough.

    Raises:
        FileNotFoundError: the folder or the hub's file cannot be read.
        ValueError: an empty source, an unknown family, or an invalid size.
    """
    if not source:
        raise ValueError(
            f"backbone {PREFIX} names no model; {PREFIX} is followed by a hub id, a folder, or a family: "
            f"{', '.join(FAMILIES)}"
        )
    if config is not None and not isinstance(config, Mapping):
        raise ValueError(f"option config of {PREFIX}{source} must be a mapping {{key: value}}, got {config!r}")
    config = dict(config or {})
    if "model_type" in config:
        complete = config
    elif source in FAMILIES:
        complete = {"model_type": source, **config}
    elif source in KNOWN and not published:
        complete = {**KNOWN[source].config, **config}
    else:
        complete = {**hub.read_config(source), **config}
    if str(complete.get("model_type")) not in FAMILIES:
        raise unknown(f"model_type in the configuration of hf:{source}", str(complete.get("model_type")), FAMILIES)
    _check_sizes(complete, source)
    return complete


def sizes(config: Mapping[str, Any]) -> tuple[Grid, int, Grid]:
    """Clip, C and grid of a complete configuration, read without transformers."""
    family = FAMILIES[config["model_type"]]
    size = pair(config.get(family.size, family.clip[1:]))
    clip = (config.get(family.frames, family.clip[0]), *size)
    return clip, config.get("hidden_size", family.channels), grid_of(clip, step_of(config, family))


def statistics(source: str, kind: str, published: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the weights expect: the model's own where they are loaded, else its family's."""
    found = hub.read_statistics(source) if published and source not in FAMILIES else None
    if published and source not in FAMILIES and found is None:
        log.info("hf:%s has no mean and standard deviation: those of its family are taken", source)
    return found or (FAMILIES[kind].mean, FAMILIES[kind].std)


def _check_sizes(config: Mapping[str, Any], source: str) -> None:
    family = FAMILIES[config["model_type"]]
    lengths = {family.frames: 1, "hidden_size": 1, family.size: 2, "patch_size": 2}
    lengths["tubelet_size"] = 3 if family.classes == "Vivit" else 1
    for key, length in lengths.items():
        if key not in config:
            continue
        value = config[key]
        several = isinstance(value, list | tuple)
        numbers = value if several else [value]
        whole = all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in numbers)
        # ViViT's tubelet is three numbers and nothing else.
        if not whole or (len(numbers) != length if several else length == 3) or (several and length == 1):
            expected = {1: "a positive integer", 2: "a positive integer or two of them", 3: "three positive integers"}
            raise ValueError(f"config of {PREFIX}{source}: {key} must be {expected[length]}, got {value!r}")


def step_of(config: Mapping[str, Any], family: Family) -> Grid:
    tubelet = config.get("tubelet_size", family.step if family.classes == "Vivit" else family.step[0])
    if isinstance(tubelet, list | tuple):
        return tuple(tubelet)
    return (tubelet, *pair(config.get("patch_size", family.step[1:])))


def grid_of(clip: Grid, step: Grid) -> Grid:
    frames, height, width = (n // size for n, size in zip(clip, step, strict=True))
    return frames, height, width


def pair(size: Any) -> tuple[int, int]:
    return tuple(size) if isinstance(size, list | tuple) else (size, size)

"""Video transformers of Hugging Face as feature modules: VideoMAE (1 and 2), TimeSformer, ViViT, V-JEPA 2.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels; N = T*H*W tokens.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.backbones import hub
from taggnn.backbones.tokens import Grid, checked_size
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


class HubFeatures(nn.Module):
    """A video transformer of Hugging Face without pooler, head or predictor, its tokens on their grid.

    Class tokens are dropped. In TimeSformer's order of tokens time is the fastest axis, (H, W, T); in the others' the slowest.

    Source: VideoMAE, https://arxiv.org/abs/2203.12602; VideoMAE v2, https://arxiv.org/abs/2303.16727; TimeSformer,
    https://arxiv.org/abs/2102.05095; ViViT, https://arxiv.org/abs/2103.15691; V-JEPA 2, https://arxiv.org/abs/2506.09985

    Args:
        model: an instance of one of the four families, with or without a head; its parameters are shared.

    Attributes:
        clip: (T, H, W) of the clips that its positions are made for.
        description: what was removed.

    **Shapes:** (B, 3, T, H, W) -> (B, C, T/t, H/p, W/p), rounded down, for tubelets of t frames and p x p pixels

    Raises:
        ValueError: a model of another family; in ``forward``, a clip of another size.
    """

    # A PreTrainedModel, whose attributes depend on the family.
    model: Any

    def __init__(self, model: Any):
        super().__init__()
        config: Any = getattr(model, "config", None)
        if getattr(config, "model_type", None) not in FAMILIES:
            raise unknown("family of Hugging Face video models", str(getattr(config, "model_type", None)), FAMILIES)
        self.family = FAMILIES[config.model_type]
        base = model.base_model
        self.description = [f"{self.family.class_tokens} class token"] if self.family.class_tokens else []
        if base is not model:
            self.description += [name for name, part in model.named_children() if part is not base]
        for part in self.family.after:
            if getattr(base, part, None) is not None:
                setattr(base, part, None)
                self.description.append(part)
        self.model = base
        self.clip: Grid = (getattr(config, self.family.frames), *_pair(getattr(config, self.family.size)))

    @property
    def step(self) -> Grid:
        """Frames, rows and columns of pixels of a token."""
        return _step(self.model.config.to_dict(), self.family)

    @property
    def grid(self) -> Grid:
        """(T, H, W) of the tokens."""
        return _grid(self.clip, self.step)

    def forward(self, clip: Tensor) -> Tensor:
        if tuple(clip.shape[2:]) != self.clip:
            given = tuple(clip.shape[2:])
            raise ValueError(
                f"this {self.family.classes} was built for clips of (T, H, W) = {self.clip} and got {given}. Build it for that "
                f"size, taggnn.backbones.build(name, clip={given}), or call resize_positions(module, clip={given})"
            )
        frames, height, width = self.grid
        # V-JEPA 2's own forward runs the predictor too.
        model = self.model.encoder if self.model.config.model_type == "vjepa2" else self.model
        tokens = model(clip.transpose(1, 2)).last_hidden_state[:, self.family.class_tokens :]
        if len(tokens) != len(clip):
            # TimeSformer with attention over space only treats the frames of a clip as images.
            tokens = tokens.unflatten(0, (len(clip), frames)).flatten(1, 2)
        elif self.model.config.model_type == "timesformer":
            return tokens.transpose(1, 2).unflatten(2, (height, width, frames)).permute(0, 1, 4, 2, 3)
        return tokens.transpose(1, 2).unflatten(2, (frames, height, width))

    @torch.no_grad()
    def resize(self, clip: Grid) -> None:
        """Moves the positions to clips of another size, linearly in time and space [ours]; V-JEPA 2's rotate with the grid.

        Args:
            clip: frames, height and width in pixels.

        Raises:
            ValueError: a clip smaller than one token, or for V-JEPA 2 one that is not square.
        """
        clip = checked_size(clip, "clip")
        if clip == self.clip:
            return
        if any(n < step for n, step in zip(clip, self.step, strict=True)):
            raise ValueError(f"clip {clip} is smaller than one token of {self.family.classes}, {self.step}")
        kind, config, old = self.model.config.model_type, self.model.config, self.grid
        if clip[1] != clip[2] and not self._takes_any_shape():
            raise ValueError(
                f"{self.family.classes} of the installed transformers takes square frames; given {clip[1:]}"
            )
        before, self.clip = self.clip, clip
        frames, height, width = self.grid
        if kind == "vjepa2":
            for part in self.model.encoder.modules():
                if hasattr(part, "grid_size"):
                    part.grid_size, part.grid_depth = height, frames
        else:
            self._move(old, self.grid)
            patches = self.model.embeddings.patch_embeddings
            patches.num_patches = height * width * (1 if kind == "timesformer" else frames)
            for part in (patches, self.model.embeddings):
                # One number in older versions of transformers, for ViViT.
                if hasattr(part, "image_size"):
                    part.image_size = clip[1] if isinstance(part.image_size, int) else clip[1:]
        # TimeSformer's layers compute the width of the grid from a size that must be one number.
        size = clip[2] if kind in ("timesformer", "vjepa2") else list(clip[1:])
        setattr(config, self.family.size, size)
        setattr(config, self.family.frames, clip[0])
        log.info("%s positions: clips %s -> %s", self.family.classes, before, clip)

    def _takes_any_shape(self) -> bool:
        """Whether frames need not be square: V-JEPA 2 and older ViViT compute a frame's positions from one side."""
        parts = getattr(self.model, "embeddings", None)
        return parts is not None and not isinstance(getattr(parts, "image_size", None), int)

    def _move(self, old: Grid, new: Grid) -> None:
        """Interpolates the tables of positions from one grid to another."""
        parts = self.model.embeddings
        table: Tensor = parts.position_embeddings
        class_tokens, positions = table[:, : self.family.class_tokens], table[:, self.family.class_tokens :]
        if self.model.config.model_type != "timesformer":
            moved = torch.cat([class_tokens, _moved(positions, old, new)], 1)
        else:
            moved = torch.cat([class_tokens, _moved(positions, (1, *old[1:]), (1, *new[1:]))], 1)
            if hasattr(parts, "time_embeddings"):
                parts.time_embeddings = nn.Parameter(
                    _moved(parts.time_embeddings, (old[0], 1, 1), (new[0], 1, 1)), parts.time_embeddings.requires_grad
                )
        # VideoMAE's table is no parameter: sines and cosines.
        learned = isinstance(table, nn.Parameter)
        parts.position_embeddings = nn.Parameter(moved, table.requires_grad) if learned else moved


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


def features(config: Mapping[str, Any]) -> HubFeatures:
    """Builds a model by its complete configuration, with random weights, as a feature module.

    Raises:
        ImportError: transformers is not installed.
        ValueError: a configuration that transformers refuses.
    """
    package, values = hub.transformers(), dict(config)
    family = FAMILIES[values.pop("model_type")]
    known = getattr(package, f"{family.classes}Config")
    possible = known().to_dict()
    for name in values:
        if name not in possible:
            raise unknown(f"value of {family.classes}'s configuration", name, possible)
    try:
        return HubFeatures(getattr(package, f"{family.classes}Model")(known(**values)))
    except Exception as error:
        # transformers 5 checks types with its own exception class.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"transformers refuses this configuration of {family.classes}: {reason}") from error


def sizes(config: Mapping[str, Any]) -> tuple[Grid, int, Grid]:
    """Clip, C and grid of a complete configuration, read without transformers."""
    family = FAMILIES[config["model_type"]]
    size = _pair(config.get(family.size, family.clip[1:]))
    clip = (config.get(family.frames, family.clip[0]), *size)
    return clip, config.get("hidden_size", family.channels), _grid(clip, _step(config, family))


def load_weights(module: HubFeatures, weights: str | Path, source: str) -> None:
    """Loads published weights, or a local file; see ``taggnn.backbones.hub.read_weights``.

    Args:
        module: what ``features`` built, before its positions are resized.
        weights: "default" or a path.
        source: a family's name, a hub id, or a folder.
    """
    hub.read_weights(module.model, weights, None if source in FAMILIES else source)


def statistics(source: str, kind: str, published: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the weights expect: the model's own where they are loaded, else its family's."""
    found = hub.read_statistics(source) if published and source not in FAMILIES else None
    if published and source not in FAMILIES and found is None:
        log.info("hf:%s has no mean and standard deviation: those of its family are taken", source)
    return found or (FAMILIES[kind].mean, FAMILIES[kind].std)


def _moved(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """**Shapes:** (1, N, C) on the old grid -> (1, N', C) on the new"""
    if old == new:
        return table.detach()
    volume = table.transpose(1, 2).unflatten(2, old)
    return (
        F.interpolate(volume, size=new, mode="trilinear", align_corners=False).flatten(2).transpose(1, 2).contiguous()
    )


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


def _step(config: Mapping[str, Any], family: Family) -> Grid:
    tubelet = config.get("tubelet_size", family.step if family.classes == "Vivit" else family.step[0])
    if isinstance(tubelet, list | tuple):
        return tuple(tubelet)
    return (tubelet, *_pair(config.get("patch_size", family.step[1:])))


def _grid(clip: Grid, step: Grid) -> Grid:
    frames, height, width = (n // size for n, size in zip(clip, step, strict=True))
    return frames, height, width


def _pair(size: Any) -> tuple[int, int]:
    return tuple(size) if isinstance(size, list | tuple) else (size, size)

"""Video transformers of Hugging Face as feature modules: VideoMAE (1 and 2), TimeSformer, ViViT, V-JEPA 2.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels; N = T*H*W tokens.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.backbones.huggingface import hub
from taggnn.backbones.huggingface.families import FAMILIES, grid_of, pair, step_of
from taggnn.backbones.tokens import Grid, checked_size
from taggnn.names import unknown

log = logging.getLogger(__name__)


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
        self.clip: Grid = (getattr(config, self.family.frames), *pair(getattr(config, self.family.size)))

    @property
    def step(self) -> Grid:
        """Frames, rows and columns of pixels of a token."""
        return step_of(self.model.config.to_dict(), self.family)

    @property
    def grid(self) -> Grid:
        """(T, H, W) of the tokens."""
        return grid_of(self.clip, self.step)

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


def load_weights(module: HubFeatures, weights: str | Path, source: str) -> None:
    """Loads published weights, or a local file; see ``hub.read_weights``.

    Args:
        module: what ``features`` built, before its positions are resized.
        weights: "default" or a path.
        source: a family's name, a hub id, or a folder.
    """
    hub.read_weights(module.model, weights, None if source in FAMILIES else source)


def _moved(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """**Shapes:** (1, N, C) on the old grid -> (1, N', C) on the new"""
    if old == new:
        return table.detach()
    volume = table.transpose(1, 2).unflatten(2, old)
    return (
        F.interpolate(volume, size=new, mode="trilinear", align_corners=False).flatten(2).transpose(1, 2).contiguous()
    )

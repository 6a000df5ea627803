"""The assembled recogniser: backbone -> tokens -> head, and ``attach``, which builds one around any video model.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels; K classes.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graphs import Topology
from taggnn import backbones, heads
from taggnn.backbones.finetuning import STATISTICS_FROZEN
from taggnn.backbones.tokens import checked_size
from taggnn.kernels import CUDA_ONLY, IMPLS
from taggnn.layers import GraphLayer
from taggnn.names import unknown
from taggnn.types import Batch

Grid = tuple[int, int, int]
# Asked of a module that says nothing about itself.
USUAL_CLIP: Grid = (16, 112, 112)


class Recogniser(nn.Module):
    """A backbone and a head in one module.

    Args:
        backbone: (B, 3, T, H, W) -> (B, C, T', H', W'), or (B, N, C) with a stated grid.
        head: tokens (B, T', H', W', C) -> (logits, extras).
        clip: (T, H, W) of the clips it was built for, in frames and pixels.
        grid: (T', H', W') of its tokens.
        stated_grid: the grid to read (B, N, C) by; None where the backbone yields five axes.
        found: what ``attach`` found out, part -> sentence.

    **Shapes:** clip (B, 3, T, H, W) -> logits (B, K) and the head's extras.
    """

    # What a call gives, for type checkers: nn.Module says Any.
    __call__: Callable[..., tuple[Tensor, dict[str, Tensor]]]

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        clip: Grid,
        grid: Grid,
        stated_grid: Grid | None = None,
        found: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.clip = tuple(clip)
        self.grid = tuple(grid)
        self.stated_grid = stated_grid
        self.found = dict(found or {})
        self.frozen = False

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What clips are to be."""
        return next(self.parameters()).dtype

    def freeze(self) -> None:
        """Fixes the backbone for good: evaluation mode also in training, no gradients, and none of the memory they take."""
        self.frozen = True
        self.backbone.requires_grad_(False).eval()
        self.found["backbone"] = f"{self.found['backbone']}; frozen" if "backbone" in self.found else "frozen"

    def train(self, mode: bool = True) -> "Recogniser":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        else:
            for part in backbones.tuning_of(self.backbone).frozen:
                self.backbone.get_submodule(part).eval()
        return self

    def tokens(self, clip: Tensor) -> Tensor:
        """Runs the backbone alone. **Shapes:** (B, 3, T, H, W) -> (B, T', H', W', C)."""
        # An exported program is one for any number of clips, and no file of tokens depends on its last bits.
        if not self.frozen or torch.compiler.is_exporting():
            return backbones.tokens_of(self.backbone(clip), self.stated_grid)
        # On a CPU the size of a batch decides how a convolution is summed up. In pairs, the last clip twice where it has no
        # partner, a clip has the same tokens to the last bit whatever its batch, and pairs are no slower.
        pairs = clip.split(2) if clip.device.type == "cpu" else [clip]
        return torch.cat([self._tokens_of_pair(pair) for pair in pairs])

    def tokens_in(self, batch: Batch, device: torch.device | str) -> Tensor:
        """The tokens of a batch as the loaders make it: those that it brings, or those of its clips.

        **Shapes:** (B, T', H', W', C) or (B, 3, T, H, W) -> (B, T', H', W', C)
        """
        x = batch.x.to(device)
        return self.tokens(x) if tuple(x.shape[1:]) == (3, *self.clip) else x.float()

    def forward(self, clip: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return tuple(self.head(self.tokens(clip)))

    def _tokens_of_pair(self, clip: Tensor) -> Tensor:
        alone = len(clip) == 1 and clip.device.type == "cpu"
        tokens = backbones.tokens_of(self.backbone(torch.cat([clip, clip]) if alone else clip), self.stated_grid)
        return tokens[: len(clip)].contiguous()

    @torch.no_grad()
    def resize(self, clip: Sequence[int]) -> None:
        """Adapts the model to clips of another size: positions are interpolated, the graph is drawn on the new grid.

        Args:
            clip: frames, height and width in pixels of the clips to come.

        Raises:
            ValueError: the backbone fails on such a clip, or its grid was stated and does not follow from the clip.
        """
        clip = checked_size(tuple(clip), "clip")
        backbones.resize_positions(self.backbone, clip)
        _, grid = backbones.dry_run(self.backbone, clip, self.stated_grid)
        self.head.resize(grid)
        self.clip, self.grid = clip, grid
        self.found["resized"] = f"clip {_by(clip)} -> grid {_by(grid)}"

    def check_device(self, device: torch.device | str) -> None:
        """Refuses a device that an implementation of its graph layers cannot compute on, before any clip is read.

        Raises:
            ValueError: the implementation is for CUDA, and the device is another.
        """
        impls = {layer.kernel.impl for layer in self.head.modules() if isinstance(layer, GraphLayer)}
        # Triton's interpreter computes on the CPU, for tests.
        stuck = sorted(impls & set(CUDA_ONLY)) if not os.environ.get("TRITON_INTERPRET") else []
        if torch.device(device).type != "cuda" and stuck:
            possible = ", ".join(["auto", *(impl for impl in IMPLS if impl not in CUDA_ONLY)])
            raise ValueError(f"impl {stuck[0]} computes on CUDA, and this runs on {device}; possible here: {possible}")

    def describe(self) -> str:
        """What was found when the model was built, one line a fact."""
        return "\n".join(f"{part:9} {fact}" for part, fact in self.found.items())


def attach(
    backbone: nn.Module | str,
    head: str | Callable[[int, Grid, int], nn.Module] = "tag",
    classes: int | None = None,
    *,
    clip: Sequence[int] | None = None,
    grid: Sequence[int] | None = None,
    weights: str | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    features: str | None = None,
    class_tokens: int = 0,
    **head_options: Any,
) -> Recogniser:
    """Puts a head behind a video backbone: pool and classifier go, C and (T, H, W) are found by a dry run.

    Args:
        backbone: a name, see ``taggnn.backbones.find``; or an instance of any video model of torchvision or of four families of
            Hugging Face; or any module that yields (B, C, T, H, W), or (B, N, C) with a stated ``grid``.
        head: a name of ``taggnn.heads.HEADS`` (default "tag"), or a callable ``(channels, grid, classes) -> module`` of your own.
        classes: K; None (default) takes as many as the removed classifier told apart.
        clip: frames, height and width in pixels of the clips to come; None (default) takes the backbone's own.
        grid: (T, H, W) of the tokens; needed only where the backbone yields (B, N, C).
        weights: of a backbone given by name: what its row in ``BACKBONES`` says, or None (default) for random ones.
        backbone_options: further arguments of ``taggnn.backbones.build`` for a backbone given by name; for another, those of
            ``taggnn.backbones.tune``.
        features: which part of a nested output holds the features: a key, number or field, dots between several. Pathways, a list
            of (B, C, T, H, W), need none: they are averaged to the coarsest grid and concatenated on channels.
        class_tokens: how many tokens before those of the ``grid`` are dropped from (B, N, C) (default 0).
        head_options: arguments of the head, such as ``conv="gatv2"``.

    Returns:
        The recogniser; ``describe()`` names what was found.

    Raises:
        ValueError: an unknown name or option, fewer than one class, or a backbone that yields something else than tokens.

    Example::

        model = taggnn.attach(torchvision.models.video.r2plus1d_18(), "tag", classes=99, conv="gatv2")
        logits, extras = model(clips)
    """
    if classes is None:
        classes = _classes_of(backbone)
    if classes < 1:
        raise ValueError(f"attach needs the number of classes, 1 or more; given classes={classes}")
    clip = checked_size(tuple(clip), "clip") if clip is not None else None
    grid = checked_size(tuple(grid), "grid") if grid is not None else None
    if isinstance(backbone, str):
        if features is not None or class_tokens:
            raise ValueError(
                "features and class_tokens are for a module of your own; a backbone given by name yields its tokens"
            )
        module = backbones.build(backbone, weights=weights, clip=clip, **(backbone_options or {}))
        name, clip = backbone, clip or getattr(module, "clip", None) or backbones.find(backbone).clip
    else:
        if weights is not None:
            raise ValueError("weights are for a backbone given by name; load them into the module yourself")
        module = backbones.strip(backbone)
        possible = list(inspect.signature(backbones.tune).parameters)[1:]
        for option in backbone_options or {}:
            if option not in possible:
                raise unknown(f"option of a backbone that is a {type(backbone).__name__}", option, possible)
        name, clip = type(backbone).__name__, clip or getattr(module, "clip", None) or USUAL_CLIP
        module = backbones.adapt(module, clip, features, class_tokens)
        if backbone_options:
            backbones.tune(module, **backbone_options)
    channels, found_grid = backbones.dry_run(module, clip, grid)
    if isinstance(head, str):
        built = heads.build(head, channels, found_grid, classes, **head_options)
        head_name = head
    else:
        built = head(channels, found_grid, classes, **head_options)
        head_name = getattr(head, "__name__", type(head).__name__)
    removed = ", ".join(getattr(module, "description", None) or ["nothing"])
    found = {
        "backbone": f"{name}, {_million(module)} parameters; removed: {removed}",
        "tokens": f"clip {_by(clip)} -> grid {_by(found_grid)} = {_count(found_grid)} tokens of {channels} channels"
        + "".join(f"; {done}" for done in getattr(module, "told", ())),
        "head": f"{head_name}, {_million(built)} parameters, {classes} classes{_graph(built, found_grid)}",
    }
    if backbones.tuning_of(module).told:
        found["training"] = "; ".join(backbones.tuning_of(module).told)
    return Recogniser(module, built, clip, found_grid, grid, found)


def build(spec: Mapping[str, Any], weights: str | None = None) -> Recogniser:
    """Builds the recogniser that a specification of plain types describes, as checkpoints hold it.

    Args:
        spec: ``backbone`` {"name", "frozen" (see ``Recogniser.freeze``), further options of ``backbones.build``}, ``head``
            {"name", its options}, ``clip`` [T, H, W], ``classes`` [names].
        weights: of the backbone, where training starts; None (default) leaves them random, to be loaded from a checkpoint.

    Raises:
        ValueError: as ``attach``.
    """
    backbone, head = dict(spec["backbone"]), dict(spec["head"])
    frozen = backbone.pop("frozen", False)
    recogniser = attach(
        backbone.pop("name"),
        head.pop("name"),
        len(spec["classes"]),
        clip=spec["clip"],
        weights=weights,
        backbone_options=backbone,
        **head,
    )
    contrary = [said for said in backbones.tuning_of(recogniser.backbone).told if said != STATISTICS_FROZEN]
    if frozen and contrary:
        raise ValueError(f"backbone.frozen leaves nothing of the backbone to train: {'; '.join(contrary)}")
    if frozen:
        recogniser.freeze()
    return recogniser


def _classes_of(backbone: nn.Module | str) -> int:
    """K of a model's own classifier: the outputs of its last linear layer, where ``strip`` would remove one."""
    if isinstance(backbone, str) or backbones.strip(backbone) is backbone:
        raise ValueError("attach needs the number of classes: this backbone has no classifier to take it from")
    last = [layer for layer in backbone.modules() if isinstance(layer, nn.Linear | nn.Conv3d)][-1]
    return last.weight.shape[0]


def _million(module: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _count(grid: Grid) -> int:
    return grid[0] * grid[1] * grid[2]


def _graph(head: nn.Module, grid: Grid) -> str:
    topology = getattr(head, "topology", None)
    if not isinstance(topology, Topology):
        return ""
    impls = sorted({layer.kernel.impl for layer in head.modules() if isinstance(layer, GraphLayer)})
    how = f", computed by impl {' and '.join(impls)}" if impls else ""
    return f"; graph {topology}, {topology.num_edges(grid):,} edges a clip{how}"

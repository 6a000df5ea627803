"""The recogniser, backbone -> tokens -> head, and ``attach``, which builds one from any model of clips.

Axes: B clips, grid the token grid with time first, C channels, K classes.
"""

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from taggnn import backbones, heads, names, papers
from taggnn.backbones import plugs
from taggnn.backbones.build import TUNING
from taggnn.backbones.finetuning import STATISTICS_FROZEN
from taggnn.backbones.tokens import describe
from taggnn.backbones.trial import run_once
from taggnn.kernels import CUDA_ONLY, IMPLS
from taggnn.nn.layers import GraphLayer
from taggnn.types import VIDEO_AXES, Features, InputSpec, Output

# A backbone or head: a name, a class or function, or an instance.
Given = str | Callable[..., nn.Module] | nn.Module


class _Model(nn.Module):
    # For type checkers: a call of nn.Module returns Any.
    __call__: Callable[..., Output]

    @property
    def device(self) -> torch.device:
        """Device of its parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of its parameters, and of inputs."""
        return next(self.parameters()).dtype


class Recogniser(_Model):
    """A backbone and a head in one module.

    Args:
        backbone: inputs -> (B, C, *grid), ``Features``, or (B, N, C) with a stated grid.
        head: tokens (B, *grid, C), and targets if ``forward`` names them -> ``Output``, logits, or (logits, extras).
        spec: its input.
        grid: sizes of the token grid, time first.
        stated_grid: the grid of (B, N, C) outputs; None if the backbone's output has the grid.
        found: what ``attach`` found, part -> description.
        channels: C of its tokens, to check stored ones; None if it is not known.

    **Shapes:** x (B, *spec.shape), targets (B,) or (B, K) -> logits (B, K), the head's extras, and the losses of both.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        spec: InputSpec,
        grid: Sequence[int],
        stated_grid: Sequence[int] | None = None,
        found: Mapping[str, str] | None = None,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.spec = spec
        self.grid = tuple(grid)
        self.stated_grid = None if stated_grid is None else tuple(stated_grid)
        self.found = dict(found or {})
        self.channels = channels
        self.frozen = False
        self._takes = taken_by(head)

    def freeze(self) -> None:
        """Freezes the backbone: evaluation mode also in training, no gradients and no memory for them."""
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

    def features(self, x: Tensor) -> Features:
        """Runs the backbone alone. **Shapes:** (B, *spec.shape) -> tokens (B, *grid, C)."""
        # An exported program takes any number of clips, and stored tokens do not depend on its rounding.
        if not self.frozen or torch.compiler.is_exporting():
            return backbones.features_of(self.backbone(x), self.stated_grid)
        # On a CPU the rounding of a convolution depends on the batch size. In pairs, where a single last clip is doubled, the
        # tokens of a clip are bit-equal in any batch, and pairs are not slower.
        pairs = x.split(2) if x.device.type == "cpu" else [x]
        # A frozen backbone is never in training mode and has no losses.
        found = [self._features_of_pair(pair) for pair in pairs]
        whole = [one.class_token for one in found if one.class_token is not None]
        return Features(torch.cat([one.tokens for one in found]), class_token=torch.cat(whole) if whole else None)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Output:
        features = self.features(x)
        output = run_head(self.head, features.tokens, targets, self._takes, features.class_token)
        return Output(output.logits, output.extras, {} if targets is None else merged(features.losses, output.losses))

    def _features_of_pair(self, x: Tensor) -> Features:
        alone = len(x) == 1 and x.device.type == "cpu"
        found = backbones.features_of(self.backbone(torch.cat([x, x]) if alone else x), self.stated_grid)
        whole = None if found.class_token is None else found.class_token[: len(x)].contiguous()
        return Features(found.tokens[: len(x)].contiguous(), class_token=whole)

    def accepting(self, spec: InputSpec) -> "Recogniser | TokenView":
        """The model for an input: itself, or a view of it with the same head that takes stored tokens.

        Args:
            spec: of the batches.

        Raises:
            ValueError: the model takes neither such inputs nor such tokens.
        """
        if (spec.axes, spec.shape) == (self.spec.axes, self.spec.shape):
            return self
        if spec.kind == "tokens" and spec.shape[:-1] == self.grid and self.channels in (None, spec.shape[-1]):
            return TokenView(self, spec)
        channels = "" if self.channels is None else f" and {self.channels} channels"
        raise ValueError(f"the model takes {self.spec}, or stored tokens of grid {self.grid}{channels}; given {spec}")

    @torch.no_grad()
    def resize(self, shape: Sequence[int] | None = None, **sizes: int) -> None:
        """Adapts the model to inputs of another size: positions are interpolated, the graph is built on the new grid.

        Args:
            shape: sizes of all axes, or of all but the channels.
            sizes: those of some axes, by name: ``frame=32, height=112``.

        Raises:
            ValueError: no such axis or size, the backbone fails on such a clip, its grid was given and is not that of the
                clip, or the head cannot be resized.
        """
        spec = self._resized(shape, sizes)
        resize = getattr(self.head, "resize", None)
        if resize is None:
            raise ValueError(f"{type(self.head).__name__} has no resize(grid), so the model cannot take another size")
        if spec.axes == VIDEO_AXES:
            backbones.resize_positions(self.backbone, spec.clip)
        _, grid = backbones.dry_run(self.backbone, spec, self.stated_grid)
        resize(grid)
        self.spec, self.grid = spec, grid
        self.found["resized"] = f"{_fed(spec)} -> grid {_by(grid)}"

    def _resized(self, shape: Sequence[int] | None, sizes: Mapping[str, int]) -> InputSpec:
        axes = self.spec.axes
        if shape is None:
            return self.spec.resized(**sizes)
        if len(shape) == len(axes) - 1:
            axes = tuple(axis for axis in axes if axis != "channel")
        if sizes or len(shape) != len(axes):
            raise ValueError(
                f"resize takes a shape, or sizes by name, of {', '.join(self.spec.axes)}; given {shape}, {sizes}"
            )
        return self.spec.resized(**dict(zip(axes, shape, strict=True)))

    def check_device(self, device: torch.device | str) -> None:
        """Refuses a device that an implementation of the graph layers does not support, before any clip is read.

        Raises:
            ValueError: the implementation is for CUDA, and the device is not.
        """
        impls = set(_impls(self.head))
        # Triton's interpreter runs on the CPU, for tests.
        stuck = sorted(impls & set(CUDA_ONLY)) if not os.environ.get("TRITON_INTERPRET") else []
        if torch.device(device).type != "cuda" and stuck:
            possible = ", ".join(["auto", *(impl for impl in IMPLS if impl not in CUDA_ONLY)])
            raise ValueError(f"impl {stuck[0]} computes on CUDA, and this runs on {device}; possible here: {possible}")

    def describe(self, bibtex: bool = False) -> str:
        """The facts that were found when the model was built, one a line.

        Args:
            bibtex: the entries of its papers follow, those that `taggnn.papers` has (default False).
        """
        return papers.described(self.found, bibtex)


class TokenView(_Model):
    """The head of a recogniser as a model of stored tokens, with the same names in its state dict.

    Args:
        recogniser: the recogniser.
        spec: of the tokens.

    **Shapes:** x (B, *grid, C), targets as for ``Recogniser`` -> ``Output``

    Raises:
        ValueError: in ``forward``, tokens of another shape.
    """

    def __init__(self, recogniser: Recogniser, spec: InputSpec) -> None:
        super().__init__()
        self.head = recogniser.head
        self.spec, self.grid = spec, recogniser.grid
        self._takes = taken_by(self.head)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Output:
        self.spec.check(x)
        output = run_head(self.head, x.to(self.dtype), targets, self._takes)
        return Output(output.logits, output.extras, {} if targets is None else output.losses)


def taken_by(head: nn.Module) -> frozenset[str]:
    """What a head's ``forward`` takes besides the tokens: "targets", so that it can return losses, and "class_token"."""
    parameters = inspect.signature(head.forward).parameters.values()
    names = {one.name for one in parameters}
    any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return frozenset(name for name in ("targets", "class_token") if name in names or any_name)


def run_head(
    head: nn.Module,
    tokens: Tensor,
    targets: Tensor | None = None,
    takes: Collection[str] = ("targets",),
    class_token: Tensor | None = None,
) -> Output:
    """Runs a head and converts its result to ``Output``.

    Args:
        head: it may return any form that ``as_output`` takes.
        tokens: of a batch.
        targets, class_token: passed on where they are not None and the head takes them.
        takes: see ``taken_by``.

    **Shapes:** tokens (B, *grid, C), targets (B,) or (B, K), class_token (B, C)

    Raises:
        ValueError: it returns another type.
    """
    more = {"targets": targets, "class_token": class_token}
    return as_output(head(tokens, **{key: x for key, x in more.items() if x is not None and key in takes}), head)


def as_output(result: Any, head: nn.Module) -> Output:
    """Converts the result of a head to ``Output``: it may be one, logits, or (logits, extras).

    Raises:
        ValueError: another type.
    """
    # No match statement, and no X | Y in isinstance on the way of a tensor: torch.compile of PyTorch 2.9 cannot trace them.
    if isinstance(result, Output):
        return result
    if isinstance(result, Tensor):
        return Output(result)
    if isinstance(result, tuple) and len(result) == 2:
        logits, extras = result
        if isinstance(logits, Tensor) and isinstance(extras, Mapping):
            return Output(logits, dict(extras))
    raise ValueError(
        f"{type(head).__name__}: a head must return Output, logits, or (logits, extras); got {describe(result)}"
    )


def merged(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merges the losses of a backbone and of a head.

    Raises:
        ValueError: both have a loss of the same name.
    """
    both = [name for name in first if name in second]
    if both:
        raise ValueError(f"loss {both[0]!r}: the backbone and the head both have one of this name; rename one of them")
    return {**first, **second}


def attach(
    backbone: Given,
    head: Given = "tag",
    classes: int | None = None,
    *,
    clip: Sequence[int] | None = None,
    input: InputSpec | None = None,
    grid: Sequence[int] | None = None,
    weights: str | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    features: str | None = None,
    class_tokens: int = 0,
    layer: str | None = None,
    frames_in_batch: bool = False,
    token_order: str | None = None,
    pathways: Sequence[int] | None = None,
    **head_options: Any,
) -> Recogniser:
    """Attaches a head to a backbone: pooling and classifier are removed, C and the token grid are found by a dry run.

    Args:
        backbone: a name, see ``taggnn.backbones.find``; or an instance of any video model of torchvision or of four families of
            Hugging Face; or a class, its dotted path, or an instance of any module that yields (B, C, *grid) such as
            (B, C, T, H, W), or ``Features``, or (B, N, C) with a stated ``grid``; or of a whole network with its classifier,
            which is cut at the last feature map before its global pool, flattening or class token.
        head: a name of ``taggnn.heads.HEADS`` (default "tag"); or a class or callable ``(channels, grid, classes) -> module`` of
            your own, or its dotted path; or a module.
        classes: K; None (default) for that of the given head, or of the removed classifier.
        clip: for video: frames, height and width in pixels; None (default) for those of the backbone.
        input: for any other kind of input: its specification.
        grid: sizes of the token grid, time first; needed only if the backbone yields (B, N, C).
        weights: of a backbone given by name: see its row in ``BACKBONES``, or None (default) for random ones.
        backbone_options: further arguments of ``taggnn.backbones.build`` for a backbone given by name or as a class; for an
            instance, those of ``taggnn.backbones.tune``.
        features: the part of a nested output with the features: a key, number or field, several joined by dots. Not needed for
            pathways, a list of (B, C, T, H, W): they are averaged to the coarsest grid and concatenated on channels.
        class_tokens: number of tokens before those of the ``grid``, which are dropped from (B, N, C) (default 0).
        layer: for a module of your own: the layer whose output is taken, by its dotted name; None (default) for the module's own
            output, or its last feature map. ``describe()`` states where it was cut.
        frames_in_batch: your module takes frames as images, (B*T, 3, H, W), and yields (B*T, C, H', W') (default False).
        token_order: axes of the ``grid`` in (B, N, C) from the slowest to the fastest: "THW" (None, default), or "HWT" where
            time is the fastest.
        pathways: frames of each pathway, where your module takes a list of clips, as SlowFast does: (8, 32).
        head_options: arguments of the head, such as ``conv="gatv2"``.

    Returns:
        The recogniser; ``describe()`` reports what was found.

    Raises:
        ValueError: an unknown name or option, fewer than one class, or a backbone that does not yield tokens.

    Example::

        model = taggnn.attach(torchvision.models.video.r2plus1d_18(), "tag", classes=99, conv="gatv2")
        logits, extras = model(clips)
    """
    if classes is not None and classes < 1:
        raise ValueError(f"attach needs the number of classes, 1 or more; given classes={classes}")
    if input is not None and clip is not None:
        raise ValueError(f"clip={tuple(clip)} and input={input} both specify the input; give one of them")
    size = backbones.checked_size(tuple(clip), "clip") if clip is not None else None
    if input is not None and input.axes == VIDEO_AXES:
        size = input.clip
    grid = backbones.checked_grid(tuple(grid), "grid") if grid is not None else None
    options = dict(backbone_options or {})
    # How the output of a module of one's own is read.
    reading: dict[str, Any] = {
        "features": features,
        "class_tokens": class_tokens,
        "layer": layer,
        "frames_in_batch": frames_in_batch,
        "token_order": token_order,
        "pathways": pathways,
    }
    own = not isinstance(backbone, str) or names.is_path(backbone)
    name, usual = type(backbone).__name__, backbones.USUAL_CLIP
    if isinstance(backbone, str) and not own:
        for option, value in reading.items():
            if value:
                raise ValueError(
                    f"{option}={value!r} is for your own module; a backbone given by name, {backbone}, yields its tokens"
                )
        module = backbones.build(backbone, weights=weights, clip=size if input is None else None, spec=input, **options)
        row = backbones.find(backbone, options.get("config"))
        name, usual = backbone, row.clip
        input = row.spec if input is None and row.kind == "skeleton" else input
    elif isinstance(backbone, nn.Module):
        if weights is not None:
            raise ValueError("weights are for a backbone given by name; load them into the module yourself")
        module = backbones.strip(backbone)
        for option in options:
            if option not in TUNING:
                raise names.unknown(f"option of a backbone that is a {name}", option, TUNING)
    else:
        row = backbones.find(backbone)
        module = backbones.build(
            backbone, weights, clip=size, **{key: value for key, value in options.items() if key not in TUNING}
        )
        name, usual = row.name, row.clip
        options = {key: value for key, value in options.items() if key in TUNING}
    spec = backbones.video_spec(module, size or getattr(module, "clip", None) or usual) if input is None else input
    if spec.axes == VIDEO_AXES:
        spec = spec.resized(channel=backbones.clip_channels(module, spec.shape[0]))
    if own:
        module = backbones.adapt(module, spec, grid=grid, **reading)
        if options:
            backbones.tune(module, **options)
    if classes is None and not isinstance(head, nn.Module):
        classes = _classes_of(backbone, module)
    channels, found_grid = backbones.dry_run(module, spec, grid)
    built = heads.build(head, channels, found_grid, classes or 0, **head_options)
    head_name = head if isinstance(head, str) else getattr(head, "__name__", type(head).__name__)
    classes = _count_classes(built, channels, found_grid, classes)
    removed = ", ".join(getattr(module, "description", None) or ["nothing"])
    found = {
        "backbone": f"{name}, {_million(module)} parameters; removed: {removed}",
        "tokens": f"{_fed(spec)} -> grid {_by(found_grid)} = {prod(found_grid)} tokens of {channels} channels"
        + "".join(f"; {done}" for done in getattr(module, "notes", ())),
        "head": f"{head_name}, {_million(built)} parameters, {classes} classes{_graph(built)}",
    }
    if backbones.tuning_of(module).notes:
        found["training"] = "; ".join(backbones.tuning_of(module).notes)
    if known := _papers(head, (backbone_options or {}).get("plug")):
        found["papers"] = ", ".join(known)
    return Recogniser(module, built, spec, found_grid, grid, found, channels)


def build(architecture: Mapping[str, Any], weights: str | None = None) -> Recogniser:
    """Builds the recogniser of an architecture of plain types, as checkpoints hold it.

    Args:
        architecture: ``backbone`` {"name", "frozen" (see ``Recogniser.freeze``), further options of ``backbones.build``},
            ``head`` {"name", its options}, ``input`` (``InputSpec.plain()``), ``classes`` [names]. A name may be a dotted path.
        weights: initial weights of the backbone; None (default) for random ones, to be replaced from a checkpoint.

    Raises:
        ValueError: as ``attach``.
    """
    backbone, head = dict(architecture["backbone"]), dict(architecture["head"])
    frozen = backbone.pop("frozen", False)
    recogniser = attach(
        backbone.pop("name"),
        head.pop("name"),
        len(architecture["classes"]),
        input=InputSpec.read(architecture["input"]),
        weights=weights,
        backbone_options=backbone,
        **head,
    )
    # A head with text has to know which class is which.
    if use_classes := getattr(recogniser.head, "use_classes", None):
        use_classes(architecture["classes"])
    contrary = [note for note in backbones.tuning_of(recogniser.backbone).notes if note != STATISTICS_FROZEN]
    if frozen and contrary:
        raise ValueError(f"backbone.frozen leaves nothing of the backbone to train: {'; '.join(contrary)}")
    if frozen:
        recogniser.freeze()
    return recogniser


def _papers(head: Given, plug: object) -> list[str]:
    """Addresses of the papers of a head and of a plug that are given by name."""
    row = heads.HEADS.get(head) if isinstance(head, str) else None
    added = plugs.PLUGS.get(plug) if isinstance(plug, str) else None
    return [*(row.papers if row else ()), *([added.paper] if added and added.paper else [])]


def _count_classes(head: nn.Module, channels: int, grid: tuple[int, ...], classes: int | None) -> int:
    """K: as given, else the number of logits for tokens of zeros."""
    if classes is not None:
        return classes
    axes = tuple(f"axis {number}" for number in range(1, len(grid) + 1))
    logits = run_once(_Logits(head), InputSpec("tokens", (*axes, "channel"), (*grid, channels)))
    assert isinstance(logits, Tensor)
    return logits.shape[-1]


class _Logits(nn.Module):
    """A head without its extras."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> Tensor:
        return run_head(self.head, tokens).logits


def _classes_of(backbone: Given, module: nn.Module) -> int:
    """K of a model's removed classifier."""
    cut = getattr(module, "module", module)
    if isinstance(cut, backbones.FeatureExtractor):
        classes = cut.classes
    elif isinstance(backbone, nn.Module) and backbones.strip(backbone) is not backbone:
        # Of one that is known: the outputs of its last linear layer.
        layers = [layer for layer in backbone.modules() if isinstance(layer, nn.Linear | nn.Conv3d)]
        classes = layers[-1].weight.shape[0]
    else:
        classes = None
    if classes is None:
        raise ValueError("attach needs the number of classes: this backbone has no classifier to take it from")
    return classes


def _million(module: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _fed(spec: InputSpec) -> str:
    return f"clip {_by(spec.shape[1:])}" if spec.axes == VIDEO_AXES else str(spec)


def _impls(head: nn.Module) -> list[str]:
    return sorted({str(layer.kernel.impl) for layer in head.modules() if isinstance(layer, GraphLayer)})


def _graph(head: nn.Module) -> str:
    # A graph layer may run on another grid than that of the tokens.
    layer = next((part for part in head.modules() if isinstance(part, GraphLayer)), None)
    if layer is None:
        return ""
    kernels: set[Any] = {part.kernel for part in head.modules() if isinstance(part, GraphLayer)}
    how = f"computed by impl {' and '.join(sorted({kernel.describe() for kernel in kernels}))}"
    return f"; graph {layer.topology}, {layer.topology.num_edges(layer.grid):,} edges a clip, {how}"

"""A network up to one of its layers, as a module of its own.

Axes: B clips, C channels, T frames, H W token grid, N tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from taggnn.backbones.copying import copied
from taggnn.backbones.first_layer import CHANNELS
from taggnn.backbones.last_map import Cut, NoMap, classes_of, is_classified, last_maps
from taggnn.backbones.outputs import pick, tensors_in
from taggnn.backbones.tokens import describe
from taggnn.backbones.tracing import Call, Trace
from taggnn.backbones.trial import example, failed, in_evaluation
from taggnn.names import unknown
from taggnn.types import InputSpec


class Removed(nn.Module):
    """Replaces a layer after the cut: it returns its first input, so that the rest of ``forward`` can run."""

    def forward(self, x: Any = None, *_: Any, **__: Any) -> Any:
        return x


class _Reached(Exception):
    """Ends the run of a network whose features are complete."""


class FeatureExtractor(nn.Module):
    """A network up to the layers of its last feature maps; what is computed after them is removed.

    As ``torchvision.models.feature_extraction``, but by hooks instead of symbolic tracing, so that any ``forward`` will do.

    Args:
        network: the network; the extractor shares its parameters and buffers and has a copy of everything else.
        cuts: one for each feature map.
        trace: the run that they were found in.

    Attributes:
        description: the removed layers.
        classes: K of the removed classifier, None where that is not known.
        stops_early: the run ends at the last feature map; else what is left of the network runs to its end.
        stops_in_training: likewise, in training alone.

    **Shapes:** as the network takes it -> (B, C, *grid) or (B, N, C) of one cut, a list of them of several
    """

    def __init__(self, network: nn.Module, cuts: Sequence[Cut], trace: Trace) -> None:
        super().__init__()
        self.network = copied(network, share_buffers=True)
        self.cuts = tuple(cuts)
        self.training = network.training
        self.stops_early = self.stops_in_training = False
        self.classes: int | None = None
        self._features: dict[int, Any] = {}
        self._calls: dict[str, int] = {}
        moment = max(cut.moment for cut in cuts)
        self.description = _remove(self.network, trace, moment, cuts)
        stated = getattr(network, "cut", None)
        if stated is not None:
            self.cut = tuple(tuple(f"network.{part}" if part else "network" for part in group) for group in stated)
        if hasattr(network, CHANNELS):
            setattr(self, CHANNELS, getattr(network, CHANNELS))
        for layer in dict.fromkeys(cut.layer for cut in cuts):
            part = self.network.get_submodule(layer)
            part.register_forward_pre_hook(_Before(self, layer), with_kwargs=True)
            part.register_forward_hook(_After(self, layer))

    def forward(self, clip: Any) -> Any:
        self._calls = {}
        try:  # noqa: SIM105  torch.compile of PyTorch 2.9 cannot trace contextlib.suppress
            self.network(clip)
        except _Reached:
            pass
        features, self._features, self._calls = self._features, {}, {}
        if len(features) < len(self.cuts):
            missing = [cut.layer for number, cut in enumerate(self.cuts) if number not in features]
            raise RuntimeError(f"{type(self.network).__name__} ran without its layer {missing[0]}")
        taken = [features[number] for number in range(len(self.cuts))]
        return taken[0] if len(taken) == 1 else taken

    def _stops(self) -> bool:
        return self.stops_early or (self.stops_in_training and self.training)

    @property
    def note(self) -> str:
        """Where the network is cut, in words."""
        points = [
            f"{'input' if cut.path is None else 'output'} of {cut.layer}"
            + "".join(f", {one} after it" for one in cut.then)
            for cut in self.cuts
        ]
        return f"cut at the {' and the '.join(dict.fromkeys(points))}"

    def keep(self, layer: str, values: Any, entering: bool) -> Any:
        """Stores the features that a layer takes or yields; returns what replaces them, None for the same."""
        if entering:
            self._calls[layer] = self._calls.get(layer, -1) + 1
        kept = None
        for number, cut in enumerate(self.cuts):
            if (cut.layer, cut.number, cut.path is None) != (layer, self._calls[layer], entering):
                continue
            kept = pick(values, cut.path) if cut.path else values
            for operation in cut.then:
                kept = operation(kept)
            self._features[number] = kept.movedim(*cut.turned) if cut.turned else kept
        if kept is None:
            return None
        if len(self._features) == len(self.cuts) and self._stops():
            raise _Reached
        # What follows computes nothing that is needed: without a graph, and on a copy, should it write into its input.
        return tree_map_only(Tensor, lambda one: one.detach().clone(), values)


class _Before:
    """The hook before a layer."""

    def __init__(self, extractor: FeatureExtractor, layer: str) -> None:
        self.extractor, self.layer = extractor, layer

    def __call__(self, _: nn.Module, args: Any, kwargs: Any) -> Any:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        goes_on = self.extractor.keep(self.layer, tensors[0] if tensors else None, True)
        return None if goes_on is None or not args else ((goes_on, *args[1:]), kwargs)


class _After:
    """The hook after a layer."""

    def __init__(self, extractor: FeatureExtractor, layer: str) -> None:
        self.extractor, self.layer = extractor, layer

    def __call__(self, _: nn.Module, args: Any, output: Any) -> Any:
        return self.extractor.keep(self.layer, output, False)


def may_be_logits(output: object, grid: Sequence[int] | None) -> bool:
    """Whether an output can be that of a classifier or of a pool, so that the run has to be looked at.

    Args:
        output: for one clip.
        grid: the stated one.
    """
    if not isinstance(output, Tensor):
        sizes = [tensor.dim() for _, tensor in tensors_in(output)]
        return 2 in sizes and not {3, 5} & set(sizes)
    if output.dim() == 3:
        return grid is None or output.shape[2] == 1
    return output.dim() == 2 or (output.dim() > 3 and tuple(output.shape[-2:]) == (1, 1))


@torch.no_grad()
def extracted(
    network: nn.Module,
    spec: InputSpec,
    feed: nn.Module | None = None,
    layer: str | None = None,
    features: str | None = None,
) -> FeatureExtractor | None:
    """Cuts a network at its last feature map, or after a layer.

    Args:
        network: with or without its classifier; it is not changed.
        spec: of the clips.
        feed: makes the input of the clip; None for the clip itself.
        layer: dotted name of the layer whose output is taken; None for the last feature map.
        features: which part of the output holds the logits; None for the first tensor (B, K).

    Raises:
        ValueError: no such layer, or none that yields the last feature map.
    """
    scripted = [name for name, part in network.named_modules() if isinstance(part, torch.jit.ScriptModule)]
    if scripted:
        raise ValueError(
            f"{type(network).__name__} has to be cut, and its {scripted[0] or 'whole'} is compiled by torch.jit, which cannot be "
            "looked into: give it as it was before"
        )
    run = copied(network)
    trace, inputs = Trace(run), example(network, spec, feed)
    output: Any = None
    try:
        with trace:
            output = in_evaluation(run, inputs)
    except Exception as error:
        # What comes after the layer may need another clip.
        if not any(call.layer == layer for call in trace.calls):
            raise failed(network, spec, feed, inputs, error) from error
    if features is not None:
        output = pick(output, features)
    found = [tensor for _, tensor in tensors_in(output)]
    logits = next((tensor for tensor in found if tensor.dim() == 2), found[0] if found else None)
    if layer is not None:
        cuts = [_after(trace, run, layer)]
    elif logits is None:
        return None
    else:
        value = trace.value_of(logits)
        if logits.dim() != 2 and not (logits.dim() == 3 and logits.shape[2] == 1) and not is_classified(trace, value):
            return None
        try:
            cuts = last_maps(trace, value)
        except NoMap as error:
            raise ValueError(f"{type(network).__name__} yields {describe(output)}, and {error}") from error
        if not cuts:
            return None
    extractor = FeatureExtractor(network, cuts, trace)
    extractor.classes = None if logits is None else classes_of(trace, trace.value_of(logits))
    _stop_early_if_needed(extractor, example(network, spec, feed, clips=2), trace)
    return extractor


def _after(trace: Trace, network: nn.Module, layer: str) -> Cut:
    """The cut after the last call of a layer."""
    known = [name for name, _ in network.named_modules() if name]
    if layer not in known:
        raise unknown(f"layer of {type(network).__name__}", layer, known)
    calls = [call for call in trace.calls if call.layer == layer]
    if not calls:
        raise ValueError(f"layer={layer!r}: {type(network).__name__} does not call it for a clip in evaluation mode")
    last = calls[-1]
    value = next(iter(last.outputs), None)
    return Cut(layer, last.number, "", last.end, value, (), None, tuple(trace.shapes[value]) if value else ())


def _stop_early_if_needed(extractor: FeatureExtractor, inputs: Any, trace: Trace) -> None:
    """Ends runs at the last feature map where the rest of the network cannot run without its removed layers."""
    # Layers that evaluation does not run, such as auxiliary classifiers, would run in training on what is left.
    extractor.stops_in_training = any(id(parameter) not in trace.used for parameter in extractor.network.parameters())
    try:
        in_evaluation(extractor, inputs)
    except Exception:
        # The rest has failed: the network as a whole ran before, and up to the features nothing is different.
        extractor.stops_early = True
        extractor._features = {}


def _remove(network: nn.Module, trace: Trace, moment: int, cuts: Sequence[Cut]) -> list[str]:
    """Takes out the layers and parameters that are used only after the cuts, and describes them."""
    kept = [cut.layer for cut in cuts]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    after = trace.made_of([cut.value for cut in cuts if cut.value is not None])
    calls: dict[str, list[Call]] = {}
    for call in sorted(trace.calls, key=lambda one: one.start):
        calls.setdefault(call.layer, []).append(call)
    removed: list[str] = []
    for layer, made in calls.items():
        above = any(layer.startswith(f"{other}.") for other in removed)
        if layer and not above and all(call.start >= moment or not after.isdisjoint(call.inputs) for call in made):
            removed.append(layer)
    description = []
    for layer in removed:
        part = network.get_submodule(layer)
        description.append(_described(layer, part))
        parent, _, name = layer.rpartition(".")
        # The pool whose input is taken stays, for its hook; it has no parameters.
        if layer not in kept:
            setattr(network.get_submodule(parent), name, Removed())
    for key, name in names.items():
        parent, _, own = name.rpartition(".")
        if trace.used.get(key, 0) > moment and not any(name.startswith(f"{layer}.") for layer in removed):
            network.get_submodule(parent)._parameters[own] = None
            description.append(name)
    return description


def _described(name: str, module: nn.Module) -> str:
    """A removed layer: "fc (512 -> 400)"."""
    sizes = [p.shape for p in module.parameters() if p.ndim > 1]
    return f"{name} ({sizes[0][1]} -> {sizes[-1][0]})" if sizes else name

"""The last feature maps of a network with its classifier: where its logits have lost space and time.

Axes: B clips, C channels, T frames, H W token grid, N tokens, K classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from taggnn.backbones.tracing import Call, Operation, Trace, Value

_MULTIPLY = {"linear", "conv1d", "conv2d", "conv3d", "matmul", "addmm", "bmm", "einsum", "layer"}
# Pools are found by that word in their names.
_REDUCE = {"mean", "nanmean", "sum", "amax", "max", "logsumexp"}
_MOVE = {
    *(
        "reshape",
        "view",
        "_unsafe_view",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "permute",
        "transpose",
        "movedim",
    ),
    *("moveaxis", "swapaxes", "contiguous", "clone", "to", "float", "dropout", "dropout3d"),
}


@dataclass(frozen=True)
class Cut:
    """Where a feature map can be taken out of a network.

    Attributes:
        layer: dotted name.
        number: which of its calls in one run.
        path: of the map in its output, see ``pick``; None: the map is its input.
        moment: of the run, see ``Trace``.
        value: what the layer yields or takes there; None where that is no tensor.
        then: operations outside of layers that follow.
        turned: the axis of channels and where it belongs, where the map is (B, *grid, C) or (B, C, N); else None.
        shape: of the map for one clip.
    """

    layer: str
    number: int
    path: str | None
    moment: int
    value: Value | None
    then: tuple[Callable[[Tensor], Tensor], ...]
    turned: tuple[int, int] | None
    shape: tuple[int, ...]


class NoMap(ValueError):
    """No layer yields or takes the last feature map."""


def last_maps(trace: Trace, logits: Value) -> list[Cut]:
    """Finds the inputs of the global pool, or of the flattening or selection of a token, before the last linear layer.

    Going back from the logits, the first linear layer or convolution is the classifier. Going back from its input, the first
    value that still has a grid is the last feature map; several, where pathways are joined after their pools. A global pool
    without a linear layer after it ends a network without a classifier, unless a convolution of 1 x 1 x 1 with a bias comes
    right before it, which is the classifier of fully convolutional networks.

    Args:
        trace: of a run on one clip.
        logits: the output of the run.

    Returns:
        One cut a map; none where the output has no map before it.

    Raises:
        NoMap: the map is there, but is no layer's input or output.
    """
    found: dict[Value, int] = {}
    for layer, pooled in _classifiers(trace, logits):
        before = layer.inputs[0] if pooled is None or _classifies(trace, layer, pooled) else pooled
        found |= _maps(trace, before)
    return [_cut(trace, value, channels) for value, channels in found.items()]


def classes_of(trace: Trace, logits: Value) -> int | None:
    """K of the classifier; None without one.

    Args:
        trace: of a run on one clip.
        logits: the output of the run.
    """
    found = {
        next(shape for shape in layer.parameters if len(shape) > 1)[0]
        for layer, pooled in _classifiers(trace, logits)
        if pooled is None or _classifies(trace, layer, pooled)
    }
    return found.pop() if len(found) == 1 else None


def is_classified(trace: Trace, output: Value) -> bool:
    """Whether an output with more axes than (B, K) holds logits: a layer that mixes no positions, after a pool over space.

    Args:
        trace: of a run on one clip.
        output: of the run.
    """
    multiplied, value = False, output
    while (operation := trace.made_by(value)) is not None and operation.inputs:
        if _pools(trace, operation):
            return multiplied
        if _multiplies(operation):
            if not _is_pointwise(operation):
                return False
            multiplied = True
        value = operation.inputs[0]
    return False


def _data(trace: Trace, operation: Operation) -> tuple[Value, ...]:
    """Its inputs; where one has no known origin, those of the layer that it is computed in."""
    known = tuple(value for value in operation.inputs if trace.made_by(value) is not None)
    return known or (operation.inside.inputs if operation.inside else ())


def _classifiers(trace: Trace, logits: Value) -> Iterator[tuple[Operation, Value | None]]:
    """The last multiplications by weights, each with the feature map that is pooled after it, if one is."""
    waiting: list[tuple[Value, Value | None]] = [(logits, None)]
    seen = set()
    while waiting:
        value, pooled = waiting.pop(0)
        operation = trace.made_by(value)
        if operation is None or value in seen:
            continue
        seen.add(value)
        if _multiplies(operation):
            yield operation, pooled
            continue
        if pooled is None and _loses_grid(trace, operation):
            pooled = operation.inputs[0]
        waiting += [(one, pooled) for one in _data(trace, operation)]


def _multiplies(operation: Operation) -> bool:
    return (
        operation.name in _MULTIPLY and any(len(shape) > 1 for shape in operation.parameters) and bool(operation.inputs)
    )


def _is_pointwise(operation: Operation) -> bool:
    kernel = next(shape for shape in operation.parameters if len(shape) > 1)
    return operation.name == "linear" or (operation.name.startswith("conv") and set(kernel[2:]) == {1})


def _reduces(operation: Operation) -> bool:
    return ("pool" in operation.name or operation.name in _REDUCE) and bool(operation.inputs)


def _pools(trace: Trace, operation: Operation) -> bool:
    """Whether space is there before an operation and gone after it."""
    return (
        _reduces(operation)
        and _is_spatial(trace.shapes[operation.inputs[0]])
        and not _is_spatial(trace.shapes[operation.output])
    )


def _loses_grid(trace: Trace, operation: Operation) -> bool:
    """Whether an operation makes a vector of a map: a pool, a mean over tokens, a selection of the class token."""
    return (
        bool(operation.inputs)
        and _has_grid(trace, operation.inputs[0])
        and not _has_grid(trace, operation.output)
        and trace.made_by(operation.inputs[0]) is not None
    )


def _classifies(trace: Trace, layer: Operation, pooled: Value) -> bool:
    """Whether what is pooled is logits: nothing but activations and moves of axes lies between the layer and the pool."""
    if not _is_pointwise(layer) or len(layer.parameters) < 2 or trace.made_by(layer.inputs[0]) is None:
        return False
    value = pooled
    while (operation := trace.made_by(value)) is not None and operation is not layer:
        if len(operation.inputs) != 1 or operation.parameters:
            return False
        value = operation.inputs[0]
    return True


def _maps(trace: Trace, start: Value) -> dict[Value, int]:
    """The nearest values before a vector that have a grid, with the length of the vector made of each."""
    found: dict[Value, int] = {}
    fallback: dict[Value, int] = {}
    seen, waiting = {start}, [(start, start)]
    while waiting:
        value, after = waiting.pop(0)
        operation, channels = trace.made_by(value), max(trace.shapes[after][1:], default=1)
        # The clip itself is no map.
        if operation is not None and _has_grid(trace, value):
            found.setdefault(_with_axes(trace, value), channels)
            continue
        if operation is None:
            continue
        first = operation.inputs[0] if operation.inputs else None
        if first is not None and len(trace.shapes[first]) >= 4 and trace.made_by(first) is not None:
            channels = max(trace.shapes[value][1:], default=1)
            if _reduces(operation):
                found.setdefault(_before_pools(trace, first), channels)
                continue
            # A grid of one token cannot be distinguished from a vector by its sizes.
            if len(trace.shapes[value]) < len(trace.shapes[first]):
                fallback.setdefault(first, channels)
        for one in _data(trace, operation):
            if one not in seen:
                seen.add(one)
                waiting.append((one, value))
    return found or dict(list(fallback.items())[:1])


def _before_pools(trace: Trace, value: Value) -> Value:
    """The value before a pool over space, where one over time follows."""
    before = value
    while (operation := trace.made_by(before)) is not None and operation.inputs:
        if _pools(trace, operation):
            return operation.inputs[0]
        if operation.name not in _MOVE:
            break
        before = operation.inputs[0]
    return value


def _has_grid(trace: Trace, value: Value) -> bool:
    shape, operation = trace.shapes[value], trace.made_by(value)
    if not _is_map(shape):
        return False
    if _is_pooled_in_space(shape):
        # Space is gone; a convolution over time that follows makes features of it.
        kernels = operation.parameters if operation is not None and operation.name.startswith("conv") else ()
        return any(len(kernel) > 2 and max(kernel[2:]) > 1 for kernel in kernels)
    return True


def _is_map(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape[1:]) > 1


def _is_spatial(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 4 and _is_map(shape) and not _is_pooled_in_space(shape)


def _is_pooled_in_space(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 4 and tuple(shape[-2:]) == (1, 1)


def _with_axes(trace: Trace, value: Value) -> Value:
    """The value before its grid was flattened or pooled, where only moves of axes or a pool lie between."""
    if len(trace.shapes[value]) != 3:
        return value
    before = value
    while (operation := trace.made_by(before)) is not None and len(operation.inputs) == 1 and not operation.parameters:
        first = operation.inputs[0]
        if _reduces(operation) and _is_spatial(trace.shapes[first]):
            return first
        if operation.name not in _MOVE or trace.shapes[first].numel() != trace.shapes[before].numel():
            break
        if _is_spatial(trace.shapes[first]):
            return first
        before = first
    return value


def _cut(trace: Trace, value: Value, channels: int) -> Cut:
    """The layer that yields a value, or takes it."""
    then: list[Callable[[Tensor], Tensor]] = []
    # The dropout of a classifier is none of the features'.
    while (operation := trace.made_by(value)) is not None and "dropout" in operation.name:
        value = operation.inputs[0]
    shape, wanted = tuple(trace.shapes[value]), value
    # (B, C, *grid) and (B, N, C) are how features are read.
    wrong, right = (1, -1) if len(shape) == 3 else (-1, 1)
    turned = (wrong, right) if shape[wrong] == channels != shape[right] else None
    while True:
        # Not of a layer that only passes it on, as a dropout does in evaluation.
        made = [call for call in trace.calls if call.layer and wanted in call.outputs and wanted not in call.inputs]
        if made:
            call = max(made, key=lambda one: one.end)
            return Cut(call.layer, call.number, call.outputs[wanted], call.end, wanted, tuple(then), turned, shape)
        taken = [call for call in trace.calls if call.layer and call.inputs[:1] == (wanted,)]
        if taken:
            call = min(taken, key=lambda one: one.start)
            return Cut(call.layer, call.number, None, call.start, wanted, tuple(then), turned, shape)
        operation = trace.made_by(wanted)
        if operation is None or operation.again is None:
            raise NoMap(_nowhere(trace, shape, operation))
        then.insert(0, operation.again)
        wanted = operation.inputs[0]


def _nowhere(trace: Trace, shape: tuple[int, ...], operation: Operation | None) -> str:
    made = f"by {operation.name} " if operation is not None else ""
    near = [call.layer for call in sorted(trace.calls, key=lambda one: -one.end) if _yields_map(trace, call)]
    return (
        f"its last feature map {shape} is computed {made}outside of any layer: state layer= for the layer whose output is "
        f"to be taken, such as {', '.join(repr(name) for name in dict.fromkeys(near[:5]))}"
    )


def _yields_map(trace: Trace, call: Call) -> bool:
    return bool(call.layer) and any(
        _is_spatial(trace.shapes[value]) or len(trace.shapes[value]) == 3 for value in call.outputs
    )

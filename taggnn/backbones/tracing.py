"""What a network computes in one run: its operations, the tensors between them, and the calls of its layers.

Axes: B clips, C channels.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from taggnn.backbones.outputs import tensors_in


class Value(NamedTuple):
    """A tensor of the run, by number, between two changes in place."""

    tensor: int
    version: int


@dataclass
class Call:
    """One call of a layer.

    Attributes:
        layer: dotted name.
        number: how often it was called before in the same run.
        start, end: moments of the run.
        inputs: its tensors.
        outputs: those of its output, with the path of each, see ``taggnn.backbones.outputs.pick``.
        parent: the call that it is inside of.
    """

    layer: str
    number: int
    start: int
    inputs: tuple[Value, ...]
    parent: "Call | None"
    end: int = 0
    outputs: dict[Value, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One operation on tensors, or a layer whose inside cannot be seen.

    Attributes:
        name: of the function, such as "linear".
        moment: of the run.
        inputs: its tensors without parameters.
        parameters: the shapes of the parameters that it takes.
        output: the first of its outputs.
        inside: the call of a layer that it is part of.
        again: computes it for another tensor in place of its first input, where no size is part of it.
    """

    name: str
    moment: int
    inputs: tuple[Value, ...]
    parameters: tuple[torch.Size, ...]
    output: Value
    inside: Call | None
    again: Callable[[Tensor], Tensor] | None = None


# Operations that are the same for any batch, so that they can be done again: activations, and moves of axes.
_REPEATABLE = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "tanh"),
    *("permute", "transpose", "movedim"),
}


class Trace(TorchFunctionMode):
    """A recording of one run.

    Args:
        network: it is run once inside ``with trace:``; the trace puts hooks on it.

    Attributes:
        operations: in their order.
        calls: of layers, in the order in which they end.
        shapes: of each value.
        used: id of a parameter -> the moment of its first use.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.shapes: dict[Value, torch.Size] = {}
        self.used: dict[int, int] = {}
        self.producer: dict[Value, Operation] = {}
        self._parameters = {id(parameter): parameter for parameter in network.parameters()}
        self._matrices = {
            name: tuple(p.shape for p in part.parameters() if p.ndim > 1) for name, part in network.named_modules()
        }
        self._moment = 0
        self._open: list[Call] = []
        self._counts: dict[str, int] = {}
        # By weak references, so that the run needs no more memory than any other.
        self._numbers = WeakIdKeyDictionary()
        self._tensors = 0
        for name, part in network.named_modules():
            part.register_forward_pre_hook(self._entering(name), with_kwargs=True)
            part.register_forward_hook(self._leaving())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        before = [self.value_of(tensor) for tensor in inputs]
        result = func(*args, **options)
        name = getattr(func, "__name__", "")
        made = args[:1] if name == "__setitem__" else tree_leaves(result)
        outputs = [leaf for leaf in made if isinstance(leaf, Tensor)]
        fresh = [tensor for tensor in outputs if self.value_of(tensor) not in before]
        if fresh:
            again = None
            if name in _REPEATABLE and len(inputs) == 1 and args and args[0] is inputs[0]:
                again = _Again(func, tuple(args[1:]), options)
            self._record(name, inputs, before, fresh, again)
        return result

    def _record(self, name: str, inputs: list[Tensor], before: list[Value], fresh: list[Tensor], again: Any) -> None:
        self._moment += 1
        for tensor in inputs:
            if id(tensor) in self._parameters:
                self.used.setdefault(id(tensor), self._moment)
        data = tuple(v for v, t in zip(before, inputs, strict=True) if id(t) not in self._parameters)
        shapes = tuple(t.shape for t in inputs if id(t) in self._parameters)
        for tensor in [*inputs, *fresh]:
            self._keep(tensor)
        inside = self._open[-1] if self._open else None
        for tensor in fresh:
            operation = Operation(name, self._moment, data, shapes, self.value_of(tensor), inside, again)
            self.producer[operation.output] = operation
            self.operations.append(operation)

    def value_of(self, tensor: Tensor) -> Value:
        """The present value of a tensor."""
        return Value(self._number(tensor), tensor._version)

    def _number(self, tensor: Tensor) -> int:
        if tensor not in self._numbers:
            self._numbers[tensor] = self._tensors
            self._tensors += 1
        return int(self._numbers[tensor])

    def _keep(self, tensor: Tensor) -> Value:
        value = self.value_of(tensor)
        self.shapes[value] = tensor.shape
        return value

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._moment += 1
            inputs = tuple(self._keep(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
            number = self._counts.get(name, 0)
            self._counts[name] = number + 1
            parent = self._open[-1] if self._open else None
            self._open.append(Call(name, number, self._moment, inputs, parent))

        return enter

    def _leaving(self) -> Callable[..., None]:
        def leave(_: nn.Module, args: Any, output: Any) -> None:
            call = self._open.pop()
            self._moment += 1
            call.end = self._moment
            call.outputs = {self._keep(tensor): path for path, tensor in tensors_in(output)}
            self.calls.append(call)
            for value in call.outputs:
                # A layer whose inside no function of torch shows is one operation.
                if value not in self.producer and value not in call.inputs:
                    operation = Operation(
                        "layer", call.end, call.inputs, self._matrices[call.layer], value, call.parent
                    )
                    self.producer[value] = operation
                    self.operations.append(operation)

        return leave

    def made_by(self, value: Value) -> Operation | None:
        """The operation that made a value; None for the clip, and for what no function of torch has made."""
        # A change through a view counts up the version of its base, too.
        for version in range(value.version, -1, -1):
            operation = self.producer.get(Value(value.tensor, version))
            if operation is not None:
                return operation
        return None

    def made_of(self, values: Collection[Value]) -> set[Value]:
        """Some values and all that is computed of them."""
        found = set(values)
        for operation in self.operations:
            if not found.isdisjoint(operation.inputs):
                found.add(operation.output)
        return found


class _Again:
    """An operation with its further arguments."""

    def __init__(self, function: Callable[..., Tensor], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.function, self.arguments = function, arguments
        self.options = {key: value for key, value in options.items() if key != "inplace"}

    def __str__(self) -> str:
        return self.function.__name__

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x, *self.arguments, **self.options)

"""The description of a model in a file, checked before anything is built of it: types, fields and sizes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from typing_extensions import TypedDict

from taggnn.data import described, sources
from taggnn.runtime import schema
from taggnn.types import InputSpec

# A whole number in an architecture may be this large, or as large as the largest axis of a weight.
_LARGE = 10_000
# Numbers of parameters that may be built beyond those in the file: classifiers that are removed, for instance.
_SPARE = 50_000_000


class Part(TypedDict):
    """A backbone or a head: its name, and its options."""

    name: str


class Architecture(TypedDict):
    """What ``taggnn.model.build`` makes a model of."""

    backbone: Part
    head: Part
    input: described.Input
    classes: list[str]


class Described(TypedDict):
    """A model and its data."""

    architecture: Architecture
    split_options: dict[str, Any]


def check(content: Mapping[str, Any], where: str) -> None:
    """Checks the architecture and the split options of a file.

    Args:
        content: of the file.
        where: the file, for messages.

    Raises:
        ValueError: names the file and the field.
    """
    schema.check(content, Described, where)
    architecture, split_options = content["architecture"], content["split_options"]
    described.check_split_options(split_options, f"{where}, split_options")
    for part in ("backbone", "head", "input"):
        schema.check(architecture[part], dict[str, Any], f"{where}, architecture.{part}")
    if not architecture["classes"]:
        raise ValueError(f"{where}, architecture.classes: none in it")
    check_input(architecture["input"], f"{where}, architecture.input")
    _check_banks(architecture["head"], f"{where}, architecture.head")


def check_input(content: Mapping[str, Any], where: str) -> None:
    """Checks an input, and that a source of taggnn makes it.

    Raises:
        ValueError: names the file and the field.
    """
    described.check_input(content, where)
    _check_numbers(content.get("options") or {}, 10**6, 10**6, f"{where}.options")
    try:
        spec = InputSpec.read(content)
        if spec.kind in sources.SOURCES and hasattr(sources.SOURCES[spec.kind].source, "from_spec"):
            made = sources.of(spec).spec
            if {"frames", "size"} <= set(spec.options) and (made.axes, made.shape) != (spec.axes, spec.shape):
                raise ValueError(f"its options make {made}, and its shape is {spec}")
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise ValueError(f"{where}: {error}") from error


def check_sizes(architecture: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> None:
    """Refuses an architecture that makes a larger model than its weights, such as one of 10^12 layers.

    Args:
        architecture: of the file, as ``check`` accepts it.
        state: the weights.
        where: the file, for messages.

    Raises:
        ValueError: names the file and the field.
    """
    largest = max((size for value in state.values() for size in value.shape), default=0)
    for part in ("backbone", "head"):
        _check_numbers(architecture[part], max(_LARGE, largest), len(state), f"{where}, architecture.{part}")


@contextmanager
def no_larger_than(state: Mapping[str, Tensor], where: str) -> Iterator[None]:
    """Stops the building of a model in a ``with`` block when it has many more parameters than there are weights.

    Raises:
        ValueError: names the file.
    """
    left = 2 * sum(value.numel() for value in state.values()) + _SPARE

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= 0 if parameter is None else parameter.numel()
        if left < 0:
            raise ValueError(f"{where}: its architecture makes a larger model than its weights are for")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _check_banks(options: Mapping[str, Any], where: str) -> None:
    """Refuses a text bank that names a file: its vectors are among the weights, and opening a model opens no other file."""
    for name, value in options.items():
        if name == "bank" and isinstance(value, str):
            raise ValueError(
                f"{where}.bank: names the file {value[:200]!r}, and must hold the prompts and channels of the bank"
            )
        if isinstance(value, Mapping):
            _check_banks(value, f"{where}.{str(name)[:60]}")


def _check_numbers(value: Any, most: int, layers: int, where: str, key: str = "") -> None:
    if isinstance(value, Mapping):
        for name, one in value.items():
            _check_numbers(one, most, layers, f"{where}.{str(name)[:60]}", str(name))
    elif isinstance(value, list | tuple):
        for one in value:
            _check_numbers(one, most, layers, where, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        allowed = layers if "layers" in key or "depth" in key else most
        if not abs(value) <= allowed:
            raise ValueError(f"{where}: {value} is larger than its weights allow ({allowed:,})")

"""The fields of a model's input and of its data, as checkpoints, exported models and indices of tokens hold them."""

from math import prod
from typing import Annotated, Any

from typing_extensions import NotRequired, TypedDict

from taggnn.runtime import schema
from taggnn.runtime.schema import Range

# Numbers of one clip: 1 GiB of float32, 28 times that of 64 frames of 224 x 224.
MAX_CLIP = 2**28
Size = Annotated[int, Range(1, MAX_CLIP)]


class Input(TypedDict):
    """``InputSpec.plain()``."""

    kind: str
    axes: list[str]
    shape: list[Size]
    options: NotRequired[dict[str, Any] | None]


class SplitOptions(TypedDict):
    """``ClipData.split_options``."""

    seed: Annotated[int, Range(0, 2**32 - 1)]
    val_fraction: NotRequired[Annotated[float, Range(0, 1)]]
    test_fraction: NotRequired[Annotated[float, Range(0, 1)]]
    dataset: NotRequired[str | None]
    version: NotRequired[str | None]


def check_input(content: Any, where: str) -> None:
    """Checks the fields of an input, and its size.

    Raises:
        ValueError: names the file and the field.
    """
    schema.check(content, Input, where)
    if prod(content["shape"]) > MAX_CLIP:
        raise ValueError(f"{where}.shape: a clip of {prod(content['shape']):,} numbers, more than {MAX_CLIP:,}")
    if len(content["shape"]) != len(content["axes"]):
        raise ValueError(f"{where}.shape: {len(content['shape'])} sizes of {len(content['axes'])} axes")


def check_split_options(content: Any, where: str) -> None:
    """Checks the options that splits depend on.

    Raises:
        ValueError: names the file and the field.
    """
    schema.check(content, SplitOptions, where)
    for key in content:
        if key not in SplitOptions.__annotations__:
            raise ValueError(f"{where}: unknown key {str(key)[:60]!r}")

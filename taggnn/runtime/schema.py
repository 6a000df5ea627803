"""The content of a file (JSON, YAML, a checkpoint) compared with type annotations; the first field that differs is named.

A schema is a ``TypedDict``, whose further keys are ignored, or any of ``None``, ``bool``, ``int``, ``float`` (takes whole numbers
too), ``str``, ``Any``, a class, ``list[X]``, ``tuple[X, Y]`` and ``tuple[X, ...]`` (take lists too), ``dict[str, X]``, ``X | Y``,
``Literal`` and ``Annotated[int, Range(1, 8)]``.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from typing_extensions import NotRequired, get_type_hints, is_typeddict

# Whole numbers beyond it are not exact in JSON.
LARGEST = 2**53
# Parts of a value of type Any, and how deep they may lie: YAML and pickles may repeat a part without end.
_PARTS, _DEPTH = 10**6, 64
_SHOWN = 60


class Range(NamedTuple):
    """Smallest and largest value of a number."""

    least: float
    most: float


Count = Annotated[int, Range(0, LARGEST)]


def check(value: Any, schema: Any, where: str) -> None:
    """Compares a value with a schema.

    Args:
        value: plain types; tensors where the schema has them.
        schema: see above.
        where: the file, for the message; fields are added to it.

    Raises:
        ValueError: names the file and the field, what was expected, and what is there.
    """
    origin, parts = get_origin(schema), get_args(schema)
    if schema is Any:
        _check_plain(value, where)
    elif is_typeddict(schema):
        _check_keys(value, schema, where)
    elif origin in (Union, UnionType):
        _check_union(value, parts, where)
    elif origin is Annotated:
        check(value, parts[0], where)
        low, high = parts[1]
        if not low <= value <= high:
            raise ValueError(f"{where}: {value} is not from {low:,} to {high:,}")
    elif origin is Literal:
        if not any(type(value) is type(one) and value == one for one in parts):
            raise _wrong(value, schema, where)
    elif origin is dict:
        _require(isinstance(value, Mapping), value, schema, where)
        for key, one in value.items():
            check(key, parts[0], f"{where}: the key {_key(key)}")
            check(one, parts[1], f"{where}.{_key(key)}")
    elif origin in (list, tuple):
        _require(isinstance(value, list | tuple), value, schema, where)
        items = parts[:1] * len(value) if origin is list or parts[-1] is ... else parts
        _require(len(items) == len(value), value, schema, where)
        for number, (one, item) in enumerate(zip(value, items, strict=True)):
            check(one, item, f"{where}[{number}]")
    elif not _is(value, schema):
        raise _wrong(value, schema, where)


def _is(value: Any, schema: Any) -> bool:
    if schema in (None, NoneType):
        return value is None
    if schema is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if schema is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, schema)


def _check_keys(value: Any, schema: Any, where: str) -> None:
    _require(isinstance(value, Mapping), value, schema, where)
    for key, hint in _hints(schema).items():
        if key in value:
            field = f"{where}.{key}" if ", " in where else f"{where}, {key}"
            check(value[key], get_args(hint)[0] if get_origin(hint) is NotRequired else hint, field)
        elif key in schema.__required_keys__:
            raise ValueError(f"{where}: no {key} in it; it has {', '.join(map(_key, list(value)[:20])) or 'nothing'}")


@cache
def _hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


def _check_union(value: Any, parts: Iterable[Any], where: str) -> None:
    errors = []
    for part in parts:
        try:
            return check(value, part, where)
        except ValueError as error:
            errors.append(error)
    # The error of the alternative that matched furthest is the most useful.
    raise max(errors, key=lambda error: str(error).count(".") + str(error).count("["))


def _check_plain(value: Any, where: str) -> None:
    left, parts = [(value, 0)], 0
    while left:
        one, depth = left.pop()
        parts += 1
        if parts > _PARTS or depth > _DEPTH:
            raise ValueError(f"{where}: more than {_PARTS:,} parts, or more than {_DEPTH} inside each other")
        if isinstance(one, Mapping):
            left += [(inner, depth + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, list | tuple):
            left += [(inner, depth + 1) for inner in one]
        elif isinstance(one, int) and abs(one) > LARGEST:
            raise ValueError(f"{where}: a whole number beyond {LARGEST:,}")


def _require(fits: bool, value: Any, schema: Any, where: str) -> None:
    if not fits:
        raise _wrong(value, schema, where)


def _wrong(value: Any, schema: Any, where: str) -> ValueError:
    return ValueError(f"{where}: expected {_described(schema)}, got {_shown(value)}")


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null", None: "null"}


def _described(schema: Any) -> str:
    origin, parts = get_origin(schema), get_args(schema)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in (list, tuple):
        return f"a list of {len(parts)}" if origin is tuple and parts[-1] is not ... else "a list"
    if origin is dict or is_typeddict(schema):
        return "keys and values"
    return _NAMES.get(schema, getattr(schema, "__name__", str(schema)))


def _key(key: Any) -> str:
    text = key if isinstance(key, str) else _shown(key)
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_SHOWN])


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        # Not the parts, which may be endless.
        return f"a {'list' if not isinstance(value, Mapping) else 'mapping'} of {len(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value) if isinstance(value, str | int | float | NoneType) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

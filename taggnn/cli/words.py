"""Options given in Python as the words of a command line: ``{"tag.conv": "gat"}`` and ``{"tag": {"conv": "gat"}}`` alike."""

import inspect
import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any


def words_of(options: Mapping[str, Any], keys: Collection[str]) -> list[str]:
    """The words that give a program these options.

    Args:
        options: key -> value, with dots or as a tree; text, numbers, bools, None, paths, lists and mappings of these; classes and
            functions, by their dotted path.
        keys: the options of the program: a mapping under one of them is its value, another one is a group.

    Raises:
        ValueError: a key that is given twice, or a value that a command line cannot hold, such as a module that is built
            already.
    """
    words: dict[str, str] = {}
    for key, value in _flat(options, keys):
        if key in words:
            raise ValueError(f"option {key} is given twice")
        words[key] = f"--{key}={text_of(key, value)}"
    return list(words.values())


def _flat(options: Mapping[str, Any], keys: Collection[str], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in options.items():
        if not isinstance(name, str):
            raise ValueError(f"options are named by text such as 'data.root', given {name!r}")
        key = f"{above}{name}"
        if isinstance(value, Mapping) and key not in keys:
            found += _flat(value, keys, f"{key}.")
        else:
            found.append((key, value))
    return found


def text_of(key: str, value: Any) -> str:
    """A value as the word of a command line; see ``words_of``."""
    plain = _plain(key, value)
    # A word is taken as it is; within a list or a mapping the quotes keep it text.
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(key: str, value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"option {key}: {value} is no finite number")
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(f"{key}.{name}", one) for name, one in value.items()}
    if isinstance(value, Sequence | set):
        return [_plain(key, one) for one in value]
    if inspect.isclass(value) or inspect.isfunction(value):
        return _dotted(key, value)
    raise ValueError(
        f"option {key}: {value!r} cannot be kept in a run's config.yaml; possible: text, numbers, paths, lists and mappings of "
        "them, and classes or functions of a module"
    )


def _dotted(key: str, value: Any) -> str:
    """The dotted path of a class or function, by which a run's files name it."""
    path = f"{value.__module__}.{value.__qualname__}"
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not value:
        raise ValueError(
            f"option {key}: {path} cannot be found by this name, by which a checkpoint would keep it; define it at the top of "
            "a module"
        )
    return path

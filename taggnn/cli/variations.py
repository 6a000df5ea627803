"""What a sweep varies, as the command line gives it: ``--over tag.conv=gcn,gat``, and what its variants are called.

Values are separated by the commas outside of brackets and quotes: ``clique+chain``, ``bones(skeleton=ntu)+chain``, ``[40,64]``,
``null`` and ``{"width": 16}`` are one value each. Keys that change together are given together, with a group of values for each
variant: ``config,data.root=(gym99,DIR),(haa500,OTHER)``.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Letters of a folder's name, which a sweep repeats in every path.
_LONGEST = 120
# Of such a key the part before says more: backbone.name.
_VAGUE = ("name",)

Variant = dict[str, str]


def values(text: str, where: str) -> list[str]:
    """Splits "gcn,clique(reach=1,loops=2),[1,2]" at the commas outside of brackets and quotes.

    Args:
        text: the values.
        where: the option, for messages.

    Raises:
        ValueError: a bracket or quote that is not closed, or an empty value.
    """
    parts, closing, quote = [""], list[str](), ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _CLOSING:
            closing.append(_CLOSING[letter])
        elif letter in _CLOSING.values():
            if not closing or closing.pop() != letter:
                raise ValueError(f"{where}: {letter!r} closes nothing in {text!r}")
        elif letter == "," and not closing:
            parts.append("")
            continue
        parts[-1] += letter
    if quote or closing:
        raise ValueError(f"{where}: {quote or closing[-1]!r} is missing in {text!r}")
    found = [part.strip() for part in parts]
    if not all(found):
        raise ValueError(f"{where}: an empty value in {text!r}; null is nothing, and '\"\"' the empty text")
    return found


def over(texts: Iterable[str]) -> dict[str, list[str]]:
    """The keys of several ``--over KEY=VALUES``, and their values.

    Raises:
        ValueError: no key, a key given twice, or values that cannot be split.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, given = text.partition("=")
        key = key.strip().removeprefix("--")
        if not equals or not key:
            raise ValueError(f"--over {text}: expected KEY=VALUE,VALUE,..., such as tag.conv=gcn,gat")
        if key in found:
            raise ValueError(f"--over {key}: given twice; separate its values by commas")
        found[key] = values(given, f"--over {key}")
    return found


def spelled(value: Any) -> str:
    """A value of Python as the command line has it: None -> "null", [40, 64] -> "[40, 64]"; text stays."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def variants(varied: Mapping[str, Sequence[Any]]) -> dict[str, Variant]:
    """Every combination of the values, in their order, the last key fastest: name of what differs -> key -> value.

    Args:
        varied: key -> values; keys that change together are one, with commas between them; their values are groups of as many.

    Raises:
        ValueError: a key twice, a value twice, or a group of another size; names the key.
    """
    axes: list[list[Variant]] = []
    keys: list[str] = []
    for joined, given in varied.items():
        names = [name.strip() for name in joined.split(",")]
        keys += names
        axis = [_group(names, value, joined) for value in given]
        if not axis:
            raise ValueError(f"--over {joined}: no value")
        for number, one in enumerate(axis):
            if one in axis[:number]:
                raise ValueError(f"--over {joined}: {', '.join(one.values())} is given twice")
        axes.append(axis)
    if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
        raise ValueError(f"--over {twice[0]}: given twice")
    short = short_keys(keys)
    names_of = [_names(axis, short) for axis in axes]
    found: dict[str, Variant] = {}
    for choice in product(*(range(len(axis)) for axis in axes)):
        name = ",".join(names[index] for names, index in zip(names_of, choice, strict=True))
        found[name] = {key: text for axis, index in zip(axes, choice, strict=True) for key, text in axis[index].items()}
    return found


def _group(names: Sequence[str], value: Any, joined: str) -> Variant:
    if len(names) == 1:
        return {names[0]: spelled(value)}
    parts: Sequence[Any] = value
    if isinstance(value, str):
        if not (value.startswith("(") and value.endswith(")")):
            raise ValueError(f"--over {joined}: expected groups ({', '.join(names)}),..., got {value!r}")
        parts = values(value[1:-1], f"--over {joined}")
    if len(parts) != len(names):
        raise ValueError(f"--over {joined}: expected {len(names)} values in a group, got {len(parts)}: {value}")
    return {name: spelled(part) for name, part in zip(names, parts, strict=True)}


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part where that says which: "tag.conv" -> "conv"; "backbone.name" -> "backbone"."""
    found: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        found[key] = parts[-2] if len(parts) > 1 and parts[-1] in _VAGUE else parts[-1]
    return {key: short if list(found.values()).count(short) == 1 else key for key, short in found.items()}


def _names(axis: Sequence[Variant], short: Mapping[str, str]) -> list[str]:
    """What the values of an axis are called: the first of its keys, as many as make the names unique."""
    keys = list(axis[0])
    rows = [tuple(one.values()) for one in axis]
    count = next(count for count in range(1, len(keys) + 1) if len({row[:count] for row in rows}) == len(rows))
    columns = [_shown([one[key] for one in axis]) for key in keys[:count]]
    return [
        ",".join(f"{short[key]}={text}" for key, text in zip(keys, row, strict=False))
        for row in zip(*columns, strict=True)
    ]


def _shown(texts: Sequence[str]) -> list[str]:
    """Values for a name: of files and folders the last part, if those are unique too."""
    last = [text.rstrip("/").rpartition("/")[2] if "/" in text and text[0] not in "[{" else text for text in texts]
    return last if len(set(last)) == len(set(texts)) and all(last) else list(texts)


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """Name of a variant -> its folder, the same however many further ones come after it.

    Letters that shells or file systems take for something else become "_"; where a name is cut or becomes that of another
    one, its digest makes it unique.
    """
    found: dict[str, str] = {}
    for name in names:
        folder = re.sub(r"[^\w.+=,()\[\]-]+", "_", name).lstrip(".")
        if not folder or len(folder) > _LONGEST or folder.lower() in {other.lower() for other in found.values()}:
            folder = f"{folder[:_LONGEST]}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
        found[name] = folder
    return found


def seeds(text: str) -> list[int]:
    """The seeds of ``--seeds``: "3" -> 0, 1 and 2; "42,1,2" or "[42]" are the seeds themselves.

    Raises:
        ValueError: no whole numbers, none of them, or one twice.
    """
    listed = "," in text or text.startswith("[")
    parts = [part.strip() for part in text.strip("[] ").split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"\d+", part) for part in parts):
        raise ValueError(f"--seeds {text}: expected how many, such as 5, or a list, such as 42,1,2 or [42]")
    found = [int(part) for part in parts]
    found = found if listed else list(range(found[0]))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"--seeds {text}: {'the same one twice' if found else 'expected one or more'}")
    return found

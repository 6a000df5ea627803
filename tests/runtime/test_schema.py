"""Content against type annotations: what fits passes, and the first field that does not is named."""

import math
import re
from typing import Annotated, Any, Literal

import pytest
import torch
from typing_extensions import NotRequired, TypedDict

from taggnn.runtime import schema
from taggnn.runtime.schema import Range


class Inner(TypedDict):
    size: Annotated[int, Range(1, 8)]


class Outer(TypedDict):
    name: str
    parts: list[Inner]
    pair: tuple[float, float] | None
    kind: NotRequired[Literal["a", "b"]]
    weights: NotRequired[dict[str, torch.Tensor]]
    rest: NotRequired[Any]


GOOD = {"name": "x", "parts": [{"size": 3, "more": 1}], "pair": [1, 0.5], "kind": "a", "weights": {"w": torch.ones(1)}}


@pytest.mark.parametrize(
    "changes", [{}, {"pair": None}, {"pair": (0, 1)}, {"rest": [{"a": [None]}]}, {"unknown": object()}]
)
def test_what_fits_passes(changes):
    schema.check({**GOOD, **changes}, Outer, "f.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "f.json, name: expected text, got 3"),
        ({"parts": {}}, "f.json, parts: expected a list, got a mapping of 0"),
        ({"parts": [{"size": 3}, {}]}, "f.json, parts[1]: no size in it; it has nothing"),
        ({"parts": [{"size": 10**12}]}, "f.json, parts[0].size: 1000000000000 is not from 1 to 8"),
        ({"parts": [{"size": True}]}, "f.json, parts[0].size: expected a whole number, got True"),
        ({"parts": [{"size": math.nan}]}, "f.json, parts[0].size: expected a whole number, got nan"),
        ({"pair": [1]}, "f.json, pair: expected a list of 2, got a list of 1"),
        ({"pair": [1, "b"]}, "f.json, pair[1]: expected a number, got 'b'"),
        ({"kind": "c"}, "f.json, kind: expected 'a' or 'b', got 'c'"),
        ({"weights": {"w\n": 1}}, "f.json, weights.w?: expected Tensor, got 1"),
        ({"weights": {1: 1}}, "f.json, weights: the key 1: expected text, got 1"),
        ({"rest": [2**60]}, "f.json, rest: a whole number beyond"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        schema.check({**GOOD, **changes}, Outer, "f.json")


def test_content_that_repeats_itself_without_end_is_refused():
    """As YAML anchors or a pickle can: thirty lists that hold 2^30 texts."""
    doubled = ["a"]
    for _ in range(30):
        doubled = [doubled, doubled]
    endless: list = []
    endless.append(endless)
    for content in (doubled, endless):
        with pytest.raises(ValueError, match=r"f\.json, rest: more than"):
            schema.check({**GOOD, "rest": content}, Outer, "f.json")

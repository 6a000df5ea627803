"""Explanations of a trained head: the importance of each token that the backbone hands to it, by one of several methods.

    importance = explain(model, x, method="integrated_gradients")    # x (1, *spec.shape)
    importance.values                                               # (T, H, W) on video, (T, V) on skeletons

A method is a file here with ``method(given, target, options) -> (*grid)`` or ``Importance``, and its row in ``METHODS``. Whether
a map matters, `taggnn.explanation.curves` measures.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from taggnn.explanation.attention import attention
from taggnn.explanation.edges import edge_gradient, gnn_explainer
from taggnn.explanation.gradients import gradient_x_token, integrated_gradients
from taggnn.explanation.head_input import HeadInput, head_input
from taggnn.explanation.importance import Importance
from taggnn.explanation.occlusion import frame_occlusion, occlusion
from taggnn.explanation.options import Options
from taggnn.explanation.pixels import pixel_integrated_gradients, pixel_occlusion
from taggnn.explanation.random_map import random_map
from taggnn.names import unknown

__all__ = ["METHODS", "HeadInput", "Importance", "Options", "Row", "explain", "explain_tokens", "head_input"]


class Row(NamedTuple):
    """One method.

    Args:
        run: ``(given, target, options) -> (*grid)``, or ``Importance`` where it has more to state; raises ``ValueError`` where
            the head does not suit it.
        summary: what it is, in one line.
        paper: address of the paper; empty where there is none.
        signed: whether values below 0 speak against the class.
        unit: "token", "frame", "edge" or "pixel", see ``Importance``.
        package: that it needs, beyond those of the installation; empty: none.
    """

    run: Callable[[HeadInput, int, Options], Tensor | Importance]
    summary: str
    paper: str
    signed: bool
    unit: str = "token"
    package: str = ""


METHODS: dict[str, Row] = {
    "attention": Row(
        attention, "weights of the read-out, where the head has them", "https://arxiv.org/abs/1802.04712", False
    ),
    "gradient_x_token": Row(
        gradient_x_token, "gradient of the logit, times the token", "https://arxiv.org/abs/1605.01713", True
    ),
    "integrated_gradients": Row(
        integrated_gradients,
        "gradients integrated from a baseline to the token",
        "https://arxiv.org/abs/1703.01365",
        True,
    ),
    "occlusion": Row(occlusion, "fall of the logit without the token", "https://arxiv.org/abs/1311.2901", True),
    "frame_occlusion": Row(
        frame_occlusion, "fall of the logit without the frame", "https://arxiv.org/abs/1311.2901", True, "frame"
    ),
    "edge_gradient": Row(
        edge_gradient, "gradient of the logit on a mask of the edges", "https://arxiv.org/abs/1905.13686", True, "edge"
    ),
    "gnn_explainer": Row(
        gnn_explainer,
        "a mask of few edges that keep the class, by PyG",
        "https://arxiv.org/abs/1903.03894",
        False,
        "edge",
    ),
    "pixel_integrated_gradients": Row(
        pixel_integrated_gradients,
        "integrated gradients of the pixels, by captum",
        "https://arxiv.org/abs/1703.01365",
        True,
        "pixel",
        "captum",
    ),
    "pixel_occlusion": Row(
        pixel_occlusion,
        "fall of the logit without the pixels of a cell, by captum",
        "https://arxiv.org/abs/1311.2901",
        True,
        "pixel",
        "captum",
    ),
    "random": Row(random_map, "random numbers, to compare with", "", False),
}


def explain(
    model: nn.Module, x: Tensor, target: int | None = None, method: str = "integrated_gradients", **options: Any
) -> Importance:
    """Computes how much each token of a clip counts for a class.

    The layer is the last one before the head: its tokens, of the head's grid.

    Args:
        model: a recogniser, or its view that takes stored tokens; not an exported model.
        x: one clip, as ``Loaded.clip(file)[None]`` gives it.
        target: label of the class; None (default): the most probable one.
        method: a key of ``METHODS`` (default "integrated_gradients").
        options: of ``Options``: baseline, steps, batch, epochs, seed.

    **Shapes:** x (1, *spec.shape) -> ``values`` (*grid)

    Raises:
        ValueError: an unknown method, option or target, more than one clip, an exported model, a head that does not suit the
            method, or a value that is not finite.
        ImportError: a package that the method needs is not there; names the extra.
    """
    given = head_input(model, x)
    return explain_tokens(given, target, method, **options)


def explain_tokens(
    given: HeadInput, target: int | None = None, method: str = "integrated_gradients", **options: Any
) -> Importance:
    """The same for tokens that are there already, so that several methods run the backbone once."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    allowed = tuple(Options.__dataclass_fields__)
    for name in options:
        if name not in allowed:
            raise unknown("option of an explanation", name, allowed)
    row = METHODS[method]
    target = _target(given, target)
    found = row.run(given, target, Options(**options))
    if isinstance(found, Tensor):
        found = Importance(found, method, target, row.signed, row.unit)
    values = found.values.detach().float().cpu()
    if not values.isfinite().all():
        raise ValueError(f"{method}: the importance of a token is not a finite number")
    return replace(found, values=values, method=method, target=target, signed=row.signed, unit=row.unit)


@torch.no_grad()
def _target(given: HeadInput, target: int | None) -> int:
    logits = given.logits(given.tokens)[0]
    if target is None:
        return int(logits.argmax())
    if not 0 <= target < len(logits):
        raise ValueError(f"target {target}: the model has {len(logits)} classes, 0 to {len(logits) - 1}")
    return int(target)

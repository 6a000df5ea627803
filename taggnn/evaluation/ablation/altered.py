"""What an intervention gives: another input of the model, or a change of its head while a block runs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from torch import Tensor


class NotApplicable(Exception):
    """A model has no such part; the text says which."""


class Altered(NamedTuple):
    """One draw of an intervention.

    Args:
        inputs: ``(x, index) -> x``: the inputs of a batch, changed; index are the indices of its clips in the list, so that a
            draw does not depend on the batch. None: they stay.
        head: opens a block in which the head is changed; the backbone is not run again. None: it stays.
        facts: what is known of it before any clip, name -> figure, such as the share of edges that stayed.

    **Shapes:** x (B, *spec.shape), index (B,)
    """

    inputs: Callable[[Tensor, Tensor], Tensor] | None = None
    head: Callable[[], AbstractContextManager[None]] | None = None
    facts: Mapping[str, float] = {}

"""Every Transformer encoder of a head left out."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from taggnn.evaluation.ablation.altered import Altered, NotApplicable


def off(model: nn.Module, draw: int) -> Altered:
    """Tokens pass every ``nn.TransformerEncoder`` of the head unchanged, its last norm included."""
    head = getattr(model, "head", None)
    if head is None:
        raise NotApplicable("an exported program cannot leave out a part; model.safetensors can")
    found = [name for name, part in head.named_modules() if isinstance(part, nn.TransformerEncoder)]
    if not found:
        raise NotApplicable("its head has no Transformer encoder")

    @contextmanager
    def changed() -> Iterator[None]:
        own = {name: head.get_submodule(name) for name in found}
        try:
            for name in own:
                _set(head, name, nn.Identity())
            yield
        finally:
            for name, part in own.items():
                _set(head, name, part)

    return Altered(head=changed)


def _set(head: nn.Module, name: str, part: nn.Module) -> None:
    above, _, last = name.rpartition(".")
    setattr(head.get_submodule(above), last, part)

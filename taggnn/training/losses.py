"""The named losses of a model: which there are, and the weight of each."""

from collections.abc import Iterable, Mapping
from copy import deepcopy

import torch
from torch import nn

from taggnn.names import unknown
from taggnn.types import InputSpec


def loss_names(model: nn.Module, spec: InputSpec, classes: int) -> list[str]:
    """The names of the losses that a model returns in training, found by a dry run that does not change the model.

    Args:
        model: that is trained.
        spec: of its inputs.
        classes: K.
    """
    # The copy shares the weights, but not statistics and other buffers.
    copy = deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    first = next(model.parameters())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        targets = torch.arange(2, device=first.device) % classes
        return list(copy.train()(spec.example(2, first.device, first.dtype), targets).losses)


def loss_weights(model: nn.Module, given: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """The weight of every named loss: as given, else the default of a module, else 1.

    Args:
        model: its modules may have ``loss_weights``, name -> default.
        given: ``optim.losses``; it may have names of other heads of the run.
        names: of the losses that the model returns.
    """
    stated = {name: weight for part in model.modules() for name, weight in getattr(part, "loss_weights", {}).items()}
    return {name: float(given.get(name, stated.get(name, 1.0))) for name in names}


def check_losses(given: Mapping[str, float], names: Iterable[str], criterion: str) -> None:
    """Refuses a weight of a loss that no model of the run returns, and a loss with the name of another column.

    Args:
        given: ``optim.losses``.
        names: of all models together.
        criterion: name of the criterion's column.

    Raises:
        ValueError: names the loss, and the possible ones.
    """
    names = list(dict.fromkeys(names))
    for name in given:
        if name not in names:
            raise unknown("loss", name, names, "optim.losses")
    for taken in ("loss", "clips", "top1", criterion):
        if taken in names:
            raise ValueError(
                f"a loss of the model is called {taken!r}, which is a column of metrics.csv already: rename it"
            )

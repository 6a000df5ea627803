"""Copies of a network for runs that must leave no trace in it."""

import copy
import logging

from torch import Tensor, nn

log = logging.getLogger(__name__)


def copied(module: nn.Module, share_buffers: bool = False) -> nn.Module:
    """A deep copy that shares the parameters: buffers and plain attributes, such as a stream's state, are its own.

    What ``torch.compile`` made of a module is copied as that module.

    Args:
        module: any module.
        share_buffers: whether its buffers are those of ``module`` too.

    Raises:
        ValueError: an attribute cannot be copied.
    """
    shared: list[Tensor] = list(module.parameters())
    if share_buffers:
        shared += module.buffers()
    memo: dict[int, object] = {id(tensor): tensor for tensor in shared}
    for part in module.modules():
        # deepcopy refuses a tensor with a history, such as the state that a stream kept in training.
        kept = [value for value in vars(part).values() if isinstance(value, Tensor) and not value.is_leaf]
        memo |= {id(value): value.detach().clone() for value in kept}
    try:
        # Inside first; deepcopy of what torch.compile returns calls the wrong module.
        for part in reversed(list(module.modules())):
            if isinstance(inside := getattr(part, "_orig_mod", None), nn.Module):
                memo[id(part)] = copy.deepcopy(inside, memo)
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise ValueError(f"{type(module).__name__} cannot be copied: {type(error).__name__}: {error}") from error


def copied_or_itself(module: nn.Module) -> nn.Module:
    """``copied``, or the module itself where it cannot be copied, which is logged."""
    try:
        return copied(module)
    except ValueError as error:
        log.warning("%s; its dry run may change what it keeps in plain attributes", error)
        return module

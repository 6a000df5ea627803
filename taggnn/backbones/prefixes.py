"""Prefixes that wrappers and surrounding modules leave on the names of weights."""

import logging
from collections import Counter
from collections.abc import Collection

from torch import Tensor

log = logging.getLogger(__name__)

# What torch.compile puts before the names of whatever it compiles, and DataParallel and DDP before those of all.
_COMPILED, _PARALLEL = "_orig_mod.", "module."
# Of AveragedModel, next to the weights.
_COUNT = "n_averaged"


def unwrapped(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Takes off what ``torch.compile``, DataParallel, DDP and ``AveragedModel`` put before names, which is logged.

    Args:
        state: names and tensors; not changed.
        source: the file, for messages.
    """
    taken = set()
    if any(_COMPILED in key for key in state):
        taken.add(_COMPILED)
        state = {key.replace(_COMPILED, ""): value for key, value in state.items()}
    while len(state) > (_COUNT in state) and all(key.startswith(_PARALLEL) or key == _COUNT for key in state):
        taken.add(_PARALLEL)
        state = {key.removeprefix(_PARALLEL): value for key, value in state.items() if key != _COUNT}
    if taken:
        log.info("%s: %s taken off the names of its entries", source, " and ".join(sorted(taken)))
    return state


def below(state: dict[str, Tensor], wanted: Collection[str], source: str) -> dict[str, Tensor]:
    """The entries of the network whose names are wanted, where it is part of a larger one: ``backbone.``, ``model.encoder.``.

    Any prefix will do; the entries outside of it, such as those of a head, are left out. Both are logged.

    Args:
        state: names and tensors; not changed.
        wanted: names of the network.
        source: the file, for messages.

    Returns:
        The entries without their prefix; ``state`` where no prefix fits more of the names than none does.

    Raises:
        ValueError: several prefixes fit equally well.
    """
    names = {name for name in wanted if not name.endswith("num_batches_tracked")}
    fitting: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        fitting.update(
            ".".join([*parts[:depth], ""]) for depth in range(1, len(parts)) if ".".join(parts[depth:]) in names
        )
    found = max(fitting.values(), default=0)
    best = [prefix for prefix, count in fitting.items() if count == found]
    if found <= len(names & state.keys()) or 2 * found < len(names):
        return state
    if len(best) > 1:
        raise ValueError(
            f"{source} holds several networks whose entries fit, below {', '.join(map(repr, best[:6]))}: save one alone"
        )
    prefix = best[0]
    outside = sorted({key.split(".")[0] for key in state if not key.startswith(prefix)})
    left = f"; left out, not below it: {', '.join(outside[:10])}" if outside else ""
    log.info("%s: prefix %s taken off the names of its entries%s", source, prefix, left)
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

"""How a backbone is fine-tuned: stages frozen, slowed or recomputed, blocks dropped at random.

Axes: S stages of a backbone, counted from the clip, i the number of one from 0.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from taggnn.backbones.batchnorm import freeze_batchnorm, set_batchnorm
from taggnn.backbones.stages import chosen, stages

log = logging.getLogger(__name__)

# Names of a block's drop path in torchvision, timm and Hugging Face.
_DROPS = ("stochastic_depth", "drop_path", "drop_path1", "drop_path2")

# The note on ``frozen_bn``, the one option that a frozen backbone does not contradict.
STATISTICS_FROZEN = "BatchNorm statistics frozen"

# The attribute that ``tune`` sets.
_TUNING = "tuning"


@dataclass(frozen=True)
class Tuning:
    """What ``tune`` did to a backbone.

    Attributes:
        frozen: names of the submodules that are frozen.
        scales: parameter -> its learning rate as a share of the backbone's.
        notes: the same in sentences.
    """

    frozen: tuple[str, ...]
    scales: dict[str, float]
    notes: tuple[str, ...]


def tune(
    module: nn.Module,
    frozen_bn: bool = False,
    bn_momentum: float | None = None,
    freeze_stages: int | Sequence[str] = 0,
    layer_decay: float | None = None,
    checkpointing: bool = False,
    drop_path: float | None = None,
) -> None:
    """Applies the options of fine-tuning to a backbone of any kind, in place, and stores them as ``module.tuning``.

    Args:
        module: the backbone.
        frozen_bn: BatchNorm uses its stored statistics and never updates them; its scale and shift still learn.
        bn_momentum: momentum of every BatchNorm, in (0, 1]; ``None`` keeps the backbone's own.
        freeze_stages: the first N stages, or stages by name, get no gradients and their BatchNorm statistics stay. In a
            model with a head (``taggnn.attach``) their dropout is off too.
        layer_decay: learning rates fall towards the clip: stage i has the backbone's rate times ``layer_decay ** (S - i)``, so
            that the last stage has it once and the head not at all; in (0, 1], ``None`` for one rate. Source: BEiT,
            https://arxiv.org/abs/2106.08254; stages instead of layers where a stage is more than one [ours].
        checkpointing: stages store no inner activations and are computed again in the backward pass, with the same dropout
            and without a second update of BatchNorm: less memory, more time, the same gradients.
        drop_path: probability that the last block is left out for a clip, in [0, 1); block j of n has
            ``drop_path * j / (n - 1)``. ``None`` keeps the backbone's own. Source: https://arxiv.org/abs/1603.09382.

    Raises:
        ValueError: a value out of range or of another type, a stage that is not there, stages of a module without parameters, or
            ``drop_path`` on a backbone whose original has none.
    """
    _check_types(
        flags={"frozen_bn": frozen_bn, "checkpointing": checkpointing},
        numbers={"bn_momentum": bn_momentum, "layer_decay": layer_decay, "drop_path": drop_path},
        freeze_stages=freeze_stages,
    )
    notes = []
    if set_batchnorm(module, frozen_bn, bn_momentum):
        notes.append(STATISTICS_FROZEN if frozen_bn else f"BatchNorm momentum {bn_momentum:g}")
    found = stages(module)
    names = [stage.name for stage in found]
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must lie in (0, 1], got {layer_decay}")
    if not found and (freeze_stages or layer_decay is not None or checkpointing):
        raise ValueError(
            f"{type(module).__name__} has no parameters, so it has no stages: freeze_stages, layer_decay and checkpointing mean "
            "nothing for it"
        )
    frozen = chosen(found, freeze_stages, "freeze_stages") if found else []
    if frozen and len(frozen) == len(found):
        raise ValueError(f"freeze_stages names all stages ({', '.join(names)}): for all of them there is frozen")
    parts = tuple(part for stage in frozen for part in stage.parts)
    # Before the frozen parts go into evaluation mode: it puts new modules into them.
    blocks = None if drop_path is None else set_drop_path(module, drop_path)
    if frozen:
        parameters = dict(module.named_parameters())
        for name in (name for stage in frozen for name in stage.parameters):
            parameters[name].requires_grad_(False)
        freeze_batchnorm(module, parts)
        for part in parts:
            module.get_submodule(part).eval()
        notes.append(f"{_listed([stage.name for stage in frozen])} of {len(found)} stages frozen")
    scales = {}
    if layer_decay is not None:
        rates = [layer_decay ** (len(found) - i) for i in range(len(found))]
        scales = {name: rate for stage, rate in zip(found, rates, strict=True) for name in stage.parameters}
        notes.append(
            f"learning rate x {layer_decay:g} a stage, {rates[0]:.3g} ({names[0]}) to {rates[-1]:.3g} ({names[-1]})"
        )
    if blocks is not None:
        notes.append(f"drop path 0 to {drop_path:g} over {blocks} blocks")
    if checkpointing:
        again = [stage for stage in found if stage not in frozen]
        for name in (part for stage in again for part in stage.parts):
            _recompute(module.get_submodule(name))
        notes.append(f"{len(again)} stages computed again in the backward pass")
    setattr(module, _TUNING, Tuning(parts, scales, tuple(notes)))


def tuning_of(module: nn.Module) -> Tuning:
    """What ``tune`` did to a backbone; empty where it was not called."""
    return getattr(module, _TUNING, None) or Tuning((), {}, ())


def set_drop_path(module: nn.Module, rate: float) -> int:
    """Sets the probabilities with which a transformer's blocks are left out, rising linearly from 0 to ``rate``.

    Args:
        module: a backbone whose blocks have a part for it, also one that is switched off.
        rate: of the last block, in [0, 1).

    Returns:
        How many blocks there are.

    Raises:
        ValueError: a rate out of range, or no block has such a part.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must lie in [0, 1), got {rate}")
    blocks = [
        part for part in module.modules() if any(isinstance(getattr(part, name, None), nn.Module) for name in _DROPS)
    ]
    if not blocks:
        raise ValueError(
            f"drop_path={rate}: {type(module).__name__} has no drop path in its original, so none is added"
        )
    for number, block in enumerate(blocks):
        for name in _DROPS:
            if name in block._modules:
                setattr(
                    block, name, StochasticDepth(rate * number / max(len(blocks) - 1, 1), "row").train(block.training)
                )
    return len(blocks)


def _check_types(flags: dict[str, Any], numbers: dict[str, Any], freeze_stages: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise ValueError(f"{name} must be a number or None, got {value!r}")
    listed = isinstance(freeze_stages, Sequence) and all(isinstance(name, str) for name in freeze_stages)
    if isinstance(freeze_stages, bool) or not (isinstance(freeze_stages, int) or listed):
        raise ValueError(
            f"freeze_stages must be the number of first stages, 0 for none, or a list of names, got {freeze_stages!r}"
        )


def _recompute(part: nn.Module) -> None:
    part.forward = partial(_checkpointed, type(part).forward, part)


def _checkpointed(forward: Callable[..., Any], part: nn.Module, *inputs: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(part, *inputs, **options)
    tensors = [value for value in tree_leaves((inputs, options)) if isinstance(value, Tensor)]
    versions = [tensor._version for tensor in tensors]
    out = checkpoint(forward, part, *inputs, use_reentrant=False, context_fn=partial(_contexts, part), **options)
    if versions != [tensor._version for tensor in tensors]:
        raise ValueError(
            f"checkpointing: a {type(part).__name__} changes its own input and cannot be computed again from it; its first "
            "operation must not be in place"
        )
    return out


def _contexts(part: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _without_updates(part)


@contextmanager
def _without_updates(part: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by its batch without updating its statistics, which the first pass already did."""
    norms = [norm for norm in part.modules() if isinstance(norm, _BatchNorm) and norm.running_mean is not None]
    # A BatchNorm with running statistics counts its batches.
    counts = [cast(Tensor, norm.num_batches_tracked) for norm in norms]
    before = [(norm.momentum, count.clone()) for norm, count in zip(norms, counts, strict=True)]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, count, (momentum, old) in zip(norms, counts, before, strict=True):
            norm.momentum = momentum
            count.copy_(old)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:2])} ... {names[-1]}"

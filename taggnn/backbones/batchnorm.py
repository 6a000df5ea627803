"""BatchNorm in fine-tuning: running statistics frozen, or another momentum."""

import logging
from collections.abc import Collection

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

log = logging.getLogger(__name__)


class FrozenBatchNorm(nn.Module):
    """Batch normalisation that always uses the stored statistics; scale and shift still learn.

    ``y = (x - running_mean) / sqrt(running_var + eps) * weight + bias``, in training as in evaluation. It shares the
    tensors of the layer it replaces, under the same names, so that their state dicts fit each other. It is no subclass of
    PyTorch's BatchNorm, so that neither ``model.train()`` nor ``SyncBatchNorm.convert_sync_batchnorm`` can change it.

    Args:
        norm: a BatchNorm layer that keeps running statistics.

    **Shapes:** (B, C, ...) -> (B, C, ...)

    Raises:
        ValueError: ``norm`` keeps no running statistics, so there is nothing to freeze.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: _BatchNorm):
        super().__init__()
        if norm.running_mean is None:
            raise ValueError(f"{norm} keeps no running statistics, so they cannot be frozen")
        self.eps = norm.eps
        self.weight, self.bias = norm.weight, norm.bias
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.register_buffer("num_batches_tracked", norm.num_batches_tracked)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )

    def extra_repr(self) -> str:
        return f"{len(self.running_mean)}, eps={self.eps}"


def freeze_batchnorm(module: nn.Module, within: Collection[str] = ("",)) -> int:
    """Replaces every BatchNorm inside a module, in place, by ``FrozenBatchNorm``.

    Args:
        module: any module; a BatchNorm that *is* the module has no parent to be replaced in and is left alone.
        within: dotted names of the submodules to look into; the default is the whole module.

    Returns:
        How many layers were replaced; a layer that is used twice counts once and stays shared.
    """
    twins: dict[int, FrozenBatchNorm] = {}
    for path, parent in list(module.named_modules()):
        for name, child in list(parent.named_children()):
            full = f"{path}.{name}" if path else name
            if isinstance(child, _BatchNorm) and any(
                part in ("", full) or full.startswith(f"{part}.") for part in within
            ):
                setattr(parent, name, twins.setdefault(id(child), FrozenBatchNorm(child)))
    return len(twins)


def set_batchnorm(module: nn.Module, frozen: bool = False, momentum: float | None = None) -> int:
    """Applies the two BatchNorm options of every backbone, in place.

    Args:
        module: the backbone.
        frozen: the running statistics are used and never updated, also after ``model.train()``; the affine
            parameters remain trainable.
        momentum: weight of the newest batch in the running statistics, in (0, 1] (PyTorch's meaning; its default is
            0.1, the IG-65M checkpoints come with 0.9). ``None`` leaves the backbone's own.

    Returns:
        How many layers were changed.

    Raises:
        ValueError: momentum outside (0, 1], or given together with ``frozen``, where it would mean nothing.
    """
    if momentum is not None and not 0 < momentum <= 1:
        raise ValueError(f"bn_momentum must lie in (0, 1], got {momentum}")
    if frozen and momentum is not None:
        raise ValueError(f"bn_momentum={momentum} means nothing with frozen_bn=True: give one of the two")
    if not frozen and momentum is None:
        return 0
    if frozen:
        count = freeze_batchnorm(module)
    else:
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
        for norm in norms:
            norm.momentum = momentum
        count = len(norms)
    if count:
        log.info("%d BatchNorm layers: %s", count, "statistics frozen" if frozen else f"momentum {momentum}")
    else:
        log.warning("%s has no BatchNorm: frozen_bn and bn_momentum change nothing", type(module).__name__)
    return count

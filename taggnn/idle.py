"""What BatchNorm does in a process that has no clip in a step in which the others have some."""

from functools import partial

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Idle:
    """Keeps a clip of zeros, with which such a process takes part in the step, out of all statistics.

    Args:
        model: in training mode; ``end`` puts it back as it was.
    """

    def __init__(self, model: nn.Module) -> None:
        self.norms = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.training]
        for norm in self.norms:
            if isinstance(norm, nn.SyncBatchNorm):
                norm.forward = partial(_present, norm)
            else:
                norm.eval()

    def end(self) -> None:
        """Behind the backward pass: that may compute parts of the network again."""
        for norm in self.norms:
            vars(norm).pop("forward", None)
            norm.train()


def _present(norm: nn.SyncBatchNorm, x: Tensor) -> Tensor:
    # The others wait for its statistics and for their gradients: those of no row at all.
    return x + nn.SyncBatchNorm.forward(norm, x[:0]).sum()

"""Temperature scaling: one number that divides all logits, so that probabilities are as high as the accuracy.

Axes: M clips, K classes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Clips that are all right have no best temperature, and logits that are no better than chance have none either.
LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the smallest mean negative log likelihood, by LBFGS in float64.

    Source: Guo et al., https://arxiv.org/abs/1706.04599, section 4.2.
    Formula: ``T = argmin_T -1/M sum_i log softmax(l_i / T)_{y_i}``, within 0.05 to 20; convex in ``1 / T``.

    Args:
        logits: of validation clips, never of those that figures are about.
        labels: their true classes.

    **Shapes:** logits (M, K), labels (M,)

    Raises:
        ValueError: no clip, a logit that is not finite, or every clip is right, so that the likelihood has no maximum.
    """
    if not len(logits) or len(logits) != len(labels):
        raise ValueError(
            f"logits of {len(logits)} clips, labels of {len(labels)}: at least one clip, and as many of both"
        )
    logits = logits.detach().double().cpu()
    labels = labels.cpu()
    if not logits.isfinite().all():
        raise ValueError("logits: not all of them are finite")
    if (logits.argmax(1) == labels).all():
        raise ValueError(
            f"logits: all {len(labels):,} clips are right, so that the smaller the temperature, the better; it takes "
            f"some that are not"
        )
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [log_scale], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        # The likelihood of what lies beyond the limits is that of the limit.
        loss = F.cross_entropy(logits * _bounded(log_scale).exp(), labels)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return 1 / math.exp(float(_bounded(log_scale.detach())))


def _bounded(log_scale: Tensor) -> Tensor:
    return log_scale.clamp(-math.log(HIGHEST), -math.log(LOWEST))

"""Settings that methods of explanation share."""

from dataclasses import dataclass

from taggnn.explanation.head_input import BASELINES
from taggnn.names import unknown


@dataclass(frozen=True)
class Options:
    """Settings of a method.

    Args:
        baseline: what stands for an absent token: "zeros" (default), or "mean", the mean token of the clip.
        steps: of integrated gradients (default 32).
        batch: copies of the clip's tokens in one call of the head (default 32).
        epochs: of GNNExplainer (default 100).
        seed: of what is drawn (default 0).

    Raises:
        ValueError: a number below 1, or an unknown baseline.
    """

    baseline: str = "zeros"
    steps: int = 32
    batch: int = 32
    epochs: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise unknown("baseline", self.baseline, BASELINES)
        for name in ("steps", "batch", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be 1 or more")

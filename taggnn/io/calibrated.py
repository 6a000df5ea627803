"""What ``taggnn.evaluate --calibrate`` found, as a checkpoint and exported models hold it.

It is an optional field, ``calibration``; a reader that does not know it gives uncalibrated probabilities.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import NotRequired, TypedDict

from taggnn.runtime import schema
from taggnn.runtime.schema import Count, Range

Share = Annotated[float, Range(0, 1)]


class CalibrationFields(TypedDict):
    """The fields of ``Calibration``."""

    temperature: Annotated[float, Range(1e-3, 1e3)]
    clips: Count
    loss_before: float
    loss_after: float
    ece_before: Share
    ece_after: Share
    risk: NotRequired[Share | None]
    threshold: NotRequired[Share | None]


@dataclass(frozen=True)
class Calibration:
    """A temperature, and a threshold below which the model gives no answer, both chosen on validation clips.

    Args:
        temperature: divides the logits.
        clips: number of validation clips.
        loss_before: their mean negative log likelihood with the model's own logits.
        loss_after: with divided ones.
        ece_before: their expected calibration error with the model's own logits.
        ece_after: with divided ones.
        risk: wanted share of wrong answers; None if no threshold was chosen.
        threshold: smallest probability of an answer; None if no threshold was chosen, or none reaches the risk.
    """

    temperature: float
    clips: int
    loss_before: float
    loss_after: float
    ece_before: float
    ece_after: float
    risk: float | None = None
    threshold: float | None = None

    def plain(self) -> dict[str, Any]:
        """The fields as plain types."""
        return asdict(self)

    @classmethod
    def read(cls, content: Mapping[str, Any] | None, where: str) -> "Calibration | None":
        """Reads the field of a file; None where there is none.

        Raises:
            ValueError: a field that is missing, of another type or out of range; names it.
        """
        if content is None:
            return None
        schema.check(content, CalibrationFields, f"{where}, calibration")
        return cls(**{key: content[key] for key in cls.__dataclass_fields__ if key in content})


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file can hold a calibration that is added later: exported models get theirs from the checkpoint."""
    return Path(path).suffix not in (".safetensors", ".pt2", ".onnx")

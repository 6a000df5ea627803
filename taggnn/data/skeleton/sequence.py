"""The coordinates of a skeleton sequence, as every format of files is read.

Axes: M persons, T frames, V joints, C coordinates.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SkeletonSequence:
    """Joints of the persons of one recording, or of a cut of it.

    Args:
        coordinates: float32; NaN where a joint, or a whole person in a frame, is missing.
        confidence: of each joint, 0 to 1, where the file has it.
        notes: sentences on what was changed while reading, such as persons that were left out.
        picture: (height, width) in pixels of the pictures that 2-D coordinates are of, where the file has it.

    **Shapes:** coordinates (M, T, V, C) with C 2 or 3; confidence (M, T, V)

    Raises:
        ValueError: other shapes.
    """

    coordinates: Tensor
    confidence: Tensor | None = None
    notes: tuple[str, ...] = ()
    picture: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.coordinates.shape)
        if len(shape) != 4 or shape[3] not in (2, 3) or not all(shape):
            raise ValueError(
                f"coordinates {shape}: expected (M, T, V, C), persons, frames, joints, and 2 or 3 coordinates"
            )
        if self.confidence is not None and tuple(self.confidence.shape) != shape[:3]:
            raise ValueError(f"confidence {tuple(self.confidence.shape)}: expected (M, T, V), here {shape[:3]}")

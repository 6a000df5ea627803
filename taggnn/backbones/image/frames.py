"""A network of images over the frames of a clip.

Axes: B clips, C channels, T frames, H W map or, for clips, pixels.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from taggnn.backbones.image import temporal_shift
from taggnn.types import Features


class FrameFeatures(nn.Module, ABC):
    """A network of images that computes the map of every frame by itself, all frames of a batch in one call.

    BatchNorm takes its statistics over clips and frames, and drop path leaves out blocks for single frames.

    Attributes:
        first: names of the convolutions that take the image; empty where it has none of three channels.

    **Shapes:** (B, 3, T, H, W) -> (B, C, T, H', W')
    """

    first: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._shifts: list[temporal_shift.TemporalShift] = []

    def shift(self, share: float) -> None:
        """Lets every residual block see the frames before and after, see ``taggnn.backbones.image.temporal_shift``.

        Args:
            share: of the channels, 0 to 1; 0 changes nothing.

        Raises:
            ValueError: a share out of range, or the network has no residual blocks of convolutions.
        """
        self._shifts = temporal_shift.insert(self, share)

    @property
    def independent(self) -> bool:
        """Whether the map of a frame depends on that frame alone: without a temporal shift, in evaluation mode."""
        return not self._shifts

    @abstractmethod
    def images(self, images: Tensor) -> Tensor:
        """The maps of images. **Shapes:** (N, 3, H, W) -> (N, C, H', W')"""

    def forward(self, clip: Tensor) -> Tensor | Features:
        frames = clip.shape[2]
        for shift in self._shifts:
            shift.frames = frames
        maps = self.images(clip.transpose(1, 2).flatten(0, 1))
        return maps.unflatten(0, (-1, frames)).transpose(1, 2)

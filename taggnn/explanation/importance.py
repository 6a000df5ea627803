"""What an explanation is: the importance of every token for one logit.

Axes: grid the token grid of one clip with time first (T H W on video, T V on skeletons), E edges of one clip, h w the picture.
"""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Importance:
    """How much each token counts for the logit of a class.

    Args:
        values: on the CPU; of a signed method positive where a token speaks for the class, negative where against it.
        method: its key in ``METHODS``.
        target: label of the class.
        signed: whether values below 0 mean "against the class"; else they are 0 or more.
        unit: what the method rates: "token", "frame" (all tokens of a frame have one value), "edge" or "pixel"; of the last two
            ``values`` is a summary.
        edges: importance of every edge, of a method that rates edges; a token has the sum over the edges that leave it.
        edge_index: source (row 0) and target (row 1) of each edge.
        pixels: importance of every pixel, of a method that rates pixels; a token has the mean over the pixels of its cell.

    **Shapes:** values float32 (*grid), edges float32 (E,), edge_index long (2, E), pixels float32 (frames, h, w)
    """

    values: Tensor
    method: str
    target: int
    signed: bool
    unit: str = "token"
    edges: Tensor | None = field(default=None, repr=False)
    edge_index: Tensor | None = field(default=None, repr=False)
    pixels: Tensor | None = field(default=None, repr=False)

    @property
    def of_frames(self) -> Tensor:
        """The sum over the positions of each frame. **Shapes:** -> (T,)"""
        return self.values.flatten(1).sum(1) if self.values.ndim > 1 else self.values

    @property
    def rated(self) -> Tensor:
        """One number for each thing that the method rates: edges, frames, else tokens. **Shapes:** -> (E,), (T,) or (N,)"""
        if self.edges is not None:
            return self.edges
        return self.values.flatten(1)[:, 0] if self.unit == "frame" else self.values.flatten()

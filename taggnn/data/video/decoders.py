"""The choice of the decoder, and torchcodec as an alternative that returns the same frames."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F

from taggnn.data.video.bitstream import Unproven
from taggnn.data.video.container import Container
from taggnn.data.video.scaling import scaled_size
from taggnn.data.video.timeline import Timeline
from taggnn.names import unknown

Decoder = Literal["auto", "pyav", "torchcodec"]
DECODERS = ("auto", "pyav", "torchcodec")
# Frames between two checks of the timeout.
CHUNK = 8
# Seconds. Times of a constant rate are within a tick of those in the file.
TOLERANCE = 2e-3


def chosen(decoder: str) -> str:
    """Resolves the name of a decoder; "auto" is PyAV, which with our seeking was faster in every measurement.

    Raises:
        ValueError: an unknown name, or torchcodec where it cannot be imported.
    """
    if decoder not in DECODERS:
        raise unknown("decoder", decoder, DECODERS)
    if decoder == "torchcodec":
        _video_decoder()
    return "pyav" if decoder == "auto" else decoder


def torchcodec_frames(
    container: Container, timeline: Timeline, positions: Sequence[int], short_side: int | None
) -> torch.Tensor:
    """Decodes frames at ascending positions with torchcodec.

    Unscaled pictures equal those of PyAV, bit for bit, where both have the same FFmpeg. Scaled ones are resized in RGB by
    torch (bilinear, antialiased), which differs from swscale by one or two levels.

    Args:
        container: the open file, without damage.
        timeline: presentation times of its frames.
        positions: indices of the frames.
        short_side: pixels of the shorter side; None keeps the size.

    **Shapes:** -> uint8 (T, H, W, 3)

    Raises:
        Unproven: torchcodec counts other frames, fails, or the picture is rotated; PyAV must decode it.
        VideoError: the timeout is over.
    """
    return torch.cat([resized(part, short_side) for part in _parts(container, timeline, positions)])


def _parts(container: Container, timeline: Timeline, positions: Sequence[int]) -> Iterator[torch.Tensor]:
    if timeline.stamps is None:
        raise Unproven
    try:
        decoder = _video_decoder()(container.path, dimension_order="NHWC", num_ffmpeg_threads=container.threads)
        metadata = decoder.metadata
        if metadata.num_frames != len(timeline.times) or getattr(metadata, "rotation", None):
            raise Unproven
        begin = metadata.begin_stream_seconds
        for first in range(0, len(positions), CHUNK):
            part = list(positions[first : first + CHUNK])
            batch = decoder.get_frames_at(part)
            container.check_timeout()
            times = torch.tensor([timeline.times[position] for position in part], dtype=torch.float64)
            if (batch.pts_seconds - begin - times).abs().max() > TOLERANCE:
                raise Unproven
            yield batch.data
    except (RuntimeError, IndexError) as error:
        raise Unproven from error


def resized(frames: torch.Tensor, short_side: int | None) -> torch.Tensor:
    """Resizes pictures with torch: bilinear, antialiased.

    Args:
        frames: in RGB.
        short_side: pixels of the shorter side afterwards; None, or the present size, changes nothing.

    **Shapes:** uint8 (T, H, W, 3) -> uint8 (T, h, w, 3)
    """
    height, width = frames.shape[1:3]
    wide, high = scaled_size(width, height, short_side)
    if (wide, high) == (width, height):
        return frames
    scaled = F.interpolate(frames.permute(0, 3, 1, 2), size=(high, wide), mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous()


def _video_decoder() -> Any:
    # Without FFmpeg's shared libraries the import raises RuntimeError.
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"decoder 'torchcodec' cannot be imported ({reason[0] if reason else type(error).__name__}): pip install "
            "torchcodec, and FFmpeg's shared libraries; or choose 'pyav'"
        ) from None
    return VideoDecoder

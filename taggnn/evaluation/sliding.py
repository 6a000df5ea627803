"""A trained model on the windows of a long video; where its backbone sees single frames, windows share their tokens.

Axes: B windows, T frames that the model sees, H W the picture and h w after, K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from taggnn import backbones
from taggnn.backbones.image.frames import FrameFeatures
from taggnn.data.frame_sampling import Dense
from taggnn.data.video import transforms
from taggnn.data.video.source import VideoSource
from taggnn.data.video.streaming import Stream
from taggnn.data.video.windows import Plan, Window, Windows
from taggnn.io.loaded import Loaded
from taggnn.model import Recogniser, run_head, taken_by
from taggnn.types import Features

# Windows in a batch.
BATCH = 8
# Bytes of the pictures of one window.
MAX_BYTES = 2**31


class Sliding:
    """Answers windows of a video as the model's evaluation answers clips.

    Args:
        loaded: a model of video.

    Raises:
        ValueError: its input is not video.
    """

    def __init__(self, loaded: Loaded) -> None:
        source = loaded.reader
        if not isinstance(source, VideoSource):
            raise ValueError(
                f"{loaded.source}: takes {loaded.spec.kind}; a long video is classified by a model of video, trained on "
                "--source video"
            )
        self.loaded, self.source = loaded, source
        self.shares = shares_tokens(loaded)
        self._tokens: dict[int, Features] = {}

    def note(self) -> str:
        """A sentence on how tokens are computed."""
        if self.shares:
            return "tokens of a frame are computed once: the backbone sees single frames, and windows share them"
        return "tokens are computed for each window: what the model sees of a frame depends on the other frames of its window"

    def plan(self, rate: float, window: float | None, stride: float | None) -> Plan:
        """The windows for a video.

        Args:
            rate: frames a second on which the model samples.
            window: seconds of a window; None for that of dense sampling.
            stride: seconds between windows; None for a quarter of a window.

        Raises:
            ValueError: no seconds for a model that samples whole clips, or numbers out of range.
        """
        sampler = self.source.sampler
        for name, value in (("window", window), ("stride", stride), ("rate", rate)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} {value}: must be above 0")
        if window is not None:
            length = max(1, round(window * rate))
        elif isinstance(sampler, Dense):
            length = sampler.stride * (sampler.frames - 1) + 1
        else:
            kind = self.source.spec.options["sampling"]
            raise ValueError(
                f"window: the model samples {sampler.frames} frames of a whole clip ({kind}), of any length; give the "
                f"seconds that its "
                "training clips last, such as --window 2"
            )
        return Plan(rate, length, max(1, length // 4) if stride is None else max(1, round(stride * rate)))

    def windows(self, stream: Stream, plan: Plan) -> Windows:
        """The windows of a stream, to be filled.

        Raises:
            ValueError: the pictures of one window take too much memory.
        """
        height, width = self.source.transform.size
        size = plan.length * height * width * 3
        if size > MAX_BYTES:
            raise ValueError(
                f"window of {plan.seconds:g} s: {plan.length:,} frames take {size / 2**30:.1f} GiB, more than "
                f"{MAX_BYTES / 2**30:.0f}; "
                "a shorter --window or a lower --rate takes less"
            )
        return Windows(plan, self.source.sampler, stream.tick)

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """A frame as the model sees it, but for its normalisation: what a window holds in memory.

        **Shapes:** uint8 (H, W, 3) -> uint8 (h, w, 3)
        """
        transform = self.source.transform
        resize = partial(transforms.stretched, keep=False) if transform.stretch else transforms.cut
        height, width = transform.size
        if frame.shape[:2] == (height, width):
            return np.ascontiguousarray(frame)
        pictures = torch.from_numpy(np.ascontiguousarray(frame))[None].permute(0, 3, 1, 2)
        return resize(pictures, transform.size)[0].permute(1, 2, 0).contiguous().numpy()

    def answers(self, windows: Iterable[Window], batch: int = BATCH) -> Iterator[tuple[Window, Tensor]]:
        """The probabilities of windows, several computed together.

        Args:
            windows: in order.
            batch: largest number of windows in memory (default 8).

        **Shapes:** yields a window and float32 (K,)
        """
        waiting: list[Window] = []
        for window in windows:
            waiting.append(window)
            if len(waiting) == batch:
                yield from zip(waiting, self.probabilities(waiting), strict=True)
                waiting = []
        if waiting:
            yield from zip(waiting, self.probabilities(waiting), strict=True)

    @torch.inference_mode()
    def probabilities(self, windows: Sequence[Window]) -> Tensor:
        """The probabilities of some windows, as ``Loaded.predict`` gives them for these clips.

        **Shapes:** B windows -> float32 (B, K), on the CPU
        """
        logits = self._shared(windows) if self.shares else self._alone(windows)
        return (logits.float().cpu() / self.loaded.temperature).softmax(-1)

    def _alone(self, windows: Sequence[Window]) -> Tensor:
        clips = [self.source.transform(np.stack(window.pictures)) for window in windows]
        return self.loaded.logits(torch.stack(clips))

    def _shared(self, windows: Sequence[Window]) -> Tensor:
        model = self.loaded.model
        assert isinstance(model, Recogniser)
        wanted = {number: picture for one in windows for number, picture in zip(one.numbers, one.pictures, strict=True)}
        self._tokens = {number: tokens for number, tokens in self._tokens.items() if number >= min(wanted)}
        new = sorted(set(wanted) - set(self._tokens))
        frames_in_call = max(1, 2 * self.source.sampler.frames)
        for first in range(0, len(new), frames_in_call):
            part = new[first : first + frames_in_call]
            frames = self.source.transform(np.stack([wanted[number] for number in part]))
            # Each frame as a clip of one frame.
            x = frames.transpose(0, 1)[:, :, None].to(model.device, model.dtype)
            found = backbones.features_of(model.backbone(x))
            for row, number in enumerate(part):
                token = found.class_token
                self._tokens[number] = Features(found.tokens[row, 0], class_token=None if token is None else token[row])
        used = [[self._tokens[number] for number in one.numbers] for one in windows]
        tokens = torch.stack([torch.stack([frame.tokens for frame in row]) for row in used])
        whole = [[frame.class_token for frame in row if frame.class_token is not None] for row in used]
        class_token = torch.stack([torch.stack(row).mean(0) for row in whole]) if all(whole) else None
        return run_head(model.head, tokens, None, taken_by(model.head), class_token).logits


def shares_tokens(loaded: Loaded) -> bool:
    """Whether windows may share the tokens of a frame, exactly: they depend on that frame alone.

    So it is with a network of images without temporal shift, and with pictures that are not normalised by their whole clip.
    """
    backbone = getattr(loaded.model, "backbone", None)
    spec = loaded.spec
    alone = isinstance(backbone, FrameFeatures) and backbone.independent and not spec.options.get("per_clip_norm")
    return alone and isinstance(loaded.model, Recogniser) and loaded.model.grid[0] == spec.options["frames"]

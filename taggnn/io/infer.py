"""Classifies videos with an exported ``model.onnx``, without taggnn and without PyTorch: PyAV, NumPy and ONNX Runtime are enough.

    python infer.py CLIP.mp4 ...        the most probable classes
    python infer.py --check [CLIP.mp4]  logits of the clip that was exported with, against those stored in export.json

``taggnn.export`` writes this file next to ``model.onnx``. Every step from the file to the logits is written out here, with the
numbers that the model file carries ("taggnn.json" in its metadata); whoever writes it in another language can start from it.

Axes: F frames of the video, T frames that the model sees, H W the picture before and h w after, K classes.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Classifies videos with an exported ONNX model.")
    parser.add_argument("videos", nargs="*", help="video files")
    here = Path(__file__).resolve().parent
    parser.add_argument(
        "--model", default=str(here / "model.onnx"), help="the model (default: model.onnx next to this file)"
    )
    parser.add_argument("--top", type=int, default=5, help="how many classes (default: 5)")
    parser.add_argument("--check", action="store_true", help="compare with the logits in export.json next to the model")
    given = parser.parse_args(arguments)
    if not given.videos and not given.check:
        parser.error("give a video, or --check")
    session, meta = load(given.model)
    if given.check:
        return check(session, meta, Path(given.model).with_name("export.json"), given.videos)
    for path in given.videos:
        # The temperature of a calibrated model; the model file gives its own logits.
        scores = softmax(logits(session, meta, path) / (meta.get("calibration") or {"temperature": 1})["temperature"])
        print(path)
        for label in np.argsort(-scores)[: given.top]:
            print(f"    {100 * scores[label]:6.2f} %  {meta['architecture']['classes'][label]}")
    return 0


def load(path: str) -> tuple[Any, dict[str, Any]]:
    """Opens the model; its metadata describe the input and name the classes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["taggnn.json"])


def check(session: Any, meta: Mapping[str, Any], stored: Path, videos: Sequence[str] = ()) -> int:
    """Compares the logits of the clip; exit code 0 where they agree to 1e-5. ``videos``: where the clip is now."""
    content = json.loads(stored.read_text(encoding="utf-8"))
    path = videos[0] if videos else content["clip"]
    difference = float(np.abs(logits(session, meta, path) - np.array(content["logits"])).max())
    print(f"{path}: largest difference of a logit {difference:.1e}, allowed {TOLERANCE:.0e}")
    return 0 if difference <= TOLERANCE else 1


def logits(session: Any, meta: Mapping[str, Any], path: str) -> np.ndarray:
    """The logits of a video file. **Shapes:** -> (K,)"""
    clip = prepared(path, meta["architecture"]["input"])
    return session.run(["logits"], {"clip": clip[None]})[0][0]


def softmax(x: np.ndarray) -> np.ndarray:
    """**Shapes:** (K,) -> (K,)"""
    e = np.exp(x - x.max())
    return e / e.sum()


def prepared(path: str, described: Mapping[str, Any]) -> np.ndarray:
    """The input of the model for a video file. **Shapes:** -> float32 (3, T, h, w)"""
    options = described["options"]
    chosen = frame_indices(sum(1 for _ in decoded(path)), options)
    wanted, pictures = set(chosen), {}
    scale = Scaler(options["short_side"])
    for number, frame in enumerate(decoded(path)):
        if number in wanted:
            pictures[number] = scale(frame)
        if number == max(chosen):
            break
    frames = np.stack([pictures[number] for number in chosen])
    height, width = options["size"]
    if options["stretch"]:
        frames = resized(frames, height, width)
    return normalised(center_crop(frames, height, width), options)


def decoded(path: str) -> Iterator[Any]:
    """All frames of the video stream in the order in which they are shown."""
    import av

    with av.open("file:" + path, metadata_errors="replace") as container:
        stream = container.streams.best("video")
        yield from container.decode(stream)


def frame_indices(n: int, options: Mapping[str, Any]) -> list[int]:
    """Which of the n frames are taken, from 0. **Shapes:** -> (T,)"""
    count, kind = options["frames"], options["sampling"]
    if kind == "segment":
        # The middle of each of T equal parts.
        return [n * (2 * t + 1) // (2 * count) for t in range(count)]
    if kind == "dense":
        # A window in the middle, its last frame repeated in short videos.
        first = max(0, n - 1 - options["stride"] * (count - 1)) // 2
        return [min(first + options["stride"] * t, n - 1) for t in range(count)]
    # Spread evenly from the first to the last frame, each position rounded to float32, then down: torch.linspace(...).long().
    if count == 1:
        return [0]
    step = float(np.float32(n - 1) / np.float32(count - 1))
    exact = [t * step if t < count // 2 else n - 1 - (count - 1 - t) * step for t in range(count)]
    return [min(int(np.float32(x)), n - 1) for x in exact]


class Scaler:
    """Makes frames upright RGB pictures whose shorter side has a given length, with FFmpeg's swscale (bicubic)."""

    def __init__(self, short_side: int | None) -> None:
        import av.video.reformatter

        # One for each of the two steps, and one thread each: more of them round differently at the seams.
        self.first, self.second = (av.video.reformatter.VideoReformatter().reformat for _ in range(2))
        self.options = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
        self.short_side = short_side
        self.turn: tuple[bool, bool, bool] | None = None
        self.size = (0, 0)

    def __call__(self, frame: Any) -> np.ndarray:
        """**Shapes:** a frame -> uint8 (H, W, 3)"""
        if self.turn is None:
            # Size and rotation are those of the first frame.
            self.turn = orientation(frame)
            stored = (frame.height, frame.width) if self.turn[0] else (frame.width, frame.height)
            self.size = scaled_size(*stored, self.short_side)
        swap, flip_x, flip_y = self.turn
        width, height = self.size[::-1] if swap else self.size
        # The most common pixel format is scaled first and converted to RGB afterwards; full range and odd widths are not.
        common = frame.format.name == "yuv420p" and frame.color_range != 2 and width % 2 == 0
        if common and (width, height) != (frame.width, frame.height):
            frame = self.first(frame, width=width, height=height, format="yuv422p", **self.options)
        picture = self.second(frame, width=width, height=height, format="rgb24", **self.options).to_ndarray()
        if swap:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """How to make a frame upright, from the file's display matrix: swap x and y, then flip x, then flip y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    return (False, a < 0, d < 0) if abs(a) >= abs(b) else (True, c < 0, b < 0)


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """(width, height) with the shorter side as given and the longer one rounded to an even number."""
    short = min(width, height)
    if short_side is None or short_side == short:
        return width, height
    long = max(short_side, (max(width, height) * short_side + short) // (2 * short) * 2)
    return (short_side if width == short else long), (short_side if height == short else long)


def center_crop(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of every picture, enlarged before where it is smaller. **Shapes:** (T, H, W, 3) -> (T, h, w, 3)"""
    high, wide = frames.shape[1:3]
    enlarge = max(height / high, width / wide)
    if enlarge > 1:
        frames = resized(frames, max(height, round(high * enlarge)), max(width, round(wide * enlarge)))
        high, wide = frames.shape[1:3]
    top, left = round((high - height) / 2), round((wide - width) / 2)
    return frames[:, top : top + height, left : left + width]


def resized(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with antialiasing, as Pillow and PyTorch resize pictures: whole numbers, columns first, rounded after each.

    **Shapes:** uint8 (T, H, W, 3) -> uint8 (T, h, w, 3)
    """
    return _along(_along(frames, 2, width), 1, height)


def _along(frames: np.ndarray, axis: int, size: int) -> np.ndarray:
    before = frames.shape[axis]
    if before == size:
        return frames
    scale = before / size
    support = max(scale, 1.0)
    weights = np.zeros((size, before))
    for row in range(size):
        center = scale * (row + 0.5)
        first = max(int(center - support + 0.5), 0)
        columns = np.arange(first, min(int(center + support + 0.5), before))
        weight = np.maximum(1 - np.abs((columns - center + 0.5) / support), 0)
        weights[row, columns] = weight / weight.sum()
    # The most bits with which the largest weight is below 2^15.
    bits = next(bits for bits in range(22) if int(0.5 + weights.max() * 2 ** (bits + 1)) >= 2**15)
    whole = np.floor(weights * 2**bits + 0.5).astype(np.int64)
    moved = np.moveaxis(frames.astype(np.int64), axis, -1)
    summed = (moved @ whole.T + (1 << (bits - 1))) >> bits
    return np.moveaxis(summed.clip(0, 255), -1, axis).astype(np.uint8)


def normalised(frames: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Grayscale where the model sees gray, then ``(x / 255 - mean) / std``. **Shapes:** uint8 (T, h, w, 3) -> (3, T, h, w)"""
    if options["grayscale"]:
        red, green, blue = np.moveaxis(frames.astype(np.float32), -1, 0)
        gray = (red * np.float32(0.2989) + green * np.float32(0.587) + blue * np.float32(0.114)).astype(np.uint8)
        frames = np.stack([gray] * 3, -1)
    mean, std = (np.array(options[key], dtype=np.float64) for key in ("mean", "std"))
    gain, shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    clip = np.moveaxis(frames.astype(np.float32) * gain + shift, -1, 0)
    if options["per_clip_norm"]:
        wide = clip.astype(np.float64)
        clip = ((wide - wide.mean()) / max(wide.std(), 1e-3)).astype(np.float32)
    return np.ascontiguousarray(clip)


if __name__ == "__main__":
    sys.exit(main())

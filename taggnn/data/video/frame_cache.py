"""A cache of decoded frames on disk, so that later epochs and runs read pictures instead of decoding them again.

Axes: n frames of a clip, T frames of a sample, H W pixels.
"""

import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taggnn.data import shards
from taggnn.data.clips import Clip
from taggnn.data.frame_sampling import FrameChoice, draws
from taggnn.data.video.container import import_av
from taggnn.data.video.reading import DECODE_TIMEOUT, VideoError, read_frames

log = logging.getLogger(__name__)
# A larger clip is decoded each time: its pictures would not fit into the memory of several loader processes.
MAX_BYTES = 2**29
# Bytes left free on the disk for checkpoints and results.
RESERVE = 2 * 10**9
# Raise this with every change of ours that makes a decode give other frames or other pixels (scaling.py, timeline.py,
# frame_sampling.py, reading.py). PyAV and FFmpeg are distinguished by their versions.
FORMAT_VERSION = 2


class FrameCache:
    """A folder of decoded clips, one safetensors shard for each, filled as clips are first read.

    A shard holds every frame of its clip, scaled to the short side, as uint8; or, where the frames of a clip are always the
    same, only those: H W 3 bytes a frame. It is valid while the path, size and modification time of the video and the
    versions of the decoder are unchanged; else it is made anew. Every frame has a checksum, compared whenever it is read.
    Samples equal those of a decode, bit for bit; where that cannot be promised (not every frame can be decoded, or a clip is
    very long) a clip is decoded each time.

    Several processes may fill one folder: a shard is written to a temporary file and renamed. Where less than 2 GB would be
    left free on the disk, or a shard cannot be written, nothing more is cached.

    Args:
        folder: of the cache; made when missing.

    Raises:
        ValueError: an empty path.
        OSError: the folder cannot be made or written.
    """

    def __init__(self, folder: str | Path):
        self.folder = shards.resolve_folder(folder, "--video.frame_cache")
        shards.check_writable(self.folder, "--video.frame_cache")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"--video.frame_cache {self.folder}: cannot be made ({error.strerror})") from None
        self._full = False

    def frames(
        self,
        clip: Clip,
        sampler: FrameChoice,
        short_side: int | None = None,
        generator: torch.Generator | None = None,
        decode_timeout: float = DECODE_TIMEOUT,
        frame_rate: float | None = None,
    ) -> Tensor:
        """The frames of a clip that a sampler chooses: from the cache, or decoded and cached.

        Args:
            clip: the row.
            sampler: which frames to take.
            short_side: pixels the shorter side is scaled to; None keeps the size.
            generator: the sampler's draws.
            decode_timeout: seconds that a decode may take.
            frame_rate: frames a second of a folder of images, see ``read_frames``.

        **Shapes:** -> uint8 (T, H, W, 3)

        Raises:
            VideoError: as ``read_frames``.
        """
        cut: dict[str, Any] = {"start": clip.start, "stop": clip.stop, "origin": clip.origin}
        decode = lambda sample: read_frames(  # noqa: E731
            clip.path, sample, short_side=short_side, decode_timeout=decode_timeout, frame_rate=frame_rate, **cut
        )
        sample, random = partial(sampler, generator=generator), draws(sampler, generator)
        key = _key(clip, short_side, None if random else sampler)
        if key is None:
            return decode(sample)
        path = self._path(key)
        shard = self._shard(path, key)
        if shard is None:
            # In the order of the file, so that a sampler's own order is a choice of rows.
            frames = _all_frames(decode, short_side) if random else decode(sample)
            self._write(path, frames, key)
            if random and not len(frames):
                return decode(sample)
            # Indexing by a list is thirty times slower on bytes.
            return frames.index_select(0, torch.tensor(sample(len(frames)))) if random else frames
        count = shard.get_slice("frames").get_shape()[0]
        if not count:
            return decode(sample)
        wanted = sample(count) if random else range(count)
        rows = _rows(shard, wanted)
        if rows is None:
            log.warning("%s: damaged; the clip is decoded, and cached anew when it is next read", path)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            # The generator has been drawn from already and must not be drawn from again.
            return decode((lambda n: wanted) if random else sample)
        return rows

    def summary(self) -> str:
        """The size of the cache, and the free space on its disk."""
        sizes = []
        for path in self.folder.rglob(f"*{shards.ENDING}"):
            # Hidden files are being written by another process.
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    sizes.append(path.stat().st_size)
        free = shutil.disk_usage(self.folder).free
        return f"{sum(sizes) / 1e9:,.2f} GB of decoded clips in {len(sizes):,} files of {self.folder}; {free / 1e9:,.1f} GB free"

    def _path(self, key: dict[str, Any]) -> Path:
        """One file for each cut of a video and choice of its frames; the state of the video is stored inside it."""
        cut = [key[part] for part in ("path", "start", "stop", "origin")]
        name = sha256(json.dumps(cut).encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / key["frames"] / name[:2] / f"{name[2:34]}{shards.ENDING}"

    def _shard(self, path: Path, key: dict[str, Any]) -> Any:
        """The open shard of a clip; None where there is none, or it belongs to another state of the video."""
        try:
            file = shards.open_shard(path)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("%s; it is made anew", error)
            return None
        return file if shards.metadata_of(file) == key else None

    def _write(self, path: Path, frames: Tensor, key: dict[str, Any]) -> None:
        if self._full:
            return
        reason = f"less than {RESERVE / 1e9:.0f} GB would be left on the disk"
        self._full = shutil.disk_usage(self.folder).free - frames.nbytes < RESERVE
        if not self._full:
            checksums = torch.tensor([_checksum(frame) for frame in frames], dtype=torch.long)
            try:
                shards.write_shard(path, {"frames": frames, "checksums": checksums}, key)
            except OSError as error:
                self._full, reason = True, str(error)
        if self._full:
            log.warning("frame cache %s: %s: no more clips are cached", self.folder, reason)


def _key(clip: Clip, short_side: int | None, sampler: FrameChoice | None) -> dict[str, Any] | None:
    """All that cached frames depend on; None where the video is not there, or is a folder of images, which are frames already."""
    if os.path.isdir(clip.path):
        return None
    try:
        state = os.stat(clip.path)
    except OSError:
        return None
    which = "all" if sampler is None else re.sub(r"\W+", "-", repr(sampler)).strip("-").lower()
    return {
        "path": os.path.abspath(clip.path),
        "size": state.st_size,
        "changed": state.st_mtime_ns,
        "start": clip.start,
        "stop": clip.stop,
        "origin": clip.origin,
        "frames": f"{'full' if short_side is None else f'short{short_side}'}-{which}",
        "decoder": _decoder(),
    }


def _decoder() -> str:
    """The versions of PyAV, of its FFmpeg libraries and of our own part."""
    av = import_av()
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return " ".join(
        [f"form {FORMAT_VERSION}", f"PyAV {av.__version__}", *(f"{key} {libraries[key]}" for key in sorted(libraries))]
    )


class _TooLong(Exception):
    """A clip of which not all frames are cached."""


def _all_frames(decode: Any, short_side: int | None) -> Tensor:
    """All frames of a clip; none where a sample is not sure to be a choice of them."""
    counts = []

    def every(n: int) -> range:
        # An upper bound of a frame's bytes: a picture twice as wide as it is high.
        if n * 6 * (short_side or 1080) ** 2 > MAX_BYTES:
            raise _TooLong
        counts.append(n)
        return range(n)

    none = torch.empty(0, 1, 1, 3, dtype=torch.uint8)
    try:
        frames = decode(every)
    except (VideoError, _TooLong):
        # A sample may avoid the damaged part.
        return none
    # Where the number of frames was corrected, a sampler is called twice, and how often depends on what it chose.
    return frames if len(counts) == 1 else none


def _rows(file: Any, wanted: Sequence[int]) -> Tensor | None:
    """Chosen frames of a shard; None if one differs from its checksum."""
    frames, checksums = file.get_slice("frames"), file.get_tensor("checksums").tolist()
    read = {}
    for index in dict.fromkeys(wanted):
        read[index] = frames[index]
        if _checksum(read[index]) != checksums[index]:
            return None
    return torch.stack([read[index] for index in wanted])


def _checksum(frame: Tensor) -> int:
    return zlib.crc32(frame.contiguous().numpy().data)

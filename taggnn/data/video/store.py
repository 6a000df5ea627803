"""Decoded clips kept on disk, so that later epochs read pictures instead of decoding them again.

Axes: n frames of a clip, T frames of a sample, H W pixels.
"""

import json
import logging
import os
import re
import shutil
import zlib
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taggnn.data import shards
from taggnn.data.clips import Clip
from taggnn.data.video.container import import_av
from taggnn.data.video.reading import GIVE_UP, VideoError, read_frames
from taggnn.data.video.sampling import Sampler, draws

log = logging.getLogger(__name__)
# A clip above it is decoded each time: its pictures would not fit into the memory of several loader processes.
MOST_BYTES = 2**29
# Left free on the disk for checkpoints and results.
RESERVE = 2 * 10**9
# Of what is stored. To be raised with every change of ours after which a decode gives other frames or other pixels:
# scaling.py, timeline.py, or how video.py counts. PyAV and FFmpeg are told apart by their versions.
FORM = 1


class ClipStore:
    """A folder of decoded clips, one safetensors shard a clip, filled as clips are first read.

    A shard holds every frame of its clip, scaled to the short side, as uint8; or, where the frames of a clip are always the
    same, those alone: H W 3 bytes a frame. It is used as long as the video has the path, the size and the time of change that
    it had, and the decoder is the one that made it, else it is made anew. Every frame has a checksum, compared whenever it is
    read. Samples are those of a decode, bit for bit; where that cannot be promised (not every frame can be decoded, or a clip
    is very long) a clip is decoded each time.

    Several processes may fill one folder: a shard is written beside its place and renamed. Where less than 2 GB would be left
    free on the disk, or where a shard cannot be written, nothing more is stored.

    Args:
        folder: of the store; made when missing.

    Raises:
        ValueError: an empty path.
        OSError: the folder cannot be made, or not be written.
    """

    def __init__(self, folder: str | Path):
        self.folder = shards.given_folder(folder, "--video.store")
        shards.check_writable(self.folder, "--video.store")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"--video.store {self.folder}: cannot be made ({error.strerror})") from None
        self._full = False

    def frames(
        self,
        clip: Clip,
        sampler: Sampler,
        short_side: int | None = None,
        generator: torch.Generator | None = None,
        give_up: float = GIVE_UP,
    ) -> Tensor:
        """The frames of a clip that a sampler asks for: out of the store, or decoded and stored.

        Args:
            clip: the row.
            sampler: which frames to take.
            short_side: pixels the shorter side is scaled to; None keeps the size.
            generator: the sampler's draws.
            give_up: wall seconds after which a decode is given up.

        **Shapes:** -> uint8 (T, H, W, 3)

        Raises:
            VideoError: as ``read_frames``.
        """
        cut = {"start": clip.start, "stop": clip.stop, "origin": clip.origin}
        decode = partial(read_frames, clip.path, short_side=short_side, give_up=give_up, **cut)
        sample, random = partial(sampler, generator=generator), draws(sampler, generator)
        facts = _facts(clip, short_side, None if random else sampler)
        if facts is None:
            return decode(sample)
        path = self._path(facts)
        held = self._held(path, facts)
        if held is None:
            # In the order of the file, so that a sampler's own order is a choice of rows.
            frames = _everything(decode, short_side) if random else decode(sample)
            self._write(path, frames, facts)
            if random and not len(frames):
                return decode(sample)
            # Indexing by a list is thirty times slower on bytes.
            return frames.index_select(0, torch.tensor(sample(len(frames)))) if random else frames
        count = held.get_slice("frames").get_shape()[0]
        if not count:
            return decode(sample)
        wanted = sample(count) if random else range(count)
        frames = _rows(held, wanted)
        if frames is None:
            log.warning("%s: damaged; the clip is decoded, and stored anew when it is next read", path)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            # A generator has been drawn from, and is not to be again.
            return decode((lambda n: wanted) if random else sample)
        return frames

    def summary(self) -> str:
        """How much the store holds, and how much room is left."""
        sizes = []
        for path in self.folder.rglob(f"*{shards.ENDING}"):
            # Hidden ones are being written by another process, and gone in a moment.
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    sizes.append(path.stat().st_size)
        free = shutil.disk_usage(self.folder).free
        return f"{sum(sizes) / 1e9:,.2f} GB of decoded clips in {len(sizes):,} files of {self.folder}; {free / 1e9:,.1f} GB free"

    def _path(self, facts: dict[str, Any]) -> Path:
        """One file for each piece of a video and choice of its frames; what a video was like is told inside it."""
        place = [facts[part] for part in ("path", "start", "stop", "origin")]
        key = sha256(json.dumps(place).encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / facts["frames"] / key[:2] / f"{key[2:34]}{shards.ENDING}"

    def _held(self, path: Path, facts: dict[str, Any]) -> Any:
        """The open shard of a clip; None where there is none, or it is of another state of the video."""
        try:
            file = shards.opened(path)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("%s; it is made anew", error)
            return None
        return file if shards.note_of(file) == facts else None

    def _write(self, path: Path, frames: Tensor, facts: dict[str, Any]) -> None:
        if self._full:
            return
        if shutil.disk_usage(self.folder).free - frames.nbytes < RESERVE:
            self._full = True
            log.warning(
                "store %s: less than %.0f GB would be left on the disk: no more clips are stored",
                self.folder,
                RESERVE / 1e9,
            )
            return
        sums = torch.tensor([_checksum(frame) for frame in frames], dtype=torch.long)
        try:
            shards.write_shard(path, {"frames": frames, "checksums": sums}, facts)
        except OSError as error:
            self._full = True
            log.warning("store %s: %s: no more clips are stored", self.folder, error)


def _facts(clip: Clip, short_side: int | None, sampler: Sampler | None) -> dict[str, Any] | None:
    """What stored frames follow from; None where the video is not there."""
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
    """Who makes the pixels: PyAV and the libraries of its FFmpeg, by their versions, and our own part by its number."""
    av = import_av()
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return " ".join(
        [f"form {FORM}", f"PyAV {av.__version__}", *(f"{key} {libraries[key]}" for key in sorted(libraries))]
    )


class _TooLong(Exception):
    """A clip of which not all frames are kept."""


def _everything(decode: Any, short_side: int | None) -> Tensor:
    """All frames of a clip; none where a sample of it cannot be promised to be a choice of them."""
    counts = []

    def every(n: int) -> range:
        # An estimate from above of a frame's bytes: a picture twice as wide as it is high.
        if n * 6 * (short_side or 1080) ** 2 > MOST_BYTES:
            raise _TooLong
        counts.append(n)
        return range(n)

    none = torch.empty(0, 1, 1, 3, dtype=torch.uint8)
    try:
        frames = decode(every)
    except (VideoError, _TooLong):
        # Damage that a sample may not meet.
        return none
    # Where the number of frames was corrected, a sampler is asked twice, and how often depends on what it asked for.
    return frames if len(counts) == 1 else none


def _rows(file: Any, wanted: Any) -> Tensor | None:
    """Chosen frames of a shard; None if one is not what was written."""
    frames, sums = file.get_slice("frames"), file.get_tensor("checksums").tolist()
    read = {}
    for index in dict.fromkeys(wanted):
        read[index] = frames[index]
        if _checksum(read[index]) != sums[index]:
            return None
    return torch.stack([read[index] for index in wanted])


def _checksum(frame: Tensor) -> int:
    return zlib.crc32(frame.contiguous().numpy().data)

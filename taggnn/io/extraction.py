"""Extracts the tokens of a frozen backbone over lists of clips into shards, resumably, and indexes them.

Axes: B clips of a batch, T H W token grid, C channels.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from typing_extensions import TypedDict

from taggnn.data import shards
from taggnn.data.clips import Clip
from taggnn.data.image_folders import state_of
from taggnn.data.lists.splits import SPLITS
from taggnn.data.loader import ClipData
from taggnn.data.samplers import seed_of
from taggnn.data.token_index import BACKBONE, INDEX, read_token_index
from taggnn.data.tokens import differences, relevant_settings
from taggnn.model import Recogniser
from taggnn.runtime import schema
from taggnn.runtime.schema import Count
from taggnn.types import Batch

# Views of a clip from one decode; a shard of each is in memory.
AT_ONCE = 4
# What must be equal for two calls to write into one folder, in addition to the settings and the clips.
_SAME = ("input", "tokens", "dtype", "views", "seed", "rows_a_shard", "classes")


@dataclass(frozen=True)
class Piece:
    """The work of one shard.

    Args:
        split: name of the split.
        view: number of a training view; None for the view of evaluation.
        file: name of the shard.
        clips: their indices in the list of the split.
        videos: size and modification time of each clip's file when the work was planned.
    """

    split: str
    view: int | None
    file: str
    clips: range
    videos: tuple[str, ...]


def plan(data: ClipData, views: int, rows: int) -> list[Piece]:
    """Plans the shards in a fixed order: every split in the view of evaluation, then the training views.

    Args:
        data: the clips; a test split that is also the validation split is left out.
        views: augmented views of a training clip.
        rows: clips of a shard.
    """
    parts: list[tuple[str, int | None]]
    parts = [(split, None) for split in SPLITS if not (split == "test" and data.test_clips is data.val_clips)]
    parts += [("train", view) for view in range(views)]
    pieces = []
    states = {split: [_state(clip) for clip in getattr(data, f"{split}_clips") or ()] for split, _ in parts}
    for split, view in parts:
        count = len(states[split])
        name = split if view is None else f"{split}-view{view}"
        for number, first in enumerate(range(0, count, rows)):
            file = f"{name}-{number:05}{shards.ENDING}"
            clips = range(first, min(first + rows, count))
            pieces.append(Piece(split, view, file, clips, tuple(states[split][clips.start : clips.stop])))
    return pieces


def identity(index: Mapping[str, Any]) -> dict[str, Any]:
    """What tokens depend on, from an index: equal for two calls that may write into one folder."""
    clips = {
        f"the {split} clips": [
            [row[key] for key in sorted(row) if key not in ("path", "tokens", "views")] for row in held.get("clips", ())
        ]
        for split, held in index["splits"].items()
    }
    return {
        **relevant_settings(index["settings"], index["views"]),
        "weights": index["weights"]["digest"],
        **{key.replace("_", " "): index[key] for key in _SAME},
        **clips,
    }


def left_to_do(folder: Path, pieces: Sequence[Piece], index: Mapping[str, Any]) -> list[Piece]:
    """The pieces whose shards are missing, damaged, or made from videos that have changed.

    Args:
        folder: of the shards.
        pieces: all of them.
        index: of the extraction.

    Raises:
        ValueError: the folder holds the tokens of another extraction; the message names the differences.
    """
    if not (folder / INDEX).is_file():
        return list(pieces)
    earlier = read_token_index(folder)
    changed = differences(identity(earlier), identity(index))
    if changed:
        raise ValueError(
            f"{folder} holds the tokens of another extraction: {'; '.join(changed)}. Give another --out, or remove it"
        )
    known, digest = earlier.get("shards", {}), _digest_of(index)
    return [
        piece
        for piece in pieces
        if changed_videos(folder, [piece], index) or not _whole(folder / piece.file, known.get(piece.file), digest)
    ]


def changed_videos(folder: Path, pieces: Sequence[Piece], index: Mapping[str, Any]) -> set[tuple[str, int]]:
    """The clips, as (split, index), whose files have another size or modification time than when their shards were made."""
    found, digest = set(), _digest_of(index)
    for piece in pieces:
        note = _note(folder / piece.file)
        # Of a damaged note nothing is known.
        if note.get("of") == digest and len(note["videos"]) == len(piece.videos):
            pairs = zip(piece.clips, note["videos"], piece.videos, strict=True)
            found |= {(piece.split, number) for number, then, now in pairs if then != now}
    return found


def readable_again(folder: Path, data: ClipData, pieces: Sequence[Piece]) -> tuple[list[Piece], int, int]:
    """Tries to read every skipped clip again, with a progress bar.

    Returns:
        The pieces with a clip that can be read now, the number of such clips, and the number of clips tried; a clip counts once
        for each of its views.
    """
    bad = {piece: [number for number, _ in _note(folder / piece.file).get("skipped", ())] for piece in pieces}
    again, good, tried = [], 0, sum(map(len, bad.values()))
    with tqdm(total=tried, desc="retry", unit="clip", file=sys.stderr, disable=None) as bar:
        for piece, numbers in bad.items():
            keys = [[(number, seed_of(data.seed, piece.view or 0, number))] for number in numbers]
            found = 0
            for batch in data.loader_of(piece.split, keys, train=piece.view is not None) if keys else ():
                found += len(batch)
                bar.update()
            good += found
            again += [piece] if found else []
    return again, good, tried


def finished(folder: Path, index: Mapping[str, Any]) -> bool:
    """Whether the extraction is marked complete and the backbone's weights are in the folder, undamaged."""
    try:
        complete = read_token_index(folder)["complete"]
        return complete and shards.digest(shards.read_shard(folder / BACKBONE)) == index["weights"]["digest"]
    except (FileNotFoundError, ValueError):
        return False


def check_space(folder: Path, pieces: Sequence[Piece], bytes_a_clip: int) -> tuple[int, int]:
    """The bytes that the pieces need, and the free bytes.

    Raises:
        OSError: too few bytes are free.
    """
    needed = bytes_a_clip * sum(len(piece.clips) for piece in pieces)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OSError(
            f"{folder}: {needed / 1e9:.1f} GB are still to be written, {free / 1e9:.1f} GB are free there; --dtype float16, "
            "fewer --views or another --out need less"
        )
    return needed, free


def extract(folder: Path, model: Recogniser, data: ClipData, pieces: Sequence[Piece], index: Mapping[str, Any]) -> None:
    """Writes the shards of the pieces, with a progress bar in clips; up to ``AT_ONCE`` views of a clip share one decode.

    Raises:
        ValueError: tokens that are not finite in the dtype.
    """
    device, size, count = next(model.backbone.parameters()).device, data.batch_size, sum(map(_clips, pieces))
    with tqdm(total=count, desc="extract", unit="clip", file=sys.stderr, disable=None) as bar:
        for (split, views), same in groupby(_together(pieces), key=_views):
            groups = list(same)
            numbers = {clip.name: number for number, clip in enumerate(getattr(data, f"{split}_clips"))}
            # A batch never spans two shards: the content of a shard must not depend on which others are written.
            keys = [
                [
                    (number, [seed_of(data.seed, view, number) for view in views if view is not None])
                    for number in group[0].clips[first : first + size]
                ]
                for group in groups
                for first in range(0, _clips(group[0]), size)
            ]
            batches = iter(data.loader_of_views(split, keys, evaluation=None in views))
            for group in groups:
                filled = [_Shard(piece, index) for piece in group]
                for _ in range(0, _clips(group[0]), size):
                    for one, batch in zip(filled, next(batches), strict=True):
                        one.add(batch, model, device, numbers)
                        bar.update(len(batch) + len(batch.skipped))
                for one in filled:
                    one.write(folder)


class _Shard:
    """A shard in memory."""

    def __init__(self, piece: Piece, index: Mapping[str, Any]):
        self.piece, self.digest = piece, _digest_of(index)
        self.tokens = torch.empty(_clips(piece), *index["tokens"], dtype=getattr(torch, index["dtype"]))
        self.good: list[int] = []
        self.labels: list[int] = []
        self.bad: dict[int, str] = {}

    def add(self, batch: Batch, model: Recogniser, device: torch.device, numbers: Mapping[str, int]) -> None:
        self.bad |= {numbers[name]: reason for name, _, reason in batch.skipped}
        first, more = len(self.good), len(batch)
        if more:
            self.tokens[first : first + more] = _stored(model, batch.x.to(device), self.tokens.dtype)
            self.good += batch.index.tolist()
            self.labels += batch.label.tolist()

    def write(self, folder: Path) -> None:
        held = {
            "tokens": self.tokens[: len(self.good)],
            "clip": torch.tensor(self.good, dtype=torch.long),
            # A flip in training may have changed the label.
            "label": torch.tensor(self.labels, dtype=torch.long),
        }
        skipped = sorted(map(list, self.bad.items()))
        note = {"of": self.digest, "skipped": skipped, "videos": list(self.piece.videos)}
        shards.write_shard(folder / self.piece.file, held, {**note, "digest": _digest(held, note)})


def completed(folder: Path, pieces: Sequence[Piece], index: Mapping[str, Any]) -> dict[str, Any]:
    """The index with the locations of all tokens, and the size and checksum of every shard."""
    locations: dict[tuple[str, int | None], dict[int, Any]] = {}
    table = {}
    for piece in pieces:
        path = folder / piece.file
        found = locations.setdefault((piece.split, piece.view), {})
        found |= dict(map(tuple, _note(path)["skipped"]))
        found |= {number: [piece.file, row] for row, number in enumerate(shards.read_shard(path)["clip"].tolist())}
        table[piece.file] = shards.file_info(path)
    splits = {}
    for split, held in index["splits"].items():
        splits[split] = dict(held)
        if "clips" in held:
            rows = [{**row, "tokens": locations[split, None][number]} for number, row in enumerate(held["clips"])]
            if split == "train" and index["views"]:
                views = [locations[split, view] for view in range(index["views"])]
                rows = [{**row, "views": [view[number] for view in views]} for number, row in enumerate(rows)]
            splits[split]["clips"] = rows
    return {**index, "complete": True, "shards": table, "splits": splits}


def _clips(piece: Piece) -> int:
    return len(piece.clips)


def _together(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Groups pieces that are views of the same clips, the view of evaluation last."""
    groups: dict[Any, list[Piece]] = {}
    for piece in pieces:
        part = 0 if piece.view is None else (piece.view + 1) // AT_ONCE
        groups.setdefault((piece.split, piece.clips, part), []).append(piece)
    return [sorted(group, key=lambda piece: piece.view is None) for group in groups.values()]


def _views(group: Sequence[Piece]) -> tuple[str, list[int | None]]:
    return group[0].split, [piece.view for piece in group]


@torch.inference_mode()
def _stored(model: Recogniser, clip: Tensor, dtype: torch.dtype) -> Tensor:
    """**Shapes:** (B, 3, T, H, W) -> (B, T', H', W', C)"""
    features = model.features(clip)
    if features.class_token is not None:
        raise ValueError("stored tokens have no class token: build the backbone without it (class_token: false)")
    tokens = features.tokens.to(dtype).cpu()
    if not tokens.isfinite().all():
        raise ValueError(
            f"tokens that are not finite in {dtype}: the backbone's weights, or too large for it (--dtype float32)"
        )
    return tokens


def _digest_of(index: Mapping[str, Any]) -> str:
    """The digest of the extraction that a shard belongs to."""
    return sha256(json.dumps(identity(index), sort_keys=True).encode()).hexdigest()


def _whole(path: Path, known: Mapping[str, Any] | None, digest: str) -> bool:
    if not path.is_file():
        return False
    if known is not None:
        return path.stat().st_size == known["bytes"] and shards.checksum(path) == known["sha256"]
    # After an interruption there is only the shard's own checksum.
    note = _note(path)
    return note.get("of") == digest and note.pop("digest", None) == _digest(shards.read_shard(path), note)


def _digest(held: Mapping[str, Tensor], note: Mapping[str, Any]) -> str:
    """The digest of a shard's content, which reveals damage without an index."""
    return sha256(f"{json.dumps(note, sort_keys=True)} {shards.digest(held)}".encode()).hexdigest()


class _Note(TypedDict):
    """The metadata of a shard."""

    of: str
    skipped: list[tuple[Count, str]]
    videos: list[str]
    digest: str


def _note(path: Path) -> dict[str, Any]:
    """The metadata of a shard; empty where it is missing or damaged."""
    try:
        note = shards.read_metadata(path)
        schema.check(note, _Note, str(path))
        return note
    except (FileNotFoundError, ValueError):
        return {}


def _state(clip: Clip) -> str:
    """Size and modification time of a clip's file; empty if it does not exist."""
    try:
        size, changed = state_of(clip.path)
    except OSError:
        return ""
    return f"{size} {changed}"

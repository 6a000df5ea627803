"""Tokens of a frozen backbone, stored by ``taggnn.extract``: their folder, and the source that heads are trained on.

Axes: C channels; the grid of the tokens is that of the backbone, time first.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.splits import SPLITS, Splits
from taggnn.data.samplers import seed_of
from taggnn.data.shards import Shards, read_index, read_shard, resolve_folder
from taggnn.types import TOKEN_AXES, BadClip, InputSpec, Sample

KIND = "taggnn tokens"
# Of the index; raised when older folders can no longer be read.
FORMAT = 2
INDEX, BACKBONE, CONFIG = "index.json", "backbone.safetensors", "config.yaml"
# How training alone sees clips: without training views nothing of it is in a token.
_TRAINING = {
    "data.flip_pairs",
    *(f"video.{key}" for key in ("flip", "scale", "ratio", "randaugment", "magnitude", "magnitude_std")),
    *(f"video.{key}" for key in ("color_jitter", "random_erasing", "temporal_jitter", "temporal_scale")),
}
_AGAIN = "the same call of taggnn.extract makes it anew"


class TokenCache:
    """A folder of stored tokens, open for reading.

    Args:
        folder: what ``taggnn.extract --out`` wrote.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        NotADirectoryError: a file stands there.
        ValueError: an empty path, the extraction is not finished, or a file has another size than it was written with.
    """

    def __init__(self, folder: str | Path):
        self.folder = resolve_folder(folder, "--data.tokens")
        index = read_token_index(self.folder)
        if not index["complete"]:
            raise ValueError(f"tokens {self.folder}: not finished; the same call of taggnn.extract resumes them")
        self.settings: dict[str, Any] = index["settings"]
        self.input = InputSpec.read(index["input"])
        self.shape: tuple[int, ...] = tuple(index["tokens"])
        self.split_options: dict[str, Any] = index["split_options"]
        self.weights: dict[str, str] = index["weights"]
        self.views, self.seed = index["views"], index["seed"]
        # What tells these tokens from others of the same settings.
        self.identity = {
            "backbone weights": self.weights["digest"],
            **{key: index[key] for key in ("dtype", "views", "seed")},
        }
        self.splits = _splits(index, self.folder)
        own = {BACKBONE: {"bytes": self.weights["bytes"], "sha256": self.weights["sha256"]}}
        self.shards = Shards(self.folder, index["shards"] | own, _AGAIN)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(split/name, reason) of each clip that there are no tokens of."""
        lists = {split: getattr(self.splits, split) for split in SPLITS}
        return [
            (f"{split}/{clip.name}", clip.tokens)
            for split, clips in lists.items()
            if clips is not None and not (split == "test" and clips is self.splits.val)
            for clip in clips
            if isinstance(clip.tokens, str)
        ]

    def backbone_state(self) -> dict[str, Tensor]:
        """The weights of the backbone that made the tokens."""
        self.shards.verify(BACKBONE)
        return read_shard(self.folder / BACKBONE)


# Where the tokens of a clip lie: (shard, row); or the reason why there are none.
Stored = tuple[str, int] | str


@dataclass(frozen=True)
class StoredClip(Clip):
    """A row that has its tokens with it.

    Args:
        index: its index in the list of its split: the draws of its training views follow from it.
        tokens: where those of evaluation lie.
        views: where those of the training views lie, in the order of the epochs.
    """

    index: int = 0
    tokens: Stored = "no tokens are stored"
    views: tuple[Stored, ...] = ()


class TokenSource:
    """Stored tokens in place of clips. It brings its own lists, whose rows say where their tokens lie.

    Of N stored training views, an epoch e below N with the seed of the extraction gets view e, which is what that epoch would
    draw from the videos; any other epoch or seed gets one at random. Without training views, training sees what evaluation does.

    Args:
        folder: what ``taggnn.extract --out`` wrote.

    **Shapes:** a sample (T', H', W', C) as stored, or of whatever grid the backbone has

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as ``TokenCache``.
    """

    # Stored tokens are read faster than a loader process hands them over.
    workers = 0

    def __init__(self, folder: str | Path):
        self.cache = TokenCache(folder)
        self.spec = InputSpec("tokens", token_axes(len(self.cache.shape)), self.cache.shape)
        self.model_spec = self.cache.input
        self.splits, self.split_options = self.cache.splits, self.cache.split_options
        self.origin = str(self.cache.folder)
        self.identity = self.cache.identity

    def __call__(self, clip: StoredClip, seed: int | None) -> Sample | BadClip:
        """The tokens of one clip.

        Args:
            clip: a row of ``splits``.
            seed: which training view, as above; None: the clip as evaluation sees it.
        """
        stored = clip.tokens if seed is None or not clip.views else clip.views[self._view(clip, seed)]
        if isinstance(stored, str):
            return BadClip(clip.name, clip.path, stored)
        file, row = stored
        # A flipped view may have another label than its clip.
        label = int(self.cache.shards.row(file, "label", row))
        return Sample(self.cache.shards.row(file, "tokens", row), label)

    def backbone_state(self) -> dict[str, Tensor]:
        """The weights of the backbone that made the tokens."""
        return self.cache.backbone_state()

    def _view(self, clip: StoredClip, seed: int) -> int:
        views = len(clip.views)
        drawn = (view for view in range(views) if seed_of(self.cache.seed, view, clip.index) == seed)
        return next(drawn, seed % views)


def token_axes(rank: int) -> tuple[str, ...]:
    """Names of the axes of one clip's tokens: time first, channels last."""
    return TOKEN_AXES if rank == len(TOKEN_AXES) else ("frame", *(f"axis{n}" for n in range(1, rank - 1)), "channel")


def read_token_index(folder: Path) -> dict[str, Any]:
    """The index of a folder of tokens, finished or not.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, of another kind, or of an earlier version of taggnn.
    """
    index = read_index(folder / INDEX, KIND)
    if index.get("format") != FORMAT:
        raise ValueError(
            f"tokens {folder}: written by another version of taggnn (format {index.get('format', 1)}, this one reads "
            f"{FORMAT}); extract them again, into another folder"
        )
    return index


def splits_as_dict(splits: Splits) -> dict[str, Any]:
    """The clip lists of an index as plain types; a test split that is val once more is told by a word."""
    content: dict[str, Any] = {}
    for split in SPLITS:
        clips = getattr(splits, split)
        if split == "test" and clips is not None and clips is splits.val:
            content[split] = {"same_as": "val"}
        elif clips is not None:
            rest = {key: value for key, value in vars(clips).items() if key not in ("clips", "classes")}
            rows = [{key: value for key, value in asdict(clip).items() if value is not None} for clip in clips]
            content[split] = {**rest, "clips": rows}
    return content


def relevant_settings(settings: Mapping[str, Any], views: int) -> dict[str, Any]:
    """The settings that tokens with so many training views follow from, out of those of an index."""
    return {key: value for key, value in settings.items() if views or key not in _TRAINING}


def differences(there: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Names what differs between two mappings, with both values where they are short."""
    found = []
    for key in dict.fromkeys([*there, *given]):
        old, new = there.get(key), given.get(key)
        if old != new:
            short = len(f"{old}{new}") <= 160
            found.append(f"{key} {old!r} there, {new!r} given" if short else f"{key} differ")
    return found


def _splits(index: Mapping[str, Any], folder: Path) -> Splits:
    classes, found = tuple(index["classes"]), {}
    for split, held in index["splits"].items():
        if "same_as" in held:
            found[split] = found[held["same_as"]]
            continue
        rows = [{key: _stored(value) for key, value in row.items()} for row in held["clips"]]
        rest = {
            key: tuple(value) if isinstance(value, list) else value for key, value in held.items() if key != "clips"
        }
        clips = tuple(StoredClip(**row, index=number) for number, row in enumerate(rows))
        found[split] = ClipList(clips, classes, **rest)
    weights = index["weights"]
    note = f"tokens stored in {folder}: backbone {index['settings']['backbone.name']}, weights {weights['origin']}"
    return Splits(*(found.get(split) for split in SPLITS), classes, (*index["notes"], note))


def _stored(value: Any) -> Any:
    """Lists of an index as tuples: rows are hashable."""
    return tuple(map(_stored, value)) if isinstance(value, list) else value

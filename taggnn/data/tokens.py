"""Tokens of a frozen backbone, stored by ``taggnn.extract``: their folder, and the source for training heads.

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
from taggnn.data.shards import Shards, read_shard, resolve_folder
from taggnn.data.token_index import BACKBONE, INDEX, read_token_index
from taggnn.types import TOKEN_AXES, BadClip, InputSpec, Sample

# Options of training views: without those, tokens do not depend on them.
_TRAINING = {
    "data.flip_pairs",
    *(f"video.{key}" for key in ("flip", "scale", "ratio", "randaugment", "magnitude", "magnitude_std")),
    *(f"video.{key}" for key in ("color_jitter", "random_erasing", "temporal_jitter", "temporal_scale")),
    *(f"skeleton.{key}" for key in ("crop", "rotation", "scale", "flip")),
}
_ADVICE = "the same call of taggnn.extract makes it anew"


class TokenCache:
    """A folder of stored tokens, open for reading.

    Args:
        folder: output of ``taggnn.extract --out``.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        NotADirectoryError: the path is a file.
        ValueError: an empty path, the extraction is not finished, or a file has another size than when written.
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
        self.views, self.seed, self.classes = index["views"], index["seed"], len(index["classes"])
        # Distinguishes these tokens from others with the same settings.
        self.identity = {
            "backbone weights": self.weights["digest"],
            **{key: index[key] for key in ("dtype", "views", "seed")},
        }
        self.splits = _splits(index, self.folder)
        backbone = {BACKBONE: {"bytes": self.weights["bytes"], "sha256": self.weights["sha256"]}}
        self.shards = Shards(self.folder, index["shards"] | backbone, _ADVICE)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(split/name, reason) of each clip without tokens."""
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


# Location of the tokens of a clip: (shard, row); or the reason why there are none.
Stored = tuple[str, int] | str


@dataclass(frozen=True)
class StoredClip(Clip):
    """A row with the location of its tokens.

    Args:
        index: its index in the list of its split, which determines the seeds of its training views.
        tokens: tokens of evaluation.
        views: tokens of the training views, in the order of the epochs.
    """

    index: int = 0
    tokens: Stored = "no tokens are stored"
    views: tuple[Stored, ...] = ()


class TokenSource:
    """Stored tokens in place of clips. It has its own lists, whose rows have the location of their tokens.

    Of N stored training views, an epoch e below N with the seed of the extraction gets view e, which that epoch would draw from
    the videos; any other epoch or seed gets a random one. Without training views, training sees the same as evaluation.

    Args:
        folder: output of ``taggnn.extract --out``.

    **Shapes:** a sample (T', H', W', C) as stored, or with another grid of the backbone

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as ``TokenCache``.
    """

    # Reading stored tokens is faster than their transfer from a loader process.
    workers = 0

    def __init__(self, folder: str | Path):
        self.cache = TokenCache(folder)
        self.spec = InputSpec("tokens", token_axes(len(self.cache.shape)), self.cache.shape)
        self.model_spec = self.cache.input
        self.splits, self.split_options = self.cache.splits, self.cache.split_options
        self.origin = str(self.cache.folder)
        self.identity, self.backbone_state = self.cache.identity, self.cache.backbone_state

    def __call__(self, clip: StoredClip, seed: int | None) -> Sample | BadClip:
        """The tokens of one clip.

        Args:
            clip: a row of ``splits``.
            seed: of the training view, as above; None: the clip as evaluation sees it.
        """
        stored = clip.tokens if seed is None or not clip.views else clip.views[self._view(clip, seed)]
        if isinstance(stored, str):
            return BadClip(clip.name, clip.path, stored)
        file, row = stored
        # A flipped view may have another label than its clip.
        label, tokens = int(self.cache.shards.row(file, "label", row)), self.cache.shards.row(file, "tokens", row)
        if not 0 <= label < self.cache.classes or tuple(tokens.shape) != self.cache.shape:
            raise ValueError(
                f"shard {self.cache.folder / file}, row {row}: label {label} and tokens {tuple(tokens.shape)}, of "
                f"{self.cache.classes} classes and tokens {self.cache.shape} in {INDEX}; {_ADVICE}"
            )
        return Sample(tokens, label)

    def _view(self, clip: StoredClip, seed: int) -> int:
        views = len(clip.views)
        matching = (view for view in range(views) if seed_of(self.cache.seed, view, clip.index) == seed)
        return next(matching, seed % views)


def token_axes(rank: int) -> tuple[str, ...]:
    """Names of the axes of one clip's tokens: time first, channels last."""
    return TOKEN_AXES if rank == len(TOKEN_AXES) else ("frame", *(f"axis{n}" for n in range(1, rank - 1)), "channel")


def splits_as_dict(splits: Splits) -> dict[str, Any]:
    """The clip lists of an index as plain types; a test split equal to val is stored as a reference."""
    content: dict[str, Any] = {}
    for split in SPLITS:
        clips = getattr(splits, split)
        if split == "test" and clips is not None and clips is splits.val:
            content[split] = {"same_as": "val"}
        elif clips is not None:
            # Rows that are not there are of the list, not of the tokens.
            rest = {key: value for key, value in vars(clips).items() if key not in ("clips", "classes", "absent")}
            if not rest["class_groups"]:
                del rest["class_groups"]
            rows = [{key: value for key, value in asdict(clip).items() if value is not None} for clip in clips]
            content[split] = {**rest, "clips": rows}
    return content


def relevant_settings(settings: Mapping[str, Any], views: int) -> dict[str, Any]:
    """Those settings of an index that tokens with this number of training views depend on."""
    return {key: value for key, value in settings.items() if views or key not in _TRAINING}


def differences(there: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The differences between two mappings, with both values where they are short."""
    found = []
    for key in dict.fromkeys([*there, *given]):
        old, new = there.get(key), given.get(key)
        if old != new:
            short = len(f"{old}{new}") <= 160
            found.append(f"{key} {old!r} there, {new!r} given" if short else f"{key} differ")
    return found


def _splits(index: Mapping[str, Any], folder: Path) -> Splits:
    classes = tuple(index["classes"])
    found: dict[str, ClipList] = {}
    for split, stored in index["splits"].items():
        if "same_as" in stored:
            found[split] = found[stored["same_as"]]
            continue
        rows = [{key: _as_tuple(value) for key, value in row.items()} for row in stored["clips"]]
        rest: dict[str, Any] = {key: _as_tuple(value) for key, value in stored.items() if key != "clips"}
        rest["class_groups"] = {kind: tuple(of) for kind, of in stored.get("class_groups", {}).items()}
        clips = tuple(StoredClip(**row, index=number) for number, row in enumerate(rows))
        found[split] = ClipList(clips, classes, **rest)
    weights = index["weights"]
    note = f"tokens stored in {folder}: backbone {index['settings'].get('backbone.name')}, weights {weights['origin']}"
    return Splits(found.get("train"), found.get("val"), found.get("test"), classes, (*index["notes"], note))


def _as_tuple(value: Any) -> Any:
    """Nested lists as tuples: rows are hashable."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value

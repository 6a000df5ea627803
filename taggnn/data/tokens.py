"""Tokens of a frozen backbone, stored by ``taggnn.extract``: their folder, and the data set that heads are trained on.

Axes: T H W token grid, C channels.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import BadClip
from taggnn.data.order import seed_of
from taggnn.data.shards import Shards, given_folder, read_index, read_shard
from taggnn.data.splits import SPLITS, Splits

KIND = "taggnn tokens"
INDEX, BACKBONE, CONFIG = "index.json", "backbone.safetensors", "config.yaml"
# How training alone sees clips: without training views nothing of it is in a token.
_TRAINING = {
    *(
        "data.flip",
        "data.mirrored",
        "data.scale",
        "data.ratio",
        "data.randaugment",
        "data.magnitude",
        "data.magnitude_std",
    ),
    *("data.jitter", "data.erase", "data.temporal_jitter", "data.temporal_scale"),
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
        self.folder = given_folder(folder, "--data.tokens")
        index = read_index(self.folder / INDEX, KIND)
        if not index["complete"]:
            raise ValueError(f"tokens {self.folder}: not finished; the same call of taggnn.extract goes on with them")
        self.settings: dict[str, Any] = index["settings"]
        self.preprocess: dict[str, Any] = index["preprocess"]
        self.split_options: dict[str, Any] = index["split_options"]
        self.weights: dict[str, str] = index["weights"]
        self.views, self.seed = index["views"], index["seed"]
        # What tells these tokens from others of the same settings.
        self.identity = {
            "backbone weights": self.weights["digest"],
            **{key: index[key] for key in ("dtype", "views", "seed")},
        }
        self.splits = _splits(index, self.folder)
        self._places = {
            split: [row["tokens"] for row in held["clips"]]
            for split, held in index["splits"].items()
            if "clips" in held
        }
        self._view_places = [row.get("views") for row in index["splits"].get("train", {}).get("clips", [])]
        own = {BACKBONE: {"bytes": self.weights["bytes"], "sha256": self.weights["sha256"]}}
        self.shards = Shards(self.folder, index["shards"] | own, _AGAIN)

    def dataset(self, split: str, train: bool = False) -> "TokenDataset":
        """The tokens of a split, in the order of its list.

        Args:
            split: its name.
            train: the stored training views, where there are any, instead of the clips as evaluation sees them.
        """
        clips = getattr(self.splits, split)
        stored = "val" if split == "test" and clips is self.splits.val else split
        places = self._view_places if train and self.views else [[place] for place in self._places[stored]]
        return TokenDataset(clips, self.shards, places, self.seed)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(split/name, reason) of each clip that there are no tokens of."""
        return [
            (f"{split}/{clip.name}", place)
            for split, places in self._places.items()
            for clip, place in zip(getattr(self.splits, split), places, strict=True)
            if isinstance(place, str)
        ]

    def backbone_state(self) -> dict[str, Tensor]:
        """The weights of the backbone that made the tokens."""
        self.shards.verify(BACKBONE)
        return read_shard(self.folder / BACKBONE)


class TokenDataset(Dataset):
    """Stored tokens in place of the clips of a list; an item's key is (index, seed), as for ``ClipDataset``.

    Of N stored training views, an epoch e below N with the seed of the extraction gets view e, which is what that epoch would
    draw from the videos; any other epoch or seed gets one at random.

    Args:
        clips: the rows.
        shards: where the tokens lie.
        places: for each clip its views, each a (file, row), or the reason why there are no tokens.
        seed: what the views were drawn with.

    **Shapes:** item {"tokens": (T, H, W, C) as stored, "label": int, "index": int}, or a ``BadClip``
    """

    def __init__(self, clips: ClipList, shards: Shards, places: list[list[tuple[str, int] | str]], seed: int = 0):
        self.clips, self.shards, self.places, self.seed = clips, shards, places, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any] | BadClip:
        index, seed = key
        clip, place = self.clips[index], self.places[index][self._view(index, seed)]
        if isinstance(place, str):
            return BadClip(clip.name, clip.path, place)
        file, row = place
        # A mirrored view may have another label than its clip.
        label = int(self.shards.row(file, "label", row))
        return {"tokens": self.shards.row(file, "tokens", row), "label": label, "index": index}

    def _view(self, index: int, seed: int) -> int:
        views = len(self.places[index])
        if views == 1:
            return 0
        return next((view for view in range(views) if seed_of(self.seed, view, index) == seed), seed % views)


def described(splits: Splits) -> dict[str, Any]:
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


def that_matter(settings: Mapping[str, Any], views: int) -> dict[str, Any]:
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
        rows = [{key: value for key, value in row.items() if key not in ("tokens", "views")} for row in held["clips"]]
        rest = {
            key: tuple(value) if isinstance(value, list) else value for key, value in held.items() if key != "clips"
        }
        found[split] = ClipList(tuple(Clip(**row) for row in rows), classes, **rest)
    weights = index["weights"]
    note = f"tokens stored in {folder}: backbone {index['settings']['backbone.name']}, weights {weights['origin']}"
    return Splits(*(found.get(split) for split in SPLITS), classes, (*index["notes"], note))

"""pyskl's pickles, which hold a whole data set: ``{"split": {name: [frame_dir, ..]}, "annotations": [{..}, ..]}``.

Format: https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md; MMAction2 reads the same. An annotation has
``frame_dir`` (the name of the clip), ``label``, ``keypoint`` (M, T, V, C), for 2-D skeletons ``keypoint_score`` (M, T, V) and
``img_shape`` (height, width), and may have ``total_frames``. A file is opened once for each process, and only the numbers of one
clip are read at a time, see ``pickled.py``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from taggnn.data.clips import NAMED, Clip
from taggnn.data.skeleton.formats.pickled import StoredArray, load
from taggnn.data.skeleton.formats.recording import Recording

ENDINGS = (".pkl", ".pickle")
# A pickle begins with the number of its protocol.
_PROTOCOLS = tuple(bytes([0x80, version]) for version in range(2, 6))


class Annotation(NamedTuple):
    """One clip of a file.

    Args:
        label: class number.
        keypoint: coordinates.
        score: confidence of each joint, where the file has it.
        picture: (height, width) in pixels of the pictures of 2-D coordinates, where the file has it.

    **Shapes:** keypoint (M, T, V, C), score (M, T, V)
    """

    label: int
    keypoint: StoredArray
    score: StoredArray | None
    picture: tuple[int, int] | None


@dataclass(frozen=True)
class Annotations:
    """The content of a file.

    Args:
        splits: name -> names of its clips.
        clips: name -> its annotation, or why it cannot be used.
    """

    splits: Mapping[str, list[str]]
    clips: Mapping[str, Annotation | str]


def begins(head: bytes) -> bool:
    return head.startswith(_PROTOCOLS)


def read(clip: Clip) -> Recording:
    """Reads one clip of a file, by its ``member``.

    Raises:
        ValueError: no such pickle, one that names more than data, or no such clip in it.
        OSError: it cannot be opened.
    """
    found = annotations(clip.path).clips
    if clip.member is None:
        raise ValueError(f"holds {len(found):,} clips; the member that is meant is not given")
    if clip.member not in found:
        raise ValueError(
            f"holds no clip {clip.member!r} among {len(found):,}, such as {', '.join(list(found)[:NAMED])}"
        )
    row = found[clip.member]
    if isinstance(row, str):
        raise ValueError(f"{clip.member}: {row}")
    return Recording(row.keypoint.read(), None if row.score is None else row.score.read(), picture=row.picture)


def annotations(path: str) -> Annotations:
    """The index of a file, made once for each process and state of the file.

    Raises:
        ValueError, OSError: as ``read``.
    """
    state = os.stat(path)
    return _opened(os.path.abspath(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4)
def _opened(path: str, size: int, changed: int) -> Annotations:
    # Kept open as long as the index, for the numbers.
    file = open(path, "rb")  # noqa: SIM115
    try:
        return _checked(load(file))
    except BaseException:
        file.close()
        raise


def _checked(content: Any) -> Annotations:
    if type(content) is not dict or not {"split", "annotations"} <= set(content):
        has = ", ".join(map(str, list(content)[:NAMED])) if type(content) is dict else f"a {type(content).__name__}"
        raise ValueError(f"expected a dict with 'split' and 'annotations', found {has}")
    splits, rows = content["split"], content["annotations"]
    if type(splits) is not dict or not all(
        type(names) is list and all(type(name) is str for name in names) for names in splits.values()
    ):
        raise ValueError("split: expected lists of names of clips, by the name of the split")
    if type(rows) is not list:
        raise ValueError(f"annotations: expected a list, found a {type(rows).__name__}")
    clips: dict[str, Annotation | str] = {}
    for number, row in enumerate(rows):
        name = row.get("frame_dir") if type(row) is dict else None
        if type(name) is not str:
            raise ValueError(f"annotations[{number}]: expected a dict with a frame_dir")
        clips[name] = _annotation(row) if name not in clips else "has two annotations"
    return Annotations({str(name): names for name, names in splits.items()}, clips)


def _annotation(row: Mapping[str, Any]) -> Annotation | str:
    label, keypoint, score = row.get("label"), row.get("keypoint"), row.get("keypoint_score")
    if type(label) is not int:
        return f"its label is a {type(label).__name__}; expected a class number"
    if not isinstance(keypoint, StoredArray):
        return "has no keypoint array; coordinates in other files, as those of Kinetics, are not read"
    picture = row.get("img_shape")
    known = isinstance(picture, tuple | list) and len(picture) == 2 and all(type(size) is int for size in picture)
    size = (picture[0], picture[1]) if known and picture else None
    return Annotation(label, keypoint, score if isinstance(score, StoredArray) else None, size)

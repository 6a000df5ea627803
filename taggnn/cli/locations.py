"""Where the files of a configuration are: relative paths start from the folder in which the run began.

A run folder's config.yaml records that folder, so that a run can be resumed, and its configuration used again, from anywhere.
"""

import os
from collections.abc import Collection, Mapping, Sequence

from jsonargparse import Namespace

# Keys of files and folders.
_PATHS = ("data.root", "data.annotations", "data.tokens", "data.fold", "video.frame_cache")
# Keys of paths that may mean something else: a file in the root, names, official weights.
_PERHAPS = ("data.train_list", "data.val_list", "data.test_list", "data.classes", "art.bank", "backbone.weights")
# Keys that a resumed run may get anew, because its data were moved.
MOVABLE = (*_PATHS, *_PERHAPS[:-1])


def settle(settings: Namespace, given: Collection[str] = ()) -> None:
    """Makes the paths of a configuration that began in another folder absolute, and records the present folder in it.

    Args:
        settings: the configuration; its key ``working_dir`` is where relative paths start from.
        given: keys that were given here, and so start from the present folder.
    """
    here, began = os.getcwd(), settings.working_dir
    if began is not None and os.path.realpath(began) != os.path.realpath(here):
        for key in (*_PATHS, *_PERHAPS):
            value = settings[key]
            if key in given or not isinstance(value, str):
                continue
            path = os.path.join(began, value)
            if key in _PATHS or os.path.exists(path):
                settings[key] = path
    # A YAML file cannot hold the name of a folder that is no UTF-8.
    settings.working_dir = here if here.isprintable() else None


def comparable(flat: Mapping[str, object]) -> dict[str, object]:
    """A flat configuration whose paths can be compared with those of another one."""
    there = {
        key: os.path.abspath(value)
        for key, value in flat.items()
        if isinstance(value, str) and (key in _PATHS or (key in _PERHAPS and os.path.exists(value)))
    }
    return {**flat, **there}


def moved(words: Sequence[str]) -> dict[str, str]:
    """The run folder and the new locations on a command line of ``--resume``: key -> value.

    Raises:
        ValueError: another option.
    """
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    pairs = dict(zip(parts[::2], parts[1::2], strict=False))
    keys = [f"--{key}" for key in ("resume", *MOVABLE)]
    if len(parts) % 2 or 2 * len(pairs) != len(parts) or not set(pairs) <= set(keys):
        raise ValueError(
            "--resume takes the run folder and nothing else, since a run is resumed with the configuration it began with; only "
            f"where moved data are now can be given: {', '.join(keys[1:])}"
        )
    return {option.removeprefix("--"): value for option, value in pairs.items()}

"""An index of the files below a folder, from one walk: clips by the stem of their name, other files by their name."""

import os
from collections.abc import Collection
from pathlib import Path

from tqdm import tqdm

from taggnn.data.clips import NAMED
from taggnn.data.image_folders import is_image
from taggnn.data.video.formats import VIDEO_ENDINGS, takes_frame_folders

# Files with such an ending may be lists even where clips have it too.
_LISTS = (".txt", ".csv", ".json")


class FileIndex:
    """The files below the root and, if separate, below a folder of annotations.

    All depths are searched, and links to folders followed, each folder once. A folder of images is a clip, its name the stem.
    Hidden files and folders are left out. Names may begin with - or _. Of two clips with one name the less deep is used, then
    the first by its path, independently of the order of the file system.

    Args:
        root: folder of the clips.
        annotations: folder of the publisher's lists; None: below the root.
        endings: extensions of the clips, in lower case with the dot.
    """

    def __init__(self, root: Path, annotations: Path | None = None, endings: Collection[str] = VIDEO_ENDINGS):
        self.root, self.annotations, self.endings = root, annotations or root, frozenset(endings)
        # Strings, not Path objects, whose construction would take as long as the walk.
        self._clips: dict[str, list[str]] = {}
        self._files: dict[str, list[str]] = {}
        # Folders without read permission.
        self.unreadable: list[str] = []
        # Links without a target; a clip behind one is missing.
        self.dangling: list[str] = []
        # Requested clips with several files: their paths, the one that is used first.
        self.duplicates: dict[str, list[str]] = {}
        self._walk(root, clips=True)
        if annotations is not None:
            # Lists in the given folder, not in the root.
            self._files = {}
            self._walk(annotations, clips=False)

    def __len__(self) -> int:
        """Number of clips below the root."""
        return sum(map(len, self._clips.values()))

    def clip(self, stem: str, folder: str | None = None) -> Path | None:
        """The clip with this stem; of several, one directly in a folder with the given name."""
        paths = self._clips.get(stem)
        if not paths:
            return None
        if len(paths) > 1:
            inside = [path for path in paths if folder and os.path.basename(os.path.dirname(path)) == folder]
            paths = sorted(inside or paths, key=_depth)
            if len(paths) > 1:
                self.duplicates[paths[0]] = paths
        return Path(paths[0])

    def clips(self, stem: str) -> list[Path]:
        """Every clip with this stem, the less deep first."""
        return [Path(path) for path in sorted(self._clips.get(stem, ()), key=_depth)]

    def stems(self) -> list[str]:
        """The stems of the clips, sorted."""
        return sorted(self._clips)

    def ending_in(self, *endings: str) -> list[Path]:
        """The clips with one of these endings, the less deep first."""
        found = [path for paths in self._clips.values() for path in paths if path.lower().endswith(endings)]
        return [Path(path) for path in sorted(found, key=_depth)]

    def clips_by_folder(self) -> dict[str, list[tuple[str, Path]]]:
        """Folder name -> (stem, path) of the clips directly in it, sorted by stem."""
        found: dict[str, list[tuple[str, Path]]] = {}
        for stem, paths in self._clips.items():
            for path in paths:
                found.setdefault(os.path.basename(os.path.dirname(path)), []).append((stem, Path(path)))
        return {folder: sorted(found[folder]) for folder in sorted(found)}

    def file(self, *names: str) -> Path | None:
        """The list file with the first of these names that exists."""
        for name in names:
            if name in self._files:
                return Path(min(self._files[name], key=_depth))
        return None

    def named(self, name: str) -> list[Path]:
        """Every list file with this name, the less deep first."""
        return [Path(path) for path in sorted(self._files.get(name, ()), key=_depth)]

    def files(self, ending: str) -> list[Path]:
        """The list files with this name ending, sorted by name; one of several with the same name."""
        return [Path(min(self._files[name], key=_depth)) for name in sorted(self._files) if name.endswith(ending)]

    def require(self, what: str, *names: str) -> Path:
        """As ``file``, for a required file.

        Raises:
            FileNotFoundError: if it does not exist; the message names the existing files.
        """
        found = self.file(*names)
        if found is None:
            wanted = " or ".join(names[:NAMED])
            raise FileNotFoundError(f"{what}: no {wanted} below {self.annotations}; {self.describe()}")
        return found

    def describe(self) -> str:
        """The existing files, for a message: names of the lists, number of the clips."""
        lists = sorted(
            name for name in self._files if name.endswith(_LISTS) and os.path.splitext(name)[0] not in self._clips
        )
        more = f" and {len(lists) - NAMED} more" if len(lists) > NAMED else ""
        held = (
            f"there are the lists {', '.join(lists[:NAMED])}{more}" if lists else "there is no list (.txt .csv .json)"
        )
        hint = "" if self.annotations != self.root else "; for lists in another folder give --data.annotations"
        kind = "videos" if self.endings == VIDEO_ENDINGS else f"files {' '.join(sorted(self.endings))}"
        return f"{held}, and {len(self):,} {kind} below {self.root}{hint}"

    def _walk(self, top: Path, clips: bool) -> None:
        # Links last: a folder that is reached without one has that path.
        folders, links = [str(top)], list[str]()
        seen: set[str] = set()
        # A slow disk takes minutes; the progress bar appears only then.
        with tqdm(desc=f"searching {top}", unit="file", delay=2, leave=False, disable=None) as bar:
            while folders or links:
                folder = folders.pop() if folders else links.pop()
                real = os.path.realpath(folder)
                if real in seen:
                    continue
                seen.add(real)
                entries = self._entries(folder)
                if clips and folder != str(top) and self._holds_frames(entries):
                    self._clips.setdefault(os.path.basename(folder), []).append(folder)
                    continue
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        (links if entry.is_symlink() else folders).append(entry.path)
                        continue
                    bar.update()
                    if entry.is_symlink() and not entry.is_file():
                        self.dangling.append(entry.path)
                        continue
                    stem, ending = os.path.splitext(entry.name)
                    ending = ending.lower()
                    known = ending in self.endings
                    if known and clips:
                        self._clips.setdefault(stem, []).append(entry.path)
                    if not known or ending in _LISTS:
                        self._files.setdefault(entry.name, []).append(entry.path)

    def _holds_frames(self, entries: list[os.DirEntry]) -> bool:
        """Whether a folder is a clip: images, and neither a video nor a list in it."""
        if not takes_frame_folders(self.endings):
            return False
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
        others = any(os.path.splitext(name)[1].lower() in (*self.endings, *_LISTS) for name in names)
        return not others and any(map(is_image, names))

    def _entries(self, folder: str) -> list[os.DirEntry]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except PermissionError:
            # Such as lost+found, where the root is a mount point.
            self.unreadable.append(folder)
            return []


def _depth(path: str) -> tuple[int, str]:
    return path.count(os.sep), path

"""What lies below a folder, from one walk: videos by the stem of their name, all other files by their name."""

import os
from pathlib import Path

from tqdm import tqdm

from taggnn.data.clips import NAMED
from taggnn.data.lists.folders import VIDEO_ENDINGS


class FileIndex:
    """The files below the root and, where they lie apart, below a folder of annotations.

    Every depth counts, and links to folders are followed, each folder once. Hidden files and folders are left out. Names may
    begin with - or _. Which of two videos of one name is used does not depend on the order of the file system: the one that lies
    less deep, then the first by its path.

    Args:
        root: folder of the videos.
        annotations: folder of the publisher's lists; None looks for them below the root.
    """

    def __init__(self, root: Path, annotations: Path | None = None):
        self.root, self.annotations = root, annotations or root
        # Text, not Path objects: building those would take as long as the walk.
        self._videos: dict[str, list[str]] = {}
        self._files: dict[str, list[str]] = {}
        # Folders that may not be read.
        self.unreadable: list[str] = []
        # Videos that were asked for and lie there more than once: their places, the one that is used first.
        self.duplicates: dict[str, list[str]] = {}
        self._walk(root, videos=True)
        if annotations is not None:
            # What lies in the folder that was named wins over what lies in the root.
            self._files = {}
            self._walk(annotations, videos=False)

    @property
    def videos(self) -> int:
        """Number of video files below the root."""
        return sum(map(len, self._videos.values()))

    def video(self, stem: str, folder: str | None = None) -> Path | None:
        """The video whose name without its ending is ``stem``; of several, one directly in a folder of the name given."""
        places = self._videos.get(stem)
        if not places:
            return None
        if len(places) > 1:
            inside = [place for place in places if folder and os.path.basename(os.path.dirname(place)) == folder]
            places = sorted(inside or places, key=_depth)
            if len(places) > 1:
                self.duplicates[places[0]] = places
        return Path(places[0])

    def videos_by_folder(self) -> dict[str, list[tuple[str, Path]]]:
        """Folder name -> (stem, path) of the videos directly in it, in the order of their stems."""
        found: dict[str, list[tuple[str, Path]]] = {}
        for stem, places in self._videos.items():
            for place in places:
                found.setdefault(os.path.basename(os.path.dirname(place)), []).append((stem, Path(place)))
        return {folder: sorted(found[folder]) for folder in sorted(found)}

    def file(self, *names: str) -> Path | None:
        """The list file of the first of these names that is there."""
        for name in names:
            if name in self._files:
                return Path(min(self._files[name], key=_depth))
        return None

    def files(self, ending: str) -> list[Path]:
        """The list files whose names end so, sorted by name; of several of one name one."""
        return [Path(min(self._files[name], key=_depth)) for name in sorted(self._files) if name.endswith(ending)]

    def require(self, what: str, *names: str) -> Path:
        """As ``file``, for a file that cannot be done without.

        Raises:
            FileNotFoundError: if it is not there; the message says what is.
        """
        found = self.file(*names)
        if found is None:
            wanted = " or ".join(names[:NAMED])
            raise FileNotFoundError(f"{what}: no {wanted} below {self.annotations}; {self.describe()}")
        return found

    def describe(self) -> str:
        """What lies there, for an error: the lists by name, the videos by number."""
        lists = sorted(name for name in self._files if name.endswith((".txt", ".csv", ".json")))
        more = f" and {len(lists) - NAMED} more" if len(lists) > NAMED else ""
        held = (
            f"there are the lists {', '.join(lists[:NAMED])}{more}" if lists else "there is no list (.txt .csv .json)"
        )
        hint = "" if self.annotations != self.root else "; lists in another folder are found with --data.annotations"
        return f"{held}, and {self.videos:,} videos below {self.root}{hint}"

    def _walk(self, top: Path, videos: bool) -> None:
        # Links last: a folder that is reached without one is known by that path.
        folders, links, seen = [str(top)], [], set()
        # On a disk that is slow to answer this takes minutes; a bar shows up only then.
        with tqdm(desc=f"looking through {top}", unit="file", delay=2, leave=False, disable=None) as bar:
            while folders or links:
                folder = folders.pop() if folders else links.pop()
                real = os.path.realpath(folder)
                if real in seen:
                    continue
                seen.add(real)
                for entry in self._entries(folder):
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        (links if entry.is_symlink() else folders).append(entry.path)
                        continue
                    bar.update()
                    stem, ending = os.path.splitext(entry.name)
                    if ending.lower() not in VIDEO_ENDINGS:
                        self._files.setdefault(entry.name, []).append(entry.path)
                    elif videos:
                        self._videos.setdefault(stem, []).append(entry.path)

    def _entries(self, folder: str) -> list[os.DirEntry]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except PermissionError:
            # Such as lost+found, where the root is a disk of its own.
            self.unreadable.append(folder)
            return []


def _depth(place: str) -> tuple[int, str]:
    return place.count(os.sep), place

"""Which videos become which files of skeletons."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taggnn.data.lists.tree import below, left_out
from taggnn.data.video.formats import VIDEO_ENDINGS

ENDING = ".npz"


@dataclass(frozen=True)
class Job:
    """A video, and what is made of it.

    Args:
        video: the file.
        name: of the clip, relative to the folder of the skeletons.
        target: the file of its skeletons.
        overlay: the video with skeletons drawn into it; ``None`` where none is wanted.
    """

    video: Path
    name: str
    target: Path
    overlay: Path | None


def jobs_of(given: Sequence[str], out: Path, overlay: Path | None) -> tuple[list[Job], list[str]]:
    """The work for files and folders of videos: what is below a folder keeps its folders, so that class folders stay.

    Args:
        given: files and folders.
        out: folder of the skeletons.
        overlay: folder of the videos with skeletons drawn into them; ``None`` for none.

    Returns:
        The jobs, and sentences on files that were left out.

    Raises:
        FileNotFoundError: something given is not there.
        ValueError: no video, two that would become one file, or an overlay folder whose videos would be taken for input.
    """
    jobs: list[Job] = []
    notes: list[str] = []
    for path in map(Path, given):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        root, videos = path.parent, [path]
        if path.is_dir():
            if overlay is not None and overlay.resolve().is_relative_to(path.resolve()):
                raise ValueError(
                    f"--overlay {overlay}: lies in {path}, whose videos are read; give a folder outside of it"
                )
            tree = below(path, VIDEO_ENDINGS, images=False)
            root, videos = path, tree.files
            notes += [f"{path}: {note}" for note in left_out([tree], "video")]
        for video in videos:
            name = video.relative_to(root).with_suffix(ENDING).as_posix()
            drawn = None if overlay is None else (overlay / name).with_suffix(".mp4")
            jobs.append(Job(video, name, out / name, drawn))
    if not jobs:
        raise ValueError(f"{given[0]}: no video in it{''.join(f'; {note}' for note in notes)}")
    first: dict[str, Path] = {}
    for job in jobs:
        other = first.setdefault(job.name, job.video)
        if other != job.video:
            raise ValueError(
                f"{job.video} and {other} would both become {job.target}; rename one, or give another --out"
            )
    return list({job.name: job for job in jobs}.values()), notes

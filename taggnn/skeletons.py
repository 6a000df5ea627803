"""``python -m taggnn.skeletons VIDEOS --task FILE --out DIR``: the skeletons of one's own videos, as a set to train on.

MediaPipe finds the landmarks (pip install 'taggnn[pose]'); the joints are those of a published skeleton. Class folders stay.
The same command resumes an interrupted extraction and ends with the same bytes.

Exit code 0: every video has skeletons. 1: some could not be read or show no body; they are in skipped.csv. 2: a mistake in the
command.
"""

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.data.lists.tree import some
from taggnn.data.skeleton.pose import extraction, landmarker
from taggnn.data.skeleton.pose.files import Job, jobs_of
from taggnn.data.skeleton.pose.mapping import AVERAGES, COORDINATES, USUAL, landmarks_of
from taggnn.data.video.reading import VideoError
from taggnn.evaluation.predictions import Skipped, write_skipped
from taggnn.io.run_folder import writable
from taggnn.runtime.printable import one_line

# Bad videos named on the screen; skipped.csv has all.
NAMED = 5


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    landmarks_of(given.skeleton)
    if given.persons < 1:
        raise ValueError(f"--persons {given.persons}: must be 1 or more")
    if not 0 <= given.confidence <= 1:
        raise ValueError(f"--confidence {given.confidence}: must be between 0 and 1")
    if given.short_side is not None and given.short_side < 1:
        raise ValueError(f"--short_side {given.short_side}: must be 1 or more")
    task, out = Path(given.task), Path(given.out)
    landmarker.check_task(task)
    jobs, notes = jobs_of(given.videos, out, Path(given.overlay) if given.overlay else None)
    landmarker.import_mediapipe()
    settings = extraction.settings_of(
        task,
        skeleton=given.skeleton,
        coordinates=given.coordinates or USUAL[given.skeleton],
        **{key: given[key] for key in ("persons", "confidence", "overlapping", "short_side")},
    )
    left = [job for job in jobs if not _is_done(job, settings)]
    writable(out)
    for note in notes:
        print(one_line(note))
    done = f"; {len(jobs) - len(left)} are done already" if len(left) < len(jobs) else ""
    print(f"videos    {len(jobs):,}{done}")
    people = "1 person" if given.persons == 1 else f"{given.persons} persons"
    print(f"skeleton  {settings.skeleton}, {settings.coordinates}, at most {people}")
    opened = partial(landmarker.mediapipe_landmarker, task, given.persons, given.confidence)
    skipped: list[Skipped] = []
    sparse: list[str] = []
    started, frames, found = time.perf_counter(), 0, 0
    try:
        for job in tqdm(left, desc="skeletons", unit="video", file=sys.stderr, disable=None):
            try:
                one = extraction.skeletons_of(job.video, opened, settings, job.overlay)
            except (VideoError, extraction.NoBody) as error:
                reason = error.reason if isinstance(error, VideoError) else str(error)
                skipped.append(Skipped(job.name, str(job.video), "", reason))
                continue
            extraction.write(job.target, one, settings, job.video)
            if 2 * one.with_body < one.sequence.coordinates.shape[1]:
                sparse.append(f"{job.name}: {one.with_body} of {one.sequence.coordinates.shape[1]}")
            frames, found = frames + one.sequence.coordinates.shape[1], found + one.with_body
            if given.verbose:
                tqdm.write(one_line(_line(job, one)), file=sys.stdout)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command resumes from here") from None
    write_skipped(out / "skipped.csv", skipped)
    if frames:
        seconds = time.perf_counter() - started
        print(f"found     a body in {found:,} of {frames:,} frames; {frames / seconds:.1f} frames/s")
    if sparse:
        print(one_line(f"sparse    {len(sparse)} videos show a body in less than half of their frames: {some(sparse)}"))
    for row in skipped[:NAMED]:
        print(one_line(f"skipped   {row.path}: {row.reason}"))
    if len(skipped) > NAMED:
        print(f"          and {len(skipped) - NAMED} more, see {out / 'skipped.csv'}")
    print(f"out       {out}")
    return 1 if skipped else 0


def _is_done(job: Job, settings: extraction.Settings) -> bool:
    drawn = job.overlay is None or job.overlay.is_file()
    return extraction.is_done(job.target, settings, job.video) and drawn


def _line(job: Job, found: extraction.Found) -> str:
    persons, frames = len(found.frames), found.sequence.coordinates.shape[1]
    each = ", ".join(map(str, found.frames))
    return f"{job.name}: a body in {found.with_body} of {frames} frames; {persons} person{'s' if persons > 1 else ''} ({each})"


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.skeletons",
        description=f"Finds the skeletons in videos with MediaPipe. For --task {landmarker.WHERE}.",
    )
    add, option = built.add_argument, built.option
    add("videos", nargs="+", type=str, help="videos, or folders of them; class folders stay")
    add("--task", type=str, required=True, help="MediaPipe's pose_landmarker_full.task (or _lite, _heavy)")
    add("--out", type=str, required=True, help="folder of the skeletons; an unfinished one is resumed")
    option("--skeleton", str, "ntu", f"whose joints: {', '.join(AVERAGES)}")
    option(
        "--coordinates",
        Literal[COORDINATES] | None,
        None,
        "metres: 3-D around the hips, in Kinect's axes; pixels: 2-D in the picture; null: what data of that skeleton have",
    )
    option("--persons", int, 2, "persons that are kept, at most")
    option("--confidence", float, 0.5, "lowest confidence of a body, 0 to 1")
    option(
        "--overlapping",
        bool,
        False,
        "keep bodies within the box of a larger one; false: a second finding of that person",
    )
    option("--short_side", int | None, None, "scale pictures to this shorter side first; null: as they are")
    option("--overlay", str | None, None, "folder of MP4 files with the skeletons drawn into the videos, to look at")
    option("--verbose", bool, False, "a line for each video")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.skeletons"))

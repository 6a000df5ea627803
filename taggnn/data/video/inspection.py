"""How a check examines video files, and folders of images."""

from taggnn.data.audit.inspection import Inspection
from taggnn.data.audit.probe import VideoInfo
from taggnn.data.video.container import import_av


def video_inspection(frame_rate: float | None = None) -> Inspection:
    """The inspection of videos.

    Args:
        frame_rate: frames a second of folders of images; None (default) where it is not stated.
    """
    stated = [] if frame_rate is None else [repr(frame_rate)]
    rate = f", images {frame_rate:g} a second" if frame_rate is not None else ""
    return Inspection(
        facts=VideoInfo,
        module="taggnn.data.audit.scan",
        arguments=tuple(stated),
        reader=lambda: f"PyAV {import_av().__version__}{rate}",
        depths={"packets": "every packet read, no picture decoded", "decode": "every picture decoded"},
        same="Videos count as the same when their coded pictures are equal, byte for byte, and folders of images when all their "
        "files are; the same scene coded anew, scaled or cut into another file is not recognised.",
    )


VIDEO = video_inspection()

"""How a check examines video files."""

from taggnn.data.audit.inspection import Inspection
from taggnn.data.audit.probe import VideoInfo
from taggnn.data.video.container import import_av

VIDEO = Inspection(
    facts=VideoInfo,
    module="taggnn.data.audit.scan",
    reader=lambda: f"PyAV {import_av().__version__}",
    depths={"packets": "every packet read, no picture decoded", "decode": "every picture decoded"},
    same="Videos count as the same when their coded pictures are equal, byte for byte; the same scene coded anew, scaled or cut "
    "into another file is not recognised.",
)

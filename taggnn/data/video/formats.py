"""The containers that are read, by the names of FFmpeg's demuxers, and the file name endings that are taken for videos.

The list is closed: FFmpeg also knows playlists (concat, hls, dash, image2, sdp ...), which open other files and addresses that
their text names. A file's content decides its container, whatever its name, so a playlist named ``.mp4`` is refused too.
"""

from collections.abc import Collection

# demuxer -> usual endings
CONTAINERS: dict[str, tuple[str, ...]] = {
    "mov": (".mp4", ".mov", ".m4v", ".qt", ".3gp", ".3g2", ".f4v", ".mj2", ".ismv", ".insv", ".lrv"),
    "matroska": (".mkv", ".webm", ".mk3d"),
    "avi": (".avi", ".divx", ".xvid"),
    "mpegts": (".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp", ".tod"),
    "mpeg": (".mpg", ".mpeg", ".mpe", ".vob", ".mod"),
    "mpegvideo": (".m1v", ".m2v", ".mpv"),
    "asf": (".wmv", ".asf"),
    "flv": (".flv",),
    "live_flv": (),
    "ogg": (".ogv", ".ogm"),
    "gif": (".gif",),
    "apng": (),
    "mxf": (".mxf",),
    "wtv": (".wtv",),
    "nut": (".nut",),
    "ivf": (".ivf",),
    "rm": (".rm", ".rmvb"),
    "dv": (".dv", ".dif"),
    "gxf": (".gxf",),
    "dhav": (".dav",),
    "nsv": (".nsv",),
    "nuv": (".nuv",),
    "ty": (".ty",),
    "pva": (".pva",),
    "cine": (".cine",),
    "swf": (),
    "yuv4mpegpipe": (".y4m",),
    "mjpeg": (".mjpeg", ".mjpg"),
    "m4v": (),
    "h261": (".h261",),
    "h263": (".h263",),
    "h264": (".h264", ".264", ".avc"),
    "hevc": (".hevc", ".h265", ".265"),
    "vvc": (".vvc", ".h266", ".266"),
    "av1": (),
    "obu": (".obu",),
    "vc1": (".vc1",),
    "dirac": (".drc",),
}
# What counts as a video in a folder, in lower case.
VIDEO_ENDINGS = frozenset(ending for endings in CONTAINERS.values() for ending in endings)
# What counts as a frame in a folder of images, which is one clip.
IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def takes_frame_folders(endings: Collection[str]) -> bool:
    """Whether clips with these endings are videos, so that a folder of images is one, too."""
    return ".mp4" in endings

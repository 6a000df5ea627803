"""Only containers of the closed list are opened: a playlist in disguise opens no neighbour."""

import os
import threading

import pytest

from taggnn.data.lists.tree import below
from taggnn.data.video.formats import CONTAINERS, VIDEO_ENDINGS
from taggnn.data.video.reading import VideoError, frame_times

av = pytest.importorskip("av")

PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {}\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>{}</BaseURL><SegmentBase/>'
    "</Representation></AdaptationSet></Period></MPD>\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "text": "no video at all\n" * 20,
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("ending", [".mp4", ".ts"])
def test_a_playlist_is_no_video(kind, ending, write_video, tmp_path):
    write_video(tmp_path / "neighbour.ts")
    path = tmp_path / f"list{ending}"
    path.write_text(PLAYLISTS[kind].format("neighbour.ts"))
    with pytest.raises(VideoError, match="not a video") as caught:
        frame_times(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("kind", ["ffconcat", "hls", "dash"])
def test_a_fifo_next_to_a_playlist_is_never_opened(kind, tmp_path):
    os.mkfifo(tmp_path / "neighbour.ts")
    path = tmp_path / "list.mp4"
    path.write_text(PLAYLISTS[kind].format("neighbour.ts"))
    errors = []

    def read():
        try:
            frame_times(path)
        except VideoError as error:
            errors.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    assert len(errors) == 1


def test_a_fifo_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="not a file"):
        frame_times(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_one_that_ffmpeg_reads_and_no_playlist(name):
    assert av.format.ContainerFormat(name, "r").is_input
    assert name not in {"concat", "hls", "dash", "image2", "sdp", "rtsp", "tty", "lavfi", "imf", "mlv", "vobsub"}


@pytest.mark.parametrize(
    ("ending", "codec", "container"),
    [
        (".MTS", "libx264", "mpegts"), (".m2ts", "libx264", "mpegts"), (".ASF", "mpeg4", "asf"), (".vob", "mpeg2video", "vob"),
        (".f4v", "libx264", "f4v"), (".3g2", "libx264", "3g2"), (".mxf", "mpeg2video", "mxf"), (".nut", "mpeg4", "nut"),
        (".h264", "libx264", "h264"), (".m2v", "mpeg2video", "mpeg2video"), (".y4m", "rawvideo", "yuv4mpegpipe"),
        (".wtv", "mpeg2video", "wtv"), (".webm", "libvpx", "webm"), (".mjpeg", "mjpeg", "mjpeg"), (".qt", "mpeg4", "mov"),
    ],
)  # fmt: skip
def test_what_ffmpeg_takes_is_found_in_folders_and_read(ending, codec, container, tmp_path):
    path = tmp_path / f"a{ending}"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(6):
            frame = av.VideoFrame(64, 48, stream.pix_fmt)
            for plane in frame.planes:
                plane.update(bytes([40 * number]) * plane.buffer_size)
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert below(tmp_path, VIDEO_ENDINGS).files == [path]
    assert len(frame_times(path).times) == 6


def test_the_endings_are_lower_case_and_of_one_container_each():
    endings = [ending for row in CONTAINERS.values() for ending in row]
    assert len(endings) == len(set(endings)) == len(VIDEO_ENDINGS)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)

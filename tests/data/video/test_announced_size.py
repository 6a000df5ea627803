import struct

import pytest

from taggnn.data.video.announced_size import announced_bytes

FORMATS = {
    "mp4": ("libx264", {}),
    "mp4-fragmented": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "mkv": ("libx264", {}),
    "webm": ("libvpx-vp9", {}),
    "avi": ("mpeg4", {}),
    "gif": ("gif", {}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write_video):
    folder = tmp_path_factory.mktemp("whole")

    def write(kind):
        codec, options = FORMATS[kind]
        path = folder / f"clip.{kind.split('-')[0]}"
        pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        return write_video(path, codec, frames=5, pix_fmt=pix_fmt, container_options=options).read_bytes()

    return {kind: write(kind) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_is_as_long_as_announced(kind, whole, tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(whole[kind])
    # The eight bytes of leeway are for AVI writers that count the head of the chunk.
    assert announced_bytes(path) == len(whole[kind]) - (8 if kind == "avi" else 0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("missing", [9, 60, 177, 0.8, 0.5])
def test_a_shortened_file_announces_more(kind, missing, whole, tmp_path):
    data = whole[kind]
    rest = len(data) - missing if missing > 1 else int(len(data) * missing)
    path = tmp_path / "clip"
    path.write_bytes(data[:rest])
    assert announced_bytes(path) > rest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text, not a video at all",
        b"\x47" * 188,
        b"RIFF" + bytes(4) + b"AVI " + bytes(40),
        b"RIFF" + b"\xff" * 4 + b"AVI " + bytes(40),
        b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(9),
        b"\x1a\x45\xdf\xa3\x82abXXXX\x81a",
        b"\x1a\x45\xdf\xa3\x00",
    ],
    ids=["empty", "text", "transport-stream", "open-avi", "open-avi-ones", "live-mkv", "no-segment", "bad-vint"],
)
def test_what_announces_nothing_is_left_alone(data, tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(data)
    assert announced_bytes(path) is None


def test_boxes_of_64_bits_open_ends_and_appended_junk(tmp_path):
    path = tmp_path / "clip"
    head = struct.pack(">I4s8x", 16, b"ftyp")
    path.write_bytes(head + struct.pack(">I4sQ", 1, b"mdat", 2**33))
    assert announced_bytes(path) == 16 + 2**33
    path.write_bytes(head + struct.pack(">I4s", 0, b"mdat") + bytes(50))
    assert announced_bytes(path) <= 74
    path.write_bytes(head + b"\xff\xff\xff\xffjunk" + bytes(9))
    assert announced_bytes(path) == 16


def test_gif_padding_is_no_loss(whole, tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(whole["gif"] + bytes(50))
    assert announced_bytes(path) == len(whole["gif"])
    path.write_bytes(whole["gif"][:-1] + bytes(50))
    assert announced_bytes(path) == len(whole["gif"]) + 49
    path.write_bytes(whole["gif"][:11])
    assert announced_bytes(path) > 11


def test_avi_of_several_chunks_is_followed_to_the_last(tmp_path):
    path = tmp_path / "clip"
    first = b"RIFF" + struct.pack("<I", 20) + b"AVI " + bytes(16)
    path.write_bytes(first + b"RIFF" + struct.pack("<I", 500) + b"AVIX" + bytes(16))
    assert announced_bytes(path) == 28 + 500

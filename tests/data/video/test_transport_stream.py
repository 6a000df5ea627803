"""Transport streams that were joined, or lost a packet: what is there is read as it is, and what is missing is named."""

from fractions import Fraction

import pytest
import torch

from taggnn.data.audit.probe import probe
from taggnn.data.video.reading import VideoError, frame_times, read_frames
from taggnn.data.video.transport_stream import gaps

av = pytest.importorskip("av")
CODECS = [("libx264", 0), ("libx264", 3), ("mpeg2video", 0), ("mpeg2video", 2), ("mpeg4", 0)]


def video_pid(path):
    with av.open(str(path)) as source:
        return source.streams.video[0].id


def of_video(data, pid):
    """Offsets of the packets of one stream, and whether a unit begins in each."""
    return [
        (at, bool(data[at + 1] & 0x40))
        for at in range(0, len(data), 188)
        if (data[at + 1] & 31) << 8 | data[at + 2] == pid
    ]


def blu_ray(data):
    """With a time code of four bytes before every packet, as .m2ts has it."""
    return b"".join(bytes(4) + data[at : at + 188] for at in range(0, len(data), 188))


@pytest.fixture(params=CODECS, ids=lambda row: f"{row[0]}-{row[1]}")
def stream(request, write_video, tmp_path):
    codec, b_frames = request.param
    return write_video(
        tmp_path / "a.ts", codec, frames=24, b_frames=b_frames, height=96, width=128, options={"b": "900k"}
    )


@pytest.mark.parametrize("layout", [bytes, blu_ray])
def test_joined_streams_are_read_one_after_the_other(stream, decode_all, tmp_path, layout):
    data, expected = stream.read_bytes(), decode_all(stream)
    path = tmp_path / "joined.m2ts"
    path.write_bytes(layout(data + data + data))
    found = frame_times(path)
    assert (len(found.times), found.damage, found.lost, found.holes) == (72, "", (), ())
    assert found.times == pytest.approx([k / 10 for k in range(72)], abs=0.03)
    assert torch.equal(read_frames(path, range), torch.cat([expected] * 3))
    assert torch.equal(read_frames(path, range, start=2.35, stop=3.35), expected[:10])
    assert not probe(str(path)).damage
    assert not probe(str(path), depth="decode").corrupt


def test_segments_whose_times_go_on_are_joined_without_a_mark(write_video, decode_all, tmp_path):
    parts = []
    for number in range(3):
        stamps = [12 * number + t for t in range(12)]
        parts.append(write_video(tmp_path / f"{number}.ts", frames=12, first=12 * number, stamps=stamps))
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(frame_times(path).times) == 36
    assert torch.equal(read_frames(path, range), torch.cat([decode_all(part) for part in parts]))


def test_joined_streams_of_two_sizes_are_refused_only_across_the_join(write_video, decode_all, tmp_path):
    small, large = (write_video(tmp_path / f"{size}.ts", height=size, width=64) for size in (48, 64))
    path = tmp_path / "joined.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(VideoError, match="64 x 48 to 64 x 64 at frame 12"):
        read_frames(path, range)
    assert torch.equal(read_frames(path, lambda n: range(12, 24)), decode_all(large))


def lose(path, target, number, count=1):
    """Leaves out packets of the video, from the one with an index on."""
    data = path.read_bytes()
    left = {at for at, _ in of_video(data, video_pid(path))[number : number + count]}
    target.write_bytes(b"".join(data[at : at + 188] for at in range(0, len(data), 188) if at not in left))
    return target


def test_one_lost_packet_costs_the_frames_that_lack_it_alone(stream, decode_all, tmp_path):
    expected, data = decode_all(stream), stream.read_bytes()
    packets = of_video(data, video_pid(stream))
    # In the middle of the unit of the ninth picture.
    begins = [k for k, (_, begin) in enumerate(packets) if begin]
    assert begins[9] - begins[8] > 1
    path = lose(stream, tmp_path / "lost.ts", begins[8] + 1)
    timeline = frame_times(path)
    if not timeline.lost:
        pytest.skip("this FFmpeg marks no packet")
    usable = [k for k in range(24) if not timeline.is_lost(k)]
    assert len(timeline.times) == 24
    assert len(usable) >= 12
    for index in usable:
        assert torch.equal(read_frames(path, lambda n, index=index: [index]), expected[index : index + 1])
    lost = next(k for k in range(24) if timeline.is_lost(k))
    with pytest.raises(VideoError, match=f"missing at frame {lost} of 24"):
        read_frames(path, range)
    assert probe(str(path)).corrupt


def test_a_lost_beginning_of_a_unit(stream, decode_all, tmp_path):
    expected, data = decode_all(stream), stream.read_bytes()
    begins = [k for k, (_, begin) in enumerate(of_video(data, video_pid(stream))) if begin]
    path = lose(stream, tmp_path / "lost.ts", begins[8])
    with pytest.raises(VideoError, match="damaged"):
        read_frames(path, range)
    # Before it nothing is missing.
    assert torch.equal(read_frames(path, lambda n: [0, 3]), expected[[0, 3]])


def test_whole_lost_pictures_are_a_hole(stream, decode_all, tmp_path):
    expected, data = decode_all(stream), stream.read_bytes()
    begins = [k for k, (_, begin) in enumerate(of_video(data, video_pid(stream))) if begin]
    # The counter has four bits.
    last = next(k for k in (12, 11, 10) if (begins[k] - begins[6]) % 16)
    path = lose(stream, tmp_path / "hole.ts", begins[6], begins[last] - begins[6])
    with pytest.raises(VideoError, match="missing"):
        read_frames(path, range)
    assert torch.equal(read_frames(path, range, stop=0.25), expected[:3])


def test_gaps_are_found_in_every_layout(write_video, tmp_path):
    path = write_video(tmp_path / "a.ts", frames=24, height=96, width=128)
    assert gaps(str(path), video_pid(path)) == []
    data = path.read_bytes()
    for name, layout in (("b.ts", bytes), ("b.m2ts", blu_ray)):
        (tmp_path / name).write_bytes(layout(data + data))
        (gap,) = gaps(str(tmp_path / name), video_pid(path))
        assert gap.clean
    (tmp_path / "cut.ts").write_bytes(data[: len(data) // 2 // 188 * 188 + 50] + data)
    assert [gap.clean for gap in gaps(str(tmp_path / "cut.ts"), video_pid(path))] == [False]


def test_other_containers_stay_as_they_are(write_video, tmp_path):
    path = write_video(tmp_path / "a.mp4")
    found = frame_times(path)
    assert (found.lost, found.holes, found.rate) == ((), (), Fraction(10))

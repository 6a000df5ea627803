"""An uncut video, its event clips and its action clips give the same frames, at whole and at broken frame rates."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from taggnn.data.published import read_published
from taggnn.data.video.reading import read_frames

VIDEO = "A0xAXXysHUo"
# Event -> its first and last second, and of each action its stages in seconds of the event.
EVENTS = {
    "E_000002_000009": ([2.32, 9.47], {
        "A_0000_0001": [[0.45, 1.64]],
        # Begins and ends in one whole second.
        "A_0002_0002": [[2.11, 2.89]],
        # The sums 2.32 + 0.48, 2.32 + 0.683, 2.32 + 1.684 and 2.32 + 2.68 are the times of frames at 25 or 29.97 per second.
        "A_0000_0002": [[0.48, 2.68]],
        "A_0001_0001": [[0.683, 1.684]],
        # A vault, whose three stages touch.
        "A_0003_0007": [[3.3, 4.0], [4.0, 5.123456], [5.2, 7.1]],
    }),
    "E_000009_000010": ([9.999, 11.2], {"A_0000_0001": [[0.0, 1.201]]}),
}  # fmt: skip
BITS = 9
FRAMES = 340


def picture(number):
    """The frame's number as black and white blocks, which any encoder leaves readable."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    blocks = np.array(bits, dtype=np.uint8).reshape(3, 3) * 255
    return np.repeat(blocks.repeat(16, 0).repeat(16, 1)[..., None], 3, -1)


def number(frame):
    centres = frame[8::16, 8::16, 0] > 127
    return sum(int(bit) << place for place, bit in enumerate(centres.flatten().tolist()))


def write(path, numbers, rate):
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "x264-params": "bframes=2"})
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 25
        stream.codec_context.thread_count = 1
        for frame in numbers:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(frame), format="rgb24")))
        out.mux(stream.encode())


def between(start, stop, rate):
    """Numbers of the frames from the first at or after ``start`` to the last before ``stop``."""
    return [k for k in range(FRAMES) if Fraction(start) <= k / rate < Fraction(stop)]


@pytest.fixture(scope="module", params=[Fraction(25), Fraction(30000, 1001)], ids=["25", "29.97"])
def gym(request, tmp_path_factory):
    """Lists, JSON and the same video in three layouts; id -> the frames that it is."""
    root, rate = tmp_path_factory.mktemp("gym"), request.param
    info, expected = {}, {}
    write(root / "uncut" / f"{VIDEO}.mp4", range(FRAMES), rate)
    for event, ((begin, end), actions) in EVENTS.items():
        # Decimals, as whoever cuts on a command line has them.
        write(root / "event" / f"{VIDEO}_{event}.mp4", between(str(begin), str(end), rate), rate)
        for action, stages in actions.items():
            start, stop = (Fraction(str(begin)) + Fraction(str(time)) for time in (stages[0][0], stages[-1][1]))
            name = f"{VIDEO}_{event}_{action}"
            expected[name] = between(start, stop, rate)
            write(root / "action" / f"{name}.mp4", expected[name], rate)
        segments = {action: {"stages": len(stages), "timestamps": stages} for action, stages in actions.items()}
        info[event] = {"event": 1, "segments": segments, "timestamps": [[begin, end]]}
    lists = root / "lists"
    lists.mkdir()
    (lists / "finegym_annotation_info_v1.1.json").write_text(json.dumps({VIDEO: info}))
    (lists / "gym99_train_element_v1.1.txt").write_text("".join(f"{name} 0\n" for name in expected))
    return root, expected


@pytest.mark.parametrize("layout", ["uncut", "event", "action"])
def test_the_layouts_give_the_same_frames(gym, layout):
    root, expected = gym
    found, _ = read_published("gym99", root / layout, annotations=root / "lists", splits=["train"])
    read = {}
    for clip in found["train"]:
        frames = read_frames(clip.path, range, None, clip.start, clip.stop, origin=clip.origin)
        read[clip.name] = [number(frame) for frame in frames.numpy()]
    assert min(map(len, expected.values())) >= 19
    assert read == expected

"""Two hundred damaged files: none stops the process or hangs, none gives other pictures than a plain decode does."""

import hashlib
import multiprocessing
import os
import random
import signal
import struct
import sys
import time
import wave
from fractions import Fraction

import numpy as np
import pytest
import torch

from taggnn.data.video.container import Container
from taggnn.data.video.reading import VideoError, read_frames
from taggnn.data.video.scaling import Scaler

av = pytest.importorskip("av")

FILES = int(os.environ.get("TAGGNN_DAMAGED_FILES", "200"))
# Wall seconds that a file may take before it counts as hanging.
PATIENCE = 20.0
X264 = "keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"
WHOLE = {
    "closed.mp4": ("libx264", {"x264-params": X264}, {}),
    "front.mp4": ("libx264", {"x264-params": X264}, {"movflags": "faststart"}),
    "fragmented.mp4": ("libx264", {"x264-params": X264}, {"movflags": "frag_keyframe+empty_moov"}),
    "open.mkv": ("libx264", {"x264-params": X264 + ":open-gop=1"}, {}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "lag-in-frames": "8", "auto-alt-ref": "1", "cpu-used": "8"}, {}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}, {}),
    "stream.ts": ("libx264", {"x264-params": X264}, {}),
    "drawn.gif": ("gif", {}, {}),
}


def _write(path, codec, options, container_options):
    y, x = np.mgrid[:48, :64]
    with av.open(str(path), "w", options=container_options) as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.thread_count = 1
        for t in range(36):
            waves = [np.sin((x + k * t) / 5 + y / (3 + k)) for k in range(3)]
            picture = (120 + 100 * np.stack(waves, -1)).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = t, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path.read_bytes()


def _damage(draw, data, name):
    """One of the ways in which files go bad; what was done, and the bytes."""
    broken = bytearray(data)
    kind = draw.choice(["cut", "bits", "bits", "zeros", "hole", "swap", "sizes", "junk"])
    place = draw.randrange(len(data))
    if kind == "cut":
        del broken[place:]
    elif kind == "bits":
        for _ in range(draw.choice([1, 3, 20])):
            broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
    elif kind == "zeros":
        broken[place : place + 200] = bytes(len(broken[place : place + 200]))
    elif kind == "hole":
        del broken[place : place + draw.randrange(1, 300)]
    elif kind == "swap":
        other = draw.randrange(len(data))
        broken[place : place + 64], broken[other : other + 64] = data[other : other + 64], data[place : place + 64]
    elif kind == "sizes":
        # Absurd numbers in the headers, which lie at either end.
        for _ in range(3):
            at = draw.choice([draw.randrange(min(900, len(data) - 8)), len(data) - 8 - draw.randrange(900)])
            struct.pack_into(">I", broken, at, draw.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000]))
    else:
        broken[place:place] = draw.randbytes(draw.randrange(1, 500))
    return f"{kind} {name}", bytes(broken)


def _digest(picture):
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def _plain(path):
    """(time, hash) of each frame that a plain decode gives, continuing after every error."""
    frames = []
    try:
        with av.open(str(path), metadata_errors="replace") as source:
            stream = source.streams.video[0]
            stream.codec_context.thread_count = 1
            # Gaps that an AVI leaves for dropped frames are empty, and would end the decoding.
            packets = (packet for packet in source.demux(stream) if packet.size)
            while packet := _next(packets):
                frames += _decoded(stream, packet)
            frames += _decoded(stream, None)
    except (av.FFmpegError, IndexError):
        pass
    return frames


def _next(packets):
    try:
        return next(packets, None)
    except av.FFmpegError:
        return None


def _decoded(stream, packet):
    try:
        frames = stream.codec_context.decode(packet)
    except av.FFmpegError:
        return []
    # Damage may hit the rotation noted in the file.
    return [(frame.pts, _digest(Scaler(None)(frame))) for frame in frames]


def _use(path, seed):
    """Reads a file densely and sparsely; what is wrong with that, "" for nothing, and how many reads gave frames."""
    draw, chosen, plain, read = random.Random(seed), [], None, 0

    def some(n):
        chosen.append(sorted(draw.sample(range(n), min(3, n))))
        return chosen[-1]

    def last(n):
        chosen.append([n - 1])
        return chosen[-1]

    def all_of(n):
        chosen.append(list(range(n)))
        return chosen[-1]

    for sample in (all_of, some, last):
        try:
            frames = read_frames(path, sample, decode_timeout=PATIENCE / 4)
        except VideoError as error:
            if not error.reason or error.path != str(path) or "given up" in error.reason:
                return f"not named well: {error}", read
            continue
        read += 1
        plain = _plain(path) if plain is None else plain
        with Container(path) as container:
            stamps = container.timeline().stamps
        for index, frame in zip(chosen[-1], frames, strict=True):
            # Counted by time; where that is damaged, by the order in which the decoder puts them out.
            known = {digest for time, digest in plain if time in (stamps or ())[index : index + 1]}
            known |= {digest for _, digest in plain[index : index + 1]}
            if _digest(frame.numpy()) not in known:
                return f"frame {index} is not that of a plain decode", read
    return "", read


def _work(files, answers):
    """In a process of its own, so that a crash of a decoder is seen and ends nothing else."""
    torch.set_num_threads(1)
    for path, seed in files:
        answers.send(_use(path, seed))


def _in_a_process(files):
    """(path, complaint, reads) for each file; a process that dies or hangs is a complaint about the file it was at."""
    fork, done = multiprocessing.get_context("fork"), []
    while len(done) < len(files):
        # Not a Queue, whose thread may lose answers when the process dies.
        answers, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=_work, args=(files[len(done) :], sender), daemon=True)
        process.start()
        sender.close()
        try:
            while len(done) < len(files):
                if not answers.poll(PATIENCE):
                    done.append((files[len(done)][0], "hangs", 0))
                    break
                done.append((files[len(done)][0], *answers.recv()))
        except EOFError:
            process.join()
            done.append((files[len(done)][0], f"killed the process ({process.exitcode})", 0))
        process.kill()
        process.join()
    return done


def _make_damaged(folder):
    """The damaged files, as (path, seed), and what was done to each."""
    whole = {name: _write(folder / name, *how) for name, how in WHOLE.items()}
    files, how = [], {}
    for seed in range(FILES):
        draw = random.Random(seed)
        name = draw.choice(list(whole))
        done, data = _damage(draw, whole[name], name)
        path = folder / f"{seed:04d}-{name}"
        path.write_bytes(data)
        files.append((path, seed))
        how[path] = done
    (folder / "text.mp4").write_text("no video\n" * 300)
    (folder / "empty.mp4").write_bytes(b"")
    with wave.open(str(folder / "sound.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    for name in ("text.mp4", "empty.mp4", "sound.mp4"):
        files.append((folder / name, 0))
        how[folder / name] = name
    return files, how


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a crash of the decoder is caught in a forked process")
def test_damaged_files_give_the_frames_of_a_plain_decode_or_a_named_error(tmp_path):
    files, how = _make_damaged(tmp_path)
    done = _in_a_process(files)
    assert len(done) == len(files)
    assert [(how[path], path.name, complaint) for path, complaint, _ in done if complaint] == []
    # The sweep would say nothing if all files were refused, or none.
    reads = [count for _, _, count in done]
    assert sum(count == 3 for count in reads) > FILES // 10
    assert sum(count == 0 for count in reads) > FILES // 5
    assert any(0 < count < 3 for count in reads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a crash of the decoder is caught in a forked process")
def test_a_crash_and_a_hang_would_be_seen(tmp_path, monkeypatch):
    def act(path, seed):
        if path.name == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if path.name == "hang":
            time.sleep(60)
        return "", 1

    monkeypatch.setattr(sys.modules[__name__], "_use", act)
    monkeypatch.setattr(sys.modules[__name__], "PATIENCE", 0.5)
    files = [(tmp_path / name, 0) for name in ("good", "crash", "fine", "hang", "last")]
    found = {path.name: complaint for path, complaint, _ in _in_a_process(files)}
    assert found == {"good": "", "crash": "killed the process (-9)", "fine": "", "hang": "hangs", "last": ""}

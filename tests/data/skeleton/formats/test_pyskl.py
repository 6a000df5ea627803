"""pyskl's pickles: every protocol, and files that want to run code."""

import contextlib
import os
import pickle
import pickletools
import random
import time
from collections import OrderedDict

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.formats import pickled, pyskl
from tests.data.skeleton import trees

NAME = "S001C001P001R001A001"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.pkl"


def read(path, member=NAME, **cut):
    return formats.read(Clip(str(path), 0, "clip", member=member, **cut))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("axes", [2, 3], ids=["2-D", "3-D"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"], ids=str)
def test_every_protocol(path, protocol, axes, dtype):
    rows = [trees.annotation(f"{NAME}_{k}", k, 1 + k % 2, 5 + k, 17, axes, k, dtype) for k in range(4)]
    rows[1]["label"] = np.int64(1)
    trees.pyskl(path, {"train": [row["frame_dir"] for row in rows]}, rows, protocol)
    found = pyskl.annotations(str(path))
    assert dict(found.splits) == {"train": [f"{NAME}_{k}" for k in range(4)]}
    assert [row.label for row in found.clips.values()] == [0, 1, 2, 3]
    for row in rows:
        clip = read(path, row["frame_dir"])
        assert np.array_equal(clip.coordinates, row["keypoint"].astype(np.float32))
        if axes == 2:
            assert np.array_equal(clip.confidence, row["keypoint_score"].astype(np.float32))
            assert clip.picture == (1080, 1920)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("order", ["C", "F", "part"])
def test_orders_of_arrays(path, protocol, order):
    row = trees.annotation(NAME, 0, 2)
    array = np.random.default_rng(0).normal(size=(2, 9, 25, 3)).astype(np.float32)
    row["keypoint"] = array[:, ::2] if order == "part" else np.array(array, order=order)
    trees.pyskl(path, {}, [row], protocol)
    assert np.array_equal(read(path).coordinates, row["keypoint"])


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_optimised_pickles_and_other_dicts_are_made_of(path, protocol):
    content = OrderedDict(split=OrderedDict(train=[NAME]), annotations=[OrderedDict(trees.annotation(NAME, 3))])
    path.write_bytes(pickletools.optimize(pickle.dumps(content, protocol)))
    assert read(path).coordinates.shape == (1, 6, 25, 3)


def test_a_cut_and_an_absent_person(path):
    row = trees.annotation(NAME, 0, 2)
    row["keypoint"][1, :3] = 0
    trees.pyskl(path, {}, [row])
    assert read(path).coordinates[1, :3].isnan().all()
    assert read(path, start=0, stop=3).coordinates.shape == (1, 3, 25, 3)


def test_the_file_is_opened_once_and_again_when_it_changes(path, monkeypatch):
    opened = []
    real = pickled.load
    monkeypatch.setattr(pyskl, "load", lambda file: opened.append(1) or real(file))
    trees.pyskl(path, {}, [trees.annotation(NAME, 0)])
    for _ in range(3):
        read(path)
    assert len(opened) == 1
    trees.pyskl(path, {}, [trees.annotation(NAME, 0, frames=9)])
    os.utime(path, (time.time() + 9, time.time() + 9))
    assert read(path).coordinates.shape[1] == 9
    assert len(opened) == 2


@pytest.mark.parametrize(
    ("member", "reason"), [(None, "member"), ("x", f"no clip 'x' .*{NAME}")], ids=["not-given", "unknown"]
)
def test_a_member_that_is_none(path, member, reason):
    trees.pyskl(path, {}, [trees.annotation(NAME, 0)])
    with pytest.raises(formats.FormatError, match=reason):
        read(path, member)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keypoint": None}, "keypoint"),
        ({"raw_file": "1.pkl", "keypoint": "1.pkl"}, "keypoint"),
        ({"label": "one"}, "label"),
        ({"keypoint": np.zeros((0, 4, 25, 3), np.float16)}, "coordinates"),
        ({"keypoint": np.zeros((1, 0, 25, 3), np.float16)}, "frame"),
        ({"keypoint": np.zeros((1, 4, 25, 3), np.float16)}, "no joint"),
        ({"keypoint": np.zeros((1, 4, 25, 3), bool)}, "kind"),
        ({"keypoint": np.ones((4, 25, 4), np.float16)}, "coordinates"),
    ],
    ids=["none", "elsewhere", "label", "nobody", "no-frame", "zeros", "bool", "four-axes"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_one_bad_clip_leaves_the_others(path, change, reason, protocol):
    trees.pyskl(path, {}, [trees.annotation("good", 1), {**trees.annotation(NAME, 0), **change}], protocol)
    assert read(path, "good").coordinates.shape == (1, 6, 25, 3)
    with pytest.raises(formats.FormatError, match=reason):
        read(path)


def test_a_clip_that_is_there_twice(path):
    trees.pyskl(path, {}, [trees.annotation(NAME, 1), trees.annotation(NAME, 0)])
    with pytest.raises(formats.FormatError, match="two annotations"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        [],
        "text",
        {},
        {"split": {}},
        {"split": [], "annotations": []},
        {"split": {"train": "abc"}, "annotations": []},
        {"split": {"train": [1]}, "annotations": []},
        {"split": {}, "annotations": {}},
        {"split": {}, "annotations": [1]},
        {"split": {}, "annotations": [{"label": 1}]},
    ],
    ids=repr,
)
def test_another_pickle(path, content):
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(formats.FormatError, match=r"split|annotations"):
        read(path)


class Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


class Own:
    pass


HOSTILE = {
    "open": lambda ran: Runs(open, str(ran), "w"),
    "system": lambda ran: Runs(os.system, f"touch {ran}"),
    "eval": lambda ran: Runs(eval, f"open({str(ran)!r}, 'w')"),
    "getattr": lambda ran: Runs(getattr, "text", "format"),
    "object": lambda ran: Own(),
    "function": lambda ran: os.getcwd,
    "numpy-load": lambda ran: Runs(np.load, str(ran)),
    "set": lambda ran: {1, 2},
    "tensor": lambda ran: torch.zeros(3),
    "record": lambda ran: np.zeros(3, "f4,f4"),
    "objects": lambda ran: np.array([None, 1], dtype=object),
    "nested": lambda ran: np.array([Runs(open, str(ran), "w")], dtype=object),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_wants_to_run_code_is_refused_by_name(path, tmp_path, kind, protocol):
    content = {"split": {}, "annotations": [{**trees.annotation(NAME, 0), "x": HOSTILE[kind](tmp_path / "ran")}]}
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(formats.FormatError, match=r"refused|instruction") as raised:
        read(path)
    assert not (tmp_path / "ran").exists()
    name = {"open": ".open", "system": ".system", "eval": ".eval", "function": ".getcwd"}.get(kind, "")
    assert name in str(raised.value)


def hostile(text):
    return b"\x80\x04" + text + b"."


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04",
        b"\x80\x01.",
        b"\x80\x63.",
        hostile(b""),
        hostile(b"0"),
        hostile(b"u"),
        hostile(b"]u"),
        hostile(b"}]N"),
        hostile(b"}]Ns"),
        hostile(b"h\x05"),
        hostile(b"K\x01R"),
        hostile(b"NN\x93"),
        hostile(b"\x86"),
        hostile(b"\x8e" + (2**62).to_bytes(8, "little")),
        hostile(b"\x8d" + (2**62).to_bytes(8, "little")),
        hostile(b"B" + (2**31).to_bytes(4, "little")),
        hostile(b"X\x02\x00\x00\x00\xff\xff"),
        hostile(b"N" + b"r\xff\xff\xff\xff"),
        hostile(b"Pid\n"),
        hostile(b"\x82\x01"),
        hostile(b"cnumpy\ndtype\n)R"),
        hostile(b"cnumpy\ndtype\n\x8c\x02O8\x89\x88\x87R"),
        hostile(b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR"),
        hostile(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(J\xff\xff\xff\x7ft\x8c\x01b\x87R"),
        hostile(b"(" * 1000),
        hostile(b"(t" * 1000),
        hostile(b"cos\n" + b"x" * 5000 + b"\n"),
    ],
    ids=repr,
)  # fmt: skip
def test_damaged_and_hostile_instructions(path, content):
    path.write_bytes(content)
    with pytest.raises(formats.FormatError):
        read(path)


def test_an_array_of_another_size_than_its_shape(path):
    trees.pyskl(path, {}, [trees.annotation(NAME, 0, frames=6)])
    content = path.read_bytes()
    # The 6 of its shape (1, 6, 25, 3).
    at = content.index(b"(K\x01K\x06K\x19K\x03t") + 4
    path.write_bytes(content[:at] + b"\x07" + content[at + 1 :])
    with pytest.raises(formats.FormatError, match="bytes"):
        read(path)


def test_a_pickle_without_an_end_to_its_instructions(path, monkeypatch):
    monkeypatch.setattr(pickled, "MAX_INSTRUCTIONS", 100)
    path.write_bytes(hostile(b"]" * 200))
    with pytest.raises(formats.FormatError, match="instructions"):
        read(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_truncation_is_an_error_of_the_file(path, protocol):
    trees.pyskl(path, {"train": [NAME]}, [trees.annotation(NAME, 0, frames=2, joints=2)], protocol)
    content = path.read_bytes()
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(formats.FormatError):
            read(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_damaged_bytes_are_read_or_are_an_error_of_the_file(path, protocol):
    trees.pyskl(path, {"train": [NAME]}, [trees.annotation(NAME, 0, frames=2, joints=2)], protocol)
    content, draws = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draws.randint(1, 4)):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        path.write_bytes(damaged)
        # Equal size and, on a coarse clock, time.
        pyskl._opened.cache_clear()
        with contextlib.suppress(formats.FormatError):
            read(path)

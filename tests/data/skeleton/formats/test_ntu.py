"""NTU RGB+D's text, against an independent reader line by line."""

import numpy as np
import pytest

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.formats import ntu
from tests.data.skeleton import trees


def naive(text):
    """Frames as lists of (id, joints (V, 3), states (V,)), one line after the other."""
    lines = iter(text.splitlines())
    found = []
    for _ in range(int(next(lines))):
        bodies = []
        for _ in range(int(next(lines))):
            name = next(lines).split()[0]
            rows = [next(lines).split() for _ in range(int(next(lines)))]
            joints = [[float(word) for word in row[:3]] for row in rows]
            bodies.append((name, np.array(joints, dtype=np.float32), np.array([int(row[11]) for row in rows])))
        found.append(bodies)
    return found


@pytest.fixture
def read(tmp_path):
    def reading(text, **cut):
        path = tmp_path / "S001C001P001R001A050.skeleton"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return formats.read(Clip(str(path), 49, "clip", **cut))

    return reading


def crowd(*spans, frames=30, **options):
    """A text of bodies (id, first frame, end, body of all frames)."""
    return trees.ntu_text(
        [[(name, each[t]) for name, first, end, each in spans if first <= t < end] for t in range(frames)], **options
    )


BODIES = [trees.body(30, seed=seed, at=1.2 * seed) for seed in range(4)]
TEXTS = {
    "one": trees.ntu_clip(20),
    "one-frame": trees.ntu_clip(1),
    "two": trees.ntu_clip(20, (0, 1)),
    "windows": trees.ntu_clip(20, (0, 1), newline="\r\n"),
    "trailing-space": trees.ntu_clip(20, (0, 1)).replace("\n", " \n"),
    "tabs": trees.ntu_clip(20, (0, 1), space="\t"),
    "two-spaces": trees.ntu_clip(20, (0, 1), space="  "),
    "no-end-of-line": trees.ntu_clip(20).rstrip(),
    "empty-lines": trees.ntu_clip(20) + "\n\n",
    "tiny": trees.ntu_text([[(1, 1e-6 * each)] for each in trees.body(20)]),
    "far": trees.ntu_text([[(1, 20 * each)] for each in trees.body(20)]),
    "hand": trees.ntu_text([[(1, each)] for each in trees.body(20, 21)], joints=21),
    "empty-frames": crowd((1, 5, 25, BODIES[0])),
    "late": crowd((1, 0, 30, BODIES[0]), (2, 12, 30, BODIES[1])),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("way", [ntu._by_lines, ntu._by_words], ids=["lines", "words"])
@pytest.mark.parametrize("piece", [2**12, 2**18])
def test_both_ways_of_parsing_equal_the_naive_one(monkeypatch, text, way, piece):
    monkeypatch.setattr(ntu, "_PIECE", piece)
    found, wanted = way(text.encode()), naive(text)
    if found is None:
        # The fast way refuses what it does not know; the other reads it.
        assert way is ntu._by_lines
        found = ntu.parse(text.encode())
    flat = [(frame, *each) for frame, bodies in enumerate(wanted) for each in bodies]
    assert (found.frames, found.frame) == (len(wanted), [frame for frame, *_ in flat])
    assert [name.decode() for name in found.ids] == [name for _, name, *_ in flat]
    assert np.array_equal(found.joints, [joints for *_, joints, _ in flat])
    assert np.array_equal(found.states, [states for *_, states in flat])


@pytest.mark.parametrize("name", ["one", "one-frame", "two", "windows", "tiny", "far", "hand", "empty-frames", "late"])
def test_usual_texts_take_the_fast_way(name):
    assert ntu._by_lines(TEXTS[name].encode()) is not None


def test_one_body(read):
    found = read(TEXTS["one"])
    assert found.coordinates.shape == (1, 20, 25, 3)
    assert np.allclose(found.coordinates[0], trees.body(20), atol=1e-6)
    assert set(found.confidence.unique().tolist()) == {0.5, 1.0}
    assert found.notes == ()


def test_the_body_that_moves_most_is_first(read):
    still = BODIES[0][:1].repeat(30, 0)
    found = read(crowd((7, 0, 30, still), (3, 0, 30, BODIES[1])))
    assert np.allclose(found.coordinates[0], BODIES[1], atol=1e-5)
    assert np.allclose(found.coordinates[1], still, atol=1e-5)


def test_a_body_that_appears_late(read):
    found = read(crowd((1, 0, 30, BODIES[0]), (2, 12, 30, BODIES[1])))
    late = found.coordinates[:, 0, 0, 0].isnan().nonzero().flatten().tolist()
    assert found.coordinates.shape[:2] == (2, 30)
    assert len(late) == 1
    assert found.coordinates[late[0], :12].isnan().all()
    assert not found.coordinates[late[0], 12:].isnan().any()
    assert (found.confidence[late[0], :12] == 0).all()


def test_a_main_body_that_appears_late_is_second(read):
    still = BODIES[0][:1].repeat(30, 0)
    found = read(crowd((1, 0, 30, still), (2, 12, 30, BODIES[1])))
    assert np.allclose(found.coordinates[0], still, atol=1e-5)
    assert found.coordinates[1, :12].isnan().all()


def test_a_body_that_comes_back_with_another_id_is_one_person(read):
    body = BODIES[0]
    found = read(crowd((1, 0, 14, body), (2, 14, 30, body)))
    assert found.coordinates.shape[:2] == (1, 30)
    assert np.allclose(found.coordinates[0], body, atol=1e-5)


def test_three_bodies_are_all_returned(read):
    found = read(crowd(*((number, 0, 30, BODIES[number]) for number in range(3))))
    assert found.coordinates.shape[:2] == (3, 30)


def test_ids_exchanged_from_one_frame_to_the_next(read):
    one, two = BODIES[0], BODIES[1]
    mixed = [np.concatenate([a[:10], b[10:20], a[20:]]) for a, b in ((one, two), (two, one))]
    found = read(crowd((1, 0, 30, mixed[0]), (2, 0, 30, mixed[1])))
    plain = read(crowd((1, 0, 30, one), (2, 0, 30, two)))
    assert np.array_equal(found.coordinates, plain.coordinates)
    assert [note for note in found.notes if "exchange" in note]
    assert not plain.notes


@pytest.mark.parametrize("length", [11, 12], ids=str)
def test_a_body_of_few_frames_is_noise(read, length):
    found = read(crowd((1, 0, 30, BODIES[0]), (2, 5, 5 + length, BODIES[1])))
    assert len(found.coordinates) == (1 if length == 11 else 2)
    assert bool(found.notes) == (length == 11)


def test_a_body_that_is_wider_than_high_is_noise(read):
    lying = BODIES[1][..., [1, 0, 2]]
    found = read(crowd((1, 0, 30, BODIES[0]), (2, 0, 30, lying)))
    assert np.allclose(found.coordinates, BODIES[0][None], atol=1e-5)
    # Alone it is all there is.
    assert np.allclose(read(crowd((2, 0, 30, lying))).coordinates, lying[None], atol=1e-5)


def test_motion_counts_good_frames_only(read):
    """A body that moves most in frames of noise is not the main one."""
    wild = BODIES[0][:1].repeat(30, 0)
    wild[10:15] = wild[10:15][..., [1, 0, 2]] * 5
    assert np.allclose(read(crowd((1, 0, 30, wild), (2, 0, 30, BODIES[1]))).coordinates[0], BODIES[1], atol=1e-4)


def test_only_noise_is_kept_when_there_is_nothing_else(read):
    assert read(crowd((1, 0, 5, BODIES[0]), (2, 0, 5, BODIES[1]))).coordinates.shape[:2] == (2, 5)


def test_frames_without_a_body_are_left_out(read):
    found = read(crowd((1, 5, 12, BODIES[0]), (1, 20, 30, BODIES[0])))
    assert np.allclose(found.coordinates[0], np.concatenate([BODIES[0][5:12], BODIES[0][20:]]), atol=1e-5)
    assert "13 of 30 frames" in found.notes[0]


def test_a_cut_is_of_the_frames_of_the_file(read):
    found = read(crowd((1, 5, 30, BODIES[0])), start=2, stop=8)
    assert np.allclose(found.coordinates[0], BODIES[0][5:8], atol=1e-5)


@pytest.mark.parametrize("cut", [{}, {"start": 0, "stop": 5}], ids=["whole", "cut"])
def test_a_file_without_a_body(read, cut):
    text = crowd((1, 5, 30, BODIES[0])) if cut else trees.ntu_text([[], [], []])
    with pytest.raises(formats.FormatError, match="no body"):
        read(text, **cut)


def test_the_same_id_twice_in_a_frame(read):
    assert read(crowd((1, 0, 30, BODIES[0]), (1, 0, 30, BODIES[1]))).coordinates.shape[:2] == (2, 30)


def test_a_joint_that_is_not_a_number_is_missing(read):
    joints = trees.body(20)
    joints[3, 4, 1] = np.nan
    found = read(trees.ntu_text([[(1, each)] for each in joints])).coordinates
    assert found.isnan().nonzero().tolist() == [[0, 3, 4, axis] for axis in range(3)]


@pytest.mark.parametrize("part", [0.0, 0.001, 0.01, 0.5, 0.93, 0.995], ids=str)
def test_truncated(read, part):
    text = trees.ntu_clip(20, (0, 1))
    with pytest.raises(formats.FormatError, match=r"truncated|empty"):
        read(text[: int(part * len(text))].rpartition(" ")[0] if part > 0.001 else text[: int(2 * (part > 0))])


def test_truncated_between_two_frames(read):
    lines = trees.ntu_clip(4).splitlines()
    with pytest.raises(formats.FormatError, match="truncated"):
        read("\n".join(lines[: 1 + 3 * 28]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text + "7\n", "more values"),
        (lambda text: text.replace("\n25\n", "\n24\n", 1), r"whole number|joints|tracking"),
        (lambda text: text.replace("\n25\n", "\n0\n", 1), "0 joints"),
        (lambda text: text.replace("\n25\n", "\n999999999\n", 1), "truncated"),
        (lambda text: "9" * 5000 + text[text.index("\n") :], "number of frames"),
        (lambda text: "999999999" + text[text.index("\n") :], "truncated"),
        (lambda text: "-1" + text[text.index("\n") :], "number of frames"),
        (lambda text: text.replace(" 2\n", " 7\n"), "tracking state"),
        (lambda text: text.replace("0.", "x.", 40), "float"),
        (lambda text: "hello", "number of frames"),
        (lambda text: text[:500] + "\0" * 50 + text[550:], r"float|whole number"),
    ],
    ids=["more", "24", "0", "many", "digits", "frames", "negative", "state", "letters", "text", "zeros"],
)
def test_damaged(read, change, reason):
    with pytest.raises(formats.FormatError, match=reason):
        read(change(trees.ntu_clip(20, (0, 1))))


def test_another_number_of_joints_in_one_body(read):
    frames = [[(1, each)] for each in trees.body(3)]
    first, second = trees.ntu_text(frames), trees.ntu_text([[(1, each)] for each in trees.body(1, 20)], joints=20)
    text = "4\n" + first.partition("\n")[2] + second.partition("\n")[2]
    with pytest.raises(formats.FormatError, match="20 joints; expected 25"):
        read(text)

"""Damaged bytes of every format: a file is read, or is an error of the file, whatever was changed."""

import contextlib
import io
import json
import random

import numpy as np
import pytest

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.formats import ntu
from tests.data.skeleton import trees

ARRAY = trees.body(3, 5)


def saved(save, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


FILES = {
    "1.skeleton": trees.ntu_clip(3, (0, 1)).encode(),
    "1.txt": trees.pku_text([trees.body(3)]).encode(),
    "1.json": json.dumps({"coordinates": ARRAY.tolist()}).encode(),
    "1.npy": saved(lambda file: np.save(file, ARRAY)),
    "stored.npz": saved(np.savez, coordinates=ARRAY, confidence=ARRAY[..., 0]),
    "compressed.npz": saved(np.savez_compressed, coordinates=ARRAY),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", ["change", "cut", "insert", "zeros"])
def test_damage(tmp_path, name, way):
    content, draws, path = FILES[name], random.Random(0), tmp_path / name
    for _ in range(60):
        at = draws.randrange(len(content))
        damaged = {
            "change": content[:at] + bytes([draws.randrange(256)]) + content[at + 1 :],
            "cut": content[:at],
            "insert": content[:at] + draws.randbytes(draws.randint(1, 9)) + content[at:],
            "zeros": content[:at] + bytes(draws.randint(1, 40)) + content[at + 40 :],
        }[way]
        path.write_bytes(damaged)
        with contextlib.suppress(formats.FormatError):
            x = formats.read(Clip(str(path), 0, name)).coordinates
            assert x.isfinite().any()
            assert not x.isinf().any()


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_way_of_a_damaged_text_is_never_another_answer(seed):
    content, draws = trees.ntu_clip(2, (0, 1)).encode(), random.Random(seed)
    for _ in range(200):
        at = draws.randrange(len(content))
        text = content[:at] + draws.choice([b" ", b"\n", b"-", b".", b"7", b"E", b"", b"\r\n"]) + content[at + 1 :]
        fast = ntu._by_lines(text)
        if fast is None:
            continue
        try:
            slow = ntu._by_words(text)
        except ValueError:
            # Only values that nobody reads are damaged, or are too few or too many in a line.
            continue
        assert (fast.ids, fast.frame) == (slow.ids, slow.frame)
        assert np.array_equal(fast.joints, slow.joints, equal_nan=True)

"""Shards: equal content in equal bytes, damage named, an index that reads back."""

import contextlib
import pickle
import random

import pytest
import torch

from taggnn.data import shards


def written(folder, name="a.safetensors"):
    tensors = {"tokens": torch.arange(24.0).reshape(4, 2, 3), "clip": torch.tensor([3, 1, 4, 1])}
    shards.write_shard(folder / name, tensors, {"skipped": [[2, "no reason"]], "of": "x"})
    return tensors, {name: shards.file_info(folder / name)}


def test_rows_and_tensors_read_back(tmp_path):
    tensors, table = written(tmp_path)
    found = shards.Shards(tmp_path, table, "again")
    for index in (3, 0, 2, 1):
        row = found.row("a.safetensors", "tokens", index)
        assert torch.equal(row, tensors["tokens"][index])
    assert shards.read_metadata(tmp_path / "a.safetensors") == {"skipped": [[2, "no reason"]], "of": "x"}
    copy = pickle.loads(pickle.dumps(found))
    assert torch.equal(copy.row("a.safetensors", "tokens", 2), tensors["tokens"][2]), "as a loader worker gets it"
    assert table["a.safetensors"] == written(tmp_path, "b.safetensors")[1]["b.safetensors"], (
        "equal content, equal bytes"
    )
    (tmp_path / "a.safetensors").unlink()
    assert torch.equal(row + 0, tensors["tokens"][1]), "a row is a copy that outlives its file"


def test_a_changed_byte_is_found_on_first_use_and_named(tmp_path):
    _, table = written(tmp_path)
    path = tmp_path / "a.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    found = shards.Shards(tmp_path, table, "make it anew")
    with pytest.raises(ValueError, match=r"a\.safetensors: damaged: its checksum .*; make it anew"):
        found.row("a.safetensors", "tokens", 0)


def test_a_shorter_or_absent_file_is_found_at_once(tmp_path):
    _, table = written(tmp_path)
    path = tmp_path / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.safetensors: \d+ bytes, but \d+ were written; make it anew"):
        shards.Shards(tmp_path, table, "make it anew")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors: no such file; make it anew"):
        shards.Shards(tmp_path, table, "make it anew")


def test_what_is_no_shard_is_named(tmp_path):
    (tmp_path / "text.safetensors").write_text("no tensors at all, only words")
    with pytest.raises(ValueError, match=r"text\.safetensors: damaged, or no safetensors file"):
        shards.read_shard(tmp_path / "text.safetensors")


def test_a_digest_follows_from_names_dtypes_shapes_and_content():
    state = {"b": torch.zeros(2, 3), "a": torch.ones(4, dtype=torch.bfloat16), "n": torch.tensor(3)}
    same = {key: state[key].clone() for key in ("n", "a", "b")}
    assert shards.digest(same) == shards.digest(state)
    others = [
        {**state, "b": torch.zeros(3, 2)},
        {**state, "b": torch.zeros(2, 3, dtype=torch.int32)},
        {**state, "n": torch.tensor(4)},
        {("c" if key == "b" else key): value for key, value in state.items()},
    ]
    assert len({shards.digest(other) for other in [state, *others]}) == 5


def test_an_index_is_text_that_reads_back(tmp_path):
    content = {"kind": "k", "names": [f"clip {n}" for n in range(40)], "deep": {"é": [{"a": 1.5, "b": None}] * 20}}
    shards.write_index(tmp_path / "index.json", content)
    assert shards.read_index(tmp_path / "index.json", "k") == content
    assert max(map(len, (tmp_path / "index.json").read_text().splitlines())) <= 130


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable as JSON"),
        ('{"kind": "other"}', "expected an index of k, found 'other'"),
        ("[1]", "must hold a JSON object, holds a list"),
        (None, "no index.json in it; expected a folder of k"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        shards.read_index(tmp_path / "index.json", "k")


def test_a_flipped_bit_in_an_index_is_noticed(tmp_path):
    path, content = tmp_path / "index.json", {"kind": "k", "labels": list(range(50)), "names": ["a", "\udcff"]}
    shards.write_index(path, content)
    assert shards.read_index(path, "k") == content
    before, draws = path.read_bytes(), random.Random(0)
    for _ in range(40):
        changed = bytearray(before)
        changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
        path.write_bytes(changed)
        # A flip in the name of the checksum leaves everything else as it was; one between two values too.
        with contextlib.suppress(ValueError):
            found = shards.read_index(path, "k")
            assert {key: found[key] for key in content} == content
    path.write_bytes(before.replace(b"49", b"48", 1))
    with pytest.raises(ValueError, match=r"index\.json: damaged, or changed"):
        shards.read_index(path, "k")

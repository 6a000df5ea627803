import json
import shutil

import pytest
import safetensors.torch
import torch

from taggnn.text import open_encoder, static

pytest.importorskip("transformers")

TOKENIZER, TABLE = "tokenizers/l2_supercat_tokenizer_config.json", "weights/l2_supercat_256.safetensors"


def test_a_text_is_the_mean_of_its_tokens(static_folder):
    encode, about = open_encoder(str(static_folder))
    assert "static" in about
    table = safetensors.torch.load_file(static_folder / TABLE)["embedding.weight"].float()
    numbers = json.loads((static_folder / TOKENIZER).read_text())["model"]["vocab"]
    found = encode(["leap", "leap with turn", "leap unheard-of turn", "unheard-of"])
    leap, with_, turn = (table[numbers[word]] for word in ("leap", "with", "turn"))
    expected = torch.stack([leap, (leap + with_ + turn) / 3, (leap + turn) / 2, torch.zeros(6)])
    torch.testing.assert_close(found, expected)


def test_model2vec_s_files_are_read_too(static_folder, tmp_path):
    shutil.copy(static_folder / TOKENIZER, tmp_path / "tokenizer.json")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    table = safetensors.torch.load_file(static_folder / TABLE)["embedding.weight"]
    safetensors.torch.save_file({"embeddings": table.float()}, tmp_path / "model.safetensors")
    texts = ["leap with turn"]
    torch.testing.assert_close(open_encoder(str(tmp_path))[0](texts), open_encoder(str(static_folder))[0](texts))


ROWS = torch.ones(99, 6)


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"other": ROWS}, "embedding.weight"),
        ({"embedding.weight": ROWS, "weights": torch.ones(99)}, "embedding.weight"),
        ({"embedding.weight": ROWS[0]}, r"\(6,\)"),
        ({"embedding.weight": ROWS.int()}, "int32"),
        ({"embedding.weight": ROWS.to(torch.float8_e4m3fn)}, "float8"),
        ({"embedding.weight": ROWS * torch.nan}, "finite"),
        ({"embedding.weight": ROWS[:3]}, "3 vectors"),
    ],
    ids=["other name", "two tensors", "one axis", "integers", "8 bits", "nan", "too few"],
)
def test_another_table_names_its_file(static_folder, tensors, named, tmp_path):
    shutil.copytree(static_folder, tmp_path / "model")
    safetensors.torch.save_file(tensors, tmp_path / "model" / TABLE)
    with pytest.raises(ValueError, match=named) as error:
        static.load(str(tmp_path / "model"))
    assert "l2_supercat_256" in str(error.value)


@pytest.mark.parametrize("file", [TOKENIZER, TABLE])
@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b"\xff" * 50], ids=["empty", "object", "deep", "bytes"])
def test_a_damaged_file_is_refused(static_folder, file, content, tmp_path):
    shutil.copytree(static_folder, tmp_path / "model")
    (tmp_path / "model" / file).write_bytes(content)
    with pytest.raises(ValueError, match=r"l2_supercat"):
        static.load(str(tmp_path / "model"))


def test_a_missing_file_and_one_too_many_are_named(static_folder, tmp_path):
    shutil.copytree(static_folder, tmp_path / "model")
    shutil.copy(tmp_path / "model" / TABLE, tmp_path / "model" / "weights" / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors"):
        static.load(str(tmp_path / "model"))
    (tmp_path / "model" / TOKENIZER).unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        static.load(str(tmp_path / "model"))


def test_a_token_beyond_the_table_is_refused(static_folder, tmp_path):
    shutil.copytree(static_folder, tmp_path / "model")
    content = json.loads((tmp_path / "model" / TOKENIZER).read_text())
    content["model"]["vocab"]["leap"] = 1000
    (tmp_path / "model" / TOKENIZER).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="1,001"):
        static.load(str(tmp_path / "model"))

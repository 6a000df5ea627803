import json
import shutil

import pytest
import safetensors.torch
import torch

from taggnn.text import open_encoder

transformers = pytest.importorskip("transformers")

TEXTS = ["a video of leap", "jump with 0.5 turn", "salto"]


def _copy(bert_folder, tmp_path, file, **changed):
    folder = tmp_path / "model"
    shutil.copytree(bert_folder, folder)
    if changed:
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | changed))
    else:
        (folder / file).unlink()
    return folder


def _states(folder, text):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [
        ({}, lambda states: states.mean(0)),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, lambda states: states[0]),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, lambda states: states.amax(0)),
    ],
    ids=["mean", "class token", "maximum"],
)
def test_a_text_is_its_pooled_tokens(bert_folder, pooling, pooled, tmp_path):
    folder = _copy(bert_folder, tmp_path, "1_Pooling/config.json", **pooling, seen=1)
    encode, about = open_encoder(str(folder))
    assert "sentence" in about
    found = encode(TEXTS)
    assert found.shape == (3, 16)
    for text, vector in zip(TEXTS, found, strict=True):
        torch.testing.assert_close(vector, pooled(_states(folder, text)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("file", ["1_Pooling/config.json", "modules.json", "sentence_bert_config.json"])
def test_a_plain_encoder_is_pooled_by_the_mean(bert_folder, file, tmp_path):
    folder = _copy(bert_folder, tmp_path, file)
    torch.testing.assert_close(open_encoder(str(folder))[0](TEXTS), open_encoder(str(bert_folder))[0](TEXTS))


def test_a_longer_text_is_cut_to_the_model_s_limit(bert_folder, caplog):
    encode, _ = open_encoder(str(bert_folder))
    # Eight tokens with the two at the ends.
    assert torch.allclose(encode(["leap " * 20]), encode(["leap " * 6]), atol=1e-6)
    assert "8 tokens" in caplog.text


def test_a_file_without_the_unused_pooler_is_read(bert_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(bert_folder, folder)
    state = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {key: value for key, value in state.items() if not key.startswith("pooler.")}
    assert len(kept) < len(state)
    safetensors.torch.save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert torch.equal(open_encoder(str(folder))[0](TEXTS), open_encoder(str(bert_folder))[0](TEXTS))
    del kept["encoder.layer.1.output.dense.weight"]
    safetensors.torch.save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        open_encoder(str(folder))


@pytest.mark.parametrize(
    ("file", "changed", "named"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "pooling"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": "yes"}, "pooling"),
        ("config.json", {"is_encoder_decoder": True}, "is_encoder_decoder"),
        ("config.json", {"model_type": "no_such_model"}, "no_such_model"),
    ],
    ids=["two poolings", "no pooling", "encoder-decoder", "model type"],
)
def test_what_is_not_read_is_refused(bert_folder, file, changed, named, tmp_path):
    folder = _copy(bert_folder, tmp_path, file, **changed)
    with pytest.raises(ValueError, match=named) as error:
        open_encoder(str(folder))
    assert str(folder) in str(error.value)


def test_code_in_the_folder_is_not_run(bert_folder, tmp_path):
    folder = _copy(
        bert_folder, tmp_path, "config.json", auto_map={"AutoModel": "own.Model", "AutoConfig": "own.Config"}
    )
    (folder / "own.py").write_text("1 / 0")
    assert torch.equal(open_encoder(str(folder))[0](TEXTS), open_encoder(str(bert_folder))[0](TEXTS))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_experts_implementation_internal"])
@pytest.mark.parametrize("nested", [False, True], ids=["top", "nested"])
def test_a_configuration_that_names_programs_is_refused(bert_folder, key, nested, tmp_path):
    own = {key: "nobody/kernels"}
    folder = _copy(bert_folder, tmp_path, "config.json", **({"parts": [own]} if nested else own))
    with pytest.raises(ValueError, match=rf"config\.json, {key}"):
        open_encoder(str(folder))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('[{"type": "sentence_transformers.models.Dense"}]', "Dense"),
        ('{"a": 1}', "modules"),
        ("1", "modules"),
        ("[", "modules"),
    ],
    ids=["dense layer", "no list", "number", "no json"],
)
def test_a_further_part_is_refused(bert_folder, content, named, tmp_path):
    folder = _copy(bert_folder, tmp_path, "modules.json")
    (folder / "modules.json").write_text(content)
    with pytest.raises(ValueError, match=named):
        open_encoder(str(folder))

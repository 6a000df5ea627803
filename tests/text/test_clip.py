import json
import shutil

import pytest
import torch

from taggnn.text import open_encoder

transformers = pytest.importorskip("transformers")

TEXTS = ["a video of leap", "jump with 0.5 turn", "salto"]


def test_a_text_is_its_end_of_text_state_projected(clip_folder):
    encode, about = open_encoder(str(clip_folder))
    found = encode(TEXTS)
    assert found.shape == (3, 10)
    assert "clip" in about
    whole = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip_folder)
    with torch.no_grad():
        for text, vector in zip(TEXTS, found, strict=True):
            # Alone, so without padding.
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            states = whole.text_model(input_ids=ids).last_hidden_state
            torch.testing.assert_close(vector, whole.text_projection.weight @ states[0, -1], atol=1e-5, rtol=1e-4)


def test_a_text_tower_alone_is_the_same(clip_folder, tmp_path):
    config = transformers.CLIPConfig.from_pretrained(clip_folder).text_config
    config.projection_dim = 10
    transformers.CLIPTextModelWithProjection.from_pretrained(clip_folder, config=config).save_pretrained(tmp_path)
    for file in clip_folder.glob("token*"):
        shutil.copy(file, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "clip_text_model"
    assert torch.equal(open_encoder(str(tmp_path))[0](TEXTS), open_encoder(str(clip_folder))[0](TEXTS))


def test_a_longer_text_is_cut_with_a_warning(clip_folder, caplog):
    encode, _ = open_encoder(str(clip_folder))
    long = " ".join(["leap"] * 30)
    assert encode([long, "leap"]).isfinite().all()
    assert "1 texts" in caplog.text


@pytest.mark.parametrize("change", ["no weights", "cut", "no tokenizer", "wrong type", "other size", "no object"])
def test_a_damaged_folder_names_itself(clip_folder, change, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(clip_folder, folder)
    if change == "no weights":
        (folder / "model.safetensors").unlink()
    elif change == "cut":
        (folder / "model.safetensors").write_bytes((clip_folder / "model.safetensors").read_bytes()[:5000])
    elif change == "no tokenizer":
        for file in folder.glob("token*"):
            file.unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["hidden_size"] = "many" if change == "wrong type" else 32
        if change == "no object":
            config["text_config"] = [1]
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=str(folder)):
        open_encoder(str(folder))

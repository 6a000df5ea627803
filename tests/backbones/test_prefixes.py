"""Names of weights under the prefixes that public checkpoints have."""

import logging

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from taggnn.backbones.prefixes import below
from taggnn.backbones.weights import load_strictly, read_state_dict


def network(value=0.0):
    module = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Conv3d(4, 5, 1))
    nn.init.constant_(module[0].weight, value)
    return module


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        *("_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.", "module.module."),
        *(
            "model.",
            "backbone.",
            "net.",
            "encoder.",
            "network.",
            "model.backbone.",
            "_orig_mod.backbone.",
            "module.model.",
        ),
    ],
)
@pytest.mark.parametrize("head", [False, True], ids=["alone", "with a head"])
def test_prefixes_are_taken_off_with_a_message(tmp_path, caplog, prefix, head):
    caplog.set_level(logging.INFO)
    state = prefixed(prefix, network(7.0).state_dict())
    if head and prefix.strip("._").split(".")[-1] not in ("orig_mod", "module"):
        state |= {f"{'_orig_mod.' if '_orig_mod' in prefix else ''}cls_head.fc.weight": torch.ones(2, 5)}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    module = network()
    load_strictly(module, read_state_dict(tmp_path / "a.pth"), "a.pth")
    assert module[0].weight[0, 0] == 7
    assert "taken off the names" in caplog.text
    assert all(part in caplog.text for part in prefix.split(".") if part)


def test_a_compiled_part_of_a_model(tmp_path):
    state = {key.replace("0.", "0._orig_mod."): value for key, value in network(7.0).state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").keys() == network().state_dict().keys()


def test_an_averaged_model(tmp_path):
    torch.save(AveragedModel(network(7.0)).state_dict(), tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").keys() == network().state_dict().keys()


def test_what_does_not_fit_below_a_prefix_is_listed_without_it():
    state = prefixed("backbone.", network().state_dict())
    del state["backbone.2.bias"]
    with pytest.raises(ValueError, match=r"\(1 of 9 entries\):\s+not in the file: 2.bias \(5,\)$"):
        load_strictly(network(), state, "a.pth")


def test_several_networks_in_one_file_are_not_chosen_from():
    state = prefixed("student.", network().state_dict()) | prefixed("teacher.", network().state_dict())
    with pytest.raises(ValueError, match=r"a\.pth holds several networks .*'student\.', 'teacher\.'"):
        load_strictly(network(), state, "a.pth")


def test_names_that_fit_as_they_are_are_left():
    state = network().state_dict() | prefixed("aux.", network().state_dict())
    assert below(state, network().state_dict().keys(), "a.pth") is state
    other = prefixed("model.", nn.Linear(2, 2).state_dict())
    assert below(other, network().state_dict().keys(), "a.pth") is other

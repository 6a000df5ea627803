"""Which precision is possible where."""

import pytest
import torch

from taggnn.precisions import chosen


@pytest.fixture(params=["cpu", "old gpu", "new gpu"])
def machine(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param != "cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: request.param == "new gpu")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
    return request.param


def test_auto_is_what_the_device_has(machine):
    assert chosen("auto", "auto") == ("bf16-mixed" if machine == "new gpu" else "32-true")
    assert chosen("auto", "cpu") == "32-true"


def test_gradients_are_scaled_on_apple_s_gpu_too(machine):
    assert chosen("16-mixed", "mps") == "16-mixed"


def test_what_a_device_does_not_have_is_refused_in_a_sentence(machine):
    refused = {
        "cpu": ("16-mixed", "needs a GPU; on a CPU bf16-mixed"),
        "old gpu": ("bf16-mixed", "Old GPU has no bfloat16"),
    }
    for given in ("32-true", "16-mixed", "bf16-mixed"):
        name, said = refused.get(machine, (None, ""))
        if given == name:
            with pytest.raises(ValueError, match=rf"precision {given}: {said}"):
                chosen(given, "auto")
        else:
            assert chosen(given, "auto") == given

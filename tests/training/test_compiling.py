"""A compiled step against the plain one; where compiling is not possible."""

import shutil

import pytest
import torch
from torch import nn

import taggnn
from taggnn.io import checkpoint
from taggnn.nn.layers import GraphLayer
from taggnn.training import compiling


def test_a_step_has_no_graph_break_and_trains_alike(build, batches, fit, tmp_path):
    torch._dynamo.reset()
    plain, compiled = build(optimiser="sgd"), build(optimiser="sgd")
    graphs = []

    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    # The graphs run as they are: what the code generator makes of them has a test of its own.
    for part in (compiled.model.backbone, compiled.model.head):
        part.compile(backend=counted, fullgraph=True)
    for setup in (plain, compiled):
        fit(setup, batches(2), batches(1), epochs=1, keep={"epochs": [0]})
    # Backbone and head, in training and in validation.
    assert len(graphs) == 4
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())
    loaded = checkpoint.load(tmp_path / "epoch_0.ckpt").model.state_dict()
    for name, value in plain.model.state_dict().items():
        trained = compiled.model.state_dict()[name]
        torch.testing.assert_close(trained, value, rtol=1e-4, atol=1e-6, msg=name)
        assert torch.equal(loaded[name], trained), name


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler (g++)")
def test_generated_code_gives_the_same_gradients():
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = taggnn.attach(nn.Conv3d(3, 4, 1), "pool", 3, clip=(2, 4, 4)).eval()
    clip, label, gradients = torch.randn(2, 3, 2, 4, 4), torch.tensor([0, 2]), []
    for given in (False, True):
        compiling.compile_parts(model, given)
        model.zero_grad()
        nn.functional.cross_entropy(model(clip).logits, label).backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert model.head._compiled_call_impl is not None
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_where_it_is_not_possible_a_sentence_says_so(monkeypatch):
    def refuses(function, mode):
        def called(*_):
            raise RuntimeError("\nNo working C++ compiler found in config.cpp.cxx\n  and more")

        return called

    monkeypatch.setattr(torch, "compile", refuses)
    message = (
        r"compile max-autotune: torch\.compile does not work here on cpu \(No working C\+\+ compiler found in config"
    )
    with pytest.raises(ValueError, match=message):
        compiling.check("max-autotune", "cpu")
    compiling.check(False, "cpu")


def test_an_implementation_that_cannot_be_traced_is_refused(build):
    model = build().model
    compiling.check_model(model, True)
    for layer in model.modules():
        if isinstance(layer, GraphLayer):
            layer.kernel.impl = "scatter"
    compiling.check_model(model, False)
    with pytest.raises(
        ValueError, match="compile true: impl scatter cannot be compiled, since torch-scatter's operators"
    ):
        compiling.check_model(model, True)


def test_false_leaves_the_model_as_it_is(build):
    model = build().model
    compiling.compile_parts(model, False)
    assert model.head._compiled_call_impl is None

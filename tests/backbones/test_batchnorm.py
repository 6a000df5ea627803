import copy
import io

import pytest
import torch
from torch import nn

from taggnn.backbones import FrozenBatchNorm, freeze_batchnorm, set_batchnorm


def network():
    torch.manual_seed(0)
    norm = nn.BatchNorm3d(4, eps=1e-3)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    norm.running_mean.uniform_()
    norm.running_var.uniform_(0.5, 2)
    return nn.Sequential(nn.Conv3d(3, 4, 1), norm)


def test_frozen_equals_the_layer_in_evaluation():
    module, clip = network(), torch.randn(2, 3, 1, 3, 5)
    expected = module.eval()(clip)
    freeze_batchnorm(module)
    assert torch.equal(module.train()(clip), expected)


def test_statistics_stay_and_affine_learns_in_training():
    module = network()
    freeze_batchnorm(module)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    module.train()(torch.randn(2, 3, 2, 4, 4)).square().mean().backward()
    optimiser.step()
    moved = {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_state_dicts_of_both_fit_each_other():
    plain, frozen = network(), network()
    freeze_batchnorm(frozen)
    assert list(plain.state_dict()) == list(frozen.state_dict())
    frozen.load_state_dict(plain.state_dict())
    plain.load_state_dict(frozen.state_dict())


def test_freezing_survives_copy_pickle_and_sync_conversion():
    module, clip = network(), torch.randn(2, 3, 1, 3, 3)
    freeze_batchnorm(module)
    expected = module(clip)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (copy.deepcopy(module), torch.load(file, weights_only=False)):
        assert torch.equal(nn.SyncBatchNorm.convert_sync_batchnorm(other).train()(clip), expected)


def test_a_shared_layer_stays_shared():
    norm = nn.BatchNorm1d(2)
    module = nn.ModuleDict({"a": norm, "b": nn.Sequential(norm)})
    assert freeze_batchnorm(module) == 1
    assert isinstance(module["a"], FrozenBatchNorm)
    assert module["a"] is module["b"][0]


def test_without_statistics_there_is_nothing_to_freeze():
    with pytest.raises(ValueError, match="no running statistics"):
        freeze_batchnorm(nn.Sequential(nn.BatchNorm3d(2, track_running_stats=False)))


def test_momentum_reaches_every_layer():
    module = nn.Sequential(network(), nn.BatchNorm2d(3))
    set_batchnorm(module, momentum=0.25)
    assert [m.momentum for m in module.modules() if hasattr(m, "momentum")] == [0.25, 0.25]


def test_no_option_changes_nothing():
    module = network()
    set_batchnorm(module)
    assert type(module[1]) is nn.BatchNorm3d
    assert module[1].momentum == 0.1


@pytest.mark.parametrize("momentum", [0.0, -0.1, 1.5])
def test_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ValueError, match=str(momentum)):
        set_batchnorm(network(), momentum=momentum)


def test_momentum_of_frozen_statistics_is_refused():
    with pytest.raises(ValueError, match="one of the two"):
        set_batchnorm(network(), frozen=True, momentum=0.1)


def test_a_model_without_batchnorm_is_named_in_the_log(caplog):
    set_batchnorm(nn.Linear(2, 2), frozen=True)
    assert "Linear has no BatchNorm" in caplog.text

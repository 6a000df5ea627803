"""BatchNorm in a process without clips, layer by layer; test_sharing.py has the processes."""

import torch
from torch import nn

from taggnn.training.parallel import idle


def test_layers_are_put_back_as_they_were(monkeypatch):
    """One that is kept as it was trained stays so, and one with shared statistics takes part again."""
    plain, shared, frozen = nn.BatchNorm2d(2), nn.SyncBatchNorm(2), nn.BatchNorm2d(2).eval()
    seen = []
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", lambda self, x: seen.append(len(x)) or x)
    x = torch.ones(3, 2, 1, 1)
    with idle(nn.ModuleList([plain, shared, frozen])):
        assert (plain.training, shared.training, frozen.training) == (False, True, False)
        assert torch.equal(shared(x), x)
    assert (plain.training, shared.training, frozen.training) == (True, True, False)
    shared(x)
    assert seen == [0, 3]

"""Pathways are exported as they are fused."""

import pytest
import torch

from taggnn.backbones import outputs


class Fused(torch.nn.Module):
    def forward(self, first, second):
        return outputs.fuse([first, second])


@pytest.mark.parametrize("grid", [(4, 4, 6), (3, 4, 5)], ids=["divides", "does not"])
def test_pathways_are_exported_as_they_are_fused(grid):
    pair = torch.randn(2, 3, 8, 8, 12), torch.randn(2, 5, *grid)
    program = torch.export.export(Fused(), pair, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) * 2)
    torch.testing.assert_close(program.module()(*pair), outputs.fuse(pair))
    adaptive = [node for node in program.graph.nodes if "adaptive" in str(node.target)]
    assert bool(adaptive) == (grid == (3, 4, 5))

"""The authors' formulation is that of the composition that the head's own tests use."""

import torch

from benchmarks.authors import AuthorsHead
from taggnn.heads import TagHead

GRID = (3, 2, 3)


def test_it_equals_the_composition_after_the_paper(composition):
    torch.manual_seed(0)
    reference = composition(GRID, 5, 16, channels=512).double().eval()
    head = TagHead.released(512, GRID, 5, ffn=16).double().eval()
    with torch.no_grad():
        head.position.tables[0].copy_(reference.pos_embedding.view(*GRID, 512))
    head.encoder.load_state_dict(reference.transformer.state_dict())
    head.norm.load_state_dict(reference.mlp_head[0].state_dict())
    head.classifier.load_state_dict(reference.mlp_head[1].state_dict())
    tokens = torch.randn(2, *GRID, 512, dtype=torch.float64)
    torch.testing.assert_close(AuthorsHead(head).eval()(tokens), reference(tokens), rtol=1e-10, atol=1e-12)


def test_it_shares_the_weights_and_has_no_others():
    head = TagHead.released(32, GRID, 5, ffn=16)
    ours = {id(parameter) for parameter in head.parameters()}
    assert {id(parameter) for parameter in AuthorsHead(head).parameters()} == ours


def test_clips_do_not_mix():
    head = TagHead.released(32, GRID, 5, ffn=16).eval()
    theirs = AuthorsHead(head).eval()
    tokens = torch.randn(3, *GRID, 32)
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens)[1:2], theirs(tokens[1:2]), rtol=1e-4, atol=1e-5)

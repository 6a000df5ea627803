"""Scoring a list of clips, and the measure of how much the graph moves a head's answers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from taggnn.data.clips import Clip, ClipList
from taggnn.heads import PoolHead, TagHead
from taggnn.model import Recogniser
from taggnn.predictions import Skipped
from taggnn.scoring import score

GRID = (4, 7, 7)


def recogniser(head):
    """The smallest backbone there is: a clip of 4 x 7 x 7 pixels becomes its tokens, place by place."""
    torch.manual_seed(0)
    return Recogniser(nn.Conv3d(3, 16, 1), head, GRID, GRID)


def batches(sizes=(2, 1), classes=5):
    generator = torch.Generator().manual_seed(0)
    first, made = 0, []
    for size in sizes:
        made.append(
            {
                "clip": torch.randn(size, 3, *GRID, generator=generator),
                "label": torch.arange(first, first + size) % classes,
                "index": torch.arange(first, first + size),
                "skipped": [],
            }
        )
        first += size
    return made


def clip_list(count, classes=5):
    clips = tuple(Clip(f"/videos/{i}.mp4", i % classes, f"clip {i}") for i in range(count))
    return ClipList(clips, tuple(f"class {k}" for k in range(classes)), "list")


def effect_of(built, given):
    return score(built, given, clip_list(20), "test", graph_effect=True).graph_effect


def test_score_keeps_the_lists_order_and_names_what_was_left_out():
    built = recogniser(PoolHead(16, GRID, 5)).train()
    given = batches((2, 1))
    # Clip 1 could not be read, so that positions in the batch and in the list part.
    given[0]["clip"], given[0]["label"], given[0]["index"] = (
        given[0]["clip"][1:],
        torch.tensor([2]),
        torch.tensor([2]),
    )
    given[1]["label"], given[1]["index"] = torch.tensor([3]), torch.tensor([3])
    given[0]["skipped"] = [("clip 1", "/videos/1.mp4", "truncated")]
    nothing = {"clip": torch.empty(0), "label": torch.empty(0, dtype=torch.long), "index": torch.empty(0)}
    given.append({**nothing, "skipped": [("clip 4", "/videos/4.mp4", "no video in it")]})
    found = score(built, given, clip_list(5), "test")
    predictions = found.predictions
    assert not built.training
    assert predictions.names == ["clip 2", "clip 3"]
    assert predictions.paths == ["/videos/2.mp4", "/videos/3.mp4"]
    assert predictions.labels.tolist() == [2, 3]
    assert found.graph_effect is None
    assert found.skipped == [
        Skipped("clip 1", "/videos/1.mp4", "test", "truncated"),
        Skipped("clip 4", "/videos/4.mp4", "test", "no video in it"),
    ]
    with torch.no_grad():
        logits = torch.cat([built(batch["clip"])[0] for batch in given[:2]])
    torch.testing.assert_close(predictions.probabilities, logits.softmax(-1))
    assert found.loss == pytest.approx(float(F.cross_entropy(logits, torch.tensor([2, 3]))))


def test_score_without_a_readable_clip():
    given = batches((1,))
    given[0].update(label=torch.empty(0, dtype=torch.long), skipped=[("clip 0", "/videos/0.mp4", "empty")])
    found = score(learned(), given, clip_list(1), "val", graph_effect=True)
    assert found.predictions is None
    assert found.loss != found.loss
    assert [clip.reason for clip in found.skipped] == ["empty"]
    assert found.graph_effect is None


@pytest.mark.parametrize(
    "head",
    [
        PoolHead(16, GRID, 5),
        TagHead(16, GRID, 5, encoder_layers=0, topology="none"),
        TagHead(16, GRID, 5, encoder_layers=0, topology="none", conv="appnp"),
        TagHead(16, GRID, 5, encoder_layers=0, graph_layers=0),
    ],
    ids=["pool", "no-edges", "appnp-no-edges", "no-layers"],
)
def test_a_head_without_a_graph_has_no_effect_to_measure(head):
    assert effect_of(recogniser(head), batches()) is None


def released():
    torch.manual_seed(1)
    return recogniser(TagHead.released(16, GRID, 5, ffn=64))


def learned():
    torch.manual_seed(1)
    return recogniser(TagHead(16, GRID, 5, encoder_layers=1, encoder_heads=4, conv="gat"))


def test_the_released_head_hardly_listens_to_its_graph_and_a_learned_one_does():
    faithful, modern = effect_of(released(), batches()), effect_of(learned(), batches())
    assert 0 < faithful["relative_logits"] < 1e-3
    assert modern["relative_logits"] > 1e-2


def test_the_effect_is_the_difference_to_the_same_weights_without_edges():
    built = learned()
    torch.manual_seed(1)
    bare = recogniser(TagHead(16, GRID, 5, encoder_layers=1, encoder_heads=4, conv="gat", topology="none"))
    bare.load_state_dict(built.state_dict())
    given = batches((3, 2, 3))
    effect = effect_of(built, given)
    with torch.no_grad():
        kept = torch.cat([built.eval()(batch["clip"])[0] for batch in given])
        without = torch.cat([bare.eval()(batch["clip"])[0] for batch in given])
    truth = torch.cat([batch["label"] for batch in given])
    assert effect == {
        "top1_with": pytest.approx(float((kept.argmax(1) == truth).double().mean())),
        "top1_without": pytest.approx(float((without.argmax(1) == truth).double().mean())),
        "changed": pytest.approx(float((kept.argmax(1) != without.argmax(1)).double().mean())),
        "relative_logits": pytest.approx(float((kept - without).norm() / kept.norm()), rel=1e-4),
        "clips": 8,
    }


def test_one_pass_equals_the_two_separate_ones():
    built, given, asked = learned(), batches((3, 2, 3)), []
    ask = built.backbone.register_forward_hook(lambda *_: asked.append(1))
    # A generator can be gone through but once.
    both = score(built, (batch for batch in given), clip_list(8), "test", graph_effect=True)
    assert len(asked) == len(given)
    ask.remove()
    alone = score(built, given, clip_list(8), "test")
    assert torch.equal(both.predictions.probabilities, alone.predictions.probabilities)
    assert both.predictions.names == alone.predictions.names
    assert (both.loss, both.skipped) == (alone.loss, alone.skipped)
    kept = both.predictions.probabilities.argmax(1)
    assert both.graph_effect["top1_with"] == float((kept == both.predictions.labels).double().mean())


def test_measuring_leaves_the_model_as_it_was():
    built = learned().eval()
    before = {key: value.clone() for key, value in built.state_dict().items()}
    with torch.no_grad():
        logits = built(batches()[0]["clip"])[0]
        effect_of(built, batches())
        assert torch.equal(built(batches()[0]["clip"])[0], logits)
    assert str(built.head.topology) == "clique+chain"
    assert all(torch.equal(built.state_dict()[key], value) for key, value in before.items())

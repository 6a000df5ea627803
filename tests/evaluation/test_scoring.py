"""Scoring a list of clips, and the measure of how much the graph moves a head's answers."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from graphs import parse
from taggnn.data.clips import Clip, ClipList
from taggnn.data.samplers import SharedGroups
from taggnn.data.views import collate_evaluation_views, view_batches
from taggnn.evaluation.predictions import Skipped
from taggnn.evaluation.scoring import has_graph, score
from taggnn.evaluation.significance import mcnemar
from taggnn.heads import PoolHead, TagHead
from taggnn.model import Recogniser
from taggnn.nn.consensus import AVERAGES
from taggnn.nn.layers import GraphLayer
from taggnn.types import TOKEN_AXES, VIDEO_AXES, BadClip, Batch, InputSpec, Output, Sample, collate

GRID = (4, 7, 7)


def recogniser(head):
    """The smallest backbone there is: a clip of 4 x 7 x 7 pixels becomes its tokens, place by place."""
    torch.manual_seed(0)
    return Recogniser(nn.Conv3d(3, 16, 1), head, InputSpec("video", VIDEO_AXES, (3, *GRID)), GRID)


def batches(sizes=(2, 1), classes=5):
    generator = torch.Generator().manual_seed(0)
    first, made = 0, []
    for size in sizes:
        made.append(
            Batch(
                torch.randn(size, 3, *GRID, generator=generator),
                torch.arange(first, first + size) % classes,
                torch.arange(first, first + size),
            )
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
    bad = [BadClip("clip 1", "/videos/1.mp4", "truncated")]
    given[0] = Batch(given[0].x[1:], torch.tensor([2]), torch.tensor([2]), bad)
    given[1] = Batch(given[1].x, torch.tensor([3]), torch.tensor([3]))
    given.append(collate([BadClip("clip 4", "/videos/4.mp4", "no video in it")], built.spec))
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
        logits = torch.cat([built(batch.x).logits for batch in given[:2]])
    torch.testing.assert_close(predictions.probabilities, logits.softmax(-1))
    assert found.loss == pytest.approx(float(F.cross_entropy(logits, torch.tensor([2, 3]))))


def test_score_without_a_readable_clip():
    built = learned()
    given = [collate([BadClip("clip 0", "/videos/0.mp4", "empty")], built.spec)]
    found = score(built, given, clip_list(1), "val", graph_effect=True)
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
        kept = torch.cat([built.eval()(batch.x).logits for batch in given])
        without = torch.cat([bare.eval()(batch.x).logits for batch in given])
    truth = torch.cat([batch.label for batch in given])
    right, wrong = kept.argmax(1) == truth, without.argmax(1) == truth
    ours, theirs = (right & ~wrong).tolist(), (wrong & ~right).tolist()
    assert effect == {
        "top1_with": pytest.approx(float((kept.argmax(1) == truth).double().mean())),
        "top1_without": pytest.approx(float((without.argmax(1) == truth).double().mean())),
        "changed": pytest.approx(float((kept.argmax(1) != without.argmax(1)).double().mean())),
        "relative_logits": pytest.approx(float((kept - without).norm() / kept.norm()), rel=1e-4),
        "clips": 8,
        "only_with": sum(ours),
        "only_without": sum(theirs),
        "p": mcnemar(sum(theirs), sum(ours)).p,
        "gain_low": effect["gain_low"],
        "gain_high": effect["gain_high"],
    }
    assert effect["gain_low"] <= effect["top1_with"] - effect["top1_without"] <= effect["gain_high"]


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


def test_stored_tokens_give_what_their_clips_give_to_the_last_bit():
    built, given = learned().eval(), batches((3, 2, 3))
    with torch.no_grad():
        stored = [Batch(built.features(batch.x).tokens, batch.label, batch.index) for batch in given]
    view = built.accepting(InputSpec("tokens", TOKEN_AXES, (*GRID, 16)))
    of_clips = score(built, given, clip_list(8), "test", graph_effect=True)
    of_tokens = score(view, stored, clip_list(8), "test", graph_effect=True)
    assert torch.equal(of_tokens.predictions.probabilities, of_clips.predictions.probabilities)
    assert of_tokens.graph_effect == of_clips.graph_effect is not None


class Own(nn.Module):
    """Somebody's head around a graph layer; in ``forgetful`` form it cannot be called without its edges."""

    def __init__(self, forgetful=False):
        super().__init__()
        self.topology = parse("clique+chain")
        self.layer = GraphLayer(16, self.topology, GRID, "gat")
        self.classifier = nn.Linear(16, 5)
        if forgetful:
            self.forward = lambda tokens: self.answer(tokens, None)

    def forward(self, tokens, targets=None, topology=None):
        return self.answer(tokens, topology)

    def answer(self, tokens, topology):
        logits = self.classifier(self.layer(tokens, topology).relu().flatten(1, 3).amax(1))
        return Output(logits) if topology is None else (logits, {})


def test_the_effect_of_a_head_of_ones_own():
    assert effect_of(recogniser(Own()), batches())["relative_logits"] > 1e-3
    assert effect_of(recogniser(Own(forgetful=True)), batches()) is None
    assert not has_graph(None)


def test_measuring_leaves_the_model_as_it_was():
    built = learned().eval()
    before = {key: value.clone() for key, value in built.state_dict().items()}
    with torch.no_grad():
        logits = built(batches()[0].x).logits
        effect_of(built, batches())
        assert torch.equal(built(batches()[0].x).logits, logits)
    assert str(built.head.topology) == "clique+chain"
    assert not built.head._forward_pre_hooks
    assert all(torch.equal(built.state_dict()[key], value) for key, value in before.items())


SMALL = (2, 2, 2)
SMALL_SPEC = InputSpec("video", VIDEO_AXES, (3, *SMALL))
# As the data module makes batches.
together_in_a_batch = partial(collate_evaluation_views, spec=SMALL_SPEC)


class Made(Dataset):
    """Clips that follow from their numbers; of some one view, or all, cannot be read."""

    def __init__(self, bad=(), late=()):
        self.bad, self.late = set(bad), set(late)

    def __getitem__(self, key):
        index, views = key
        if index in self.bad or (index in self.late and any(view for view, _ in views)):
            return BadClip(f"clip {index}", f"/videos/{index}.mp4", "truncated")
        made = [torch.Generator().manual_seed(1000 * index + 10 * view + crop) for view, crop in views]
        return [Sample(torch.randn(3, *SMALL, generator=one), index % 5, index) for one in made]


def small(head="tag"):
    torch.manual_seed(0)
    made = (
        PoolHead(16, SMALL, 5)
        if head == "pool"
        else TagHead(16, SMALL, 5, encoder_layers=1, encoder_heads=4, conv="gat")
    )
    return Recogniser(nn.Conv3d(3, 16, 1), made, SMALL_SPEC, SMALL)


def shared(count, size=8, views=1, crops=1, average="probabilities", graph_effect=True, bad=(), late=(), share=True):
    """Scores so many clips with what the processes of this group share."""
    torch.set_num_threads(1)
    groups = view_batches(count, views, crops, size)
    batches = SharedGroups(groups) if share else [keys for group in groups for keys in group]
    loader = DataLoader(Made(bad, late), batch_sampler=batches, collate_fn=together_in_a_batch)
    options = {"graph_effect": graph_effect, "views": views * crops, "average": average}
    return score(small(), loader, clip_list(count), "test", **options)


def _same(one, other):
    assert (one.predictions is None) == (other.predictions is None)
    if one.predictions is not None:
        assert (one.predictions.names, one.predictions.paths) == (other.predictions.names, other.predictions.paths)
        assert torch.equal(one.predictions.labels, other.predictions.labels)
        assert torch.equal(one.predictions.probabilities, other.predictions.probabilities)
        assert one.loss == other.loss
    assert one.skipped == other.skipped
    assert one.graph_effect == other.graph_effect


BAD = [0, 7, 250, 498]
# Clips, and how they are scored.
SHARED = [
    *[(499, {"bad": BAD}), (7, {"share": False})],
    *[(count, {"size": 1, "bad": (1, 2)}) for count in (1, 2, 4, 5)],
    *[(count, {"size": 4, "views": 3, "crops": 3, "late": (1,), "bad": (3,)}) for count in (1, 2, 5)],
    *[(count, {"size": 18, "views": 3, "crops": 3, "average": "logits", "late": (0,)}) for count in (1, 2, 7)],
    (5, {"bad": range(5), "graph_effect": False}),
]


def _every(cases):
    return [shared(count, **options) for count, options in cases]


@pytest.fixture(scope="module")
def alone():
    return _every(SHARED)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_answer_as_one_alone_to_the_last_bit(processes, alone, together):
    """499 clips count 499, bad ones among them; and so does any number of clips, whatever their views."""
    assert alone[0].predictions.names == [f"clip {index}" for index in range(499) if index not in BAD]
    assert [clip.name for clip in alone[0].skipped] == [f"clip {index}" for index in BAD]
    assert alone[0].graph_effect["clips"] == 495
    for answers in together(processes, _every, SHARED):
        for (count, _), found, expected in zip(SHARED, answers, alone, strict=True):
            _same(found, expected)
            assert len(found.skipped) + (len(found.predictions.names) if found.predictions else 0) == count


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(("views", "crops"), [(1, 1), (3, 1), (2, 3)])
def test_views_are_averaged_as_by_hand(average, views, crops):
    found = shared(5, views=views, crops=crops, average=average, late=(3,) if views > 1 else ())
    built, kept = small().eval(), []
    for index in [place for place in range(5) if views == 1 or place != 3]:
        every = [(view, crop) for view in range(views) for crop in range(crops)]
        with torch.no_grad():
            logits = torch.cat([built(Made()[index, (one,)][0].x[None]).logits for one in every])
        kept.append(logits.softmax(-1).mean(0) if average == "probabilities" else logits.mean(0).softmax(-1))
    kept = torch.stack(kept)
    torch.testing.assert_close(found.predictions.probabilities, kept, atol=1e-6, rtol=0)
    labels = found.predictions.labels
    assert found.loss == pytest.approx(float(F.nll_loss(kept.log(), labels)), rel=1e-5)
    assert found.graph_effect["top1_with"] == float((kept.argmax(1) == labels).double().mean())


@pytest.mark.parametrize("average", AVERAGES)
def test_the_size_of_a_batch_changes_nothing(average):
    first = shared(7, size=1, views=3, crops=2, average=average)
    for size in (2, 4, 6, 13, 99):
        found = shared(7, size=size, views=3, crops=2, average=average)
        torch.testing.assert_close(found.predictions.probabilities, first.predictions.probabilities, atol=1e-6, rtol=0)
        assert found.loss == pytest.approx(first.loss, rel=1e-6)
        assert found.graph_effect == pytest.approx(first.graph_effect, rel=1e-4)


@pytest.mark.parametrize("told", [1, 4])
def test_another_number_of_views_than_was_told_is_no_answer(told):
    groups = view_batches(3, 2, 1, 4)
    given = [together_in_a_batch([Made()[key] for key in keys]) for group in groups for keys in group]
    with pytest.raises(ValueError, match=rf"{told} views of a clip, and clip 0 came with more or fewer"):
        score(small(), given, clip_list(3), "test", views=told)

"""ART against a naive restatement, frame by frame and region by region; its text bank, its losses and what is stored of it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import taggnn
from taggnn import heads, model
from taggnn.heads import ArtHead, build
from taggnn.text.bank import TextBank
from taggnn.types import TOKEN_AXES, VIDEO_AXES, InputSpec

CHANNELS, DIM, CLASSES, WIDTH = 6, 8, 4, 5
SMALL = {
    "dim": DIM,
    "attention_heads": 2,
    "enhancement_layers": 2,
    "region_layers": 2,
    "dropout": 0.0,
    "classifier_dropout": 0.0,
}
GRIDS = [(3, 2, 4), (1, 1, 1), (4, 5), (2, 1, 3, 2)]
NAMES = ("jump", "double turn", "leap", "salto")
PROMPTS = ("a video of {}", "{}, a gymnast's {}")


@pytest.fixture
def bank(tmp_path):
    torch.manual_seed(5)
    return TextBank(torch.randn(len(PROMPTS), CLASSES, WIDTH), NAMES, PROMPTS, "made").write(
        tmp_path / "bank.safetensors"
    )


def head_of(grid, bank=None, seed=0, **options):
    torch.manual_seed(seed)
    head = ArtHead(CHANNELS, grid, CLASSES, bank=bank and str(bank), **SMALL | options).double()
    for parameter in head.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return head


def heads_attention(layer, queries, positions):
    """Textbook attention of all heads, one after another."""
    width = layer.query.in_features // layer.heads
    q, k, v = layer.query(queries), positions @ layer.key.weight.T, layer.value(positions)
    found, weights = [], []
    for number in range(layer.heads):
        part = slice(number * width, (number + 1) * width)
        weight = (q[:, part] @ k[:, part].T / width**0.5).softmax(-1)
        found.append(weight @ v[:, part])
        weights.append(weight)
    return layer.out(torch.cat(found, -1)), torch.stack(weights).mean(0)


def restated(head, clip):
    """The formulas of the docstring for one clip: logits and extras."""
    frames, pooled = head.grid[0], clip.reshape(-1, clip.shape[-1]).mean(0)
    x = (head.project(clip) + head.position.tables[0]).reshape(frames, -1, DIM)
    extras = {"pooled": pooled}
    if head.bank is None:
        semantics = head.anchors
    else:
        video = head.video(pooled)
        cosines = torch.stack(
            [torch.stack([F.cosine_similarity(video, s, dim=0) for s in row]) for row in head.bank.bank]
        )
        best, prompt = cosines.max(0)
        classes = best.argsort(descending=True)[: head.regions]
        extras["semantics"] = prompt[classes] * CLASSES + classes
        semantics = head.text(torch.stack([F.normalize(head.bank.bank[prompt[k], k], dim=0) for k in classes]))
    responses, maps = [], []
    for t in range(frames):
        positions, queries = x[t], head.prompts
        if head.bank is None:
            positions = head.enhancement(positions[None])[0]
        else:
            both = head.enhancement(torch.cat([positions, semantics])[None])[0]
            positions, queries = both[: len(positions)], head.prompts + both[len(positions) :]
        response = torch.zeros_like(queries)
        for layer in head.attention.layers:
            normed = layer.query_norm(response + queries), layer.position_norm(positions)
            found, attention = heads_attention(layer.attention, *normed)
            response = response + found
            response = response + layer.feed_forward(response)
        responses.append(head.attention.norm(response))
        maps.append(attention)
    responses = torch.stack(responses)
    whole, weights = [], []
    for r in range(head.regions):
        fit = [F.cosine_similarity(responses[:, r], s, dim=-1) / head.temperature for s in semantics]
        weights.append(torch.stack([one.softmax(0) for one in fit]).mean(0))
        whole.append((weights[-1][:, None] * responses[:, r]).sum(0))
    extras |= {
        "regions": torch.stack(maps).reshape(frames, head.regions, *head.grid[1:]),
        "frame_weights": torch.stack(weights, 1),
        "tracklets": torch.stack(whole),
    }
    return head.classifier(torch.cat([pooled, *whole])), extras, responses


@pytest.mark.parametrize("regions", [1, 3])
@pytest.mark.parametrize("text", [False, True], ids=["text-free", "text"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_outputs_and_gradients_are_those_of_the_restatement(grid, text, regions, bank):
    head = head_of(grid, bank if text else None, regions=regions)
    one = torch.randn(2, *grid, CHANNELS, dtype=torch.float64, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    logits, extras = head(one)
    naive = [restated(head, clip) for clip in two]
    expected = torch.stack([each[0] for each in naive])
    torch.testing.assert_close(logits, expected)
    assert extras.keys() == naive[0][1].keys()
    for name, value in extras.items():
        torch.testing.assert_close(
            value, torch.stack([each[1][name] for each in naive]), msg=lambda m, n=name: f"{n}: {m}"
        )
    upstream = torch.randn_like(logits)
    parameters = [p for n, p in head.named_parameters() if "video_classifier" not in n and n not in ("bank.agent",)]
    # The projection of a video only chooses, and a choice has no gradient.
    parameters = [p for p in parameters if not text or all(p is not q for q in head.video.parameters())]
    mine = torch.autograd.grad((logits * upstream).sum(), [one, *parameters])
    other = torch.autograd.grad((expected * upstream).sum(), [two, *parameters])
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b)


def test_losses_are_their_parts(bank):
    from taggnn.nn import tracklets

    head = head_of((3, 2, 2), bank, regions=3)
    tokens, targets = torch.randn(2, 3, 2, 2, CHANNELS).double(), torch.tensor([1, 3])
    losses = head(tokens, targets).losses
    responses = torch.stack([restated(head, clip)[2] for clip in tokens])
    pooled = tokens.flatten(1, -2).mean(1)
    expected = {
        "video": F.cross_entropy(head.video_classifier(pooled), targets, reduction="none"),
        "spatial": tracklets.spatial_contrast(responses),
        "temporal": tracklets.temporal_contrast(responses, 0.6),
        "tracklet": tracklets.tracklet_contrast(responses),
        "semantic": head.bank.video_loss(head.video(pooled), targets),
        "semantic_classifier": head.bank.classifier_loss(head.video_classifier.weight @ head.video.weight.T),
    }
    assert losses.keys() == expected.keys() == head.loss_weights.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], msg=lambda m, n=name: f"{n}: {m}")
    assert head(tokens).losses == {}
    text_free = head_of((3, 2, 2))(tokens, targets).losses
    assert text_free.keys() == {"video", "spatial", "temporal", "tracklet"}
    shares = torch.eye(CLASSES).double()[targets]
    for name, loss in head(tokens, shares).losses.items():
        torch.testing.assert_close(loss, losses[name])


def test_options_of_the_contrast_reach_it(bank):
    tokens, targets = torch.randn(2, 3, 2, 2, CHANNELS).double(), torch.tensor([1, 3])
    plain = head_of((3, 2, 2), regions=3)
    usual = plain(tokens, targets).losses
    for options, changed in (
        ({"contrast": "squared"}, {"spatial", "tracklet"}),
        ({"tracklet_contrast": "frames"}, {"tracklet"}),
        ({"margin": 1.0}, {"temporal"}),
    ):
        other = head_of((3, 2, 2), regions=3, **options)
        other.load_state_dict(plain.state_dict())
        found = other(tokens, targets).losses
        assert {name for name in found if not torch.equal(found[name], usual[name])} == changed


def test_the_paper_s_defaults():
    head = build("art", 768, (16, 14, 14), 99)
    assert (head.regions, head.project.out_features, head.margin) == (2, 256, 0.6)
    assert (len(head.enhancement.layers), len(head.attention.layers)) == (4, 4)
    assert head.dropout.p == 0.5
    assert {name: weight for name, weight in head.loss_weights.items() if weight != 5} == {"video": 1}


@pytest.mark.parametrize("topology", ["clique+tracklets", "none"])
def test_graph_layers_run_on_frames_and_regions(topology):
    head = head_of((3, 2, 2), graph_layers=1, topology=topology, regions=3)
    tokens = torch.randn(2, 3, 2, 2, CHANNELS).double()
    logits = head(tokens).logits
    bare = taggnn.heads.art.parse("none")
    assert torch.equal(head(tokens, topology=bare).logits, logits) == (topology == "none")
    assert head.propagation[0].grid == (3, 3)


def test_another_grid_is_refused_and_resized(bank):
    head = head_of((3, 2, 2), bank, graph_layers=1)
    with pytest.raises(ValueError, match=r"\(4, 3, 2\).*built for \(3, 2, 2\).*resize"):
        head(torch.randn(1, 4, 3, 2, CHANNELS).double())
    head.resize((4, 3, 2))
    extras = head(torch.randn(1, 4, 3, 2, CHANNELS).double()).extras
    assert extras["regions"].shape == (1, 4, 2, 3, 2)
    assert head.propagation[0].grid == (4, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": 0}, "regions 0"),
        ({"temperature": 0}, "temperature 0"),
        ({"contrast": "hing"}, "'hing'; did you mean 'hinge'"),
        ({"position": "joined"}, "unknown position table 'joined'"),
        ({"semantics": "class"}, "unknown semantics 'class'"),
        ({"attention_heads": 3}, "3 attention heads"),
        ({"region_layers": 0}, "1 layer or more"),
        ({"topology": "cliqe"}, "unknown topology 'cliqe'"),
        ({"bank": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"bank": 5}, "given 5"),
        ({"bank": {"channels": 3}}, "no prompts in it"),
        ({"bank": {"channels": 3, "prompts": "ab"}}, r"bank\.prompts"),
        ({"bank": {"channels": 3, "prompts": []}}, r"bank\.prompts"),
        ({"bank": {"channels": 3, "prompts": [1]}}, r"bank\.prompts"),
        ({"bank": {"channels": "3", "prompts": ["a"]}}, r"bank\.channels"),
        ({"bank": {"channels": -1, "prompts": ["a"]}}, r"bank\.channels"),
        ({"bank": {"channels": 3, "prompts": ["a"]}, "bank_prompts": 2}, "bank_prompts 2"),
        ({"bank": {"channels": 3, "prompts": ["a", "b"]}, "regions": 9}, "4 classes and 2 prompts"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises((ValueError, OSError), match=message):
        ArtHead(CHANNELS, (2, 2, 2), CLASSES, **SMALL | options)


def architecture(bank, classes=NAMES, **options):
    return {
        "backbone": {"name": "small", "width": 4},
        "head": {"name": "art", **SMALL, "bank": bank, **options},
        "input": InputSpec("video", VIDEO_AXES, (3, 4, 32, 32)).plain(),
        "classes": list(classes),
    }


def test_classes_of_the_bank_are_put_into_the_order_of_the_data(bank):
    order = (2, 0, 3, 1)
    built = model.build(architecture(str(bank), [NAMES[k] for k in order])).head
    read = F.normalize(TextBank.read(bank).vectors, dim=-1)
    torch.testing.assert_close(built.bank.bank, read[:, list(order)])
    assert torch.equal(built.bank.agent, built.bank.bank)
    assert built.semantic_names()[:2] == ["a video of leap", "a video of jump"]
    assert built.semantic_names()[CLASSES] == "leap, a gymnast's leap"


@pytest.mark.parametrize("classes", [[*NAMES[:3], "walk"], NAMES[:3], [*NAMES, "walk"]], ids=["other", "fewer", "more"])
def test_a_bank_of_other_classes_is_refused(bank, classes):
    with pytest.raises(ValueError, match="classes"):
        model.build(architecture(str(bank), classes))


def test_what_is_stored_needs_no_file(bank):
    given = architecture(str(bank))
    first = model.build(given)
    stored = {**given, "head": {"name": "art", **heads.stored("art", {**SMALL, "bank": str(bank)})}}
    assert stored["head"]["bank"] == {"prompts": [*PROMPTS], "channels": WIDTH, "digest": TextBank.read(bank).digest}
    bank.unlink()
    again = model.build(stored)
    again.load_state_dict(first.state_dict())
    clips = torch.randn(2, 3, 4, 32, 32)
    assert torch.equal(again.eval()(clips).logits, first.eval()(clips).logits)
    assert again.head.semantic_names() == first.head.semantic_names()
    assert heads.stored("art", {"bank": None, "dim": 8}) == {"bank": None, "dim": 8}
    with pytest.raises(ValueError, match=r"art\.bank"):
        heads.stored("art", stored["head"])


def test_a_prompt_that_is_a_name_is_shown_with_the_class():
    head = ArtHead(CHANNELS, (2, 1, 1), 2, bank={"prompts": ["prompt 0", "{} {x}"], "channels": 3}, **SMALL)
    head.use_classes(["leap", "{} turn"])
    assert head.semantic_names() == ["leap, prompt 0", "{} turn, prompt 0", "leap {x}", "{} turn {x}"]


def test_the_first_prompts_of_a_bank(bank):
    head = head_of((2, 1, 1), bank, bank_prompts=1)
    assert head.bank.bank.shape == (1, CLASSES, WIDTH)
    torch.testing.assert_close(head.bank.bank[0].float(), F.normalize(TextBank.read(bank).vectors[0], dim=-1))
    assert len(head.semantic_names()) == CLASSES
    with pytest.raises(ValueError, match=r"bank_prompts 3.*2 prompts"):
        head_of((2, 1, 1), bank, bank_prompts=3)


def test_the_bank_follows_in_training_and_only_there(bank):
    built = model.build(architecture(str(bank)))
    spec = InputSpec("tokens", TOKEN_AXES, (*built.grid, built.channels))
    view, start = built.accepting(spec), built.head.bank.bank.clone()
    optimiser = torch.optim.SGD(view.parameters(), lr=1.0)
    output = view(torch.randn(2, *spec.shape), torch.tensor([0, 3]))
    sum(loss.mean() for loss in output.losses.values()).backward()
    assert built.head.bank.bank.grad is None
    optimiser.step()
    assert torch.equal(built.head.bank.bank, start)
    for part in view.modules():
        if hasattr(part, "after_step"):
            part.after_step()
    assert not torch.equal(built.head.bank.bank, start)
    torch.testing.assert_close(built.head.bank.bank, 0.999 * start + 0.001 * built.head.bank.agent)


def test_autocast_and_half_precision(bank):
    head = head_of((3, 2, 2), bank, graph_layers=1).float()
    tokens, targets = torch.randn(2, 3, 2, 2, CHANNELS), torch.tensor([1, 3])
    with torch.autocast("cpu", torch.bfloat16):
        output = head(tokens, targets)
        sum(loss.mean() for loss in output.losses.values()).backward()
    assert all(loss.isfinite().all() for loss in output.losses.values())
    assert isinstance(head.bfloat16().eval()(tokens.bfloat16()).logits, torch.Tensor)


def test_it_can_be_exported(bank):
    head = head_of((3, 2, 2), bank, regions=3).float().eval()
    tokens = torch.randn(3, 3, 2, 2, CHANNELS)

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x):
            return self.head(x).logits

    program = torch.export.export(Logits(), (tokens[:2],), dynamic_shapes=({0: torch.export.Dim("clips")},))
    torch.testing.assert_close(program.module()(tokens), head(tokens).logits)


def test_tag_and_art_together_are_both_in_turn(bank):
    torch.manual_seed(0)
    options = {"tag": {"dim": 8, "encoder_heads": 2, "dropout": 0.0}, "art": {**SMALL, "bank": str(bank)}}
    head = build("tag_art", CHANNELS, (3, 2, 2), CLASSES, **options).double()
    tokens, targets = torch.randn(2, 3, 2, 2, CHANNELS).double(), torch.tensor([1, 3])
    found = head(tokens, targets)
    first = head.tag(tokens)
    second = head.art(first.extras["nodes"], targets)
    torch.testing.assert_close(found.logits, first.logits + second.logits)
    torch.testing.assert_close(found.losses, second.losses)
    assert {"weights", "regions", "semantics"} <= found.extras.keys()
    head.use_classes(NAMES[::-1])
    assert head.semantic_names()[0] == "a video of salto"
    assert heads.stored("tag_art", options)["art"]["bank"]["channels"] == WIDTH
    head.resize((2, 3, 1))
    assert head(torch.randn(1, 2, 3, 1, CHANNELS).double()).extras["regions"].shape == (1, 2, 2, 3, 1)
    with pytest.raises(ValueError, match=r"tag_art.*encodr"):
        build("tag_art", CHANNELS, (3, 2, 2), CLASSES, tag={"encodr_layers": 1})


def test_a_class_token_stands_for_the_whole_clip(bank):
    head, tokens, token = head_of((3, 2, 2), bank), torch.randn(2, 3, 2, 2, CHANNELS).double(), torch.randn(2, CHANNELS)
    found = head(tokens, class_token=token.double())
    assert torch.equal(found.extras["pooled"], token.double())
    mean = tokens.mean((1, 2, 3))
    torch.testing.assert_close(head(tokens, class_token=mean).logits, head(tokens).logits)
    assert not torch.equal(found.logits, head(tokens).logits)

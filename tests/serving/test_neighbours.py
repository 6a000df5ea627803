"""The index of training clips: what is nearest, its file, and the vectors it is made of."""

import pytest
import torch
from torch.nn.functional import normalize

from taggnn import attach
from taggnn.data.clips import Clip
from taggnn.serving.neighbours import Index, digest_of
from taggnn.serving.representation import index_of, representations
from taggnn.types import BadClip, Batch

CLIPS = [
    Clip(f"/x/{n}.mp4", n % 2, f"ü{n}\udc80", 0.5 * n if n else None, None, None, "m" if n == 3 else None)
    for n in range(5)
]


@pytest.fixture
def index():
    vectors = normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    return Index(vectors, CLIPS, "digest")


def test_the_nearest_are_those_of_the_largest_cosine(index):
    vector = torch.randn(8, generator=torch.Generator().manual_seed(2))
    cosines = [float(row @ vector / (row.norm() * vector.norm())) for row in index.vectors]
    expected = sorted(range(5), key=lambda n: -cosines[n])[:3]
    found = index.nearest(normalize(vector, dim=0), 3)
    assert [one.clip for one in found] == [CLIPS[n] for n in expected]
    assert [one.similarity for one in found] == pytest.approx([cosines[n] for n in expected], abs=1e-6)
    assert len(index.nearest(vector, 99)) == 5


def test_a_file_gives_back_the_index_and_only_for_its_weights(index, tmp_path):
    path = index.write(tmp_path / "run" / "neighbours.safetensors")
    found = Index.read(path, "digest")
    assert torch.equal(found.vectors, index.vectors)
    assert (found.clips, found.model) == (CLIPS, "digest")
    assert Index.read(path, "of other weights") is None
    assert Index.read(tmp_path / "none", "digest") is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "fewer"])
def test_a_damaged_file_is_named(index, tmp_path, damage):
    path = index.write(tmp_path / "n.safetensors")
    content = path.read_bytes()
    if damage == "fewer":
        Index(index.vectors, CLIPS[:4], "digest").write(path)
    else:
        path.write_bytes({"cut": content[:-30], "other": b"hello", "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"n\.safetensors"):
        Index.read(path, "digest")


def test_a_digest_depends_on_every_byte(tmp_path):
    for name, content in (("a", b"x" * 3_000_000), ("b", b"x" * 2_999_999 + b"y"), ("c", b"x" * 3_000_000)):
        (tmp_path / name).write_bytes(content)
    a, b, c = (digest_of(tmp_path / name) for name in "abc")
    assert a == c != b


def small(head, **options):
    torch.manual_seed(0)
    made = attach("small", head, classes=3, clip=(2, 16, 16), backbone_options={"width": 4}, **options)
    return made.eval()


@pytest.mark.parametrize(
    ("head", "options", "before"),
    [
        ("pool", {}, lambda head, extras: extras["pooled"]),
        # As many channels as classes: the encoder and the graph have layers of that size too.
        (
            "tag",
            {"dim": 3, "encoder_heads": 1, "conv_options": {"heads": 1}},
            lambda head, extras: head.norm(extras["pooled"]),
        ),
        ("tag", {"dim": 16, "encoder_heads": 4}, lambda head, extras: head.norm(extras["pooled"])),
    ],
    ids=["pool", "tag of K channels", "tag"],
)
def test_the_vector_is_what_the_classifier_gets(head, options, before):
    model, x = small(head, **options), torch.randn(4, 3, 2, 16, 16)
    vectors, output = representations(model, x)
    with torch.no_grad():
        logits, extras = model(x)
        expected = normalize(before(model.head, extras), dim=1)
    torch.testing.assert_close(vectors, expected)
    torch.testing.assert_close(output.logits, logits)
    assert not any(module._forward_hooks for module in model.modules())


def test_an_index_of_batches_leaves_bad_clips_out():
    model = small("pool")
    x = torch.randn(3, 3, 2, 16, 16)
    bad = BadClip("1", "/x/1", "damaged")
    batches = [
        Batch(x[:2], torch.tensor([0, 0]), torch.tensor([0, 2]), [bad]),
        Batch(x[:0], torch.tensor([]).long(), torch.tensor([]).long(), [bad]),
        Batch(x[2:], torch.tensor([0]), torch.tensor([4])),
    ]
    index, skipped = index_of(model, batches, CLIPS, "d", torch.device("cpu"))
    assert skipped == 2
    assert index.clips == [CLIPS[0], CLIPS[2], CLIPS[4]]
    torch.testing.assert_close(index.vectors, representations(model, x)[0])
    with pytest.raises(ValueError, match="none of the 5"):
        index_of(model, batches[1:2], CLIPS, "d", torch.device("cpu"))

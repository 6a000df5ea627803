"""Sources: by name, by dotted path and from the input spec of a model; and one of a user, from files to batches."""

import json

import numpy as np
import pytest
import torch

from taggnn.cli import config, resolve
from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import ClipDataset, collate
from taggnn.data.loader import ClipData
from taggnn.data.video.source import VideoSource
from taggnn.data.views import check_views, clip_views, frame_views
from taggnn.types import SKELETON_AXES, BadClip, InputSpec, Sample

FRAMES, JOINTS, PERSONS = 4, 5, 2


class ArraySource:
    """Arrays (3, T, V, M) of .npy files: frames chosen at random in training, and moved by a little."""

    endings = (".NPY",)

    def __init__(self, frames=FRAMES, noise=0.1):
        self.noise = noise
        options = {"frames": frames, "noise": noise}
        self.spec = InputSpec(f"{__name__}.ArraySource", SKELETON_AXES, (3, frames, JOINTS, PERSONS), options)

    @classmethod
    def from_spec(cls, spec):
        return cls(**spec.options)

    def __call__(self, clip, seed):
        try:
            array = torch.from_numpy(np.load(clip.path))
        except (OSError, ValueError, EOFError) as error:
            return BadClip(clip.name, clip.path, str(error) or type(error).__name__)
        count = self.spec.size("frame")[0]
        if seed is None:
            return Sample(array[:, torch.linspace(0, array.shape[1] - 1, count).long()], clip.label)
        draws = torch.Generator().manual_seed(seed)
        chosen = torch.randint(array.shape[1], (count,), generator=draws).sort().values
        return Sample(
            array[:, chosen] + self.noise * torch.randn(3, count, JOINTS, PERSONS, generator=draws), clip.label
        )


class Turned(ArraySource):
    """Every training clip is flipped."""

    flip = 1.0

    def __call__(self, clip, seed):
        found = super().__call__(clip, seed)
        return found if isinstance(found, BadClip) or seed is None else Sample(found.x, found.label, flipped=True)


class Empty:
    """What is no source."""


DOTTED = f"{__name__}.ArraySource"


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """train: 2 classes of 3 arrays, one of them damaged, and a video that is no array; val: 2 classes of 1."""
    root = tmp_path_factory.mktemp("arrays")
    draw = np.random.default_rng(0)
    for name in ("left", "right"):
        for split, count in (("train", 3), ("val", 1)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                np.save(
                    root / split / name / f"{number}.npy", draw.standard_normal((3, 9, JOINTS, PERSONS), np.float32)
                )
    (root / "train" / "left" / "2.npy").write_bytes(b"")
    (root / "train" / "left" / "film.mp4").write_bytes(b"")
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_arrays_of_a_users_own_go_from_class_folders_to_batches(arrays, workers):
    data = ClipData(DOTTED, str(arrays), batch_size=2, workers=workers)
    data.setup()
    assert (data.classes, len(data.train_clips), len(data.val_clips)) == (("left", "right"), 6, 2)
    batches = list(data.train_dataloader())
    assert sorted(index for batch in batches for index in batch.index.tolist()) == [0, 1, 3, 4, 5]
    ((bad,),) = [batch.skipped for batch in batches if batch.skipped]
    assert (bad.name, bad.path) == ("train/left/2.npy", str(arrays / "train" / "left" / "2.npy"))
    assert bad.reason
    assert {tuple(batch.x.shape[1:]) for batch in batches} == {(3, FRAMES, JOINTS, PERSONS)}
    (batch,) = data.val_dataloader()
    expected = np.load(arrays / "val" / "right" / "0.npy")[:, [0, 2, 5, 8]]
    assert torch.equal(batch.x[1], torch.from_numpy(expected))
    assert batch.label.tolist() == [0, 1]


def test_the_seed_draws_a_users_clip_and_evaluation_draws_nothing(arrays):
    data = ClipData(ArraySource(), str(arrays), workers=0)
    data.setup()
    trained, shown = data.samples("train", train=True), data.samples("train")
    assert torch.equal(trained[0, 5].x, trained[0, 5].x)
    assert not torch.equal(trained[0, 5].x, trained[0, 6].x)
    assert torch.equal(shown[0, 5].x, shown[0, 6].x)
    views = trained.views(0, [5, 6], evaluation=True)
    assert all(
        torch.equal(view.x, one.x) for view, one in zip(views, [trained[0, 5], trained[0, 6], shown[0, 0]], strict=True)
    )
    assert {view.index for view in views} == {0}


def test_a_list_names_files_with_any_ending(arrays):
    (arrays / "list.txt").write_text("train/left/0.npy 0\nval/right/0.npy 1\n")
    data = ClipData(ArraySource(), str(arrays), train_list="list.txt", val_list="list.txt", classes=["left", "right"])
    assert len(data.train_clips) == 2
    assert len(data.samples("train")) == 2


def test_the_command_line_takes_a_dotted_path(arrays):
    words = ["--data.source", DOTTED, "--data.source_options", "{frames: 7}", "--data.root", str(arrays)]
    data = resolve.clips_of(config.parse(words))
    assert data.spec.shape == (3, 7, JOINTS, PERSONS)
    assert data.model_spec == data.spec
    assert [len(getattr(data, f"{split}_clips")) for split in ("train", "val")] == [6, 2]


@pytest.mark.parametrize("kind", ["video", DOTTED])
def test_the_input_of_a_trained_model_is_keys_of_a_configuration(kind, arrays):
    made = sources.build(kind, {"frames": 6})
    tree = resolve.keys_of_input(made.spec.kind, made.spec.options)
    settings = config.parse(["--data.root", str(arrays)], settled=tree)
    assert resolve.source_of(settings).spec == made.spec


def test_a_flipped_clip_of_any_source_has_its_partners_label(arrays):
    data = ClipData(Turned(), str(arrays), workers=0, flip_pairs={"left": "right"})
    for batch in data.train_dataloader():
        own = torch.tensor([data.train_clips[index].label for index in batch.index.tolist()])
        assert torch.equal(batch.label, 1 - own)
    (batch,) = data.val_dataloader()
    assert batch.label.tolist() == [0, 1]
    assert "data.flip_pairs" in ClipData(Turned(), str(arrays)).summary()
    assert "data.flip_pairs" not in ClipData(ArraySource(), str(arrays)).summary()


def test_several_views_of_a_source_that_gives_one_are_refused(arrays):
    data = ClipData(ArraySource(), str(arrays))
    with pytest.raises(ValueError, match=f"views 3, crops 1: {DOTTED} give one view of a clip"):
        data.eval_dataloader("val", views=3)
    for numbers, key in (((0, 1), "views must be 1 or more, not 0"), ((1, 0), "crops must be 1 or more, not 0")):
        with pytest.raises(ValueError, match=key):
            check_views(ArraySource(), *numbers)
    path = str(arrays / "val" / "left" / "0.npy")
    (views,) = clip_views(path, ArraySource())
    assert torch.equal(views[0], ArraySource()(Clip(path, 0, "a"), None).x)
    with pytest.raises(ValueError, match="not made of frames"):
        frame_views(torch.zeros(3, 8, 8, 3, dtype=torch.uint8), ArraySource())


def test_a_source_that_does_not_keep_to_its_spec_is_refused():
    spec = InputSpec("mine", ("frame",), (4,))
    with pytest.raises(ValueError, match=r"source mine"):
        collate([Sample(torch.zeros(4), 0), Sample(torch.zeros(5), 0)], spec)
    batch = collate([BadClip("a", "b/a", "broken")], ArraySource().spec)
    assert batch.x.shape == (0, 3, FRAMES, JOINTS, PERSONS)
    with pytest.raises(ValueError, match=r"data\.root: missing"):
        ClipData(VideoSource())


@pytest.mark.parametrize("kind", ["video", DOTTED])
def test_a_source_is_made_from_the_input_spec_of_a_model(kind):
    made = sources.build(kind, {"frames": 6})
    again = sources.of(InputSpec.read(json.loads(json.dumps(made.spec.plain()))))
    assert type(again) is type(made)
    assert again.spec == made.spec


def test_whatever_makes_a_source_is_taken():
    made = ArraySource(3)
    assert sources.build(made) is made
    assert sources.build(ArraySource, {"frames": 2}).spec.shape[1] == 2
    assert sources.build(lambda frames: ArraySource(frames), {"frames": 2}).spec.shape[1] == 2


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("vdieo", {}, "unknown source 'vdieo'; did you mean 'video'"),
        ("taggnn.nowhere.Source", {}, "taggnn.nowhere.Source"),
        ("taggnn.types.Sorce", {}, "unknown source in taggnn.types 'Sorce'; did you mean 'Source'"),
        ("taggnn.types.VIDEO_AXES", {}, "expected a class or a function"),
        ("taggnn.types.TOKEN_AXES.x", {}, "TOKEN_AXES"),
        (DOTTED, {"frame": 3}, "'frame'.*its arguments are"),
        (Empty, {}, "Empty: has no spec"),
        (ArraySource(), {"frames": 3}, "takes no options; got frames"),
        ("video", {"size": 0}, r"^video\.size \(0, 0\)"),
        ("video", {"frames": 0}, r"^video\.frames must be 1 or more"),
        ("tokens", {}, "missing a required argument: 'folder'"),
    ],
    # A word of the same form in every process: not the address of an object.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_source_is_refused(given, options, message):
    with pytest.raises(ValueError, match=message):
        sources.build(given, options)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("tokens", "tokens: has no from_spec"), ("vdieo", "unknown source"), ("taggnn.types.Batch", "from_spec")],
)
def test_an_input_that_no_source_can_be_made_from_is_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        sources.of(InputSpec(kind, ("frame",), (4,)))


def test_what_a_source_lacks_has_defaults():
    alone, video = capabilities_of(ArraySource()), capabilities_of(VideoSource())
    assert alone.model_spec == ArraySource().spec
    assert alone.endings == {".npy"}
    assert ".mp4" in video.endings
    assert (alone.splits, alone.identity, alone.backbone_state, alone.picture, alone.workers) == (None,) * 5
    assert (alone.flip, video.flip) == (0, 0.5)
    assert (alone.describe(), alone.notes(), video.notes()) == ([], {}, {})


def test_a_data_set_of_rows_needs_no_folder():
    class Counted:
        spec = InputSpec("mine", ("frame",), (2,))

        def __call__(self, clip, seed):
            return Sample(torch.full((2,), float(clip.path)), clip.label)

    rows = ClipList(tuple(Clip(str(k), k, f"{k}") for k in range(3)), ("a", "b", "c"), "")
    assert [ClipDataset(rows, Counted())[k, 0].x.tolist() for k in range(3)] == [[0, 0], [1, 1], [2, 2]]

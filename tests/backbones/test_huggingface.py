"""Hugging Face models from random tiny configurations: tokens, positions, weights, and errors without a hub."""

import configparser
import itertools
import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import taggnn
from taggnn import backbones
from taggnn.backbones import HUB, build, find, huggingface, resize_positions
from taggnn.runtime.huggingface import OLDEST

transformers = pytest.importorskip("transformers")

_SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY = {
    "videomae": {**_SMALL, "intermediate_size": 32, "image_size": [16, 24], "patch_size": 8, "num_frames": 6},
    "timesformer": {**_SMALL, "intermediate_size": 32, "image_size": 24, "patch_size": 8, "num_frames": 4},
    "vivit": {**_SMALL, "intermediate_size": 32, "image_size": 24, "tubelet_size": [2, 8, 4], "num_frames": 6},
    "vjepa2": {
        **_SMALL,
        **{"crop_size": 24, "patch_size": 8, "frames_per_clip": 4, "mlp_ratio": 2.0},
        **{"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1},
    },
}
GRIDS = {"videomae": (3, 2, 3), "timesformer": (4, 3, 3), "vivit": (3, 3, 6), "vjepa2": (2, 3, 3)}


def model_of(kind, head="Model", **changes):
    """A model of transformers itself, every parameter random: tables and class tokens start at zero."""
    torch.manual_seed(0)
    classes = huggingface.FAMILIES[kind].classes
    config = getattr(transformers, f"{classes}Config")(**{**TINY[kind], **changes})
    model = getattr(transformers, f"{classes}{head}")(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def last_hidden_state(kind, model, clip):
    given = {"pixel_values_videos" if kind == "vjepa2" else "pixel_values": clip.permute(0, 2, 1, 3, 4)}
    with torch.no_grad():
        return model(**given).last_hidden_state


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """The hub is never accessed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("kind", TINY)
def test_tokens_are_the_last_hidden_state_at_their_positions(kind):
    model = model_of(kind)
    grid = GRIDS[kind]
    features = backbones.strip(model_of(kind)).eval()
    assert features.grid == grid
    clip = torch.randn(2, 3, *features.clip)
    theirs = last_hidden_state(kind, model, clip)
    with torch.no_grad():
        ours = features(clip)
    assert ours.shape == (2, 24, *grid)
    frames, height, width = grid
    for t, y, x in itertools.product(*map(range, grid)):
        if kind == "timesformer":
            row = 1 + (y * width + x) * frames + t
        else:
            row = (t * height + y) * width + x + (1 if kind == "vivit" else 0)
        torch.testing.assert_close(ours[:, :, t, y, x], theirs[:, row])


@pytest.mark.parametrize("kind", TINY)
def test_a_token_sees_its_own_frames_and_pixels(kind):
    """Position tables at zero and attention cut off: a token changes with its own patch of the clip and no other."""
    features = backbones.strip(model_of(kind, num_hidden_layers=0)).eval()
    clip = torch.randn(1, 3, *features.clip)
    for token in [(0, 0, 1), (1, 1, 0), tuple(n - 1 for n in features.grid)]:
        changed = clip.clone()
        inside = tuple(slice(i * step, (i + 1) * step) for i, step in zip(token, features.step, strict=True))
        changed[(0, slice(None), *inside)] += 1
        with torch.no_grad():
            moved = (features(changed) - features(clip)).abs().sum(1)[0] > 1e-6
        assert moved.nonzero().tolist() == [list(token)]


def test_timesformer_over_space_alone_keeps_frames_apart():
    features = backbones.strip(model_of("timesformer", attention_type="space_only")).eval()
    clip = torch.randn(2, 3, *features.clip)
    changed = clip.clone()
    changed[1, :, 2] += 1
    with torch.no_grad():
        moved = (features(changed) - features(clip)).abs().amax((1, 3, 4)) > 1e-6
    assert moved.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", TINY)
def test_a_training_step_through_a_tag_head(kind):
    model = taggnn.attach(
        f"hf:{kind}", "tag", 3, backbone_options={"config": TINY[kind]}, encoder_layers=1, encoder_heads=2, dim=8
    )
    assert (model.spec.shape[1:], model.grid) == (model.backbone.clip, GRIDS[kind])
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    logits, _ = model(torch.randn(2, *model.spec.shape))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None]
    assert not silent
    optimiser.step()
    assert any(not torch.equal(value, before[name]) for name, value in model.backbone.named_parameters("backbone"))


@pytest.mark.parametrize("kind", TINY)
def test_a_model_with_a_head_loses_it(kind):
    model = model_of(kind, "ForVideoClassification", num_labels=5)
    head = {"vjepa2": {"pooler", "classifier", "predictor"}, "videomae": {"fc_norm", "classifier"}}.get(
        kind, {"classifier"}
    )
    features = backbones.strip(model)
    assert head <= set(features.description)
    theirs = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in theirs for parameter in features.parameters())
    assert not any("predictor" in name or "pooler" in name for name, _ in features.named_parameters())


@pytest.mark.parametrize("kind", TINY)
def test_positions_move_to_another_clip(kind, dry_run):
    clip = {"vjepa2": (6, 32, 32), "vivit": (4, 32, 32)}.get(kind, (4 if kind == "videomae" else 6, 24, 32))
    features = backbones.strip(model_of(kind)).eval()
    with pytest.raises(ValueError, match=r"was built for clips of .* Build it for that size"):
        features(torch.randn(1, 3, *clip))
    learned = len(list(features.parameters()))
    resize_positions(features, clip)
    grid = tuple(n // step for n, step in zip(clip, features.step, strict=True))
    assert dry_run(features, clip) == (24, grid)
    assert len(list(features.parameters())) == learned
    # A model that was made for this clip has tables of the same shapes, and its forward knows the same grid.
    fresh = build(f"hf:{kind}", config=TINY[kind], clip=clip).eval()
    fresh.load_state_dict(features.state_dict())
    again = torch.randn(2, 3, *clip)
    with torch.no_grad():
        torch.testing.assert_close(fresh(again), features(again))


@pytest.mark.parametrize("kind", ["vivit", "timesformer", "videomae"])
def test_tables_are_interpolated_on_the_grid(kind):
    """A table that rises along one axis still does on a finer grid; the class token's entry stays."""
    features = backbones.strip(model_of(kind))
    parts = features.model.embeddings
    kept = features.family.class_tokens
    width = features.grid[2]
    with torch.no_grad():
        table = parts.position_embeddings
        columns = torch.arange(float(width)).repeat(table[:, kept:].shape[1] // width)
        table[:, kept:] = columns[None, :, None]
        table[:, :kept] = -7
    frames, *size = features.clip
    resize_positions(features, (frames + features.step[0], *(2 * n for n in size)))
    moved = features.model.embeddings.position_embeddings.detach()
    assert (moved[:, :kept] == -7).all()
    line = moved[0, kept:, 0].unflatten(0, (-1, 2 * width))
    expected = ((torch.arange(2.0 * width) + 0.5) / 2 - 0.5).clamp(0, width - 1)
    torch.testing.assert_close(line, expected.expand_as(line))


def test_v_jepa_2_takes_square_frames_alone():
    features = backbones.strip(model_of("vjepa2"))
    with pytest.raises(ValueError, match=r"square frames; given \(24, 32\)"):
        resize_positions(features, (4, 24, 32))
    with pytest.raises(ValueError, match=r"smaller than one token of VJEPA2, \(2, 8, 8\)"):
        resize_positions(features, (1, 24, 24))


def published(folder, kind, **changes):
    """A folder as the hub would hold it: a model with a head, its configuration, its preprocessing."""
    model = model_of(kind, "ForVideoClassification", num_labels=5, **changes)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]})
    )
    return model.base_model


@pytest.mark.parametrize("kind", TINY)
def test_published_weights_load_from_a_folder(kind, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    model = published(tmp_path, kind)
    row = find(f"hf:{tmp_path}", published=True)
    assert row.grid == GRIDS[kind]
    assert (row.mean, row.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    features = build(f"hf:{tmp_path}", weights="default").eval()
    clip = torch.randn(1, 3, *features.clip)
    theirs = backbones.strip(model)
    with torch.no_grad():
        torch.testing.assert_close(features(clip), theirs(clip))
    assert "left out, not of the backbone: classifier" in caplog.text
    # Without the hub's word: the same file by its path, into the family.
    again = build(f"hf:{kind}", weights=tmp_path / "model.safetensors", config=TINY[kind]).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(clip), features(clip))


def test_a_configuration_is_settled_so_that_a_checkpoint_needs_no_folder(tmp_path):
    published(tmp_path, "videomae")
    options = backbones.settled(f"hf:{tmp_path}", {}, published=True)
    assert not {"id2label", "architectures"} & set(options["config"])
    assert json.loads(json.dumps(options)) == options
    for file in tmp_path.iterdir():
        file.unlink()
    assert build(f"hf:{tmp_path}", **options).grid == GRIDS["videomae"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", r"\(1 of \d+ entries\):\n  not in the file: encoder.layer.1.output.dense.bias \(24,\)"),
        ("unknown", r"not in the model: encoder.layer.0.extra"),
        ("shape", r"other shape: encoder.layer.0.output.dense.bias file \(5,\), model \(24,\)"),
        ("truncated", r"cannot be read as PyTorch weights: truncated.*SafetensorError"),
    ],
)
def test_a_file_that_does_not_fit_is_reported(damage, message, tmp_path):
    from safetensors.torch import load_file, save_file

    published(tmp_path, "videomae")
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    if damage == "missing":
        del state["videomae.encoder.layer.1.output.dense.bias"]
    elif damage == "unknown":
        state["videomae.encoder.layer.0.extra"] = torch.zeros(2)
    elif damage == "shape":
        state["videomae.encoder.layer.0.output.dense.bias"] = torch.zeros(5)
    save_file(state, path, {"format": "pt"})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=message):
        build("hf:videomae", weights=path, config=TINY["videomae"])
    if damage != "truncated":
        with pytest.raises(ValueError, match=message):
            build(f"hf:{tmp_path}", weights="default")


@pytest.mark.parametrize("given", ["folder", "file"])
@pytest.mark.parametrize("prefix", ["videomae.", "", "model.videomae.", "module._orig_mod."])
@pytest.mark.parametrize("naming", ["published", "transformers 5.12"])
def test_both_namings_of_videomae_s_biases_load(naming, prefix, given, tmp_path):
    """Published: q_bias and v_bias, none of keys; transformers 5.12 to 5.17 saved one of keys, which changes nothing."""
    if given == "folder" and prefix not in ("videomae.", ""):
        pytest.skip("transformers reads a folder itself")
    state = model_of("videomae").state_dict()
    layer = "attention.attention."
    names = {f"{layer}query.bias": f"{layer}q_bias", f"{layer}value.bias": f"{layer}v_bias"}
    written = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs) if naming == "published" else key
        written[prefix + key] = value.clone()
        if key.endswith("query.bias"):
            written[prefix + key.replace("query", "key")] = torch.randn_like(value)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae", **TINY["videomae"]}))
    save_file(written, tmp_path / "model.safetensors")
    built = build(f"hf:{tmp_path}", weights="default" if given == "folder" else str(tmp_path / "model.safetensors"))
    loaded = built.model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_the_backbone_of_a_run_is_loaded_from_its_checkpoint(tmp_path):
    built = build("hf:videomae", config=TINY["videomae"])
    state = {f"backbone.{key}": value for key, value in built.state_dict().items()}
    torch.save({"model": {**state, "head.classifier.weight": torch.zeros(3, 24)}}, tmp_path / "best.ckpt")
    again = build("hf:videomae", weights=tmp_path / "best.ckpt", config=TINY["videomae"])
    assert all(torch.equal(value, state[f"backbone.{key}"]) for key, value in again.state_dict().items())


def test_the_oldest_transformers_is_the_one_that_is_installed_with_taggnn(monkeypatch):
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    for extra in ("huggingface", "text"):
        required = setup["options.extras_require"][extra].strip()
        assert required == f"transformers>={'.'.join(map(str, OLDEST))}"
    monkeypatch.setattr(huggingface.hub.transformers(), "__version__", "5.17.0")
    with pytest.raises(ImportError, match=r"transformers 5\.19 or newer, and 5\.17\.0 is installed"):
        build("hf:videomae", config=TINY["videomae"])


def authors_file(model, prefix):
    """A model's weights in the names of VideoMAE's authors, written out one by one."""
    state = model.state_dict()
    file = {
        f"{prefix}patch_embed.proj.{end}": state[f"embeddings.patch_embeddings.projection.{end}"]
        for end in ("weight", "bias")
    }
    for i in range(2):
        old, new = f"encoder.layer.{i}.", f"{prefix}blocks.{i}."
        parts = [state[f"{old}attention.attention.{part}.weight"] for part in ("query", "key", "value")]
        file[f"{new}attn.qkv.weight"] = torch.cat(parts)
        for part, short in (("query", "q"), ("value", "v")):
            value = state.get(
                f"{old}attention.attention.{part}.bias", state.get(f"{old}attention.attention.{short}_bias")
            )
            file[f"{new}attn.{short}_bias"] = value
        for theirs, ours in (
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("attn.proj", "attention.output.dense"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        ):
            file |= {f"{new}{theirs}.{end}": state[f"{old}{ours}.{end}"] for end in ("weight", "bias")}
    for end in ("weight", "bias"):
        file[f"{prefix}fc_norm.{end}"] = torch.ones(24)
        file[f"{prefix}head.{end}"] = torch.ones(5)
    return file


@pytest.mark.parametrize("prefix", ["", "model.", "encoder."])
def test_files_of_videomae_s_authors_load(prefix, tmp_path):
    model = model_of("videomae")
    torch.save({"model": authors_file(model, prefix)}, tmp_path / "v2.pth")
    features = build("hf:videomae", weights=tmp_path / "v2.pth", config=TINY["videomae"]).eval()
    clip = torch.randn(1, 3, *features.clip)
    with torch.no_grad():
        torch.testing.assert_close(features(clip), backbones.strip(model)(clip))


def test_a_folder_of_videomae_v2_is_read_in_the_words_of_videomae(tmp_path):
    from safetensors.torch import save_file

    model = model_of("videomae", image_size=24)
    theirs = {
        **{
            "img_size": 24,
            "patch_size": 8,
            "in_chans": 3,
            "embed_dim": 24,
            "depth": 2,
            "num_heads": 2,
            "mlp_ratio": 4 / 3,
        },
        **{"qkv_bias": True, "tubelet_size": 2, "num_frames": 6, "use_mean_pooling": True, "layer_norm_eps": 1e-12},
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "VideoMAEv2_Base", "model_config": theirs}))
    save_file(authors_file(model, "model."), tmp_path / "model.safetensors")
    features = build(f"hf:{tmp_path}", weights="default").eval()
    assert features.grid == (3, 3, 3)
    clip = torch.randn(1, 3, *features.clip)
    with torch.no_grad():
        torch.testing.assert_close(features(clip), backbones.strip(model)(clip))


@pytest.mark.parametrize(
    ("content", "mean", "std"),
    [
        ({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2] * 3}, (0.4, 0.5, 0.6), (0.2,) * 3),
        ({"rescale_factor": 1 / 127.5, "offset": True, "do_normalize": False}, (0.5,) * 3, (0.5,) * 3),
        (
            {"rescale_factor": 1 / 127.5, "offset": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            (0.75,) * 3,
            (0.25,) * 3,
        ),
    ],
    ids=["plain", "vivit", "vivit twice"],
)
def test_statistics_are_those_of_pixels_in_0_to_1(content, mean, std, tmp_path):
    published(tmp_path, "vivit")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    row = find(f"hf:{tmp_path}", published=True)
    assert row.mean == pytest.approx(mean)
    assert row.std == pytest.approx(std)


@pytest.mark.parametrize("name", HUB)
def test_known_models_are_built_as_their_row_says_without_the_hub(name, dry_run):
    row = HUB[name]
    with torch.device("meta"):
        module = build(name)
    assert dry_run(module, row.clip) == (row.channels, row.grid)
    assert module.clip == row.clip
    assert all(0 < value < 1 for value in row.mean + row.std)


@pytest.mark.parametrize("kind", TINY)
def test_stated_defaults_are_those_of_transformers(kind):
    family = huggingface.FAMILIES[kind]
    config = getattr(transformers, f"{family.classes}Config")()
    assert huggingface.sizes(config.to_dict()) == huggingface.sizes({"model_type": kind})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf:videomay", {}, r"hf:videomay: no such folder, and no hub id either: one reads owner/name"),
        ("hf:./nowhere", {}, r"no such folder"),
        (
            "hf:someone/something",
            {},
            r"Download config.json, .* of https://huggingface.co/someone/something .* hf:FOLDER",
        ),
        ("hf:MCG-NJU/videomae-base", {"weights": "default"}, r"could not be downloaded from the Hugging Face hub"),
        (
            "hf:videomae",
            {"weights": "default", "config": TINY["videomae"]},
            r"a family has no published weights",
        ),
        (
            "hf:videomae",
            {"weights": "best", "config": TINY["videomae"]},
            r"unknown weights of a Hugging Face backbone 'best'",
        ),
        (
            "hf:videomae",
            {"config": {"hiden_size": 8}},
            r"unknown value of VideoMAE's configuration 'hiden_size'.*'hidden_size'",
        ),
        (
            "hf:videomae",
            {"config": {"hidden_size": 25}},
            r"transformers refuses this configuration of VideoMAE: .*multiple",
        ),
        (
            "hf:x/y",
            {"config": {"model_type": "vit"}},
            r"unknown model_type in the configuration of hf:x/y 'vit'; did you mean 'vivit'",
        ),
        ("hf:videomae", {"width": 3}, r"unknown option of backbone hf:videomae 'width'. Possible: config"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_not_available_is_reported(name, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build(name, **options)


def test_another_kind_of_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown family of Hugging Face video models 'vit'; did you mean 'vivit'"):
        backbones.strip(transformers.ViTModel(transformers.ViTConfig(**_SMALL, intermediate_size=8)))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match=r"unknown model_type in the configuration of hf:.* 'vit'"):
        build(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("videomae", 3, "option config of hf:videomae must be a mapping"),
        ("videomae", {"patch_size": 0}, "patch_size must be a positive integer or two of them, got 0"),
        ("videomae", {"tubelet_size": 0}, "tubelet_size must be a positive integer, got 0"),
        ("vivit", {"tubelet_size": 2}, "tubelet_size must be three positive integers, got 2"),
        ("timesformer", {"num_frames": "x"}, "num_frames must be a positive integer, got 'x'"),
        ("videomae", {"image_size": [1, 2, 3]}, "image_size must be a positive integer or two of them"),
        ("", None, "backbone hf: names no model"),
    ],
)
def test_a_size_that_is_none_is_reported_by_its_key(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        build(f"hf:{kind}", config=changes)

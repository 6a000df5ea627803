import re
import sys
from pathlib import Path

import pytest
from torch import nn

from taggnn.cli import config, resolve
from taggnn.heads import HEADS, Row

RECIPES = {"demo", "folder", "gym288", "gym99", "haa500", "miracl_words"}


@pytest.fixture
def refused(capsys):
    """``refused("--seed", "x")``: the message with which the configuration was refused."""

    def refused(*words):
        with pytest.raises(SystemExit) as left:
            config.parse([str(word) for word in words])
        assert left.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err.rstrip("\n").removeprefix("taggnn.train: ")

    return refused


def _written(path, text):
    path.write_text(text)
    return path


def test_all_recipes_are_there():
    assert set(config.recipes()) >= RECIPES


@pytest.mark.parametrize("name", config.recipes())
def test_recipe_parses_and_says_what_it_is(name):
    settings = config.parse(["--config", name, "--data.root", "videos"])
    assert settings.recipe == name
    comment = [line for line in config.find_recipe(name).read_text().splitlines() if line.startswith("#")]
    for word in ("paper", "command", "cost", "score"):
        assert any(re.match(rf"# {word}\b", line) for line in comment), word


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        ([], "demo"),
        (["--data.root", "videos"], "folder"),
        (["--data.root=videos"], "folder"),
        (["--data.root", "videos", "--backbone.weights", "null"], "scratch"),
        (["--data.root", "videos", "--backbone", "{name: small, weights: null}"], "scratch"),
        (["--data.root", "videos", "--backbone.weights", "null", "--backbone.weights", "default"], "folder"),
        (["--backbone.weights", "null"], "demo"),
    ],
)
def test_recipe_where_none_is_named(words, recipe):
    assert config.parse(words).recipe == recipe


@pytest.mark.parametrize(
    ("words", "scale"),
    [
        ([], 0.1),
        (["--backbone.weights", "null"], 1.0),
        (["--backbone.weights", "null", "--optim.backbone_lr_scale", "0.1"], 0.1),
        (["--backbone.weights", "null", "--backbone.frozen", "true"], 0.1),
        (["--backbone.name", "r3d_18"], 0.1),
    ],
    ids=str,
)
def test_a_random_backbone_learns_at_the_rate_of_the_head(words, scale, capsys):
    settings = config.parse(["--config", "folder", "--data.root", "videos", *words])
    assert settings.optim.backbone_lr_scale == scale
    assert ("backbone_lr_scale" in capsys.readouterr().err) == (scale == 1.0)


@pytest.mark.parametrize("before", [True, False])
def test_command_line_wins_wherever_it_stands(before):
    words, named = ["--data.root", "mine", "--optim.lr", "0.5"], ["--config", "gym99"]
    settings = config.parse([*words, *named] if before else [*named, *words])
    assert (settings.data.root, settings.optim.lr, settings.video.frames) == ("mine", 0.5, 64)


def test_later_files_win(tmp_path):
    first = _written(tmp_path / "a.yaml", "seed: 1\nthreads: 3\n")
    second = _written(tmp_path / "b.yaml", "seed: 2\n")
    settings = config.parse(["--config", str(first), f"--config={second}", "--data.root", "videos"])
    assert (settings.seed, settings.threads, settings.recipe) == (2, 3, "b")


@pytest.mark.parametrize("words", [["--print_config", "--seed", "7"], ["--seed", "7", "--print_config"]])
def test_printed_configuration_is_read_back(words, capsys, tmp_path):
    with pytest.raises(SystemExit) as left:
        config.parse(["--config", "gym288", *words])
    assert left.value.code in (0, None)
    path = _written(tmp_path / "mine.yaml", capsys.readouterr().out)
    again = config.parse(["--config", str(path)])
    given = config.parse(["--config", "gym288", "--seed", "7"])
    assert again.seed == 7
    for key in ("backbone", "head", "tag_released", "data", "video", "optim", "train", "monitor"):
        assert again[key] == given[key], key


def test_dump_holds_every_key_and_reads_back():
    settings = config.parse(["--config", "haa500", "--video.short_side", "null"])
    text = config.dump(settings)
    assert "short_side: null" in text
    assert config.parser().parse_string(text).data == settings.data


@pytest.mark.parametrize("key", config._LIMITS)
def test_limits_are_of_keys_that_exist(key):
    assert key in config.parser().get_defaults()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--head", "poool"], "unknown head 'poool'; did you mean 'pool'?"),
        (["--compare", "[poool]"], "unknown head 'poool'; did you mean 'pool'?"),
        (["--tag.encoder_activation", "gelo"], "tag.encoder_activation: unknown value 'gelo'; did you mean 'gelu'"),
        (["--video.sampling", "unifrm"], "video.sampling: unknown value 'unifrm'; did you mean 'uniform'?"),
        (["--optim.optimiser", "adm"], "optim.optimiser: unknown value 'adm'; did you mean 'adam'"),
        (["--monitor", "val/top"], "monitor: unknown value 'val/top'; did you mean 'val/top5' or 'val/top1'"),
        (["--optim.lr", "fast"], "optim.lr: expected a number, got 'fast'"),
        (["--seed", "1.5"], "seed: expected a whole number, got '1.5'"),
        (["--train.epochs", "three"], "train.epochs: expected a whole number, got 'three'"),
        (["--video.size", "big"], "video.size: expected a whole number or a list a,b,..., got 'big'"),
        (["--video.scale", "[1]"], "video.scale: expected a list of 2 numbers, got '[1]'"),
        (["--tag.conv_options", "5"], "tag.conv_options: expected a mapping {key: value} or null, got '5'"),
        (["--backbone.frozen_bn", "maybe"], "backbone.frozen_bn: expected true or false, got 'maybe'"),
        (["--train.epochs", "0"], "train.epochs 0: possible are 1 or more"),
        (["--train.epochs", "-1"], "train.epochs -1: possible are 1 or more"),
        (["--train.epochs", "null"], "train.epochs: expected a whole number, got 'None'"),
        (["--optim.label_smoothing", "3"], "optim.label_smoothing 3.0: possible are 0 to 1"),
        (["--tag.encoder_heads", "0"], "tag.encoder_heads 0: possible are 1 or more"),
        (["--threads", "-2"], "threads -2: possible are 1 or more"),
        (["--seed", "-1"], "seed -1: possible are 0 to 4294967295"),
        (["--train.epoch", "3"], "unknown option --train.epoch; did you mean train.epochs"),
        (["--dta.root", "x"], "unknown option --dta.root; did you mean data.root"),
        (["--lr", "1"], "unknown option --lr; did you mean optim.lr"),
        (["surplus"], "unexpected 'surplus': options begin with --"),
        (["--data.root"], "argument --data.root: expected one argument"),
        (["--config"], "--config needs the name of a recipe or a file"),
        (["--config", "foldr"], "unknown recipe 'foldr'; did you mean 'folder'?"),
        (["--config", "a/b.yaml"], "configuration a/b.yaml: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals_on_the_command_line(words, message, refused):
    assert refused(*words).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video: {frames: 3\n  size: 4\n", ", line 2, column 7: no YAML: expected ',' or '}'"),
        ("data:\n\troot: x\n", ", line 2, column 1: no YAML: found character '\\t'"),
        ("tag: {cnv: gat}\n", ": unknown key tag.cnv; did you mean tag.conv"),
        ("tga: {conv: gat}\n", ": unknown key tga; did you mean tag"),
        ("lr: 3\n", ": unknown key lr; did you mean optim.lr"),
        ("video: {frames: many}\n", ", video.frames: expected a whole number, got 'many'"),
        ("monitor: val/tpo1\n", ", monitor: unknown value 'val/tpo1'; did you mean 'val/top1'"),
        ("data: 5\n", ": data: expected keys below it, such as data.root; got 5"),
        ("- a\n- b\n", ": no keys in it; expected lines 'key: value'"),
        ("# all of it commented out\n", ": nothing in it; expected lines 'key: value'"),
    ],
)
def test_refusals_of_a_file_name_it(text, message, refused, tmp_path):
    path = _written(tmp_path / "mine.yaml", text)
    assert refused("--config", path).startswith(f"{path}{message}")


def test_file_that_is_no_text(refused, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert refused("--config", path) == f"{path}: not a text file"


def test_value_of_the_command_line_is_not_blamed_on_the_file(refused, tmp_path):
    path = _written(tmp_path / "mine.yaml", "video: {frames: 8}\n")
    assert refused("--config", path, "--video.frames", "many").startswith("video.frames: expected")


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path):
    path = _written(tmp_path / "mine.yaml", "optim: {lr: 1e-3}\n")
    assert config.parse(["--config", str(path), "--data.root", "videos"]).optim.lr == 1e-3


def test_help_names_resume(capsys):
    with pytest.raises(SystemExit):
        config.parse(["--help-all"])
    text = capsys.readouterr().out
    assert "--resume RUN" in text
    assert "gym288" in text


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder that stands for stored tokens of clips of 5 frames, whose extraction had a store of decoded clips."""

    class Cache:
        def __init__(self, folder):
            self.folder, self.settings = Path(folder), {"video.frames": 5}
            if not self.folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder")

    monkeypatch.setattr(config, "TokenCache", Cache)
    folder = tmp_path / "tok"
    folder.mkdir()
    _written(folder / "config.yaml", "seed: 77\ndata: {root: videos}\nvideo: {frames: 5, frame_cache: st}\n")
    return folder


@pytest.mark.parametrize(
    "given",
    [
        ["--data.tokens", "{}"],
        ["--data.tokens={}"],
        ["--data", '{{"tokens": "{}"}}'],
        ["--data={{tokens: {}}}"],
        ["--data.tokens", "null", "--data.tokens", "{}"],
        ["--data.tokens", "nowhere", "--data", "{{tokens: {}}}"],
        ["--data.tokens", "{}", "--data", "{{batch_size: 3}}"],
    ],
    ids=lambda words: " ".join(words),
)
def test_tokens_bring_their_settings_however_they_are_given(given, stored, tmp_path):
    words = [word.format(stored) for word in given]
    alone = config.parse(words)
    assert (alone.data.tokens, alone.video.frames, alone.seed) == (str(stored), 5, 77)
    beside = config.parse([*words, "--config", str(_written(tmp_path / "own.yaml", "seed: 3\n"))])
    assert (beside.data.tokens, beside.video.frames, beside.seed) == (str(stored), 5, 3)


def test_tokens_in_a_file_of_data_keys(stored, tmp_path):
    path = _written(tmp_path / "data.yaml", f"tokens: {stored}\n")
    assert config.parse(["--data", str(path)]).video.frames == 5


@pytest.mark.parametrize(
    "words", [["--data.tokens", "null"], ["--data.tokens=~"], ["--data", '{"tokens": null}']], ids=str
)
def test_tokens_null_are_no_tokens(words, stored, tmp_path):
    frames = config.parse([]).video.frames
    alone = config.parse(words)
    assert (alone.data.tokens, alone.video.frames, alone.recipe) == (None, frames, "demo")
    own = _written(tmp_path / "own.yaml", f"data: {{root: videos, tokens: {stored}}}\n")
    assert config.parse(["--config", str(own)]).video.frames == 5
    off = config.parse(["--config", str(own), *words])
    assert (off.data.tokens, off.video.frames) == (None, 16)


def test_tokens_that_are_not_there_are_named(stored, refused):
    assert refused("--data", "{tokens: 12}").startswith("12: no such folder")


def test_the_store_of_an_extraction_is_not_that_of_a_training_on_its_tokens(stored):
    assert config.parse(["--data.tokens", str(stored)]).video.frame_cache is None
    assert config.parse(["--data.tokens", str(stored), "--video.frame_cache", "mine"]).video.frame_cache == "mine"


@pytest.mark.parametrize("words", [["--data", '{"root": "videos"}'], ["--data={root: videos}"]], ids=str)
def test_a_root_below_data_means_videos_of_ones_own(words):
    assert config.parse(words).recipe == "folder"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--data.tokens", "a", "--data.tokens=b"], "b"),
        (["--data.tokens", "a", "--data.tokens", "null"], None),
        (["--data", "{tokens: [unclosed"], None),
        (["--data", "{frames: 3}"], None),
        (["--data.tokens"], None),
        (["--data.tokens_of", "a"], None),
        ([], None),
    ],
    ids=str,
)
def test_the_last_value_of_a_key_on_a_command_line(words, value):
    assert config.word("data.tokens", words) == value


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("{name: r3d_18}", "'name' is no option of a backbone's builder; give --backbone.name"),
        ("{frozen: true}", "'frozen' is no option of a backbone's builder; give --backbone.frozen"),
        ("{freeze_stages: 1}", "'freeze_stages' is no option of a backbone's builder; give --backbone.freeze_stages"),
        ("{weights: default}", "'weights' is no option of a backbone's builder; give --backbone.weights"),
        ("{clip: [8, 64, 64]}", "'clip' is no option of a backbone's builder; give --video.frames and --video.size"),
    ],
)
def test_options_of_a_backbone_are_not_keys_of_the_run(option, message, refused):
    assert refused("--backbone.options", option) == f"backbone.options: {message}"


def test_names_of_options_are_text(refused):
    assert "name of an option is text" in refused("--backbone.options", "{3: 4}")


@pytest.mark.parametrize("words", [["--backbone.name", "x3d_s"], ["--backbone", "{name: x3d_s}"]])
def test_another_backbone_has_not_the_recipe_s_options(words, capsys):
    assert config.parse([]).backbone.options == {"width": 16}
    chosen = config.parse(words).backbone
    assert (chosen.name, chosen.options) == ("x3d_s", {})
    assert capsys.readouterr().err == "backbone  x3d_s instead of small: left out options {'width': 16}\n"


def test_options_given_with_another_backbone_stay(capsys):
    chosen = config.parse(["--backbone.options", "{depth: 3}", "--backbone.name", "x3d_s"]).backbone
    assert chosen.options == {"depth": 3}
    assert config.parse(["--backbone.name", "small"]).backbone.options == {"width": 16}
    assert capsys.readouterr().err == ""


def test_a_later_file_with_another_backbone_drops_its_weights(tmp_path, capsys):
    first = _written(
        tmp_path / "a.yaml", "data: {root: videos}\nbackbone: {name: r3d_18, weights: r3d.pt, options: {}}\n"
    )
    second = _written(tmp_path / "b.yaml", "backbone: {name: x3d_s, options: {depth: 3}}\n")
    chosen = config.parse(["--config", str(first), "--config", str(second)]).backbone
    assert (chosen.name, chosen.weights, chosen.options) == ("x3d_s", None, {"depth": 3})
    assert "weights r3d.pt" in capsys.readouterr().err
    first.write_text("data: {root: videos}\nbackbone: {name: r3d_18, weights: default}\n")
    assert config.parse(["--config", str(first), "--backbone.name", "x3d_s"]).backbone.weights == "default"


class Own(nn.Module):
    """A head of a user's own.

    Args:
        hidden: channels inside.
    """

    def __init__(self, channels: int, grid: tuple[int, ...], classes: int, hidden: int = 4) -> None:
        super().__init__()


def test_a_row_is_all_that_a_head_needs_on_the_command_line(monkeypatch, refused):
    monkeypatch.setitem(HEADS, "own", Row(Own, "a head of a user's own"))
    monkeypatch.setitem(HEADS, "function", Row(lambda c, g, k, *, ratio=0.5: Own(c, g, k), "a function"))
    settings = config.parse(
        ["--head", "own", "--own.hidden", "7", "--compare", "[function]", "--function.ratio", "0.1"]
    )
    assert resolve.head_options(settings, "own") == {"hidden": 7}
    assert resolve.head_options(settings, "function") == {"ratio": 0.1}
    assert "own.hidden" in refused("--own.hidden", "many")


def test_a_head_by_its_dotted_path_has_its_options_below_head_options():
    path = f"{__name__}.Own"
    settings = config.parse(["--head", path, "--head_options", "{hidden: 7}", "--compare", "[pool]"])
    assert resolve.head_options(settings, path) == {"hidden": 7}
    assert resolve.head_options(settings, "pool") == {"dropout": 0.2, "ordered": False}
    settings = config.parse(["--compare", f"[{path}]", "--head_options", f"{{{path}: {{hidden: 3}}}}"])
    assert resolve.head_options(settings, path) == {"hidden": 3}
    assert resolve.head_options(config.parse(["--compare", f"[{path}]"]), path) == {}


def test_a_dotted_path_that_leads_to_no_head_is_refused(refused):
    message = refused("--head", f"{__name__}.Onw")
    assert "did you mean 'Own'" in message
    assert "No module named 'onw'" in refused("--compare", "[onw.Head]")


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--loggers", "tensorboard", "csv"], "loggers", ["tensorboard", "csv"]),
        (["--loggers", "tensorboard,csv"], "loggers", ["tensorboard", "csv"]),
        (["--loggers=csv"], "loggers", ["csv"]),
        (["--loggers", "[csv]"], "loggers", ["csv"]),
        (["--loggers", "[]"], "loggers", []),
        (["--compare", "pool"], "compare", ["pool"]),
        (["--compare", "pool", "tag_released", "--seed", "3"], "compare", ["pool", "tag_released"]),
        (["--compare=pool,tag_released"], "compare", ["pool", "tag_released"]),
        (["--video.size", "40", "64"], "video.size", [40, 64]),
        (["--video.size", "40,64"], "video.size", [40, 64]),
        (["--video.size", "40"], "video.size", 40),
        (["--video.scale", "0.5", "1"], "video.scale", (0.5, 1.0)),
        (["--video.mean", "0.1,0.2,0.3"], "video.mean", (0.1, 0.2, 0.3)),
        (["--video.mean", "0.45"], "video.mean", 0.45),
        (["--video.mean", "null"], "video.mean", None),
        (["--backbone.freeze_stages", "stages.0", "stages.1"], "backbone.freeze_stages", ["stages.0", "stages.1"]),
        (["--backbone.freeze_stages", "stem"], "backbone.freeze_stages", ["stem"]),
        (["--backbone.freeze_stages", "2"], "backbone.freeze_stages", 2),
        (["--devices", "auto"], "devices", "auto"),
        (["--devices", "1"], "devices", 1),
        (["--data.classes", "a,b"], "data.classes", ["a", "b"]),
        (["--data.classes", "names.txt"], "data.classes", "names.txt"),
    ],
    ids=str,
)
def test_lists_are_words_or_commas(words, key, value):
    assert config.parse(words)[key] == value


def test_a_file_with_a_comma_in_its_name_is_one_file(tmp_path):
    path = _written(tmp_path / "a,b.txt", "a")
    assert config.parse(["--data.classes", str(path)]).data.classes == str(path)


def test_the_warm_up_of_a_recipe_fits_a_short_training(capsys, refused):
    settings = config.parse(["--train.epochs", "1"])
    assert settings.optim.warmup_epochs == 0.25
    assert "warmup_epochs 0.25 instead of 2" in capsys.readouterr().err
    assert config.parse(["--train.epochs", "3"]).optim.warmup_epochs == 2
    assert refused("--train.epochs", "2", "--optim.warmup_epochs", "2").startswith("optim.warmup_epochs 2")


OWN = [
    ("tag: {conv: mine.Conv}", "conv", "--tag.conv=mine.Conv"),
    ("tag: {topology: clique+mine.Bones(joints=5)}", "topology", "--tag.topology=clique+mine.Bones(joints=5)"),
    ("tag: {readout: os.system}", "readout", "--tag.readout=os.system"),
    ("head: mine.Head", "head", "--head=mine.Head"),
    ("compare: [pool, mine.Head]", "head", "--compare=[pool, mine.Head]"),
    ("head_options: {conv: mine.Conv}", "conv", "--head_options={conv: mine.Conv}"),
    ("backbone: {name: mine.Net}", "backbone", "--backbone.name=mine.Net"),
    ("data: {source: mine.Source}", "input", "--data.source=mine.Source"),
    ("optim: {loss: mine.loss}", "loss", "--optim.loss=mine.loss"),
    ("tag: {topology: {class_path: mine.Bones}}", "topology|class_path", None),
]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module that must not be imported; returns the file to write a configuration into."""
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "config.yaml"
    assert "mine" not in sys.modules


@pytest.mark.parametrize(("text", "part", "word"), OWN)
def test_a_file_names_no_code_of_ones_own_without_trust(text, part, word, mine, refused):
    _written(mine, f"{text}\n...\n")
    words = ["--config", mine, "--data.root", "videos"]
    assert re.match(rf"{re.escape(str(mine))}: its ({part}) is (mine|os)\.\w+, .*--trust", refused(*words))
    with pytest.raises(SystemExit):
        config.of_run(mine.parent)


@pytest.mark.parametrize(("text", "part", "word"), [row for row in OWN if row[0][:4] == "tag:" and row[2]])
def test_the_command_line_names_it_and_trust_allows_it(text, part, word, mine):
    _written(mine, f"{text}\n...\n")
    root = ["--data.root", "videos"]
    trusted, own = config.parse(["--config", str(mine), *root, "--trust"]), config.parse([word, *root])
    assert config.own_names(trusted) == config.own_names(own) != frozenset()
    assert config.needs_trust(own)
    assert "trust" not in config.dump(own)
    # A run is resumed by the same command.
    assert config.of_run(mine.parent, config.own_names(own)).tag == own.tag
    with pytest.raises(SystemExit):
        config.of_run(mine.parent, frozenset({"mine.Other"}))
    assert not config.needs_trust(config.parse(root))


def test_a_file_cannot_trust_itself(mine, refused):
    _written(mine, "trust: true\ntag: {conv: mine.Conv}\n")
    assert f"{mine}: trust: a file cannot grant it to itself" in refused("--config", mine, "--data.root", "videos")


def test_a_file_of_a_group_is_a_file(mine, refused):
    _written(mine, "conv: mine.Conv\n")
    for words in (["--tag", mine], [f"--tag={mine}"]):
        assert f"{mine}: its conv is mine.Conv" in refused("--data.root", "videos", *words)


def test_paths_and_names_with_dots_are_no_code(tmp_path):
    file = _written(
        tmp_path / "a.yaml", "recipe: gym99.v2\nruns: my.runs\nbackbone: {weights: net.pth, options: {a: b.c}}\n"
    )
    assert config.parse(["--config", str(file), "--data.root", "videos"]).recipe == "gym99.v2"


def test_anchors_without_end_are_refused(tmp_path, refused):
    lines = ["head_options:", "  a0: &a0 [x, x]", *(f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    file = _written(tmp_path / "a.yaml", "\n".join(lines))
    assert f"{file}.head_options: more than" in refused("--config", file, "--data.root", "videos")

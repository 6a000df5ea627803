"""``python -m taggnn.check``: one of each problem is named, on screen, in the table and on the page; the rest trains."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from jsonargparse import Namespace

from taggnn import check, train
from taggnn.cli import checking, config
from taggnn.data.lists.reading import read_clips

LISTS = {
    "train": [
        *((f"jump/good{n}.mp4", "jump", 0) for n in range(3)),
        *((f"run/good{n}.mp4", "run", 1) for n in range(3)),
        ("jump/gone.mp4", "jump", 0),
        ("jump/text.mp4", "jump", 0),
        ("jump/half.mp4", "jump", 0),
        ("jump/empty.mp4", "jump", 0),
        ("jump/no_frames.mp4", "jump", 0),
        ("jump/good0.mp4", "jump", 0, 100, 101, "cut outside"),
        ("run/long.mp4", "run", 1, 1.0, 2.0, "first second"),
        ("run/long.mp4", "run", 1, 2.1, 9.0, "cut beyond"),
        ("run/half2.mp4", "run", 1, 0.0, 0.5, "before the damage"),
        ("run/bad_row.mp4", "run", "x"),
        ("jump/good1.mp4", "jump", 0),
        ("run/twice.mp4", "run", 1),
        ("run/twice.mp4", "jump", 0),
        ("jump/same.mp4", "jump", 0),
        ("run/same.mp4", "run", 1),
        ("jump/other_folder.mp4", "run", 1),
        ("run/copy of good2.mkv", "run", 1),
        ("jump/in_val.mp4", "jump", 0),
        ("run/short.mp4", "run", 1),
        ("run/one.mp4", "run", 1),
    ],
    "val": [
        ("jump/val0.mp4", "jump", 0),
        ("run/val1.mp4", "run", 1),
        ("jump/in_val.mkv", "jump", 0),
        ("run/long.mp4", "run", 1, 0.2, 1.3, "overlaps"),
    ],
}  # fmt: skip

# kind -> the clips or rows that it is about, as they are named
EXPECTED = {
    "two splits": {"jump/in_val.mp4", "first second"},
    "mislabelled": {"run/twice.mp4", "jump/same.mp4", "run/same.mp4", "jump/other_folder.mp4"},
    "missing": {"jump/gone.mp4"},
    "unreadable": {"jump/text.mp4", "jump/half.mp4", "jump/empty.mp4"},
    "zero-frame": {"jump/no_frames.mp4"},
    "cut outside": {"cut outside"},
    "malformed": {"run/bad_row.mp4"},
    "repeated": {"jump/good1.mp4"},
    "duplicate": {"run/copy of good2.mkv"},
    "cut beyond": {"cut beyond"},
    "damaged": {"before the damage"},
    "short": {"run/short.mp4"},
    "one frame": {"run/one.mp4"},
}
KEPT = {
    "train": {
        *(f"{name}/good{n}.mp4" for name in ("jump", "run") for n in range(3)),
        *("cut beyond", "before the damage", "run/short.mp4", "run/one.mp4"),
    },
    "val": {"jump/val0.mp4", "run/val1.mp4", "jump/in_val.mkv", "overlaps"},
}


def write(path, seed, frames=12, **options):
    """A video of noise that no other seed gives, 10 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream("libx264", rate=10, options={"x264-params": "keyint=4:bframes=0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            picture = np.kron(noise.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return path


def remux(source, target):
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        new.metadata["title"] = "a copy"
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with one of each problem."""
    made = tmp_path_factory.mktemp("check") / "videos"
    for n in range(3):
        write(made / "jump" / f"good{n}.mp4", n)
        write(made / "run" / f"good{n}.mp4", 10 + n)
    for n, name in enumerate(
        ("jump/in_val", "jump/val0", "run/val1", "jump/same", "jump/other_folder", "run/bad_row", "run/twice")
    ):
        write(made / f"{name}.mp4", 20 + n)
    write(made / "run" / "long.mp4", 30, frames=40)
    write(made / "run" / "short.mp4", 31, frames=3)
    write(made / "run" / "one.mp4", 32, frames=1)
    (made / "run" / "same.mp4").write_bytes((made / "jump" / "same.mp4").read_bytes())
    remux(made / "run" / "good2.mp4", made / "run" / "copy of good2.mkv")
    remux(made / "jump" / "in_val.mp4", made / "jump" / "in_val.mkv")
    for name, seed in (("jump/half.mp4", 33), ("run/half2.mp4", 34)):
        path = write(made / name, seed, frames=30, movflags="faststart")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    path = write(made / "jump" / "no_frames.mp4", 35, movflags="frag_keyframe+empty_moov")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    (made / "jump" / "text.mp4").write_text("no video at all\n" * 20)
    (made / "jump" / "empty.mp4").write_bytes(b"")
    for split, rows in LISTS.items():
        with (made / f"{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("path", "class", "label", "start", "stop", "name"))
            table.writerows((*row[:3], *(row[3:] or ("", "", ""))) for row in rows)
    return made


def words(root, out, *more):
    lists = [f"--data.{split}_list={root / split}.csv" for split in LISTS]
    return ["--data.root", root, *lists, "--video.frames", 4, "--out", out, "--workers", 2, *more]


@pytest.fixture(scope="module")
def checked(root, program, tmp_path_factory):
    out = tmp_path_factory.mktemp("checked") / "out"
    return out, program(check, *words(root, out))


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_of_each_problem_is_named(checked):
    out, ended = checked
    assert (ended.code, ended.err) == (1, "")
    rows = read(out / "problems.csv")
    assert {kind: {row["name"] for row in rows if row["kind"] == kind} for kind in EXPECTED} == EXPECTED
    # Both rows of the clip that is listed under two labels are named.
    assert len(rows) == sum(map(len, EXPECTED.values())) + 1
    page = (out / "check.html").read_text()
    for row in rows:
        assert row["name"] in page
        assert re.search(rf"{row['kind']} \((left out|kept)\)", ended.out)


def test_a_problem_says_where_and_why(checked):
    rows = {(row["kind"], row["name"]): row for row in read(checked[0] / "problems.csv")}
    leak = rows["two splits", "jump/in_val.mp4"]
    assert leak["what"] == "the same video as jump/in_val.mkv (val, jump)"
    assert (leak["split"], leak["class"], leak["left_out"]) == ("train", "jump", "yes")
    assert rows["two splits", "first second"]["what"] == "shares 0.30 s of its video with overlaps (val, run)"
    assert rows["malformed", "run/bad_row.mp4"]["line"] == "17"
    assert rows["mislabelled", "run/twice.mp4"]["what"] == "labelled run here, and otherwise in another row"
    assert "listed before" in rows["repeated", "jump/good1.mp4"]["what"]
    assert "truncated" in rows["unreadable", "jump/half.mp4"]["what"]
    assert rows["unreadable", "jump/empty.mp4"]["what"] == "the file is empty (0 bytes)"
    assert rows["duplicate", "run/copy of good2.mkv"]["what"] == "the same video as run/good2.mp4"
    assert rows["mislabelled", "jump/other_folder.mp4"]["what"] == "its folder is jump, its label run"
    assert rows["short", "run/short.mp4"]["what"] == "3 frames; the model sees 4"
    assert rows["damaged", "before the damage"]["left_out"] == "no"
    assert "lasts 1.20 s" in rows["cut outside", "cut outside"]["what"]


def test_the_cleaned_lists_are_read_back(checked, root):
    classes = (checked[0] / "classes.txt").read_text().split()
    for split, names in KEPT.items():
        clips = read_clips(root, checked[0] / f"{split}.csv", classes)
        assert {clip.name for clip in clips} == names
        assert clips.classes == ("jump", "run")
        cuts = {clip.name: (clip.start, clip.stop) for clip in clips if clip.stop is not None}
        assert cuts == {row[5]: row[3:5] for row in LISTS[split] if row[3:] and row[5] in names}


def test_every_step_of_the_coverage_is_counted(checked):
    steps = ("listed", "found", "readable", "kept")
    found = {
        (row["split"], row["name"]): tuple(int(row[step]) for step in steps) for row in read(checked[0] / "classes.csv")
    }
    assert found == {
        # The mislabelled row, the malformed one and the repetition are of no class.
        ("train", "jump"): (11, 10, 5, 3),
        ("train", "run"): (12, 12, 12, 7),
        ("val", "jump"): (2, 2, 2, 2),
        ("val", "run"): (2, 2, 2, 2),
    }  # fmt: skip


def test_the_command_on_screen_trains(checked, tiny, program, root, tmp_path):
    command = re.search(r"^train +python -m taggnn.train (.*)$", checked[1].out, re.MULTILINE)[1].split()
    assert not {"--out", "--workers", "2"} & set(command)
    assert sum(word.startswith("--data.train_list") for word in command) == 1
    # The tiny model's recipe holds another root: what the command says comes later and wins.
    ended = program(train, "--config", tiny, *command, "--compare=[]", "--runs", tmp_path, "--train.epochs", 1)
    assert ended.code == 0, ended.err
    assert "train 10, val 4" in ended.out
    assert (checked[0] / "check.html").read_text().count("--data.train_list") >= 1


def test_the_command_stands_on_its_lists_and_keeps_all_else_of_what_was_given():
    given = ["--config", "gym99", "--data.dataset", "gym99", "--out=x", "--data.val_folder", "v", "--video.frames", "8"]
    command = checking.training_command(given, Path("out"), {"train": Path("out/train.csv")}, ["jump"])
    assert command == [
        *("python", "-m", "taggnn.train", "--config", "gym99", "--video.frames", "8", "--data.dataset=null"),
        *("--data.version=null", "--data.train_list=out/train.csv", "--data.classes=out/classes.txt"),
    ]
    spaced = checking.training_command(given, Path("out"), {"train": Path("out/train.csv")}, ["jump", " run"])
    assert spaced == command[:-1]
    assert checking.training_command(given, Path("out"), {"val": Path("out/val.csv")}, ["jump"]) == []


def test_what_a_recipe_says_of_the_clips_does_not_come_back(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("data: {root: videos, dataset: gym99, val_list: old.csv, test_fraction: 0.3, classes: [a, b]}\n")
    given = ["--config", str(recipe), "--data.dataset", "null", "--data.classes", "a", "b", "--seed", "3"]
    command = checking.training_command(given, Path("out"), {"train": Path("out/train.csv")}, ["a", " b"])
    settings = config.parse(command[3:])
    assert (settings.seed, settings.data.train_list) == (3, "out/train.csv")
    usual = config.parser().get_defaults().data
    for key in ("dataset", "val_list", "test_fraction", "version"):
        assert settings.data[key] == usual[key], key


def test_a_clean_set_ends_with_zero_and_its_lists_are_clean(checked, root, program, tmp_path):
    lists = {f"--data.{split}_list={checked[0] / split}.csv" for split in LISTS}
    ended = program(check, "--data.root", root, *sorted(lists), "--video.frames", 1, "--out", tmp_path / "out")
    rows = read(tmp_path / "out" / "problems.csv")
    # What is kept although something is wrong with it stays wrong.
    assert {row["kind"] for row in rows} == {"cut beyond", "damaged", "one frame"}
    assert ended.code == 1
    clips = read_clips(root, checked[0] / "val.csv")
    assert read_clips(root, tmp_path / "out" / "val.csv").clips == clips.clips
    ended = program(check, "--data.root", root, f"--data.train_list={checked[0]}/val.csv", "--out", tmp_path / "val")
    assert ended.code == 0, ended.out
    assert "nothing is wrong" in ended.out


def test_the_page_is_whole_in_itself(checked):
    page = (checked[0] / "check.html").read_text()
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", page)
    assert len(page) < 1e5
    assert "<svg" in page
    assert "Leak, clips in two splits: 2" in page


def test_what_is_known_is_not_read_again(checked, root, program, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    known = json.loads((checked[0] / "scanned.json").read_text())
    for facts in known["files"].values():
        facts["codec"] = "known before"
    (out / "scanned.json").write_text(json.dumps(known))
    ended = program(check, *words(root, out))
    # Files that could not be opened are tried again.
    assert f"{len(known['files'])} of them known from an earlier scan" in ended.out
    assert "known before" in (out / "check.html").read_text()
    assert (out / "problems.csv").read_text() == (checked[0] / "problems.csv").read_text()


def test_an_interrupted_scan_keeps_what_it_has(root, program, tmp_path, monkeypatch):
    whole = checking.scan

    def interrupted(*args, **options):
        for count, one in enumerate(whole(*args, **options)):
            if count == 5:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(checking, "scan", interrupted)
    ended = program(check, *words(root, tmp_path, "--workers", 1))
    assert ended.code == 130
    assert "the same command resumes from there" in ended.err
    kept = json.loads((tmp_path / "scanned.json").read_text())["files"]
    assert 1 <= len(kept) <= 5
    monkeypatch.undo()
    ended = program(check, *words(root, tmp_path))
    assert f"{len(kept)} of them known from an earlier scan" in ended.out


def test_a_file_that_ends_its_reader_is_named(root, program, tmp_path, monkeypatch):
    script = tmp_path / "reader.py"
    script.write_text(
        "import os\nfrom taggnn.data.audit.probe import probe\nfrom taggnn.data.audit.scan import serve\n"
        "serve(lambda path, *job: os._exit(9) if path.endswith('val1.mp4') else probe(path, *job))\n"
    )
    whole = checking.scan
    bad = {"command": (sys.executable, str(script))}
    monkeypatch.setattr(checking, "scan", lambda *args, **options: whole(*args, **{**options, **bad}))
    ended = program(check, *words(root, tmp_path / "out"))
    assert ended.code == 1
    rows = {row["name"]: row for row in read(tmp_path / "out" / "problems.csv") if row["kind"] == "unreadable"}
    assert rows["run/val1.mp4"]["what"] == "the reader crashed at it (exit code 9)"
    assert set(rows) == EXPECTED["unreadable"] | {"run/val1.mp4"}


def test_both_rows_of_a_cut_under_two_labels_are_left_out(root, program, tmp_path):
    (tmp_path / "train.csv").write_text(
        "path,class,label,start,stop,name\nrun/long.mp4,run,1,0,1,\nrun/long.mp4,jump,0,0,1,\n"
        "run/good0.mp4,run,1,,,mine\nrun/good0.mp4,jump,0,,,yours\njump/good0.mp4,jump,0,,,\nrun/good1.mp4,run,1,,,\n"
    )
    program(check, "--data.root", root, "--data.train_list", tmp_path / "train.csv", "--out", tmp_path / "out")
    rows = read(tmp_path / "out" / "problems.csv")
    assert [row["name"] for row in rows if row["kind"] == "mislabelled"] == [
        *("run/long.mp4", "run/good0.mp4", "run/long.mp4 [0.0, 1.0)", "mine"),
    ]
    kept = [row["name"] for split in ("train", "val") for row in read(tmp_path / "out" / f"{split}.csv")]
    assert sorted(kept) == ["jump/good0.mp4", "run/good1.mp4"]


def test_no_list_of_the_user_is_written_over(checked, root, program, tmp_path):
    before = (root / "train.csv").read_text()
    ended = program(check, *words(root, root))
    assert ended.code == 2
    assert "would be overwritten" in ended.err
    assert (root / "train.csv").read_text() == before
    (tmp_path / "test.csv").write_text("mine")
    ended = program(check, *words(root, tmp_path))
    assert ended.code == 2
    assert (tmp_path / "test.csv").read_text() == "mine"
    lists = [f"--data.{split}_list={checked[0] / split}.csv" for split in LISTS]
    assert program(check, "--data.root", root, *lists, "--out", checked[0]).code == 2


def test_a_second_check_into_a_folder_leaves_no_list_of_the_first(root, program, tmp_path):
    program(check, *words(root, tmp_path))
    assert (tmp_path / "train.csv").exists()
    same = [f"--data.{split}_list={root / 'val.csv'}" for split in LISTS]
    ended = program(check, "--data.root", root, *same, "--out", tmp_path)
    # Every clip is in val as well.
    assert "nothing is left to train on" in ended.out
    assert not (tmp_path / "train.csv").exists()
    assert {row["name"] for row in read(tmp_path / "val.csv")} == {
        row[0] if len(row) < 6 else row[5] for row in LISTS["val"]
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "say what to check: --data.root DIR"),
        (["--data.root", "nowhere"], "data root nowhere: no such folder"),
        (["--config", "gym9"], "unknown recipe 'gym9'; did you mean 'gym99'"),
        (["--data.root", ".", "--depth", "deep"], "deep"),
        (["--data.root", ".", "--dept", "decode"], "unknown option --dept; did you mean depth"),
        (["--data.root", ".", "--workers", "0"], "workers 0"),
        (["--data.root", ".", "--limit", "0"], "limit 0"),
        (["--data.root", "nowhere", "--workers", "0"], "workers 0"),
        (["--data.root", "nowhere", "--limit", "-1"], "limit -1"),
        (["--data.root", "nowhere", "--out", "train.csv"], "--out train.csv: train.csv is a file"),
        (["--data.root", "nowhere", "--out", "train.csv/out"], "--out train.csv/out: train.csv is a file"),
        (["--data.root", "nowhere", "--runs", "train.csv"], "--runs train.csv: train.csv is a file"),
        (["--data.root", ".", "--preview", "3"], "--preview: is an option of taggnn.train"),
    ],
)
def test_mistakes_are_told_in_a_sentence(program, given, said, root, monkeypatch):
    monkeypatch.chdir(root)
    ended = program(check, *given)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.startswith("taggnn.check: ") or "check: " in ended.err
    assert "Traceback" not in ended.err


def test_a_check_of_tokens_is_refused(program, root):
    ended = program(check, "--data.root", root, "--data.tokens", "made")
    assert ended.code == 2
    assert "--data.tokens made: the check is of files" in ended.err
    # In a configuration as well.
    with pytest.raises(ValueError, match=r"--data\.tokens made: the check is of files"):
        check._refuse(Namespace(data=Namespace(tokens="made")))


def test_the_help_shows_data_and_its_own_options_alone(capsys):
    check.parser().print_help()
    shown = capsys.readouterr().out
    for option in ("--depth", "--workers", "--limit", "--out", "--data.train_list", "--data.dataset", "--config"):
        assert option in shown
    for option in ("--optim.lr", "--train.epochs", "--backbone.name", "--tag.dim"):
        assert option not in shown


def test_an_unsplit_folder_is_parted_as_training_would(videos, program, tmp_path):
    root = videos / "train"
    ended = program(check, "--data.root", root, "--out", tmp_path)
    assert ended.code == 1
    # Of val nothing but a damaged file was held out, so it has no list.
    assert not (tmp_path / "val.csv").exists()
    kept = sum(len(read(tmp_path / f"{split}.csv")) for split in ("train", "test"))
    assert kept == 16
    assert "held out as test" in ended.out


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_it_runs_as_a_module(root, tmp_path):
    command = [sys.executable, "-m", "taggnn.check", *map(str, words(root, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 1
    assert "problems" in done.stdout
    # No bar where nobody watches.
    assert done.stderr == ""

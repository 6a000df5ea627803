"""taggnn.report: one file, from the run folder alone, whatever of it is there."""

import base64
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from taggnn.cli import terminal
from taggnn.evaluation.metrics import confusion_matrix, summarise
from taggnn.evaluation.predictions import Predictions, Skipped, write_predictions, write_skipped
from taggnn.evaluation.results import Results
from taggnn.papers import PAPERS
from taggnn.report import main
from taggnn.reporting import class_section, first_screen, page, run_page, theme
from taggnn.reporting.figures import confusion, curves
from taggnn.reporting.page import between
from taggnn.reporting.run_page import write_report
from taggnn.reporting.theme import DARK, LIGHT, clean, png, shorten
from taggnn.training.history import read_history

CLASSES = [
    "<script>alert('x')</script>",
    'up & "down"',
    "tir à l'arc",
    "日本",
    "$x_1^",
    "(VT) round-off, " + "salto " * 20,
]


class Page(HTMLParser):
    """The text of a page and its tags, each checked to be closed."""

    VOID = ("meta", "img", "source", "br", "link", "input")

    def __init__(self, content):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(content)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def predictions(clips=60, classes=CLASSES, occurring=None):
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(occurring or len(classes), (clips,), generator=generator)
    scores = torch.randn(clips, len(classes), generator=generator)
    scores[torch.arange(clips), labels] += 2
    names = [f"clip_{i}" for i in range(clips)]
    return Predictions(names, names, labels, scores.softmax(1), classes)


def template_of(name):
    return (Path(page.__file__).parent / f"templates/{name}.html.j2").read_text(encoding="utf-8").strip()


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(theme, "DPI", 40)


@pytest.fixture
def full(tmp_path):
    run = tmp_path / "run"
    given = predictions(occurring=5)
    write_predictions(run / "predictions.csv", given)
    write_skipped(
        run / "skipped.csv", [Skipped("b<1>", "x/b<1>.mp4", "test", "no video stream"), Skipped("t", "t", "train", "0")]
    )
    counts = [500, 200, 60, 30, 7, 2]
    facts = {"missing": 1200, "unreadable": 1, "loss": 0.25, "training_counts": counts, "resamples": 50}
    figures = Results.from_predictions("test", given, **facts).to_json()
    gain = {"value": 0.125, "low": -0.0125, "high": 0.25}
    (run / "config.yaml").write_text("seed: 42\nname: <mine>\n")
    (run / "metrics.csv").write_text(
        "epoch,train/loss,val/loss,val/top1,val/mca,lr\n0,1.5,1.6,0.3,0.2,0.01\n1,1.0,1.2,0.7,0.6,0.005\n2,0.8,1.3,0.65,0.6,0.001\n"
    )
    Results(
        **{
            "title": "demo <1>",
            **figures,
            "scores": {"val": figures["scores"]["test"], "test": figures["scores"]["test"]},
            "paired": [
                {
                    **{"name": "tag", "against": "pool <b>", "clips": 60, "top1": gain, "mca": gain},
                    **{"only_name": 12, "only_against": 3, "p": 0.035, "p_holm": 0.035, "verdict": "tag has 9 more."},
                }
            ],
            "unmeasured": {"test": [CLASSES[5]]},
            "comparison": [
                {
                    "name": "tag",
                    "chosen": True,
                    "top1": 0.91,
                    "mca": 0.9,
                    "measured": 60,
                    "listed": 1261,
                    "parameters": 1234567,
                    "seconds": 75.0,
                },
                {"name": "pool", "top1": 0.625, "mca": None, "parameters": 4617, "seconds": 61, "seed": 3},
            ],
            "graph_effect": {
                "top1_with": 0.9,
                "top1_without": 0.4,
                "changed": 0.55,
                "relative_logits": 2.4e-5,
                "clips": 60,
                "only_with": 32,
                "only_without": 2,
                "p": 1e-9,
                "gain_low": 0.35,
                "gain_high": 0.65,
            },
            "environment": {"command": ["python", "-m", "taggnn.train"], "seed": 42, "torch": "2.9.0"},
            "durations": {"train": 3725.0},
            "notes": ["two <classes> of val are not in train"],
        }
    ).write(run)
    return run


def test_the_full_page_is_complete_and_self_contained(full):
    content = write_report(full).read_text(encoding="utf-8")
    found = Page(content)
    test = Results.read(full).to_json()["scores"]["test"]
    for given in [
        page.percent(test["top1"]),
        page.percent(test["top5"]),
        page.percent(test["mca"]),
        "over 5 of 6 classes",
        "Accuracy on test: 60 of 1\u202f261 clips",
        "Clips measured of 1\u202f261 listed",
        "60 of 1\u202f261",
        "1\u202f200 missing, 1 unreadable; counted nowhere",
        "The figures of test are about 60 of 1,261 listed clips (5 %): 1,200 missing, 1 unreadable.",
        f"not measured: 1 class whose every listed clip is missing or unreadable: {CLASSES[5]}",
        "not measured: every clip of it is missing or unreadable",
        "demo <1>",
        "two <classes> of val",
        "1\u202f234\u202f567",
        "1 min 15 s",
        "1 h 2 min",
        "2.4e-05",
        "without them 55.0\u202f% of the predictions change",
        "The model with its edges has 30 more clips right than the model without its edges; chance alone would hardly do that.",
        "Top-1 \u221250.0 points when they are removed (95 % interval \u221265.0 to \u221235.0; McNemar, p < 0.0001)",
        f"Macro F1{page.percent(test['macro_f1'])}",
        f"Calibration error{page.percent(test['ece'])}",
        between(Results.read(full).to_json()["intervals"]["test"]["mca"]),
        "many-shot: more than 100 training clips",
        "few-shot: fewer than 20 training clips1 of 29",
        "tag - pool <b>: +12.5 points",
        "tag has 9 more. Of 60 clips only tag has 12 right, only pool <b> 3 (McNemar, p = 0.0350).",
        "Calibration",
        "The dotted line marks epoch 1",
        "python -m taggnn.train",
        "name: <mine>",
        "x/b<1>.mp4",
        "2 clips could not be used",
        "1 class without a clip",
        *CLASSES,
    ]:
        assert given in found.text, given
    assert "disagree" not in found.text
    assert "<mine>" not in content
    assert not [tag for tag, _ in found.tags if tag in ("link", "iframe")]
    # Its scripts are those of the templates, to the letter: none reads what a run named.
    scripts = re.findall(r"<script[^>]*>.*?</script>", content, re.DOTALL)
    assert len(scripts) == content.count("<script") == 2
    assert scripts == [template_of(name) for name in ("sorting", "copying")]
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for key in ("src", "srcset", "href"):
            assert attributes.get(key, "data:").startswith(("data:", "#"))
        assert attributes.get("xlink:href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?://", content)


def test_an_older_run_has_its_figures_and_no_intervals(full):
    results = Results.read(full).to_json()
    for key in ("intervals", "groups", "training_counts", "paired"):
        del results[key]
    for figures in results["scores"].values():
        del figures["macro_f1"], figures["ece"]
    results["graph_effect"] = {key: results["graph_effect"][key] for key in ("top1_with", "top1_without", "changed")}
    given = predictions(occurring=5)
    Results(**results).write(full)
    text = Page(write_report(full).read_text(encoding="utf-8")).text
    assert f"Macro F1{page.percent(summarise(given.probabilities, given.labels).macro_f1)}" in text
    assert "few-shot" not in text
    assert "McNemar" not in text


def test_scores_that_are_no_probabilities_have_no_calibration(tmp_path):
    given = predictions(20)
    given = Predictions(given.names, given.paths, given.labels, 3 * given.probabilities, given.classes)
    write_predictions(tmp_path / "predictions.csv", given)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "Calibration" not in text


def test_the_confusion_matrix_is_in_the_page_and_next_to_it_and_the_curves_are_svg(full):
    found = Page(write_report(full).read_text(encoding="utf-8"))
    (image,) = [attributes for tag, attributes in found.tags if tag == "img"]
    assert base64.b64decode(image["src"].partition(",")[2]) == (full / "confusion.png").read_bytes()
    assert image["alt"]
    assert sum(tag == "source" for tag, _ in found.tags) == 1
    labels = [attributes["aria-label"] for tag, attributes in found.tags if tag == "svg"]
    assert labels[0].startswith("tag - pool <b>")
    assert labels[1] == "Loss and accuracy over the epochs"
    assert (full / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_has_a_bounded_number_of_rows_and_says_where_all_are(tmp_path, monkeypatch):
    monkeypatch.setattr(run_page, "ROWS", 7)
    write_predictions(tmp_path / "predictions.csv", predictions(classes=[f"class {k}" for k in range(12)]))
    write_skipped(tmp_path / "skipped.csv", [Skipped(f"clip {k}", f"clip {k}", "test", "empty") for k in range(9)])
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert len(rows_of(page, "Most often confused with")) == len(rows_of(page, "Reason")) == 1 + 7
    assert "The 7 hardest of 12" in page
    assert "predictions.csv has all" in page
    assert "skipped.csv has all" in page


def answers(content):
    """The rows of the first screen: question -> answers."""
    (part,) = re.findall(r'<dl class="answers">(.*?)</dl>', content, re.DOTALL)
    rows = re.findall(r"<dt>(?:<a [^>]*>)?(.*?)(?:</a>)?</dt>\s*<dd>(.*?)</dd>", part, re.DOTALL)
    return {question: text.split("<br>") for question, text in rows}


def test_the_first_screen_has_the_comparison_the_confusions_and_the_graph(full):
    content = write_report(full).read_text(encoding="utf-8")
    found = answers(content)
    assert list(found) == ["Compared with", "Most confused", "Graph"]
    assert found["Compared with"] == ["pool &lt;b&gt;: top-1 +12.5 points (\u22121.2 to +25.0), p = 0.0350"]
    assert len(found["Most confused"]) == first_screen.PAIRS
    given = predictions(occurring=5)
    matrix = confusion_matrix(given.probabilities, given.labels)
    both = matrix + matrix.T
    assert found["Most confused"][0].endswith(
        f": {both.triu(1).max()} of their {matrix.sum(1)[worst_labels(both)].sum()} clips"
    )
    assert content.index('<dl class="answers">') < content.index("<h2>Comparison")


def worst_labels(both):
    return list(divmod(int(both.triu(1).argmax()), len(both)))


def test_a_run_that_was_compared_with_nothing_has_no_comparison(full):
    results = Results.read(full).to_json()
    del results["paired"]
    results["comparison"] = results["comparison"][:1]
    Results(**results).write(full)
    content = write_report(full).read_text(encoding="utf-8")
    assert "<h2>Comparison" not in content
    assert "aseline" not in content
    assert answers(content)["Compared with"][0].startswith("nothing")


@pytest.mark.parametrize(
    ("folder", "stated", "date"),
    [
        ("run", {"date": "2026-01-31"}, "2026-01-31"),
        ("2026-02-01_18-05-09_2", {"date": "2026-01-31"}, "2026-01-31"),
        ("2026-02-01_18-05-09_2", {}, "2026-02-01"),
        ("2026-02-01_18-05-09", {"date": "<b>"}, "2026-02-01"),
        ("run", {}, ""),
    ],
)
def test_the_title_has_the_date_of_the_run(tmp_path, folder, stated, date):
    run = tmp_path / folder
    Results(title="demo: tag", environment=stated, notes=["n"]).write(run)
    content = write_report(run).read_text(encoding="utf-8")
    assert f"<h1>demo: tag{', ' if date else ''}{date}</h1>" in content
    assert f"<title>demo: tag{', ' if date else ''}{date} · " in content


def test_every_link_of_the_contents_leads_to_a_section(full):
    content = write_report(full).read_text(encoding="utf-8")
    targets = re.findall(r'<a href="#([^"]*)"', content)
    assert len(targets) > 8
    assert len(set(re.findall(r' id="([^"]*)"', content))) == len(re.findall(r' id="', content))
    assert set(targets) <= set(re.findall(r'<section id="([^"]*)"', content))


def test_the_papers_of_the_model_are_the_last_part(full):
    address, entry = next(iter(PAPERS.items()))
    results = Results.read(full).to_json()
    assert "Papers to cite" not in write_report(full).read_text(encoding="utf-8")
    Results(**{**results, "model": {"head": "tag", "papers": address}}).write(full)
    content = write_report(full).read_text(encoding="utf-8")
    assert entry in Page(content).text
    assert sum(one in content for one in PAPERS.values()) == 1


@pytest.fixture
def many(tmp_path, monkeypatch):
    """60 classes with long names, of which the first is confused with the last."""
    monkeypatch.setattr(class_section, "SMALL", 4)
    classes = [f"a double salto backward <{k}> with a turn of the body" for k in range(60)]
    labels = torch.arange(180) % 59
    scores = torch.nn.functional.one_hot(labels, 60).float()
    scores[:60] = scores[:60].roll(-1, 1)
    names = [str(k) for k in range(180)]
    write_predictions(tmp_path / "predictions.csv", Predictions(names, names, labels, scores, classes))
    return tmp_path, labels, scores.argmax(1), classes


def test_many_classes_have_a_grid_with_every_cell_and_every_name(many):
    folder, labels, predicted, classes = many
    content = write_report(folder).read_text(encoding="utf-8")
    found = Page(content)
    cells = {tuple(map(int, row)) for row in re.findall(r"<title>(\d+) as (\d+): (\d+) of (\d+) clips", content)}
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    support = [labels.tolist().count(k) for k in range(60)]
    assert cells == {(*pair, pairs.count(pair), support[pair[0]]) for pair in pairs}
    assert [
        attributes.get("title") for tag, attributes in found.tags if tag == "li" and attributes.get("title")
    ] == classes
    assert "Empty rows: 1 class without a clip" in found.text
    # The small matrix is a picture in two themes, and has a text of what it shows.
    (image,) = [attributes for tag, attributes in found.tags if tag == "img"]
    assert "4 classes that are confused most" in image["alt"]
    assert (folder / "confusion.png").is_file()


def test_more_cells_than_a_page_holds_are_a_picture(many, monkeypatch):
    monkeypatch.setattr(class_section, "MOST_CELLS", 10)
    content = write_report(many[0]).read_text(encoding="utf-8")
    assert "Confusion matrix of 60 classes" in content
    assert 'class="grid"' not in content


def test_the_most_confused_classes_are_next_to_each_other():
    matrix = torch.diag(torch.full((6,), 9))
    matrix[4, 1] = matrix[1, 4] = 5
    matrix[2, 1], matrix[0, 5] = 4, 3
    assert class_section.most_confused(matrix, 5) == [1, 4, 2, 0, 5]
    assert class_section.most_confused(matrix, 3) == [1, 4, 2]
    assert class_section.most_confused(torch.eye(3, dtype=torch.long)) == []


def test_a_part_of_a_matrix_is_shaded_by_the_clips_of_the_whole():
    matrix = torch.tensor([[2, 1], [0, 3]])
    drawn = png(confusion(matrix, ["a", "b"]))
    assert png(confusion(matrix, ["a", "b"], support=matrix.sum(1))) == drawn
    assert png(confusion(matrix, ["a", "b"], support=torch.tensor([30, 30]))) != drawn


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_have_the_contrast_that_wcag_asks_for(colours):
    # 4.5 to 1 for text, https://www.w3.org/TR/WCAG22/#contrast-minimum; the text of mistakes has a colour of its own.
    base = template_of("base")
    dark = colours is DARK
    backgrounds = [colours.surface, re.findall(r"--page: (#\w+)", base)[dark]]
    mistaken = colours.wrong if dark else re.search(r"--wrong-text: (#\w+)", base)[1]
    for text in (colours.ink, colours.muted, colours.right, mistaken):
        for background in backgrounds:
            low, high = sorted((luminance(text), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_same_folder_gives_the_same_bytes(full):
    first = write_report(full).read_bytes()
    assert write_report(full).read_bytes() == first


def test_classes_are_sorted_hardest_first_and_absent_ones_last(full):
    content = write_report(full).read_text(encoding="utf-8")
    table = content[content.index("<h2>Class by class") :].split("</section>")[0]
    recalls = [float(figure) for figure in re.findall(r'<td class="n bar"[^>]*>([0-9.]+)', table)]
    assert len(recalls) == 5
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]
    labels = re.findall(r'<tr[^>]*><td class="t"><span class="q">(\d)</span>', table)
    assert len(labels) == 6
    assert labels[-1] == "5"


@pytest.mark.parametrize(
    ("name", "content", "given"),
    [
        ("config.yaml", "seed: 1\n", "seed: 1"),
        ("results.json", '{"title": "only a title"}', "only a title"),
        ("metrics.csv", "epoch,val/top1\n0,0.5\n", "epoch 0"),
        ("metrics.csv", "epoch,lr\n0,0.5\n", "The epoch"),
        ("skipped.csv", "name,path,split,reason\na,a.mp4,val,empty\n", "1 clip could not be used"),
    ],
)
def test_each_file_alone_is_enough(tmp_path, name, content, given):
    (tmp_path / name).write_text(content)
    assert given in Page(write_report(tmp_path).read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    "given",
    [
        predictions(1, ["only"]),
        predictions(3, ["a", "b"]),
        predictions(40, [f"word {i}" for i in range(30)]),
        predictions(150, [f"class number {i}" for i in range(99)]),
    ],
    ids=["1 class", "2 classes", "30 classes", "99 classes"],
)
def test_predictions_alone_give_scores_and_a_matrix(tmp_path, given):
    write_predictions(tmp_path / "predictions.csv", given)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert page.percent(summarise(given.probabilities, given.labels).top1) in text
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert ("nothing can be confused" in text) == (len(given.classes) == 1)


def test_a_complete_set_has_a_plain_line(tmp_path):
    given = predictions(10, ["a", "b"])
    Results(**{"scores": {"test": summarise(given.probabilities, given.labels)}, "unmeasured": {"test": []}}).write(
        tmp_path
    )
    write_predictions(tmp_path / "predictions.csv", given)
    found = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "every clip of the list" in found.text
    for word in ("listed", "missing", "not measured", "of 10"):
        assert word not in found.text


def test_without_results_the_skipped_clips_of_one_split_count_as_listed(tmp_path):
    write_predictions(tmp_path / "predictions.csv", predictions(10, ["a", "b"]))
    rows = [Skipped(name, name, "test", "empty") for name in "xyz"]
    write_skipped(tmp_path / "skipped.csv", rows)
    assert "Clips measured of 13 listed" in Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    write_skipped(tmp_path / "skipped.csv", [*rows, Skipped("t", "t", "train", "empty")])
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "every clip of the list" in text
    assert "listed" not in text


@pytest.mark.parametrize("other", [predictions(59), predictions(60)], ids=["other clips", "as many clips"])
def test_predictions_of_another_run_are_noticed(full, other):
    write_predictions(full / "predictions.csv", other)
    assert "results.json and predictions.csv disagree" in Page(write_report(full).read_text(encoding="utf-8")).text


def test_history_merges_the_rows_of_an_epoch_and_survives_a_cut_off_line(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,train/loss,val/top1\n0,1.5,\n0,,0.5\n2,nan,0.7\n1,1.0,0.6\n1,0.9,\n3,0.")
    rows = read_history(path)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0] == {"epoch": 0, "train/loss": 1.5, "val/top1": 0.5}
    assert rows[1] == {"epoch": 1, "train/loss": 0.9, "val/top1": 0.6}
    assert math.isnan(rows[2]["train/loss"])
    write_report(tmp_path)
    path.write_text("step\n1\n")
    with pytest.raises(ValueError, match="needs a column 'epoch', has step"):
        read_history(path)


def test_results_hold_plain_types_and_no_unknown_key(tmp_path):
    Results(
        **{"durations": {"train": torch.tensor(1.5)}, "model": {"root": Path("a"), "grid": (4, 7, 7), "loss": math.nan}}
    ).write(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "durations": {"train": 1.5},
        "model": {"root": "a", "grid": [4, 7, 7], "loss": None},
    }
    with pytest.raises(ValueError, match=r"model\.x: a object cannot be stored"):
        Results(**{"model": {"x": object()}}).write(tmp_path)
    assert Results.read(tmp_path).durations == {"train": 1.5}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", "not readable as JSON"),
        ("results.json", "[1]", "must hold a JSON object, holds a list"),
        ("results.json", '{"scores": {"test": {"top1": 1}}}', r"scores\.test: must hold top1, top5, mca"),
        (
            "results.json",
            '{"scores": {"test": {"top1": 1, "top5": 1, "mca": 1, "classes_counted": 2, "classes": 2, "listed": 9, '
            '"missing": 1, "unreadable": 1, "measured": 6}}}',
            r"scores\.test: 1 missing, 1 unreadable and 6 measured clips do not add up to the 9 listed",
        ),
        ("results.json", '{"headline": "x", "scores": {}, "oops": 1}', "unknown key 'oops'"),
        ("predictions.csv", "a,b\n", "must begin with the columns"),
    ],
)
def test_the_program_names_what_is_wrong_without_a_traceback(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    assert terminal.run(main, "taggnn.report", [str(tmp_path)]) == 2
    given = capsys.readouterr().err
    assert given.startswith("taggnn.report: ")
    assert re.search(message, given)
    assert name in given


def test_the_program_prints_the_report_s_path_and_refuses_folders_without_a_run(full, tmp_path, capsys):
    assert terminal.run(main, "taggnn.report", [str(full)]) == 0
    assert capsys.readouterr().out.strip() == str(full / "report.html")
    assert terminal.run(main, "taggnn.report", [str(tmp_path / "nowhere")]) == 2
    assert "is not there" in capsys.readouterr().err
    assert terminal.run(main, "taggnn.report", [str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err


def test_pictures_are_equal_for_equal_input_and_follow_the_theme():
    matrix = torch.tensor([[3, 1], [0, 0]])

    def drawn(theme=LIGHT):
        return png(confusion(matrix, ["a", "b"], theme))

    assert drawn() == drawn()
    assert drawn() != drawn(DARK)
    assert drawn() != drawn(replace(LIGHT, wrong="#000000"))
    history = [{"epoch": 0, "train/loss": math.inf}, {"epoch": 1, "train/loss": 0.5}]
    assert png(curves(history)) == png(curves(history, theme=LIGHT))
    assert png(curves(history, best_epoch=1)) != png(curves(history))
    assert curves([{"epoch": 0, "lr": 0.1}]) is None


def test_long_names_keep_both_ends():
    short = shorten("(VT) round-off, flic-flac on, stretched salto backward with 2.5 turn off", 40)
    assert len(short) <= 42
    assert short.startswith("(VT) round-off")
    assert short.endswith("2.5 turn off")
    assert "…" in short
    assert shorten("a\n b", 10) == "a b"


def test_figures_are_written_as_people_read_them():
    assert page.percent(0.5) == "50.0\u202f%"
    assert page.percent(1.0) == "100.0\u202f%"
    assert page.percent(8519 / 8520) == "99.9\u202f%"
    assert page.percent(1 / 8520) == "0.1\u202f%"
    assert page.percent(None) == page.percent(math.nan) == "–"
    assert page.number(1234567) == "1\u202f234\u202f567"
    assert clean("a\x00<\ud800") == "a\ufffd<\ufffd"


@pytest.mark.parametrize("content", [b"epoch\n" + b"1" * 200_000, b"epoch\n\xff\n"], ids=["endless cell", "no text"])
def test_a_history_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.csv: not a CSV table"):
        read_history(tmp_path / "metrics.csv")


PARTS = ("contrastive", "_$entropy")


def with_parts(run, **more):
    """Gives a run named losses: two columns of metrics.csv and one more that is no loss, and "losses" of results.json."""
    (run / "metrics.csv").write_text(
        "epoch,train/loss,train/clips,val/loss,val/top1,train/cross_entropy,train/contrastive,train/_$entropy,grad_norm\n"
        "1,1.5,60,1.6,0.3,1.25,2.5,0.0125,7.125\n2,1.0,60,1.2,0.7,0.75,1.875,0.0375,6.5\n3,0.8,60,1.3,0.65,0.625,1.625,0.045,5.75\n"
    )
    losses = {name: {"weight": weight, "last": 0.5} for name, weight in zip(PARTS, (0.1, 2.0), strict=True)}
    Results(**{**Results.read(run).to_json(), "losses": losses, "best_epoch": 2, **more}).write(run)


def rows_of(content, heading):
    """The cells of the table that has a column of that title, row by row."""
    table = next(part for part in content.split("<table>")[1:] if f">{heading}</th>" in part).split("</table>")[0]
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in table.split("<tr")[1:]]


def test_named_losses_have_a_line_each_and_a_panel(full):
    before = write_report(full).read_bytes(), (full / "curves.png").read_bytes()
    with_parts(full)
    content = write_report(full).read_text(encoding="utf-8")
    assert rows_of(content, "Part of the loss") == [
        ["Part of the loss", "Weight", "Epoch 2, kept", "Epoch 3, last"],
        ["cross_entropy", "1", "0.75", "0.625"],
        ["contrastive", "0.1", "1.875", "1.625"],
        ["_$entropy", "2", "0.0375", "0.045"],
    ]
    assert Page(content).text.count("Part of the loss") == 1
    # What else was logged stands in the table of epochs.
    assert rows_of(content, "grad_norm")[2][-1] == "6.5"
    history = read_history(full / "metrics.csv")
    assert (full / "curves.png").read_bytes() == png(curves(history, 2, LIGHT, ["cross_entropy", *PARTS]))
    assert (full / "curves.png").read_bytes() != png(curves(history, 2, LIGHT))
    assert before[0] != content.encode()
    assert before[1] != (full / "curves.png").read_bytes()


def test_a_logged_figure_is_not_taken_for_a_loss(full):
    with_parts(full)
    results = Results.read(full).to_json()
    del results["losses"]
    Results(**results).write(full)
    content = write_report(full).read_text(encoding="utf-8")
    assert "Part of the loss" not in content
    assert (full / "curves.png").read_bytes() == png(curves(read_history(full / "metrics.csv"), 2, LIGHT))


def test_of_an_interrupted_run_every_further_column_of_training_is_a_part(tmp_path):
    with_parts(tmp_path)
    (tmp_path / "results.json").unlink()
    rows = rows_of(write_report(tmp_path).read_text(encoding="utf-8"), "Part of the loss")
    assert [row[:2] for row in rows[1:]] == [["cross_entropy", "1"], ["contrastive", "–"], ["_$entropy", "–"]]


def test_the_best_epoch_that_is_the_last_appears_once_and_a_value_without_a_column_comes_from_the_results(full):
    losses = {"contrastive": {"weight": 1, "last": 0.5}, "late": {"weight": 0.25, "last": 0.75}}
    with_parts(full, best_epoch=3, losses=losses)
    assert rows_of(write_report(full).read_text(encoding="utf-8"), "Part of the loss") == [
        ["Part of the loss", "Weight", "Epoch 3, kept"],
        ["cross_entropy", "1", "0.625"],
        ["contrastive", "1", "1.625"],
        ["late", "0.25", "0.75"],
    ]


@pytest.mark.parametrize("values", [(0.5, 1e-3), (0.5, -0.25), (0.0, 0.0), (1.0, math.nan)])
@pytest.mark.parametrize("count", [1, 2, 9, 20])
def test_parts_of_any_size_and_number_are_drawn(values, count):
    names = [f"loss {number}" for number in range(count)]
    history = [{"epoch": epoch, **{f"train/{name}": value for name in names}} for epoch, value in enumerate(values)]
    drawn = curves(history, 1, DARK, names)
    assert len(drawn.axes[0].get_legend().texts) == count
    assert png(drawn).startswith(b"\x89PNG")
    assert curves(history, 1, DARK) is None
    with_loss = [{**row, "train/loss": 1.0} for row in history]
    assert len(curves(with_loss, 1, DARK, names).axes) == 2

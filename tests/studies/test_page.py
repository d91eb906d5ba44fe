from __future__ import annotations

import base64
import csv
import dataclasses
import html.parser
import json
import math
import re
import struct
import sys
import zlib

import pytest

from tests.studies.browser import NAMES, Browser, find_chromium
from tests.studies.made_up import CELLS, FOUND, MISSING, OPERATORS, RESULTS, STUDY
from tf_simclr.errors import InputError
from tf_simclr.studies import page
from tf_simclr.studies.comparison import finite, rank_agreement
from tf_simclr.studies.results import CellResult, Results
from tf_simclr.studies.study import StudyCell

SETTING = page.Setting(
    command="python -m tf_simclr study --study=pairs --a='<&>'",
    scale="tiny",
    dataset="shapes & <more>",
    seeds=(0, 1),
    flags={"image_size": 16, "train_steps": 4},
    date="2025-01-31",
    seconds=3725.0,
    versions={"TensorFlow": "2.x"},
    machine="two cores",
    differences=("Images of <16> pixels.", "No ImageNet."),
)
TITLES = ('Ours, <first> & "only"', "The paper's")


def png(width, height):
    """A grey image, made by hand: these tests need no matplotlib."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x80" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write(directory, study=STUDY, cells=CELLS, results=RESULTS, setting=SETTING, images=2):
    """The page of the made-up study in directory/page, its images in directory/my images; the text of it."""
    (directory / "my images").mkdir(exist_ok=True)
    shown = []
    for number, title in enumerate(TITLES[:images]):
        path = directory / "my images" / f"{number}.png"
        path.write_bytes(png(700, 30 + number))
        shown.append((title, str(path)))
    path = page.write_page(study, cells, results, setting, shown, str(directory / "page"))
    assert path == str(directory / "page" / "index.html")
    return (directory / "page" / "index.html").read_text(encoding="utf-8")


class Parsed(html.parser.HTMLParser):
    """Tags with their attributes, tables as rows of text, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.tables, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data
        if "style" not in self.open:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("study")
    return directory, Parsed(write(directory))


# ---- Content ----


def test_the_page_says_what_was_asked_and_how(written):
    _, parsed = written
    for text in (
        STUDY.title, STUDY.question, STUDY.paper_says, SETTING.command, SETTING.dataset, SETTING.date, SETTING.machine,
        "0, 1", "--image_size=16 --train_steps=4", "1 h 2 min", "TensorFlow 2.x", *SETTING.differences, *TITLES,
    ):  # fmt: skip
        assert text in parsed.text, text


def test_all_cells_are_in_the_table(written):
    header, *rows = written[1].tables[1]
    label = "linear evaluation of h, test top-1 (%)"
    assert header == ["cell", "1st", "2nd", "seeds", label, f"paper: {label}"]
    assert [row[0] for row in rows] == [cell.name for cell in CELLS]
    # The deviation of 9 and 11 is the root of 2.
    assert rows[0] == ["crop+crop", "crop", "crop", "2", "10.0 ± 1.4", "1.1"]
    assert rows[1] == [MISSING, "crop", "colour", "0", "-", "2.2"]


def test_findings_are_marked(written):
    _, parsed = written
    header, *rows = parsed.tables[0]
    assert header == ["finding of the paper", "here", "numbers"]
    assert rows == [
        ["The last is the best.", "holds", "90.0 against 80.0"],
        ["The first is the best.", "does not hold", "10.0 against 90.0"],
        ["The missing one is there.", "not measured", f"needs the cell {MISSING}, which was not run"],
        ["Nobody knows.", "not measured", "too few seeds"],
    ]
    assert "1 of 4 findings hold here" in parsed.text
    assert [a["class"] for a in parsed.all("td") if "class" in a] == ["good", "bad", "open", "open"]


def test_missing_cells_and_seeds_are_named(tmp_path, written):
    assert f"1 of 9 cells lack results:\n\n{MISSING}: not run\n" in written[1].text
    results = Results(found for found in FOUND if (found.cell, found.seed) != ("crop+crop", 1))
    text = Parsed(write(tmp_path, results=results)).text
    assert f"2 of 9 cells lack results:\n\ncrop+crop: not run with seed 1\n{MISSING}: not run\n" in text
    assert "10.0 ± " not in text, "one seed has no deviation"
    whole = [cell for cell in CELLS if cell.name != MISSING]
    assert "Nothing: all 8 cells were run with every seed." in Parsed(write(tmp_path, cells=whole)).text


def test_a_measure_that_no_cell_has_is_told(written):
    _, parsed = written
    assert "In no cell measured: contrastive accuracy (%)" in parsed.text
    assert not any("contrastive accuracy" in head for head in parsed.tables[1][0])


def test_fewer_seeds_of_one_measure_are_told(tmp_path):
    found = [
        CellResult("crop+crop", 0, {"top_1": 0.5, "contrast_acc": 0.9}),
        CellResult("crop+crop", 1, {"top_1": 0.7}),
    ]
    row = Parsed(write(tmp_path, cells=CELLS[:1], results=Results(found))).tables[1][1]
    assert row[3:] == ["2", "60.0 ± 14.1", "1.1", "90.0 (1 of 2 seeds)"]


def test_a_study_without_anything(tmp_path):
    study = dataclasses.replace(STUDY, findings=(), compared=None)
    bare = dataclasses.replace(SETTING, differences=(), flags={}, machine="")
    parsed = Parsed(write(tmp_path, study, results=Results([]), setting=bare, images=0))
    assert "This study checks no finding." in parsed.text and "9 of 9 cells lack results" in parsed.text
    for heading in ("Rank agreement", "Figures", "What differs", "flags of all cells", "machine"):
        assert heading not in parsed.text


def test_a_missing_jinja2_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match=r"Pages need the package jinja2.*pip install jinja2, or the extra `evaluate`"):
        write(tmp_path)
    assert not (tmp_path / "page").exists()


# ---- The form ----


def test_the_page_can_be_read_by_everyone(written):
    directory, parsed = written
    assert parsed.all("html") == [{"lang": "en"}]
    assert [a["alt"] for a in parsed.all("img")] == [f"Figure: {title}" for title in TITLES]
    assert {a["scope"] for a in parsed.all("th")} == {"col", "row"}
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.all("meta")
    text = (directory / "page" / "index.html").read_text(encoding="utf-8")
    assert "<title>Figure 5: &lt;pairs&gt; &amp; more</title>" in text
    boxes = [a for a in parsed.all("div") if a["class"] == "wide"]
    assert len(boxes) == len(parsed.tables) == 3 and all(a["tabindex"] == "0" and a["aria-label"] for a in boxes)


def test_the_page_needs_no_other_file(written):
    directory, parsed = written
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "link", "iframe", "object", "embed"})
    for attributes, number in zip(parsed.all("img"), (0, 1), strict=True):
        kind, data = attributes["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == (directory / "my images" / f"{number}.png").read_bytes()
    assert [a["href"] for a in parsed.all("a")] == ["numbers.csv", "numbers.json"]


def test_markdown_says_the_same(written):
    directory, parsed = written
    text = (directory / "page" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Figure 5: \\<pairs> \\& more\n")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    unescaped = [
        [
            [re.sub(r"\\([^\w\s])", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in table.splitlines()
            if not line.startswith("| ---")
        ]
        for table in tables
    ]
    assert unescaped == parsed.tables
    images = re.findall(r"!\[Figure: .*\]\((.*)\)", text)
    assert images == ["../my%20images/0.png", "../my%20images/1.png"]
    assert "\n    " + SETTING.command + "\n" in text
    assert "[numbers.csv](numbers.csv), [numbers.json](numbers.json)" in text


# ---- Numbers ----


def test_numbers_as_csv(written):
    with open(written[0] / "page" / "numbers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * 2
    assert list(rows[0]) == ["cell", "1st", "2nd", "measure", "seeds", "mean", "std", "paper"]
    assert float(rows[0]["mean"]) == pytest.approx(0.1) and float(rows[0]["std"]) == pytest.approx(math.sqrt(2) / 100)
    assert rows[2] == {
        "cell": MISSING, "1st": "crop", "2nd": "colour", "measure": "top_1", "seeds": "0", "mean": "", "std": "",
        "paper": "0.0222",
    }  # fmt: skip
    assert rows[-2]["1st"] == OPERATORS[2]


def test_numbers_as_json(written):
    values = json.loads((written[0] / "page" / "numbers.json").read_text())
    first, missing, *_ = values["cells"]
    assert first["measures"]["top_1"] == pytest.approx({"mean": 0.1, "std": math.sqrt(2) / 100, "seeds": 2})
    assert [result["measures"] for result in first["results"]] == [found.measures for found in FOUND[:2]]
    assert missing["missing"] and not first["missing"] and missing["paper"] == {"top_1": 0.0222}
    assert [finding["outcome"] for finding in values["findings"]] == [
        "holds", "does not hold", "not measured", "not measured",
    ]  # fmt: skip
    assert values["setting"]["command"] == SETTING.command and values["setting"]["seeds"] == [0, 1]
    assert values["rank_agreement"]["rho"] == pytest.approx(1.0)


def test_what_json_has_no_word_for_is_null(tmp_path):
    assert finite({"a": [math.nan, (math.inf, 1.5)], "b": "x"}) == {"a": [None, [None, 1.5]], "b": "x"}
    write(tmp_path, results=Results([CellResult("crop+crop", 0, {"top_1": math.nan})]))

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    json.loads((tmp_path / "page" / "numbers.json").read_text(), parse_constant=refuse)


# ---- Rank agreement ----


def ranked(ours, papers, orders=None, measure="top_1"):
    cells = [
        StudyCell(str(n), {}, paper={} if paper is None else {measure: paper}, paper_order=order)
        for n, (paper, order) in enumerate(zip(papers, orders or [None] * len(papers), strict=True))
    ]
    found = [CellResult(str(n), 0, {"top_1": value}) for n, value in enumerate(ours) if value is not None]
    return rank_agreement(STUDY, cells, Results(found))


def test_rank_agreement_by_hand():
    pytest.importorskip("scipy", reason="the rank agreement needs the extra `evaluate`")
    assert ranked([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.9]).rho == pytest.approx(1.0)
    assert ranked([1, 2, 3, 4], [4, 3, 2, 1]).rho == pytest.approx(-1.0)
    # Ranks differ by 1, 1, 0, 0: 1 - 6 * 2 / (4 * 15).
    agreement = ranked([2, 1, 3, 4], [1, 2, 3, 4])
    assert agreement.rho == pytest.approx(0.8) and agreement.cells == 4
    assert agreement.against == "the paper's numbers"


def test_rank_agreement_with_an_order():
    pytest.importorskip("scipy", reason="the rank agreement needs the extra `evaluate`")
    agreement = ranked([0.1, 0.2, 0.3], [None] * 3, [3, 1, 2])
    assert agreement.against == "the paper's order" and agreement.rho == pytest.approx(-0.5)
    mixed = ranked([0.1, 0.2, 0.3, 0.9], [1, 2, 3, None], [9, 5, 4, 1])
    assert (mixed.rho, mixed.cells, mixed.against) == (pytest.approx(1.0), 3, "the paper's numbers")


@pytest.mark.parametrize(
    ("ours", "papers", "reason"),
    [
        ([1, 2], [1, 2], "needs 3 cells.*, and 2 do"),
        ([1, 2, None, 4], [1, 2, 3, None], "needs 3 cells.*, and 2 do"),
        ([1, 2, math.nan], [1, 2, 3], "and 2 do"),
        ([1, 1, 1], [1, 2, 3], "all our numbers are the same"),
        ([1, 2, 3], [2, 2, 2], "all of the paper's numbers are the same"),
    ],
)
def test_rank_agreement_that_is_undefined(ours, papers, reason):
    agreement = ranked(ours, papers)
    assert agreement.rho is None and re.search(reason, agreement.reason)


def test_rank_agreement_on_the_page(tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as without:
        without.setitem(sys.modules, "scipy", None)
        without.setitem(sys.modules, "scipy.stats", None)
        text = Parsed(write(tmp_path)).text
        assert "undefined: it needs the package scipy, which comes with the extra `evaluate`" in text
    pytest.importorskip("scipy", reason="the rank agreement needs the extra `evaluate`")
    assert "with the paper's numbers over 8 cells is 1.00" in Parsed(write(tmp_path)).text


def test_the_paper_s_order_is_in_the_table(tmp_path):
    cells = [StudyCell("crop+crop", {}, paper_order=2), StudyCell("colour+crop", {}, paper_order=None)]
    header, first, second = Parsed(write(tmp_path, cells=cells)).tables[1]
    assert header[-1] == "paper: place in its order, from the lowest"
    assert (first[-1], second[-1]) == ("2", "-")


# ---- In a browser ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is installed")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


QUESTIONS = {
    "pictures": "[...document.images].map(i => i.complete ? i.naturalWidth : 0)",
    "overflow": "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    "wide": "[...document.querySelectorAll('.wide')].map(b => b.scrollWidth > b.clientWidth)",
    "widest": "Math.max(...[...document.images].map(i => i.clientWidth))",
}


def problems(opened):
    """What is wrong with a page that was opened, in words."""
    found = [f"console: {error}" for error in opened.errors]
    found += [f"request: {address}" for address in opened.requests[1:]]  # the first is the page itself
    found += [f"image {n} does not show" for n, width in enumerate(opened.answers["pictures"]) if not width]
    return found


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_opens_in_a_browser(browser, written, width):
    opened = browser.open(written[0] / "page" / "index.html", QUESTIONS, width)
    assert problems(opened) == []
    assert opened.answers["pictures"] == [700, 700]
    assert opened.answers["overflow"] <= 0 and opened.answers["widest"] <= width
    # On a phone the table of all cells scrolls, in its own box.
    assert opened.answers["wide"][1] == (width == 360)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"base64,\w+", "base64,AAAA", "image 0 does not show"),
        (r'src="data[^"]*"', 'src="missing.png"', "image 0 does not show"),
        ("</main>", "<script>console.error('spoken')</script></main>", "console: spoken"),
        ("</main>", "<script>throw Error('thrown')</script></main>", "console: Uncaught"),
        ("</main>", '<link rel="stylesheet" href="missing.css"></main>', "console: Failed to load resource"),
        ("</main>", '<img src="missing.png"></main>', "request: file://"),
    ],
)
def test_the_browser_sees_what_is_wrong(browser, written, tmp_path, old, new, problem):
    text = (written[0] / "page" / "index.html").read_text(encoding="utf-8")
    damaged = re.sub(old, lambda _: new, text, count=1)
    assert damaged != text
    (tmp_path / "damaged.html").write_text(damaged, encoding="utf-8")
    found = problems(browser.open(tmp_path / "damaged.html", QUESTIONS))
    assert any(one.startswith(problem) for one in found), found

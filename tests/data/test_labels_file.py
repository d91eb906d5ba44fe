"""Tables of labels: every way to write one, and everything that can be wrong with it."""

from __future__ import annotations

import pytest

from tests.data.folders import make_images
from tf_simclr.config import build_config
from tf_simclr.data.datasets import load_splits
from tf_simclr.errors import InputError

FILES = [f"pics/{number}.png" for number in range(12)]
ROWS = [(name, "cat" if number < 6 else "dog") for number, name in enumerate(FILES)]


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "data", FILES)


def opened(folder, text, *, name="labels.csv", **options):
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    return load_splits("folder", data_dir=str(folder), labels=str(folder / name), **options)


def labels_of(*sources):
    """Name of an image -> name of its class."""
    return {
        name: source.class_names[int(record["label"])]
        for source in sources
        if source is not None
        for name, record in zip(source.names(), source.records(None), strict=True)
    }


def written(rows, delimiter=",", header="", end="\n"):
    lines = ([header] if header else []) + [delimiter.join(row) for row in rows]
    return end.join(lines) + end


@pytest.mark.parametrize(
    "text",
    [
        written(ROWS),
        written(ROWS, header="path,label"),
        written(ROWS, ";", header="Filename;Class"),
        written(ROWS, "\t", header="image\tlabel"),
        written(ROWS, end="\r\n", header="path,label"),
        "\ufeff" + written(ROWS, header="path,label", end="\r\n"),
        written(ROWS, header="path,label").encode("utf-16"),
        written([(f'"{path}"', f'"{label}"') for path, label in ROWS]),
        written([(label, "7", path) for path, label in ROWS], header="label,id,path"),
        written([(path, f" {label} ") for path, label in ROWS]) + "\n\n , \n",
        written(reversed(ROWS)),
        written([(f"./{path}", label) for path, label in ROWS]),
        written([(path.replace("/", "\\"), label) for path, label in ROWS]),
        written(ROWS).rstrip("\n"),
    ],
    ids=lambda _: "",
)
def test_the_ways_to_write_one(folder, text):
    train, test, _ = opened(folder, text)
    assert labels_of(train, test) == dict(ROWS)
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.held_out().names == test.names() and len(test.names()) >= 2


def test_absolute_paths(folder):
    train, test, _ = opened(folder, written([(f"{folder}/{path}", label) for path, label in ROWS]))
    assert labels_of(train, test) == dict(ROWS)


def test_names_with_commas_quotes_and_other_letters(tmp_path):
    names = ["a, b.png", 'say "x".png', "dög.png", "semi;colon.png"]
    make_images(tmp_path, names)
    rows = ['"a, b.png",x', '"say ""x"".png",x', "dög.png,y", "semi;colon.png,y"]
    train, test, _ = opened(tmp_path, "\n".join(rows))
    assert labels_of(train, test) == {"a, b.png": "x", 'say "x".png': "x", "dög.png": "y", "semi;colon.png": "y"}
    # Each path has a comma, so that both delimiters give a table: the one whose paths are there is right.
    make_images(tmp_path / "other", ["1,a.png", "2,a.png", "3,a.png", "4,a.png"])
    train, test, _ = opened(tmp_path / "other", "1,a.png;x\n2,a.png;x\n3,a.png;y\n4,a.png;y\n")
    assert sorted(labels_of(train, test)) == ["1,a.png", "2,a.png", "3,a.png", "4,a.png"]


def test_a_column_for_the_split(folder):
    splits = ["train", "train", "train", "test", "val", "train"] * 2
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    for header in ("", "path,label,split"):
        train, test, validation = opened(
            folder, written(rows, header=header), eval_split="test", validation_split="validation"
        )
        assert (train.num_examples, test.num_examples, validation.num_examples) == (8, 2, 2)
        assert test.names() == ("pics/3.png", "pics/9.png") and validation.split == "val"
        assert train.held_out is None
    with pytest.raises(InputError, match=r"no split 'dev2'; it has: test, train, val"):
        opened(folder, written(rows), eval_split="dev2")


def test_numbers_are_sorted_as_numbers(folder):
    rows = [(path, str(number // 2 * 5)) for number, path in enumerate(FILES)]
    assert opened(folder, written(rows)).train.class_names == ("0", "5", "10", "15", "20", "25")


def test_folders_are_no_classes(tmp_path):
    make_images(tmp_path, ["train/x/1.png", "train/x/2.png", "test/y/3.png", "test/y/4.png"])
    text = "train/x/1.png,a\ntrain/x/2.png,b\ntest/y/3.png,a\ntest/y/4.png,b\n"
    assert opened(tmp_path, text).train.class_names == ("a", "b")


def test_what_the_table_does_not_name_is_counted(folder):
    train, test, _ = opened(folder, written([*ROWS[:4], *ROWS[7:]], header="path,label"))
    notes = "\n".join(train.notes)
    assert "ignored 3 images that" in notes and "pics/4.png, pics/5.png, pics/6.png" in notes
    assert train.num_examples + test.num_examples == 9


def test_what_is_no_image_is_counted(folder):
    (folder / "pics" / "3.png").write_text("damaged")
    train, test, _ = opened(folder, written(ROWS))
    assert "ignored 1 image that cannot be read" in "\n".join(train.notes)
    assert train.num_examples + test.num_examples == 11


def test_rows_that_stand_there_twice(folder):
    train, _, _ = opened(folder, written([*ROWS, ROWS[3]]))
    assert any("1 row of" in note and "twice" in note for note in train.notes)


def test_columns_that_are_left_out_are_said(folder):
    rows = [(path, label, "7") for path, label in ROWS]
    assert any(
        "ignored columns" in note and "age" in note
        for note in opened(folder, written(rows, header="path,label,age"))[0].notes
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (written([*ROWS, ("pics/nowhere.png", "cat")]), r"1 row of 13 name none: 'pics/nowhere.png' in line 13"),
        (written(ROWS, header="image,kind"), r"'image' in line 1. A header must name its columns path and label"),
        (written([*ROWS[:5], ("pics/5.png", ""), *ROWS[6:]]), "line 6 has no label"),
        (written([*ROWS, ("", "cat")]), "line 13 has no path"),
        (written([*ROWS, ("pics/5.png", "dog")]), r"'pics/5.png' is 'cat' in line 6 and 'dog' in line 13"),
        (written([(p, c, "train") for p, c in ROWS] + [("pics/5.png", "cat", "test")]), "one of its splits"),
        (written([(p, c, "train") for p, c in ROWS] + [("pics/5.png", "cat", "")]), "line 13 has no split"),
        (written([*ROWS, ("../secret.png", "cat")]), "line 13 names '../secret.png', outside of"),
        (written([*ROWS, ("/etc/passwd", "cat")]), "line 13 names '/etc/passwd', outside of"),
        ("pics/1.png\npics/2.png\n", "must be a table with the columns path and label"),
        ("", "must be a table"),
        ("path,label\n", "must have a row for each image"),
        ("a,b,c\nd,e\n", "as many cells in every row"),
        (written([(*row, "1", "2") for row in ROWS]), "with 4 columns and no header"),
        (written([(*row, "cat") for row in ROWS], header="path,label,class"), "label, class"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "must be a table"),
        ('pics/1.png,"cat\npics/2.png,dog\n', "must be a table"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, text, message):
    with pytest.raises(InputError, match=message) as error:
        opened(folder, text)
    assert "\n" not in str(error.value)


def test_where_the_table_lies(folder, tmp_path, monkeypatch):
    (folder / "inside.csv").write_text(written(ROWS))
    monkeypatch.chdir(tmp_path)
    for labels in ("inside.csv", "data/inside.csv", str(folder / "inside.csv")):
        assert load_splits("folder", data_dir="data", labels=labels).train.num_classes == 2
    with pytest.raises(InputError, match=r"`labels` must name a CSV file. Received: labels='no.csv'"):
        load_splits("folder", data_dir="data", labels="no.csv")


def test_the_label_is_part_of_the_fingerprint(folder):
    options = {"train_split": "train", "eval_split": "test"}
    rows = [(*row, "test" if number % 3 == 0 else "train") for number, row in enumerate(ROWS)]
    before = opened(folder, written(rows), **options)
    assert (
        opened(folder, written(rows, ";", "path;label;split"), **options).train.fingerprint == before.train.fingerprint
    )
    exchanged = [(path, {"cat": "dog", "dog": "cat"}[label], split) for path, label, split in rows]
    after = opened(folder, written(exchanged), **options)
    assert (
        after.train.fingerprint != before.train.fingerprint
        and after.evaluation.fingerprint != before.evaluation.fingerprint
    )


def test_the_flag_needs_a_folder():
    with pytest.raises(InputError, match="`labels` is a table for a folder"):
        build_config({"dataset": "shapes", "labels": "x.csv"})

"""From a folder of images to an index, and from there to answers: the commands as they are typed."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.networks import TINY_RUN, write_run
from tf_simclr.cli.main import main
from tf_simclr.data.source import decode_image
from tf_simclr.evaluate.load import load_trained
from tf_simclr.index import embedding
from tf_simclr.index.store import open_index

SIZE = 16
FLAGS = TINY_RUN | {"train_batch_size": 16, "train_steps": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), FLAGS, 2)


def draw(path, seed, side=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, [4, 4, 3], dtype=np.uint8)
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of six images."""
    for number in range(12):
        draw(tmp_path / "images" / ("ab"[number % 2]) / f"{number:02d}.png", number)
    return tmp_path / "images"


@pytest.fixture
def embed(run, folder, tmp_path, capsys):
    """Runs embed into tmp_path/index; returns the exit code, and what it printed."""

    def call(*words, data=folder, out=None):
        code = main(
            [
                "embed",
                f"--checkpoint={run}",
                f"--out={out or tmp_path / 'index'}",
                "--eval_batch_size=4",
                *([f"--data_dir={data}"] if data else []),
                *words,
            ]
        )
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def features_by_hand(run, path):
    """h of a file of the network's own size, by the network called directly."""
    trained = load_trained(str(run))
    assert trained.config.data.crop_of_evaluation == 1
    image = decode_image(path.read_bytes())[tf.newaxis]
    return trained.model.endpoints(image, training=False)["final_avg_pool"].numpy()[0]


def test_every_image_has_its_row_and_its_feature(embed, run, folder, tmp_path):
    draw(folder / "b" / "07.png", 7, side=SIZE)
    code, printed = embed()
    assert code == 0 and "12 images of 32 numbers each: 12 computed now" in printed
    index = open_index(str(tmp_path / "index"))
    assert [row.path for row in index.rows] == sorted(f"{'ab'[n % 2]}/{n:02d}.png" for n in range(12))
    assert {(row.path[0], row.label, row.split) for row in index.rows} == {("a", "a", ""), ("b", "b", "")}
    row = [row.path for row in index.rows].index("b/07.png")
    assert index.rows[row].size == (folder / "b" / "07.png").stat().st_size
    expected = features_by_hand(run, folder / "b" / "07.png")
    np.testing.assert_allclose(index.features[row], expected, rtol=1e-4, atol=1e-5)


def test_an_index_is_brought_up_to_date_by_what_is_new(embed, folder, tmp_path):
    embed()
    before = open_index(str(tmp_path / "index"))
    kept = {row.path: before.features[place].copy() for place, row in enumerate(before.rows)}
    (folder / "a" / "02.png").unlink()
    draw(folder / "a" / "new.png", 99)
    draw(folder / "b" / "03.png", 98, side=24)
    code, printed = embed()
    assert code == 0 and "12 images of 32 numbers each: 2 computed now, 10 kept, 2 dropped" in printed
    index = open_index(str(tmp_path / "index"))
    for place, row in enumerate(index.rows):
        same = row.path in kept and np.array_equal(kept[row.path], index.features[place])
        assert same == (row.path not in ("a/new.png", "b/03.png"))
    names = {path.name for path in (tmp_path / "index").iterdir()}
    assert len(names) == 3 and "index.json" in names
    assert "12 kept" in embed()[1]


def test_a_class_that_is_renamed_needs_no_network(embed, folder, tmp_path, monkeypatch):
    embed()
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([[f"{'ab'[n % 2]}/{n:02d}.png", "odd" if n % 2 else "even"] for n in range(12)])
    monkeypatch.setattr(embedding, "feature_batches", None)
    code, printed = embed(f"--labels={labels}")
    assert code == 0 and "12 kept" in printed
    assert {row.label for row in open_index(str(tmp_path / "index")).rows} == {"odd", "even"}


def test_what_was_computed_before_an_end_is_not_computed_again(embed, folder, tmp_path, monkeypatch):
    """An image that breaks between listing and reading ends the first call."""
    whole = embed(out=tmp_path / "whole")[1]
    assert "12 computed now" in whole
    monkeypatch.setattr(embedding, "_ROWS_OF_A_PIECE", 4)
    place = folder / "b" / "11.png"
    content, facts = place.read_bytes(), place.stat()

    def with_content(content):
        place.write_bytes(content)
        os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    with_content(content[: len(content) // 2].ljust(len(content), b"\0"))
    code, printed = embed()
    assert code == 2 and "11.png" in printed and len(printed.strip().splitlines()[-1]) > 20
    assert not (tmp_path / "index" / "index.json").exists() and (tmp_path / "index" / "pending").is_dir()
    with_content(content)
    code, printed = embed()
    assert code == 0 and re.search(r"12 images of 32 numbers each: [1-4] computed now, (8|9|10|11) kept", printed)
    first, second = (open_index(str(tmp_path / name)) for name in ("whole", "index"))
    assert list(first.rows) == list(second.rows)
    np.testing.assert_array_equal(first.features, second.features)
    assert not (tmp_path / "index" / "pending").exists()


def test_damaged_images_are_left_out_where_that_is_asked_for(embed, folder, tmp_path):
    for number in range(100):
        draw(folder / "a" / f"more{number}.png", 1000 + number)
    place = folder / "b" / "11.png"
    place.write_bytes(place.read_bytes()[:60])
    code, printed = embed("--on_bad_image=skip", "--eval_batch_size=32")
    assert code == 0 and "111 computed now, 1 left out because they cannot be decoded" in printed
    assert "b/11.png" not in {row.path for row in open_index(str(tmp_path / "index")).rows}
    assert "111 kept, 1 left out" in embed("--on_bad_image=skip")[1]


def test_shards_of_several_processes_make_the_same_index(embed, tmp_path, capsys):
    embed(out=tmp_path / "whole")
    for number in range(2):
        assert embed(f"--shard={number}/2")[0] == 0
    assert main(["embed", f"--out={tmp_path / 'index'}", "--merge"]) == 0
    assert "12 images of 2 shards" in capsys.readouterr().out
    first, second = (open_index(str(tmp_path / name)) for name in ("whole", "index"))
    assert list(first.rows) == list(second.rows)
    np.testing.assert_allclose(first.features, second.features, rtol=1e-5, atol=1e-6)


def test_splits_endpoints_types_and_other_data_sets(embed, tmp_path):
    for number in range(8):
        draw(tmp_path / "split" / ("train", "test")[number % 2] / "ab"[number // 4] / f"{number}.png", number)
    assert embed(data=tmp_path / "split", out=tmp_path / "both")[0] == 0
    assert [row.split for row in open_index(str(tmp_path / "both")).rows] == ["test"] * 4 + ["train"] * 4
    words = ["--embed_split=test", "--endpoint=proj_head_output", "--index_type=float16"]
    assert embed(*words, data=tmp_path / "split", out=tmp_path / "test")[0] == 0
    index = open_index(str(tmp_path / "test"))
    assert index.features.shape == (4, 8) and index.features.dtype == np.float16
    code, printed = embed("--train_split=train[:10]", data=None, out=tmp_path / "shapes")
    assert code == 0 and "no --dataset given: the images are those of the checkpoint's run, shapes" in printed
    rows = open_index(str(tmp_path / "shapes")).rows
    assert [row.path for row in rows] == [f"train[:10]/{n:08d}" for n in range(10)] and all(row.label for row in rows)


def test_a_table_for_other_programs(embed, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert embed("--parquet", "--index_type=float16")[0] == 0
    table = parquet.read_table(tmp_path / "index" / "index.parquet").to_pydict()
    index = open_index(str(tmp_path / "index"))
    assert table["path"] == [row.path for row in index.rows] and table["class"] == [row.label for row in index.rows]
    np.testing.assert_array_equal(np.array(table["feature"], np.float16), index.features)


def test_an_empty_shard_is_merged_too(embed, folder, tmp_path, capsys):
    for path in sorted(folder.rglob("*.png"))[1:-1]:
        path.unlink()
    assert [embed(f"--shard={number}/4")[0] for number in range(4)] == [0] * 4
    assert main(["embed", f"--out={tmp_path / 'index'}", "--merge"]) == 0
    assert len(open_index(str(tmp_path / "index")).rows) == 2


def test_features_that_vanish_before_they_are_in_the_index_are_an_error(embed, tmp_path, monkeypatch):
    """The index is not replaced by one without them."""
    gathered = embedding._gathered

    def vanished(*words):
        shutil.rmtree(tmp_path / "index" / "pending")
        yield from gathered(*words)

    monkeypatch.setattr(embedding, "_gathered", vanished)
    code, printed = embed()
    assert code == 74 and "pending" in printed.splitlines()[-1]
    assert not (tmp_path / "index" / "index.json").exists()


def test_many_pieces_need_few_open_files(embed, tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(embedding, "_ROWS_OF_A_PIECE", 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, before[1]))
    try:
        code, printed = embed("--eval_batch_size=1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert code == 0 and "12 computed now" in printed


def test_a_run_that_has_moved_is_recorded_anew(embed, run, folder, tmp_path, capsys):
    embed()
    moved = shutil.copytree(run, tmp_path / "moved")
    code, printed = embed(f"--checkpoint={moved}")
    assert code == 0 and "12 kept" in printed
    assert open_index(str(tmp_path / "index")).facts.checkpoint == str(moved / "ckpt-2")
    shutil.rmtree(moved)
    assert main(["search", f"--index={tmp_path / 'index'}", f"--query={draw(tmp_path / 'query.png', 3)}"]) == 2
    assert "pass --checkpoint with where it is now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out={images}/index"], "`out` must lie outside of the folder of images"),
        (["--image_size=32"], "image_size 16 there and 32 here.*Pass another --out"),
        (["--endpoint=nothing"], "`endpoint` must be one of: .*final_avg_pool"),
        (["--embed_split=test"], "`embed_split` must be left out for a folder without splits"),
        (["--shard=2/2"], "`shard` must be I/N with I from 0 to N-1. Received: shard=2/2"),
        (["--shard=0/2", "--merge"], "Leave one of them out"),
        (["--data_dir=/nowhere"], "no such folder"),
        (["--checkpoint=/nowhere"], "/nowhere"),
        (["--out="], "`out` must name the directory"),
    ],
)
def test_what_cannot_work_is_one_line_and_changes_nothing(embed, folder, tmp_path, words, message):
    embed()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir()}
    code, printed = embed(*(word.replace("{images}", str(folder)) for word in words))
    assert code == 2 and re.search(message, printed.splitlines()[-1])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir()} == before


# ---- Search ----


@pytest.fixture
def index(embed, tmp_path):
    embed()
    return tmp_path / "index"


def found(index, tmp_path, *words):
    """The rows of the table that a search writes."""
    table = tmp_path / "found.csv"
    assert main(["search", f"--index={index}", f"--csv={table}", *words]) == 0
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_image_finds_itself_by_number_by_path_and_as_a_file(index, folder, tmp_path):
    copy = shutil.copy(folder / "b" / "07.png", tmp_path / "query.png")
    row = [row.path for row in open_index(str(index)).rows].index("b/07.png")
    tables = [found(index, tmp_path, f"--query={q}", "--k=3") for q in (row, "b/07.png", folder / "b" / "07.png", copy)]
    for table in tables:
        assert [line["rank"] for line in table] == ["1", "2", "3"]
        assert table[0]["path"] == "b/07.png" and table[0]["class"] == "b" and int(table[0]["row"]) == row
        assert float(table[0]["similarity"]) == pytest.approx(1, abs=1e-5)
    assert {tuple(line["path"] for line in table) for table in tables} == {tuple(line["path"] for line in tables[0])}


def test_a_file_is_what_it_is_now(index, folder, tmp_path, monkeypatch):
    """A file that has changed since, or lies elsewhere under the name of a row, is computed."""
    shutil.copy(folder / "b" / "07.png", draw(tmp_path / "here" / "a" / "00.png", 0))
    monkeypatch.chdir(tmp_path / "here")
    assert found(index, tmp_path, "--query=a/00.png")[0]["path"] == "b/07.png"
    shutil.copy(folder / "b" / "07.png", folder / "a" / "00.png")
    assert found(index, tmp_path, f"--query={folder / 'a' / '00.png'}")[0]["path"] == "b/07.png"


def test_a_folder_of_queries_and_a_page_of_thumbnails(index, folder, tmp_path, capsys):
    page = tmp_path / "found.html"
    table = found(index, tmp_path, f"--query={folder / 'a'}", "--k=2", f"--page={page}")
    assert len(table) == 12 and all(line["query"].endswith(line["path"]) for line in table if line["rank"] == "1")
    content = page.read_text()
    assert content.count("data:image/jpeg;base64,") == 18 and "http" not in content.replace("http-equiv", "")


def test_a_file_that_is_gone_and_a_name_that_is_code_do_no_harm_to_a_page(embed, folder, tmp_path):
    draw(folder / "a" / "<script>alert(1)<\\x2fscript>.png", 5)
    embed()
    (folder / "b" / "01.png").unlink()
    page = tmp_path / "page.html"
    assert main(["outliers", f"--index={tmp_path / 'index'}", f"--page={page}"]) == 0
    assert "<script>" not in page.read_text() and "&lt;script&gt;" in page.read_text()
    assert "cannot be read" in page.read_text()


def test_another_network_than_that_of_the_index_is_refused(index, run, folder, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    other = write_run(tmp_path / "other", FLAGS | {"resnet_depth": 18}, 2)
    query = shutil.copy(folder / "b" / "07.png", tmp_path / "query.png")
    assert main(["search", f"--index={index}", f"--query={query}", f"--checkpoint={other}"]) == 2
    assert "holds another network than" in capsys.readouterr().err
    moved = shutil.copytree(run, tmp_path / "moved")
    assert main(["search", f"--index={index}", f"--query={query}", f"--checkpoint={moved}"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--query=nothing.png"], "is none of them; .* has 12 rows"),
        (["--query=12"], "must be a row from 0 to 11. Received: query=12"),
        (["--query={here}/text.png"], "must be an image, or a folder of images"),
        (["--query={here}/cut.png"], "cut.png"),
        (["--query=0", "--csv={here}"], "`csv` must name a file"),
        (["--query=0", "--csv={here}/no/found.csv"], "`csv` must lie in a folder that exists"),
        (["--query=0", "--page={here}/no/found.html"], "`page` must lie in a folder that exists"),
        (["--query=0", "--index={here}"], "has no index.json"),
        ([], "`query` must name an image"),
    ],
)
def test_a_search_that_cannot_work_is_one_line(index, tmp_path, capsys, words, message):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(draw(tmp_path / "whole.png", 1).read_bytes()[:70])
    capsys.readouterr()
    assert main(["search", f"--index={index}", *(word.replace("{here}", str(tmp_path)) for word in words)]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and "\n" not in error


# ---- The other tasks ----


def test_each_task_writes_its_table_beside_the_index(index, folder, tmp_path, capsys):
    from tf_simclr.cli.main import TASKS

    for task, words, rows in (
        ("duplicates", ["--threshold=1.0"], None),
        ("outliers", ["--neighbours=3"], 12),
        ("cluster", ["--clusters=3"], 12),
        ("select", ["--n=4", "--strategy=diverse"], 4),
        ("label_errors", ["--neighbours=3"], None),
    ):
        assert task in TASKS
        assert main([task, f"--index={index}", f"--page={tmp_path / task}.html", *words]) == 0
        with (index / f"{task}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert rows is None or len(lines) == rows
        assert (tmp_path / f"{task}.html").stat().st_size > 1000
        printed = capsys.readouterr().out.splitlines()
        if lines:
            [heading] = [number for number, line in enumerate(printed) if line.split() == [*lines[0]]]
            shown = printed[heading : heading + 1 + len(lines[:5])]
            # The first and the second column begin at one place in every line.
            starts = {line.index(line.split()[1], len(line.split()[0])) for line in shown}
            assert len(starts) == 1 and [line.split() for line in shown[1:]] == [[*row.values()] for row in lines[:5]]
            assert (f"... {len(lines) - 5} more" in printed) == (len(lines) > 5)
    assert json.loads((index / "index.json").read_text())["format"] == 1


def test_a_copied_file_is_a_duplicate(embed, folder, tmp_path, capsys):
    shutil.copy(folder / "a" / "04.png", folder / "b" / "copy.png")
    embed()
    index = tmp_path / "index"
    assert main(["duplicates", f"--index={index}", "--threshold=0.999999"]) == 0
    with (index / "duplicates.csv").open(newline="") as file:
        assert [line["path"] for line in csv.DictReader(file)] == ["a/04.png", "b/copy.png"]
    assert "1 groups of copies" in capsys.readouterr().out

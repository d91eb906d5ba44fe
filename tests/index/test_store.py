"""An index on disk: what is written is read, and what is damaged is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.indexes import an_index, identity, random_features, rows_of
from tf_simclr.errors import InputError
from tf_simclr.index.pieces import Pieces, load
from tf_simclr.index.rows import Row, StoredRows, rows_from_bytes, rows_to_bytes, shard_of
from tf_simclr.index.shards import merge, shard_directory
from tf_simclr.index.store import open_index
from tf_simclr.index.writing import write_index
from tf_simclr.stored import DamagedFileError

FACTS = {"checkpoint": "/run/ckpt-1", "written_by": {"command": "embed"}}
NAMES = st.binary(min_size=1, max_size=12).map(os.fsdecode)


@given(st.lists(st.tuples(NAMES, st.text(max_size=5), st.integers(0, 2**40)), max_size=5))
def test_rows_come_back_as_they_were_whatever_their_names(found):
    rows = [Row(path, label, "train", size, "0123456789abcdef") for path, label, size in found]
    assert rows_from_bytes(rows_to_bytes(rows), "rows.csv") == rows


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_is_read_as_it_was_written(tmp_path, dtype):
    features = random_features(5).astype(dtype)
    an_index(tmp_path, features, list("abcab"))
    index = open_index(str(tmp_path))
    np.testing.assert_array_equal(index.features, features)
    assert index.features.dtype == dtype and isinstance(index.features, np.memmap)
    assert [row.label for row in index.rows] == list("abcab")
    np.testing.assert_allclose(index.norms, np.linalg.norm(features.astype(np.float64), axis=1), rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(index.normalised([3, 1]), axis=1), 1, rtol=1e-3)


def test_a_feature_of_zeros_is_similar_to_nothing(tmp_path):
    index = an_index(tmp_path, np.array([[0, 0], [1, 0]], np.float32))
    np.testing.assert_array_equal(index.normalised([0, 1]), [[0, 0], [1, 0]])


def test_a_new_index_takes_the_place_of_the_old_one_and_leaves_no_other_files(tmp_path):
    an_index(tmp_path, random_features(5))
    for name in ("notes.txt", "rows-mine.csv", "features-mine.npy"):
        (tmp_path / name).write_text("mine")
    an_index(tmp_path, random_features(6))
    assert len(open_index(str(tmp_path)).rows) == 6
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".csv", ".json", ".npy", ".npy", ".txt"]


def test_an_index_that_cannot_be_written_leaves_the_old_one(tmp_path):
    an_index(tmp_path, random_features(5))
    before = sorted(tmp_path.iterdir())

    def blocks():
        yield np.arange(2), random_features(2)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_index(str(tmp_path), identity(), rows_of([""] * 4), 8, blocks(), **FACTS)
    assert sorted(tmp_path.iterdir()) == before
    assert len(open_index(str(tmp_path)).rows) == 5


def cut(place):
    place.write_bytes(place.read_bytes()[:-3])


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".json"])
@pytest.mark.parametrize("damage", [cut, lambda place: place.unlink(), lambda place: place.write_bytes(b"[]")])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    an_index(tmp_path, random_features(5))
    [place] = tmp_path.glob(f"*{suffix}")
    damage(place)
    with pytest.raises(InputError) as error:
        open_index(str(tmp_path))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"format": 2}, "must have the format 1"), ({"checkpoint": 3}, "checkpoint=3 is of type int")],
)
def test_values_that_this_version_does_not_write_are_named(tmp_path, changes, message):
    an_index(tmp_path, random_features(5))
    place = tmp_path / "index.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        open_index(str(tmp_path))


def test_a_directory_without_an_index_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match=r"has no index.json. Run: python -m tf_simclr embed .*--out="):
        open_index(str(tmp_path))
    with pytest.raises(InputError, match=r"must lie on a local disk.*gs://bucket/index"):
        open_index("gs://bucket/index")


# ---- Pieces ----


def test_pieces_of_this_identity_that_are_whole_are_read(tmp_path):
    pieces, others = Pieces(str(tmp_path), "a" * 8), Pieces(str(tmp_path), "b" * 8)
    rows, features = rows_of([""] * 4), random_features(4)
    first = pieces.add(rows[:3], features[:3])
    others.add(rows, features)
    pieces.add(rows[3:], features[3:])
    found = list(pieces.read())
    found.sort(key=lambda piece: piece[0])  # a piece is named for its rows
    assert [some for some, _ in found] == [rows[:3], rows[3:]]
    np.testing.assert_array_equal(np.concatenate([load(path) for _, path in found]), features)
    cut(Path(first))
    assert [some for some, _ in pieces.read()] == [rows[3:]]
    mine = tmp_path / "pending" / "todo.txt"
    mine.write_text("mine")
    pieces.remove()
    assert list(pieces.read()) == [] and list((tmp_path / "pending").iterdir()) == [mine]
    mine.unlink()
    pieces.remove()
    assert list(tmp_path.iterdir()) == []


# ---- Shards ----


def write_shards(directory, count, features, rows):
    for number in range(count):
        chosen = [place for place, row in enumerate(rows) if shard_of(row.path, count) == number]
        part = [rows[place] for place in chosen]
        blocks = [(np.arange(len(part)), features[chosen])]
        place = shard_directory(str(directory), number, count)
        write_index(place, identity(), part, features.shape[1], blocks, shard=f"{number}/{count}", **FACTS)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_union_of_shards_is_the_index_of_all_images(tmp_path, count):
    features, labels = random_features(40), ["a", "b"] * 20
    whole = an_index(tmp_path / "whole", features, labels)
    write_shards(tmp_path / "parts", count, features, whole.rows)
    merged, shards = merge(str(tmp_path / "parts"), {})
    assert shards == count and list(merged.rows) == list(whole.rows) and not merged.facts.shard
    np.testing.assert_array_equal(merged.features, whole.features)
    assert len(open_index(str(tmp_path / "parts")).rows) == 40


def test_missing_mixed_and_foreign_shards_are_named(tmp_path):
    features, rows = random_features(40), rows_of([""] * 40)
    with pytest.raises(InputError, match=r"needs the shards of one division. Received: none"):
        merge(str(tmp_path), {})
    write_shards(tmp_path, 2, features, rows)
    second = shard_directory(str(tmp_path), 1, 2)
    with pytest.raises(InputError, match="which is part 1/2"):
        open_index(second)
    os.rename(second, tmp_path / "aside")
    with pytest.raises(InputError, match=r"without 1/2. Run embed with --shard=1/2"):
        merge(str(tmp_path), {})
    os.rename(tmp_path / "aside", shard_directory(str(tmp_path), 0, 3))
    with pytest.raises(InputError, match=r"needs the shards of one division. Received: shard-0-of-2, shard-0-of-3"):
        merge(str(tmp_path), {})
    other = [(np.arange(40), features)]
    os.rename(shard_directory(str(tmp_path), 0, 3), tmp_path / "gone")
    write_index(second, identity(image_size=32), rows, 8, other, shard="1/2", **FACTS)
    with pytest.raises(InputError, match="image_size 32 there and 16 here"):
        merge(str(tmp_path), {})
    write_index(second, identity(), rows, 8, other, shard="1/2", **FACTS)
    with pytest.raises(InputError, match="must not share images"):
        merge(str(tmp_path), {})


ODD = ["a.png", 'quo"te.png', "com,ma.png", "line\nend.png", "\udcff.png", "carriage\rreturn.png"]


@pytest.mark.parametrize("names", [["a.png", "b/a.png", "\udcff.png", "ä.png"], ODD])
def test_rows_that_are_read_when_asked_for_are_the_same(names):
    rows = [Row(name, "cat", "train", number, f"{number:016x}") for number, name in enumerate(names)]
    stored = StoredRows(rows_to_bytes(rows), "rows.csv")
    assert list(stored) == rows and len(stored) == len(rows) and stored[1:3] == rows[1:3] and stored[-1] == rows[-1]
    assert [stored[place] for place in range(len(rows))] == rows
    assert [stored.place_of(name) for name in names] == list(range(len(rows)))
    assert stored.place_of("png") is None and stored.place_of("a") is None
    with pytest.raises(IndexError):
        stored[len(rows)]


@pytest.mark.parametrize("content", [b"", b"path,class\r\n", b"path,class,split,bytes,fingerprint\r\na,b,c,1,f"])
def test_a_file_that_holds_no_rows_is_damaged(content):
    with pytest.raises(DamagedFileError):
        StoredRows(content, "rows.csv")


def test_a_line_that_is_no_row_is_damaged_when_it_is_read():
    stored = StoredRows(b"path,class,split,bytes,fingerprint\r\na,b,c,1,f\r\na,b\r\n", "rows.csv")
    assert stored[0] == Row("a", "b", "c", 1, "f")
    for read in (lambda: stored[1], lambda: list(stored)):
        with pytest.raises(DamagedFileError, match="no row of an index"):
            read()

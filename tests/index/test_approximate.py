"""Approximate search: nearly all of the nearest rows, their similarities exact, and never those of another index."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import numpy as np
import pytest

from tests.index.indexes import an_index, random_features
from tf_simclr.cli.main import main
from tf_simclr.errors import InputError
from tf_simclr.index import approximate as module
from tf_simclr.index import structures
from tf_simclr.index.approximate import REQUIRED, approximate, search
from tf_simclr.index.neighbours import nearest
from tf_simclr.index.store import open_index
from tf_simclr.index.structures import LEAST

faiss = pytest.importorskip("faiss")
D = 24


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Threads that wait for each other take most of the time where other programs work as well."""
    faiss.omp_set_num_threads(1)
    monkeypatch.setattr(structures, "_CODES", 16)


def clustered(n=5000, d=D, seed=0):
    """Rows around 50 centres, one of zeros, and twenty copies of one."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=[50, d])[generator.integers(50, size=n)] + generator.normal(scale=0.3, size=[n, d])
    if n > 40:
        features[10] = 0
        features[20:40] = features[20]
    return features.astype(np.float32)


def queries_near(features, count=50, seed=1):
    """Queries that no row equals."""
    generator = np.random.default_rng(seed)
    near = features[generator.integers(100, len(features), size=count)]
    near = near + generator.normal(scale=0.1, size=near.shape)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def without(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def kept_in(directory):
    return sorted(name for name in os.listdir(directory) if name.startswith("nearest-"))


def require_nearly_exact(index, features, found, queries, k):
    """Against all similarities in float64."""
    rows, similarities = found.nearest(queries, k)
    assert rows.shape == similarities.shape == (len(queries), k) and rows.dtype == np.int64
    unit = features.astype(np.float64)
    lengths = np.linalg.norm(unit, axis=1, keepdims=True)
    every = queries.astype(np.float64) @ (unit / np.where(lengths > 0, lengths, 1)).T
    np.testing.assert_allclose(similarities, np.take_along_axis(every, rows, axis=1), atol=1e-5)
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert all(len(set(own)) == k for own in rows.tolist())
    least = np.sort(every, axis=1)[:, -k]
    assert np.mean(similarities >= least[:, np.newaxis] - 1e-5) >= REQUIRED


# ---- What is found ----


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("library", ["faiss", "usearch"])
def test_a_graph_finds_nearly_all_of_the_nearest(tmp_path, monkeypatch, library, dtype):
    if library == "usearch":
        pytest.importorskip("usearch")
        without(monkeypatch, "faiss")
    features = clustered().astype(dtype)
    index, said = an_index(tmp_path, features), []
    found = approximate(index, "hnsw", said.append)
    assert found.measured.library == library and found.measured.recall >= REQUIRED and found.measured.queries == 200
    queries = queries_near(features.astype(np.float32))
    for k in (1, 10, 60):
        require_nearly_exact(index, features, found, queries, k)
    assert said[0].startswith("building hnsw of 5,000 images by " + library) and said[-1].startswith("built in ")


def test_codes_find_nearly_all_of_the_nearest(tmp_path):
    """Features of 24 numbers do not divide into 16 equal parts."""
    features = clustered(LEAST["ivfpq"])
    index = an_index(tmp_path, features)
    found = approximate(index, "ivfpq")
    assert found.measured.recall >= REQUIRED
    queries = queries_near(features)
    require_nearly_exact(index, features, found, queries, 10)
    again = approximate(open_index(str(tmp_path)), "ivfpq")
    assert again.measured == found.measured
    require_nearly_exact(index, features, again, queries, 10)
    # More rows than one cell has are found by comparison with every row.
    narrow = dataclasses.replace(found, measured=dataclasses.replace(found.measured, width=0))
    np.testing.assert_array_equal(narrow.nearest(queries[:2], 300)[0], nearest(index, queries[:2], 300)[0])


def test_an_image_of_the_index_finds_itself_whether_or_not_it_was_held_out(tmp_path):
    features = clustered(1000)
    index = an_index(tmp_path, features)
    rows = np.concatenate([np.arange(10), np.arange(40, 1000)])
    found, similarities = approximate(index, "hnsw").nearest(index.normalised(rows), 1)
    assert np.mean(found[:, 0] == rows) > 0.98
    np.testing.assert_allclose(similarities[found[:, 0] == rows], 1, atol=1e-5)


def test_copies_count_as_found_whichever_of_them_it_is(tmp_path):
    """Of 30 equal images no search knows which ten are meant."""
    index = an_index(tmp_path, np.repeat(random_features(100, D), 30, axis=0))
    found = approximate(index, "hnsw").measured
    queries = index.normalised(np.arange(0, 3000, 30))
    _, values = approximate(index, "hnsw").nearest(queries, 10)
    assert found.recall == pytest.approx(np.mean(values > 1 - 1e-5), abs=0.1)


# ---- What is kept ----


def test_it_is_built_once(tmp_path):
    index, said = an_index(tmp_path, clustered(1000)), []
    first = approximate(index, "hnsw", said.append)
    name, facts = kept_in(tmp_path)
    assert name == f"nearest-{index.token}.hnsw.faiss" and facts == f"{name}.json"
    said.clear()
    second = approximate(open_index(str(tmp_path)), "hnsw", said.append)
    assert not said and second.measured == first.measured
    assert first.measured.size == os.path.getsize(tmp_path / name)
    queries = queries_near(clustered(1000))
    np.testing.assert_array_equal(first.nearest(queries, 5)[0], second.nearest(queries, 5)[0])


def test_an_index_that_has_changed_gets_another_and_the_old_one_goes(tmp_path):
    features = clustered(1000)
    approximate(an_index(tmp_path, features), "hnsw")
    before = kept_in(tmp_path)
    (tmp_path / f"{before[0]}.other-1.tmp").write_bytes(b"half")
    grown = np.concatenate([features, clustered(10, seed=5)])
    index = an_index(tmp_path, grown)
    assert not kept_in(tmp_path)
    found = approximate(index, "hnsw")
    assert found.nearest(index.normalised([1005]), 1)[0].tolist() == [[1005]]
    assert len(kept_in(tmp_path)) == 2 and not set(kept_in(tmp_path)) & set(before)


def test_an_index_of_another_network_gets_another(tmp_path):
    approximate(an_index(tmp_path, clustered(1000)), "hnsw")
    before = kept_in(tmp_path)
    approximate(an_index(tmp_path, clustered(1000, seed=3), network="1" * 64), "hnsw")
    assert len(kept_in(tmp_path)) == 2 and not set(kept_in(tmp_path)) & set(before)


@pytest.mark.parametrize("damage", ["cut", "same length", "no facts", "other facts", "of fewer rows"])
def test_what_is_damaged_is_built_again(tmp_path, damage):
    index, said = an_index(tmp_path, clustered(1000)), []
    approximate(index, "hnsw")
    path, facts = (tmp_path / name for name in kept_in(tmp_path))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "same length":
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == "no facts":
        facts.write_text("{")
    elif damage == "other facts":
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"width": "wide"}))
    else:
        other = tmp_path / "other"
        approximate(an_index(other, clustered(1001)), "hnsw")
        theirs, of_theirs = kept_in(other)
        os.replace(other / theirs, path)
        os.replace(other / of_theirs, facts)
    found = approximate(index, "hnsw", said.append)
    assert said[0].startswith("building")
    require_nearly_exact(index, clustered(1000), found, queries_near(clustered(1000)), 10)


def test_what_cannot_be_kept_serves_this_search(tmp_path):
    features, said = clustered(1000), []
    index = dataclasses.replace(an_index(tmp_path, features), directory=str(tmp_path / "gone"))
    found = approximate(index, "hnsw", said.append)
    assert any(line.startswith("note: the structure cannot be kept for the next search") for line in said)
    require_nearly_exact(index, features, found, queries_near(features), 10)


# ---- Which engine ----


@pytest.fixture
def large(tmp_path, monkeypatch):
    """An index that has more rows than auto searches exactly."""
    monkeypatch.setattr(module, "AUTO_FROM", 999)
    monkeypatch.setitem(LEAST, "ivfpq", 1000)
    return an_index(tmp_path, clustered(1000))


def test_auto_is_exact_up_to_a_million_rows(tmp_path):
    index, said = an_index(tmp_path, clustered(1000)), []
    queries = queries_near(clustered(1000))
    rows, _, how = search(index, queries, 5, say=said.append)
    assert not said and how == "" and not kept_in(tmp_path)
    np.testing.assert_array_equal(rows, nearest(index, queries, 5)[0])


@pytest.mark.parametrize("library", ["faiss", "usearch"])
def test_auto_takes_a_structure_above_and_says_so(large, monkeypatch, library):
    if library == "usearch":
        pytest.importorskip("usearch")
        without(monkeypatch, "faiss")
    said = []
    *_, how = search(large, queries_near(clustered(1000)), 5, say=said.append)
    engine = "ivfpq" if library == "faiss" else "hnsw"
    assert f"approximate search by {engine} ({library}): recall" in how and how == said[-1]
    assert len(kept_in(large.directory)) == 2


def test_auto_is_exact_where_the_structure_finds_too_few(large, monkeypatch):
    monkeypatch.setattr(module, "REQUIRED", 1.1)
    said, queries = [], queries_near(clustered(1000))
    rows, _, how = search(large, queries, 5, say=said.append)
    assert how == "" and said[-1].startswith("note: exact search, because ivfpq finds only ")
    np.testing.assert_array_equal(rows, nearest(large, queries, 5)[0])
    *_, how = search(large, queries, 5, "ivfpq", said.append)
    assert "less than 1.1: pass --engine=exact" in how


def test_auto_is_exact_without_a_package_and_names_the_extra(large, monkeypatch):
    without(monkeypatch, "faiss", "usearch", "usearch.index")
    said = []
    *_, how = search(large, queries_near(clustered(1000)), 5, say=said.append)
    assert how == "" and len(said) == 1 and "Install faiss-cpu, or the extra `search`" in said[0]


@pytest.mark.parametrize(
    ("engine", "missing", "packages"),
    [
        ("hnsw", ("faiss", "usearch", "usearch.index"), "faiss-cpu or usearch"),
        ("ivfpq", ("faiss",), "faiss-cpu"),
    ],
)
def test_a_missing_package_is_one_line(tmp_path, monkeypatch, engine, missing, packages):
    without(monkeypatch, *missing)
    index, said = an_index(tmp_path, clustered(LEAST[engine])), []
    with pytest.raises(InputError, match=rf"needs the package {packages}\. Received: .*extra `search`") as raised:
        approximate(index, engine, said.append)
    assert "\n" not in str(raised.value) and not said


@pytest.mark.parametrize(("engine", "least"), LEAST.items())
def test_a_small_index_needs_none(tmp_path, engine, least):
    index = an_index(tmp_path, random_features(least - 1))
    with pytest.raises(InputError, match=rf"{least:,} images or more.*Received.*{least - 1:,} images.*--engine=exact"):
        approximate(index, engine)


# ---- The command ----


def test_the_command_prints_the_recall_and_writes_it_on_the_page(tmp_path, capsys):
    index = an_index(tmp_path, clustered(1000))
    words = ["search", f"--index={tmp_path}", "--query=0007.png", "--k=3"]
    assert main([*words, "--engine=hnsw", f"--page={tmp_path / 'found.html'}"]) == 0
    printed = capsys.readouterr().out
    line = approximate(index, "hnsw").measured.line
    assert line in printed and line in (tmp_path / "found.html").read_text() and "0007.png" in printed
    assert main([*words, "--engine=exact"]) == 0
    table = capsys.readouterr().out.partition("next: ")[0]
    assert "0007.png" in table and table in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine=fast"], "flag --engine=fast: value should be one of <auto|exact|hnsw|ivfpq>"),
        (["--engine=hnsw"], "needs an index of 1,000 images or more"),
    ],
)
def test_an_engine_that_cannot_work_is_one_line(tmp_path, capsys, words, message):
    an_index(tmp_path, random_features(50))
    assert main(["search", f"--index={tmp_path}", "--query=0", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error

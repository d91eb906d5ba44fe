"""embed and prepare by workers of a pipeline: the rows and records of one process. Apache Beam may be missing."""

from __future__ import annotations

import importlib.util
import re
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.folders import class_folders, make_images
from tests.networks import TINY_RUN, write_run
from tf_simclr.cli.main import main
from tf_simclr.index.block_embedding import BlockEmbedder, EmbeddingWork
from tf_simclr.index.embedding import embed
from tf_simclr.index.store import open_index

NEEDS_BEAM = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is an extra, and changes protobuf and pillow"
)
PROCESSES = "--beam_options=--direct_num_workers=2 --direct_running_mode=multi_processing"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), TINY_RUN, 2)


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "images", class_folders({"a": 70, "b": 60}), side=20)


@pytest.fixture
def task(run, folder, tmp_path, capsys):
    """Runs embed or prepare into a directory of tmp_path; returns the exit code, and what it printed."""

    def call(name, out, *words):
        own = {"embed": [f"--checkpoint={run}", "--eval_batch_size=8"], "prepare": ["--side=16"]}[name]
        code = main([name, f"--data_dir={folder}", f"--out={tmp_path / out}", *own, *words])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


@pytest.mark.parametrize("name", ["embed", "prepare"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runner=direct"], r"`runner` direct needs the package apache-beam.*the extra `beam`"),
        (["--runner=cloud"], "runner.*direct.*dataflow"),
        (["--beam_options=--direct_num_workers=2"], "`beam_options` are for a runner.*Pass --runner=direct"),
        (["--runner=direct", "--beam_options=--runner=Spark"], "`beam_options` must not name the runner"),
        (["--runner=direct", "--beam_options='"], "`beam_options` must be words.*Close the quotation marks"),
    ],
)
def test_what_cannot_work_is_one_line_and_writes_nothing(task, tmp_path, monkeypatch, name, words, message):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    code, printed = task(name, "out", *words)
    assert code == 2 and re.search(message, printed.strip().splitlines()[-1])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("word", ["--shard=0/2", "--merge"])
def test_a_runner_divides_the_images_itself(task, word):
    code, printed = task("embed", "out", "--runner=direct", word)
    assert code == 2 and "`runner` divides the images itself" in printed


# ---- The workers, called without a pipeline ----


@pytest.fixture
def by_workers(monkeypatch):
    """Lets workers embed that are called one after the other; without Apache Beam."""

    def embedded(model, loader, parts, out, identity, **options):
        def elsewhere(files, pieces):
            from tf_simclr.config import RuntimeConfig
            from tf_simclr.data.blocks import write_blocks

            work = EmbeddingWork(options["checkpoint"], identity, loader.batch_size, loader.eval_crop, RuntimeConfig())
            worker = BlockEmbedder(work, pieces)
            for listed in files:
                for block in write_blocks(pieces.block_prefix(), listed, 48):
                    worker(block)

        return embed(model, loader, parts, out, identity, **options | {"elsewhere": elsewhere})

    monkeypatch.setattr("tf_simclr.cli.embed.embed", embedded)


def same_index(one, other):
    assert list(one.rows) == list(other.rows) and one.identity == other.identity and one.token == other.token
    np.testing.assert_array_equal(one.features, other.features)


def damage(path):
    path.write_bytes(path.read_bytes()[:50])
    return path


def test_workers_make_the_index_of_one_process(task, folder, tmp_path, request):
    damage(folder / "a" / "003.png")
    assert task("embed", "plain", "--on_bad_image=skip")[0] == 0
    request.getfixturevalue("by_workers")
    code, printed = task("embed", "workers", "--on_bad_image=skip")
    assert code == 0 and "129 computed now, 1 left out because they cannot be decoded" in printed
    same_index(*(open_index(str(tmp_path / name)) for name in ("plain", "workers")))
    assert not (tmp_path / "workers" / "pending").exists()


def test_a_damaged_image_is_named_and_the_rest_is_kept(task, folder, tmp_path, by_workers):
    place = damage(folder / "b" / "007.png")
    code, printed = task("embed", "workers")
    assert code == 2 and "damaged" in printed and str(place) in printed
    place.unlink()
    code, printed = task("embed", "workers")
    # The batches of the block before the damaged image, and the other blocks, are there.
    computed = int(re.search(r"(\d+) computed now", printed)[1])
    assert code == 0 and computed < 48 and f"{129 - computed} kept" in printed


# ---- Pipelines ----


def records(directory, split="train"):
    builder = tfds.builder_from_directory(str(directory))
    read = {"image": tfds.decode.SkipDecoding()}
    return list(tfds.as_numpy(builder.as_dataset(split=split, decoders=read, shuffle_files=False)))


@NEEDS_BEAM
@pytest.mark.parametrize("words", [[], [PROCESSES]], ids=["one process", "two processes"])
def test_a_pipeline_makes_what_one_process_makes(task, folder, tmp_path, words):
    damage(folder / "a" / "003.png")
    skip = "--on_bad_image=skip"
    assert task("embed", "plain", skip)[0] == 0 and task("prepare", "prepared", skip)[0] == 0
    code, printed = task("embed", "beam", "--runner=direct", skip, *words)
    assert code == 0 and "129 computed now, 1 left out" in printed
    same_index(*(open_index(str(tmp_path / name)) for name in ("plain", "beam")))
    code, printed = task("prepare", "beam-prepared", "--runner=direct", skip, *words)
    assert code == 0 and "1 damaged images are left out, prepare.json lists them: a/003.png" in printed
    one, other = (tmp_path / name for name in ("prepared", "beam-prepared"))
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    assert records(one) == records(other) and (one / "images.csv").read_bytes() == (other / "images.csv").read_bytes()


@NEEDS_BEAM
def test_what_a_pipeline_does_not_take(task, tmp_path):
    bad = "--beam_options=--direct_running_mode=nowhere"
    for name in ("embed", "prepare"):
        code, printed = task(name, "out", "--runner=direct", bad)
        assert code == 2 and re.search("`beam_options` must be options of Apache Beam.*invalid choice", printed)
    code, printed = task("embed", "out", "--runner=direct", "--dataset=shapes", "--data_dir=")
    assert code == 2 and "`runner` needs a folder of images" in printed
    assert not (tmp_path / "out").exists()


@NEEDS_BEAM
def test_a_worker_that_fails_is_one_line(task, run, tmp_path, monkeypatch):
    """Such as one that finds another network where the checkpoint should be."""
    monkeypatch.setattr("tf_simclr.index.block_embedding.model_digest", lambda model: "another")
    code, printed = task("embed", "out", "--runner=direct")
    line = printed.strip().splitlines()[-1]
    assert code == 2 and re.search("`runner` direct could not finish.*Every worker must read the same network", line)

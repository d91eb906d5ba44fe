"""Every checkpoint has a checksum of each file; damage is named, and the one before is used by whoever reads."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import write_run
from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.evaluate.follow import follow_checkpoints
from tf_simclr.evaluate.load import load_trained, read_config
from tf_simclr.loading import load_encoder
from tf_simclr.train import checkpoint_store, checkpoints
from tf_simclr.train.build import build_networks
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.checkpoints import UnreadableError, resolve
from tf_simclr.train.checksums import damage_of
from tf_simclr.train.directory import look_into
from tf_simclr.train.pretrained import load_pretrained

FLAGS = {"dataset": "shapes", "image_size": 16, "resnet_depth": 18, "width_multiplier": 0.0625}
SLOT = "optimizer/velocity"


def variables(value):
    return {"encoder/a": tf.Variable(tf.fill([4, 5], float(value))), SLOT: tf.Variable(tf.fill([64], 0.5 + value))}


def saved(directory, steps=(1, 2, 3), keep=9):
    """A store with a checkpoint of each step, whose values are its number."""
    values = variables(0)
    store = CheckpointStore(str(directory), values, keep)
    for step in steps:
        values["encoder/a"].assign(tf.fill([4, 5], float(step)))
        store.save(step)
    return store


def data_of(directory, step):
    [path] = Path(directory).glob(f"ckpt-{step}.data*")
    return path


def flip(path, place=-3):
    """Changes one bit of a file; its length stays."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def restored(directory, keep=9):
    """Step, value and lines of a run that goes on in a directory."""
    values, said = variables(0), []
    store = CheckpointStore(str(directory), values, keep)
    return store.restore_latest(said.append), float(values["encoder/a"][0, 0]), said, store


def steps_in(directory):
    return sorted(checkpoints.step_of(str(path.with_suffix(""))) for path in Path(directory).glob("*.index"))


def test_the_checksums_are_those_of_the_files(tmp_path):
    saved(tmp_path, [7])
    kept = json.loads((tmp_path / "ckpt-7.checksums.json").read_text())
    assert kept["format"] == 1 and set(kept["files"]) == {"index", "data-00000-of-00001"}
    for end, file in kept["files"].items():
        content = (tmp_path / f"ckpt-7.{end}").read_bytes()
        assert file == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert damage_of(str(tmp_path / "ckpt-7")) == ""


def test_they_go_with_the_checkpoint(tmp_path):
    saved(tmp_path, range(1, 6), keep=2)
    assert {path.name for path in tmp_path.glob("*.json")} == {"ckpt-4.checksums.json", "ckpt-5.checksums.json"}
    assert steps_in(tmp_path) == [4, 5]


DAMAGES = {
    "a bit of the values": (
        lambda where: flip(data_of(where, 3)),
        "data-00000-of-00001 does not hold what was written",
    ),
    "a bit of the index": (lambda where: flip(where / "ckpt-3.index", 40), "ckpt-3.index does not hold what was writ"),
    "cut": (lambda where: os.truncate(data_of(where, 3), 700), r"has \d+ bytes and not the \d+ that were written"),
    "gone": (lambda where: data_of(where, 3).unlink(), "ckpt-3.data-00000-of-00001 is gone"),
    "no checksums": (lambda where: (where / "ckpt-3.checksums.json").write_text("{"), "ckpt-3.checksums.json is dam"),
    "of no form": (lambda where: (where / "ckpt-3.checksums.json").write_text("[]"), "ckpt-3.checksums.json is dam"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_newest_one_is_named_and_the_one_before_is_used(tmp_path, damage, said):
    saved(tmp_path)
    damage(tmp_path)
    step, value, lines, _ = restored(tmp_path)
    assert (step, value) == (2, 2.0)
    [line] = lines
    assert line.startswith(f"note: checkpoint {tmp_path}/ckpt-3 cannot be read: ") and "\n" not in line
    lines.clear()
    assert resolve(str(tmp_path), lines.append) == str(tmp_path / "ckpt-2")
    assert len(lines) == 1 and look_into(str(tmp_path)).done == 2
    with pytest.raises(UnreadableError, match=said):
        resolve(str(tmp_path / "ckpt-3"))


def test_a_bit_that_no_reader_of_the_encoder_would_see(tmp_path):
    """TensorFlow compares what it reads; an evaluation reads no optimizer."""
    saved(tmp_path)
    path = data_of(tmp_path, 3)
    flip(path, path.read_bytes().index(np.full(64, 0.5, np.float32).tobytes()))
    assert set(checkpoints.read_values(str(tmp_path / "ckpt-3"), ["encoder/a"])) == {"encoder/a"}
    assert restored(tmp_path)[0] == 2
    with pytest.warns(UserWarning, match="ckpt-3 cannot be read"):
        assert resolve(str(tmp_path)) == str(tmp_path / "ckpt-2")


def test_damaged_ones_do_not_count_among_those_that_are_kept(tmp_path):
    saved(tmp_path, [1, 2, 3, 4])
    flip(data_of(tmp_path, 4))
    _, _, _, store = restored(tmp_path, keep=2)
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-3")
    store.save(3)
    assert steps_in(tmp_path) == [2, 3, 4]  # two that are whole
    store.save(5)
    assert steps_in(tmp_path) == [3, 5]
    store.save(6)
    assert steps_in(tmp_path) == [5, 6]


def test_only_damaged_ones_are_an_error_that_names_them(tmp_path):
    saved(tmp_path, [1, 2])
    for step in (1, 2):
        flip(data_of(tmp_path, step))
    for read in (restored, lambda where: resolve(str(where), lambda line: None)):
        with pytest.raises(InputError, match=r"^no checkpoint .*can be read\. Received: .*ckpt-1, .*ckpt-2\. Restore"):
            read(tmp_path)
    assert steps_in(tmp_path) == [1, 2]


def test_those_of_earlier_versions_have_none_and_are_read(tmp_path):
    saved(tmp_path)
    for path in tmp_path.glob("*.checksums.json"):
        path.unlink()
    assert restored(tmp_path)[:3] == (3, 3.0, [])
    assert resolve(str(tmp_path), pytest.fail) == str(tmp_path / "ckpt-3")
    path = data_of(tmp_path, 3)  # TensorFlow's own checksums are compared then
    flip(path, path.read_bytes().index(np.full(64, 0.5, np.float32).tobytes()))
    lines = []
    assert restored(tmp_path)[0] == 2 and resolve(str(tmp_path), lines.append) == str(tmp_path / "ckpt-2")
    assert len(lines) == 1


def test_a_later_format_is_left_to_the_version_that_knows_it(tmp_path):
    saved(tmp_path, [1])
    (tmp_path / "ckpt-1.checksums.json").write_text(json.dumps({"format": 2, "digests": "elsewhere"}))
    assert restored(tmp_path)[:3] == (1, 1.0, [])


class KilledError(BaseException):
    """Stands for a kill: nobody handles it."""


def kill_at(monkeypatch, name):
    """Saving ends when it calls this function of its module."""

    def killed(*words):
        raise KilledError

    monkeypatch.setattr(checkpoint_store, name, killed)


@pytest.mark.parametrize("name", ["write_checksums", "write_state", "remove"])
@pytest.mark.parametrize("brackets", [False, True])
def test_a_kill_at_any_place_of_saving_loses_nothing_and_keeps_the_bound(tmp_path, monkeypatch, name, brackets):
    """Between writing and listing, above all: what is not listed is found, and counts among those that are kept."""
    directory = tmp_path / ("run [0-9]" if brackets else "run")
    saved(directory, [1, 2, 3], keep=2)
    for step in (4, 5):
        store = restored(directory, keep=2)[3]
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            kill_at(patch, name)
            store.save(step)
    step, _, lines, store = restored(directory, keep=2)
    assert (step, lines) == (5, [])
    for step in (6, 7):
        store.save(step)
    assert steps_in(directory) == [6, 7]
    assert len(list(directory.iterdir())) == 2 * 3 + 1


def test_a_kill_while_a_step_is_saved_again_leaves_no_checksums_of_the_old_file(tmp_path, monkeypatch):
    saved(tmp_path, [1, 2])
    _, _, _, store = restored(tmp_path)
    store._variables["encoder/a"].assign(tf.fill([4, 5], 9.0))
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        kill_at(patch, "write_checksums")
        store.save(2)
    assert restored(tmp_path)[:3] == (2, 9.0, [])


# ---- Whoever reads ----


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's directory whose newest checkpoint, of step 9, has a damaged byte behind the last value."""
    directory = tmp_path_factory.mktemp("run")
    write_run(directory, FLAGS, 3)
    write_run(directory, FLAGS, 9)
    flip(data_of(directory, 9))
    return directory


def test_evaluating_takes_the_one_before(run):
    said = []
    assert read_config(str(run), said.append)[1] == str(run / "ckpt-3")
    assert len(said) == 1 and "ckpt-9 cannot be read" in said[0]
    with pytest.raises(UnreadableError, match=r"ckpt-9.* does not hold what was written"):
        load_trained(str(run / "ckpt-9"))


def test_exporting_takes_the_one_before(run):
    with pytest.warns(UserWarning, match="ckpt-9 cannot be read"):
        assert load_encoder(str(run)).output["final_avg_pool"].shape[-1] == 32


def test_fine_tuning_takes_the_one_before(run):
    config = build_config(FLAGS | {"train_mode": "finetune", "checkpoint": str(run)})
    said = []
    load_pretrained(config, build_networks(config, num_classes=10), (), said.append)
    assert "ckpt-9 cannot be read" in said[0] and any(f"from {run}/ckpt-3" in line for line in said)


def test_mode_eval_waits_for_the_next(run):
    said = []
    model = build_networks(build_config(FLAGS), num_classes=10)
    steps = follow_checkpoints(
        str(run), model.named_variables(), last_step=9, timeout=0.0, say=said.append, check=lambda prefix: None
    )
    with pytest.raises(InputError, match="`eval_timeout` passed"):
        list(steps)
    assert any("ckpt-9 cannot be read" in line and line.endswith("; waiting for the next") for line in said)

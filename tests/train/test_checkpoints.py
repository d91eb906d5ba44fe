from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.train import checkpoints
from tf_simclr.train.checkpoint_files import newest_in, write_state
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.checkpoints import check_matches, read_into, resolve, shapes_in, step_of


def make(value, **shapes):
    shapes = shapes or {"kernel": (2, 3), "gamma": (3,)}
    return {f"encoder/a.b_1/{name}": tf.Variable(tf.fill(shape, float(value))) for name, shape in shapes.items()}


def no_warning(line):
    raise AssertionError(f"unexpected warning: {line}")


def test_round_trip_and_names(tmp_path):
    saved = make(3)
    prefix = CheckpointStore(str(tmp_path), saved, 5).save(7)
    assert os.path.basename(prefix) == "ckpt-7" and step_of(prefix) == 7
    assert shapes_in(prefix) == {"encoder/a.b_1/kernel": (2, 3), "encoder/a.b_1/gamma": (3,)}
    fresh = make(0)
    assert CheckpointStore(str(tmp_path), fresh, 5).restore_latest(no_warning) == 7
    for path, variable in fresh.items():
        np.testing.assert_array_equal(variable, saved[path])


def test_an_empty_directory_restores_nothing(tmp_path):
    assert CheckpointStore(str(tmp_path), make(1), 5).restore_latest(no_warning) is None


def test_the_newest_are_kept(tmp_path):
    store = CheckpointStore(str(tmp_path), make(1), 2)
    for step in (1, 2, 3):
        store.save(step)
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-2.index", "ckpt-3.index"]


UNREADABLE = {
    "empty": b"",
    "no UTF-8": b"\xff\xfe\x00\x01",
    "half a line": b'model_checkpoint_path: "ckpt-',
    "JSON": b'{"newest": 3}',
    "files that are gone": b'model_checkpoint_path: "ckpt-9"\nall_model_checkpoint_paths: "ckpt-9"\n',
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_the_list_of_checkpoints_is_for_others(tmp_path, content):
    """Whatever it holds, a run goes on from its newest file, keeps as many as it shall, and writes the list anew."""
    store = CheckpointStore(str(tmp_path), make(1), 2)
    for step in (1, 2, 3):
        store.save(step)
    (tmp_path / "checkpoint").write_bytes(content)
    store = CheckpointStore(str(tmp_path), make(0), 2)
    assert newest_in(str(tmp_path)) == str(tmp_path / "ckpt-3")
    assert store.restore_latest(no_warning) == 3
    store.save(4)
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-3.index", "ckpt-4.index"]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-4")


def test_with_a_list_that_cannot_be_read_damaged_checkpoints_are_still_an_error(tmp_path):
    """Starting over would delete them."""
    CheckpointStore(str(tmp_path), make(1), 2).save(1)
    (tmp_path / "checkpoint").write_bytes(b"")
    next(tmp_path.glob("*.data*")).write_bytes(b"damaged")
    with pytest.raises(InputError, match="no checkpoint of the run can be read"):
        CheckpointStore(str(tmp_path), make(0), 2).restore_latest(lambda line: None)


def test_what_a_kill_left_unfinished_is_removed_by_the_next_save(tmp_path):
    store = CheckpointStore(str(tmp_path), make(1), 2)
    store.save(1)
    for name in ("ckpt-2_temp", "ckpt-3_temp", "mine_temp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    again = CheckpointStore(str(tmp_path), make(0), 2)
    again.restore_latest(no_warning)
    assert len(list(tmp_path.glob("*_temp"))) == 3  # nothing is written before something is saved
    again.save(4)
    assert [p.name for p in tmp_path.glob("*_temp")] == ["mine_temp"]


@pytest.mark.parametrize(
    "variables,message",
    [
        (make(0, kernel=(2, 4), gamma=(3,)), r"a\.b_1/kernel is \[2, 3\] there and \[2, 4\] here"),
        (make(0, kernel=(2, 3), gamma=(3,), beta=(3,)), r"a\.b_1/beta is missing"),
        (make(0, kernel=(2, 3)), r"a\.b_1/gamma has no place here"),
    ],
)
def test_every_mismatch_is_named(tmp_path, variables, message):
    prefix = CheckpointStore(str(tmp_path), make(1), 5).save(1)
    with pytest.raises(InputError, match=message):
        check_matches(prefix, variables, shapes_in(prefix), exact_parts=["encoder"])


def test_restoring_another_architecture_is_an_error(tmp_path):
    CheckpointStore(str(tmp_path), make(1), 5).save(1)
    with pytest.raises(InputError, match="does not fit"):
        CheckpointStore(str(tmp_path), make(0, kernel=(9, 9)), 5).restore_latest(no_warning)


def test_a_damaged_newest_checkpoint_falls_back_and_says_so(tmp_path):
    store = CheckpointStore(str(tmp_path), make(1), 5)
    store.save(1)
    damaged = store.save(2) + ".index"
    with open(damaged, "r+b") as file:
        file.truncate(10)
    warnings, fresh = [], make(0)
    assert CheckpointStore(str(tmp_path), fresh, 5).restore_latest(warnings.append) == 1
    assert len(warnings) == 1 and "ckpt-2" in warnings[0]
    assert float(fresh["encoder/a.b_1/gamma"][0]) == 1.0


@pytest.mark.parametrize("relative", [False, True])
def test_a_checkpoint_that_was_not_listed_yet_is_used(tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "run"
    directory.mkdir()
    name = "run" if relative else str(directory)
    store = CheckpointStore(name, make(1), 5)
    store.save(2)
    listed = (directory / "checkpoint").read_text()
    store.save(4)
    (directory / "checkpoint").write_text(listed)
    again = CheckpointStore(name, make(0), 5)
    assert again.restore_latest(no_warning) == 4
    assert tf.train.latest_checkpoint(name).endswith("ckpt-4")


def test_a_first_checkpoint_broken_off_by_a_kill_starts_over_untouched(tmp_path):
    damaged = CheckpointStore(str(tmp_path), make(1), 5).save(2)
    (tmp_path / "checkpoint").unlink()
    with open(damaged + ".data-00000-of-00001", "r+b") as file:
        file.truncate(4)
    warnings, fresh = [], make(0)
    assert CheckpointStore(str(tmp_path), fresh, 5).restore_latest(warnings.append) is None
    assert len(warnings) == 1
    assert fresh and all(float(tf.reduce_max(v)) == 0.0 for v in fresh.values())


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    damaged = CheckpointStore(str(tmp_path), make(1), 5).save(2) + ".index"
    with open(damaged, "r+b") as file:
        file.truncate(10)
    with pytest.raises(InputError, match="can be read"):
        CheckpointStore(str(tmp_path), make(0), 5).restore_latest(lambda line: None)


def test_resolve_takes_a_prefix_or_a_directory(tmp_path):
    store = CheckpointStore(str(tmp_path), make(1), 5)
    first, second = store.save(1), store.save(2)
    assert resolve(str(tmp_path)) == second
    assert resolve(first) == first


@pytest.mark.parametrize("name", ["", "ckpt-1", "missing/ckpt"])
def test_resolve_without_a_checkpoint_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match="`checkpoint` must be a checkpoint prefix"):
        resolve(str(tmp_path / name))


def test_a_foreign_checkpoint_is_an_error(tmp_path):
    prefix = tf.train.Checkpoint(thing=tf.Variable(1.0)).save(str(tmp_path / "other"))
    with pytest.raises(InputError, match="written by this program"):
        shapes_in(prefix)


@pytest.mark.parametrize("writers,readers", [(1, 2), (2, 1), (2, 4)])
def test_replicas_may_change_between_saving_and_reading(tmp_path, mirrored, writers, readers):
    with mirrored(writers).scope():
        saved = make(5)
    prefix = CheckpointStore(str(tmp_path), saved, 5).save(1)
    with mirrored(readers).scope():
        fresh = make(0)
    read_into(prefix, fresh)
    for variable in fresh.values():
        for copy in getattr(variable, "values", [variable]):
            np.testing.assert_array_equal(copy, tf.fill(variable.shape, 5.0))


def test_paths_survive_the_checkpoint_s_own_escapes(tmp_path):
    paths = ("encoder/x/kernel", "a.b/c..d/e", "optimizer/velocity/encoder/x.y/gamma", "a.S/b")
    saved = {path: tf.Variable(float(number)) for number, path in enumerate(paths)}
    prefix = CheckpointStore(str(tmp_path), saved, 5).save(1)
    assert set(shapes_in(prefix)) == set(paths)
    assert checkpoints.read_values(prefix, paths) == {path: float(number) for number, path in enumerate(paths)}


def test_the_newest_is_the_last_that_is_listed_or_else_the_one_of_the_latest_step(tmp_path):
    for step in (2, 10, 9):
        for end in ("index", "data-00000-of-00001"):
            (tmp_path / f"ckpt-{step}.{end}").write_text("")
    assert newest_in(str(tmp_path)) == str(tmp_path / "ckpt-10")
    write_state(str(tmp_path), [str(tmp_path / "ckpt-10"), str(tmp_path / "ckpt-2")])
    assert newest_in(str(tmp_path)) == str(tmp_path / "ckpt-2")
    # What is listed and is there no more says nothing.
    write_state(str(tmp_path), [str(tmp_path / "ckpt-9"), str(tmp_path / "ckpt-7")])
    assert newest_in(str(tmp_path)) == str(tmp_path / "ckpt-9")
    assert newest_in(str(tmp_path / "elsewhere")) is None


def test_a_worker_that_is_not_the_chief_reads_what_the_chief_says_and_writes_only_to_its_scratch(tmp_path):
    directory, scratch = tmp_path / "run", tmp_path / "scratch"
    for step in (2, 3):
        CheckpointStore(str(directory), make(step), 5).save(step)
    (directory / "checkpoint").unlink()
    before = sorted(path.name for path in directory.iterdir())
    variables = make(0)
    store = CheckpointStore(str(directory), variables, 5, scratch=str(scratch), from_chief=lambda value: 2)
    assert store.restore_latest(no_warning) == 2
    assert {float(tf.reduce_min(v)) for v in variables.values()} == {2.0}
    for step in (4, 5):
        store.save(step)
    assert sorted(path.name for path in scratch.glob("*.index")) == ["ckpt-5.index"]
    assert sorted(path.name for path in directory.iterdir()) == before

"""What a folder without splits holds out: each image by itself, and the list beside a run."""

from __future__ import annotations

import collections
import hashlib
import json

import numpy as np
import pytest

from tests.data.folders import class_folders, make_images
from tf_simclr.data.datasets import load_splits
from tf_simclr.data.hold_out import EVALUATION, VALIDATION, by_count, by_hash, compare_held_out, write_held_out

NAMES = [f"{kind}/{number:04d}.png".encode() for kind in "abc" for number in range(400)]
LABELS = np.repeat([0, 1, 2], 400)


def held_names(names, labels, seed=0, share=0.1, purpose=EVALUATION):
    return {name for name, held in zip(names, by_hash(names, labels, seed, share, purpose), strict=True) if held}


def test_the_draw_is_the_hash_of_the_path_and_the_seed():
    """Computed anew from its description."""
    key = hashlib.blake2b(b"evaluation 7").digest()
    wanted = {n for n in NAMES if int(hashlib.blake2b(n, digest_size=8, key=key).hexdigest(), 16) / 2**64 < 0.1}
    assert held_names(NAMES, LABELS, seed=7) == wanted


def test_no_image_changes_sides_when_others_go():
    generator = np.random.default_rng(0)
    before = held_names(NAMES, LABELS)
    for _ in range(20):
        rest = np.sort(generator.permutation(len(NAMES))[: generator.integers(900, 1200)])
        names = [NAMES[i] for i in rest]
        assert held_names(names, LABELS[rest]) == before & set(names)


def test_the_former_draw_does_change_sides():
    """That the test above can fail."""
    before = np.array(NAMES)[by_count(NAMES, LABELS, 0, 0.1)]
    after = np.array(NAMES[1:])[by_count(NAMES[1:], LABELS[1:], 0, 0.1)]
    assert len(set(after[:40]) - set(before)) > 10


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_the_share_is_met_on_average(share):
    counts = [len(held_names(NAMES, LABELS, seed, share)) for seed in range(40)]
    error = np.sqrt(share * (1 - share) / (len(NAMES) * len(counts)))
    assert abs(np.mean(counts) / len(NAMES) - share) < 4 * error
    assert len(set(counts)) > 1


def test_each_class_gives_one_and_keeps_one():
    for seed in range(50):
        for share in (0.01, 0.9):
            names = [b"a/1.png", b"b/1.png", b"b/2.png", *(b"c/%d.png" % n for n in range(5))]
            labels = [0, 1, 1, *[2] * 5]
            held = by_hash(names, labels, seed, share, EVALUATION)
            counts = collections.Counter(np.array(labels)[held].tolist())
            assert counts[0] == 0 and counts[1] == 1 and 1 <= counts[2] <= 4


def test_at_least_one_moves_one_image_only():
    """A class whose only held-out image goes gives another one, and no second image changes sides."""
    names = [b"a/%d.png" % n for n in range(6)]
    for seed in range(30):
        before = held_names(names, [0] * 6, seed, 0.05)
        rest = [name for name in names if name not in before]
        assert len(before) == 1 and len(held_names(rest, [0] * 5, seed, 0.05)) == 1


def test_the_validation_draw_is_independent():
    for seed in range(3):
        one, other = (held_names(NAMES, LABELS, seed, 0.3, purpose) for purpose in (EVALUATION, VALIDATION))
        assert 60 < len(one & other) < 160  # 108 are expected, plus or minus 10


def test_the_former_draw_is_as_it_was():
    """Against its code: round(share * n) of each class in the order of a generator of (seed, class)."""
    held = by_count(NAMES[:700], LABELS[:700], 5, 0.1)
    for label, size in ((0, 400), (1, 300)):
        order = np.random.default_rng([5, label]).permutation(size)[: round(0.1 * size)]
        assert np.flatnonzero(held[LABELS[:700] == label]).tolist() == sorted(order.tolist())
    # Files that it did not know do not disturb it, and stay in training.
    names = [*NAMES[:300], *(b"a/%04d.tif" % n for n in range(50))]
    with_others = by_count(names, [0] * 350, 1, 0.1)
    assert with_others[:300].tolist() == by_count(NAMES[:300], [0] * 300, 1, 0.1).tolist()
    assert not with_others[300:].any()


# ---- Through the folder ----


def test_a_folder_loses_an_image(tmp_path):
    """After one is removed, as the program advises for a damaged one, nothing that was trained on is held out."""
    make_images(tmp_path, class_folders({"a": 60, "b": 40}))
    train, test, _ = load_splits("folder", data_dir=str(tmp_path))
    trained, held = set(train.names()), set(test.names())
    assert train.held_out().names == test.names()
    for gone in [train.names()[0], train.names()[-1], test.names()[0]]:
        (tmp_path / gone).rename(tmp_path / "aside")
        after, after_test, _ = load_splits("folder", data_dir=str(tmp_path))
        (tmp_path / "aside").rename(tmp_path / gone)
        assert set(after.names()) == trained - {gone}
        assert set(after_test.names()) == held - {gone}


def test_the_folder_may_lie_elsewhere(tmp_path):
    make_images(tmp_path / "here", class_folders({"a": 30, "b": 30}))
    held = load_splits("folder", data_dir=str(tmp_path / "here")).evaluation.names()
    (tmp_path / "here").rename(tmp_path / "there")
    assert load_splits("folder", data_dir=str(tmp_path / "there")).evaluation.names() == held


def test_validation_comes_out_of_training(tmp_path):
    make_images(tmp_path, class_folders({"a": 60, "b": 60}))
    plain, plain_test, none = load_splits("folder", data_dir=str(tmp_path), eval_split="test")
    train, test, validation = load_splits(
        "folder", data_dir=str(tmp_path), eval_split="test", validation_split="validation"
    )
    assert none is None and test.names() == plain_test.names()
    assert not set(validation.names()) & set(test.names())
    assert sorted(train.names() + validation.names()) == sorted(plain.names())
    assert {validation.class_names[int(r["label"])] for r in validation.records(None)} == {"a", "b"}
    assert validation.split == "validation" and any("as 'validation'" in note for note in train.notes)


def test_the_default_evaluation_split_may_be_called_validation_too(tmp_path):
    make_images(tmp_path, class_folders({"a": 60, "b": 60}))
    train, test, validation = load_splits("folder", data_dir=str(tmp_path), validation_split="validation")
    assert (test.split, validation.split) == ("held-out", "validation")
    parts = [set(source.names()) for source in (train, test, validation)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 120


# ---- The list ----


def test_the_list_beside_a_run(tmp_path):
    make_images(tmp_path / "data", class_folders({"a": 40, "b": 40}))
    run = tmp_path / "run"
    run.mkdir()
    train, test, _ = load_splits("folder", data_dir=str(tmp_path / "data"))
    assert compare_held_out(str(run), train) == ()
    write_held_out(str(run), train)
    written = json.loads((run / "held_out.json").read_text())
    assert (written["data_dir"], written["held_out"]) == (str(tmp_path / "data"), list(test.names()))
    assert compare_held_out(str(run), train) == ()

    other, other_test, _ = load_splits("folder", data_dir=str(tmp_path / "data"), seed=1)
    first, second = compare_held_out(str(run), other)
    moved = set(other_test.names()) - set(test.names())
    assert f"{len(moved)} of {other_test.num_examples} held-out images are not in held_out.json" in first
    assert sorted(moved)[0] in first
    assert f"{len(set(test.names()) - set(other_test.names()))} images that this run held out are trained on" in second
    # What a start has trained on is never listed as held out again.
    write_held_out(str(run), other)
    assert set(json.loads((run / "held_out.json").read_text())["held_out"]) == set(test.names()) & set(
        other_test.names()
    )


def test_images_that_come_and_are_held_out_at_once_are_no_matter(tmp_path):
    """No start of the run can have trained on them: their own names decide."""
    folder, run = make_images(tmp_path / "data", class_folders({"a": 40, "b": 40})), tmp_path / "run"
    run.mkdir()
    write_held_out(str(run), load_splits("folder", data_dir=str(folder)).train)
    make_images(folder, class_folders({"a": 120, "b": 120}))
    train, test, _ = load_splits("folder", data_dir=str(folder))
    listed = json.loads((run / "held_out.json").read_text())["held_out"]
    assert test.num_examples > len(listed) and compare_held_out(str(run), train) == ()
    write_held_out(str(run), train)
    assert json.loads((run / "held_out.json").read_text())["held_out"] == list(test.names())


def test_an_image_that_its_class_kept_for_training_is_named_when_it_is_held_out(tmp_path):
    """Its own name would hold it out, and did not while it was all that its class had."""
    folder, run = tmp_path / "data", tmp_path / "run"
    make_images(folder, class_folders({"a": 40, "b": 40}))
    alone = next(name for name in load_splits("folder", data_dir=str(folder)).evaluation.names() if name[0] == "b")
    others = [path for path in (folder / "b").iterdir() if f"b/{path.name}" != alone]
    (tmp_path / "aside").mkdir()
    for path in others:
        path.rename(tmp_path / "aside" / path.name)
    run.mkdir()
    train, _, _ = load_splits("folder", data_dir=str(folder))
    assert alone in train.names() and train.held_out().kept == (alone,)
    write_held_out(str(run), train)
    for path in others:
        (tmp_path / "aside" / path.name).rename(path)
    train, test, _ = load_splits("folder", data_dir=str(folder))
    assert alone in test.names()
    (note,) = compare_held_out(str(run), train)
    assert f"1 of {test.num_examples} held-out images" in note and note.endswith(f"trained on them: {alone}")
    for _ in range(2):
        write_held_out(str(run), train)
        assert set(json.loads((run / "held_out.json").read_text())["held_out"]) == set(test.names()) - {alone}


def test_a_start_that_left_nothing_says_nothing_of_the_next(tmp_path):
    folder = make_images(tmp_path / "data", class_folders({"a": 40, "b": 40}))
    write_held_out(str(tmp_path), load_splits("folder", data_dir=str(folder)).train)
    train, test, _ = load_splits("folder", data_dir=str(folder), seed=1)
    write_held_out(str(tmp_path), train, anew=True)
    assert json.loads((tmp_path / "held_out.json").read_text())["held_out"] == list(test.names())


def test_a_list_of_the_first_kind_is_read(tmp_path):
    """It has the names alone."""
    folder = make_images(tmp_path / "data", class_folders({"a": 40, "b": 40}))
    train, test, _ = load_splits("folder", data_dir=str(folder))
    (tmp_path / "held_out.json").write_text(json.dumps({"data_dir": "d", "held_out": list(test.names()[1:])}))
    assert test.names()[0] in compare_held_out(str(tmp_path), train)[0]
    write_held_out(str(tmp_path), train)
    assert json.loads((tmp_path / "held_out.json").read_text())["held_out"] == list(test.names()[1:])


def test_no_list_of_splits_that_the_user_made(tmp_path):
    make_images(tmp_path / "data", ["train/a/1.png", "test/a/1.png"])
    train, _, _ = load_splits("folder", data_dir=str(tmp_path / "data"), eval_split="test")
    write_held_out(str(tmp_path), train)
    assert not (tmp_path / "held_out.json").exists()

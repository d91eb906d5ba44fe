"""How folders are understood: splits above or below the classes, their names, and what lies beside them."""

from __future__ import annotations

import pytest

from tests.data.folders import class_folders, make_images
from tf_simclr.data.datasets import load_sources, load_splits
from tf_simclr.errors import InputError


def opened(folder, **options):
    return load_splits("folder", data_dir=str(folder), **options)


def test_splits_below_the_classes(tmp_path):
    """CLASS/train and CLASS/test: nothing of a test folder is trained on."""
    make_images(tmp_path, class_folders({"cat/train": 5, "cat/test": 2, "dog/train": 4, "dog/test": 3}))
    make_images(tmp_path, ["cat/stray.png", "dog/train/deeper/x.png", "dog/notes/y.png"])
    train, test, _ = opened(tmp_path, eval_split="test")
    assert train.class_names == test.class_names == ("cat", "dog")
    assert all("/train/" in name for name in train.names()) and all("/test/" in name for name in test.names())
    assert (train.num_examples, test.num_examples) == (10, 5)
    notes = "\n".join(train.notes)
    assert "has its splits below the class folders: test, train" in notes
    assert "ignored 1 image outside the class folders" in notes
    assert "ignored 1 folder beside these splits: dog/notes" in notes
    # The default, validation, means test here, too.
    assert opened(tmp_path).evaluation.names() == test.names()


def test_splits_below_some_classes_only(tmp_path):
    make_images(tmp_path, class_folders({"cat/train": 2, "cat/test": 2, "dog": 3}))
    with pytest.raises(InputError, match=r"every class folder must have folders for its splits.*have not: dog"):
        opened(tmp_path)


def test_a_class_without_one_of_the_splits_is_named(tmp_path):
    make_images(tmp_path, class_folders({"cat/train": 2, "cat/test": 2, "dog/train": 3}))
    with pytest.raises(InputError, match=r"only in 'train': dog"):
        opened(tmp_path)


def test_a_class_folder_may_hold_a_folder_called_train(tmp_path):
    """One such name is no split: toys/train is a kind of toy."""
    make_images(tmp_path, class_folders({"toys/train": 20, "toys/bus": 20, "pets": 20}))
    train, test, _ = opened(tmp_path)
    assert train.num_examples + test.num_examples == 60 and train.class_names == ("pets", "toys")


@pytest.mark.parametrize(
    ("folders", "options", "wanted"),
    [
        ("train test", {}, ("train", "test")),
        ("train val test", {}, ("train", "val")),
        ("training testing", {}, ("training", "testing")),
        ("Train Valid", {}, ("Train", "Valid")),
        ("train test", {"train_split": "train[:50%]", "eval_split": "validation[:2]"}, ("train[:50%]", "test[:2]")),
        ("train dev test", {"eval_split": "test"}, ("train", "test")),
    ],
)
def test_names_that_mean_the_same(tmp_path, folders, options, wanted):
    make_images(tmp_path, class_folders({f"{name}/{kind}": 4 for name in folders.split() for kind in "ab"}))
    train, evaluation, _ = opened(tmp_path, **options)
    assert (train.split, evaluation.split) == wanted
    asked = (options.get("train_split", "train"), options.get("eval_split", "validation"))
    for source, name in zip((train, evaluation), asked, strict=True):
        said = any("is taken" in note for note in source.notes)
        assert said == (source.split != name)


def test_a_validation_split_is_never_taken_for_another(tmp_path):
    make_images(tmp_path, class_folders({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}))
    with pytest.raises(InputError, match=r"no split 'validation'; it has: test, train"):
        opened(tmp_path, eval_split="test", validation_split="validation")
    make_images(tmp_path, class_folders({"val/a": 2, "val/b": 2}))
    _, test, validation = opened(tmp_path, eval_split="test", validation_split="validation")
    assert (test.split, validation.split) == ("test", "val")


def test_a_training_split_alone(tmp_path):
    make_images(tmp_path, class_folders({"train/a": 20, "train/b": 20}))
    assert load_sources("folder", data_dir=str(tmp_path), eval_split=None)[0].num_examples == 40
    with pytest.raises(InputError, match=r"no split 'validation'; it has: train. .*--data_dir=\S+/train for a part"):
        opened(tmp_path)
    train, test, _ = opened(tmp_path / "train")
    assert train.num_examples + test.num_examples == 40


def test_a_test_split_alone(tmp_path):
    make_images(tmp_path, class_folders({"test/a": 2, "test/b": 2}))
    with pytest.raises(InputError, match=r"no split 'train'; it has: test"):
        opened(tmp_path)


def test_folders_of_a_system_are_no_classes(tmp_path):
    make_images(tmp_path, class_folders({"cat": 20, "dog": 20, "__MACOSX": 1, "@eaDir": 2, ".ipynb_checkpoints": 2}))
    make_images(tmp_path, ["cat/@eaDir/thumb.png", "cat/.hidden/x.png", "dog/.ipynb_checkpoints/y.png"])
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    train, test, _ = opened(tmp_path)
    assert train.class_names == ("cat", "dog") and train.num_examples + test.num_examples == 40
    notes = "\n".join(train.notes)
    assert "system file" in notes and "Thumbs.db" in notes and "@eaDir" in notes
    assert "hidden file" in notes


def test_folders_of_a_system_beside_splits(tmp_path):
    make_images(tmp_path, class_folders({"train/a": 2, "test/a": 2, "__MACOSX/train/a": 2}))
    train, test, _ = opened(tmp_path)
    assert (train.num_examples, test.num_examples) == (2, 2)


def test_an_empty_class_is_an_error_and_an_empty_folder_below_it_is_not(tmp_path):
    make_images(tmp_path, class_folders({"a": 5, "b": 5}))
    (tmp_path / "a" / "empty" / "still").mkdir(parents=True)
    assert opened(tmp_path).train.class_names == ("a", "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="class 'c' has no readable image"):
        opened(tmp_path)

"""Whether a folder in another place holds the images that a run was trained on."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.data.folders import class_folders
from tf_simclr.config import build_config
from tf_simclr.data.folder import open_folder
from tf_simclr.data.label_table import examples
from tf_simclr.data.request import SplitRequest
from tf_simclr.train.directory import RunDirectory, compare_images
from tf_simclr.train.manifest import Manifest, describe_images

NAMES = class_folders({"cat": 30, "dog": 30}, ".bmp")


def numbered(root, seed):
    """Images of other pixels under the same names; all files have one size."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(root / name)
    return root


@pytest.fixture
def folder(tmp_path):
    return numbered(tmp_path / "one", 0)


def opened(folder):
    return open_folder(SplitRequest(data_dir=str(folder), train_split="train", eval_split=None)).train


def compared(folder, other, **changed):
    """The comparison of a run on one folder with a command for another."""
    was = describe_images(opened(folder)) | changed
    config = build_config({"dataset": "folder", "data_dir": str(folder)})
    found = RunDirectory("run", config, Manifest(("cat", "dog"), was), done=1, holds_run=True)
    return compare_images(found, build_config({"dataset": "folder", "data_dir": str(other)}), opened(other))


def test_a_copy_with_other_times_is_the_same(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "two", copy_function=shutil.copyfile)
    different, notes = compared(folder, tmp_path / "two")
    assert different == [] and notes == [
        f"the same images are read from {tmp_path / 'two'}; until now they were in {folder}"
    ]


def test_files_of_the_same_names_and_sizes_are_other_images(folder, tmp_path):
    different, _ = compared(folder, numbered(tmp_path / "two", 1))
    assert len(different) == 1 and "other images" in different[0] and str(tmp_path / "two") in different[0]


def test_one_file_of_another_size_is_another_image(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "two")
    name = opened(folder).names()[17]
    (tmp_path / "two" / name).write_bytes((folder / name).read_bytes() + b" ")
    assert compared(folder, tmp_path / "two")[0]


def test_names_are_all_that_earlier_versions_wrote(folder, tmp_path):
    different, notes = compared(folder, numbered(tmp_path / "two", 1), contents="")
    assert different == [] and "without the sizes of the files" in notes[1]


def test_a_part_of_a_split_has_its_own_contents(folder):
    source = opened(folder)
    part, other = (examples(source, rows, rows) for rows in (np.arange(5), np.arange(1, 6)))
    assert len({source.contents(), part.contents(), other.contents()}) == 3

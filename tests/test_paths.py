"""Paths as they are recorded."""

from __future__ import annotations

import os

import pytest

from tests.data.folders import class_folders, make_images
from tf_simclr.config import build_config
from tf_simclr.config.identity import recorded_flags
from tf_simclr.config.paths import absolute, table_path
from tf_simclr.data.folder import open_folder
from tf_simclr.data.request import SplitRequest


def test_a_path_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b") == f"{tmp_path}/b"
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("~/images") == "/home/me/images"


@pytest.mark.parametrize("path", [None, "", "gs://bucket/a", "file:///tmp/../a"])
def test_what_is_no_local_path_stays(path):
    assert absolute(path) == path


def test_a_link_stays_in_a_path_and_its_parent_is_that_of_its_target(tmp_path):
    (tmp_path / "else" / "where").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    os.symlink(tmp_path / "else" / "where", tmp_path / "here" / "link")
    assert absolute(f"{tmp_path}/here/link") == f"{tmp_path}/here/link"
    assert absolute(f"{tmp_path}/here/link/../images") == f"{tmp_path}/else/images"


def test_what_is_opened_is_what_is_recorded(tmp_path):
    make_images(tmp_path / "else" / "images", class_folders({"a": 12, "b": 12}))
    make_images(tmp_path / "here" / "images", class_folders({"c": 12, "d": 12}))
    (tmp_path / "else" / "where").mkdir()
    os.symlink(tmp_path / "else" / "where", tmp_path / "here" / "link")
    data_dir = f"{tmp_path}/here/link/../images"
    opened = open_folder(SplitRequest(data_dir=data_dir, train_split="train", eval_split=None)).train
    assert opened.class_names == ("a", "b")
    config = build_config({"dataset": "folder", "data_dir": data_dir})
    assert recorded_flags(config)["data_dir"] == opened.location == f"{tmp_path}/else/images"


def test_a_table_lies_where_it_says_or_below_the_folder(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "labels.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    assert table_path("labels.csv", "images") == f"{tmp_path}/images/labels.csv"
    assert table_path("missing.csv", "images") == f"{tmp_path}/missing.csv"
    (tmp_path / "labels.csv").write_text("")
    assert table_path("labels.csv", "images") == f"{tmp_path}/labels.csv"

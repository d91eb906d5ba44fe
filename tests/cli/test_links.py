"""Symbolic links: in a data folder they are followed to read; nothing is ever written or removed through one."""

from __future__ import annotations

import contextlib
import io
import os

import pytest

from tests.data.folders import make_images
from tests.networks import small_networks
from tf_simclr.cli.main import run_task
from tf_simclr.files import remove_tree, write_whole
from tf_simclr.train import build


def contents(root):
    """Every file below a folder, with its bytes, links and times."""
    return {path: (path.lstat().st_mtime_ns, path.read_bytes()) for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_tree_is_removed_without_what_its_links_lead_to(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("kept")
    for name in ("one", "two"):
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
        if name == "two":
            (tmp_path / "link").symlink_to(tmp_path / "tree")
            remove_tree(str(tmp_path / "link"))
            assert (tmp_path / "tree" / "link").exists()
        remove_tree(str(tmp_path / "tree"))
        assert os.listdir(tmp_path) == ["outside"] and (tmp_path / "outside" / "file").read_text() == "kept"
    remove_tree(str(tmp_path / "nothing"))


def test_a_file_takes_the_place_of_a_link(tmp_path):
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "result.json").symlink_to(tmp_path / "victim")
    write_whole(str(tmp_path / "result.json"), b"new")
    assert (tmp_path / "victim").read_text() == "kept" and not (tmp_path / "result.json").is_symlink()
    assert (tmp_path / "result.json").read_bytes() == b"new"


@pytest.mark.whole_runs
def test_a_run_reads_through_links_and_writes_through_none(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "build_networks", small_networks)
    make_images(tmp_path / "data", [f"{name}/{number}.png" for name in "ab" for number in range(12)])
    outside = make_images(tmp_path / "outside", [f"{number}.png" for number in range(12)])
    (tmp_path / "data" / "linked").symlink_to(outside)
    victims = tmp_path / "victims"
    (victims / "folder").mkdir(parents=True)
    (victims / "folder" / "file").write_text("kept")
    (victims / "file").write_text("{}")
    run = tmp_path / "run"
    (run / "saved_model").mkdir(parents=True)
    for name in ("result.json", "result_1.json", "checkpoint", "ckpt-1.checksums.json", "held_out.csv"):
        (run / name).symlink_to(victims / "file")
    for name in ("saved_model/1", "saved_model/1.partial", "saved_model/1.removed", "ckpt-1_temp"):
        (run / name).symlink_to(victims / "folder")
    before = contents(tmp_path / "data"), contents(outside), contents(victims)
    flags = [f"--data_dir={tmp_path / 'data'}", "--image_size=16", "--train_batch_size=16", "--eval_batch_size=4"]
    flags += [
        "--train_steps=1",
        "--warmup_epochs=0",
        "--mode=train_then_eval",
        f"--model_dir={run}",
        "--use_blur=False",
    ]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_task("train", flags)
    assert code == 0, err.getvalue()
    assert "3 classes" in out.getvalue()
    assert before == (contents(tmp_path / "data"), contents(outside), contents(victims))
    assert not (run / "result.json").is_symlink() and not (run / "saved_model" / "1").is_symlink()

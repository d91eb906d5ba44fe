"""Folders as they are found: odd files, odd names, odd links. Nothing hangs, and everything is counted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.data.folders import class_folders, make_images
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.image_files import NO_IMAGE, read_all, recognise
from tf_simclr.data.scan import Files, find_images, list_files
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text

CODE = Path(__file__).parents[2]
ODD_NAMES = [b"\xff\xfe.png", b"[1].png", b"*?.png", b'it\'s "quoted".png', b"a;b $HOME.png", b"new\nline.png"]
ODD_NAMES += [b"d\xc3\xb6g.png", b"\xf0\x9f\x90\x88.png", b" .png", b"-x.png", b"100%.png", b"back\\slash.png"]


def notes_of(folder):
    return "\n".join(load_sources("folder", data_dir=str(folder))[0].notes)


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "data", class_folders({"a": 10, "b": 10}))


# ---- Names ----


def test_names_of_any_bytes(folder):
    image = (folder / "a" / "000.png").read_bytes()
    for name in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/a/" + name)).write_bytes(image)
    train, test = load_sources("folder", data_dir=str(folder))
    assert train.num_examples + test.num_examples == 20 + len(ODD_NAMES)
    for source in (train, train.load()):
        assert all(source.decode(record["data"]).shape == (4, 4, 3) for record in source.records(None))
    names = {*train.names(), *test.names()}
    assert {"a/\\xff\\xfe.png", "a/new\\nline.png", "a/dög.png", "a/[1].png"} < names
    "".join(names).encode()


def test_a_class_of_any_bytes(tmp_path):
    make_images(tmp_path, class_folders({"a": 10, "b": 10}))
    (tmp_path / "b").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 [1]"))
    train, _ = load_sources("folder", data_dir=str(tmp_path))
    assert train.class_names == ("a", "caf\\xe9 [1]")
    "".join((*train.notes, train.name)).encode()


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}],
    ids=["C", "UTF-8", "POSIX"],
)
def test_names_in_any_locale(folder, locale):
    """The same images, the same draw and a clean output, whatever the terminal can show."""
    image = (folder / "a" / "000.png").read_bytes()
    for name in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/a/" + name)).write_bytes(image)
        Path(os.fsdecode(os.fsencode(folder) + b"/b/no" + name)).write_bytes(b"")
    (folder / "labels.csv").write_text("path,label,split\na/dög.png,ü,train\na/000.png,ü,test\n", encoding="utf-8")
    code = """
import sys, types
from tf_simclr.cli import main, train_flags
from tf_simclr.data.datasets import load_sources
train_flags.main = lambda parsed: [main.say(text) for s in load_sources("folder", data_dir=sys.argv[1])
                             for text in (s.fingerprint, *s.names(), *s.notes)] and tables()
def tables():
    options = {"data_dir": sys.argv[1], "labels": "labels.csv", "eval_split": "test"}
    main.say(f"table {sum(s.num_examples for s in load_sources('folder', **options))}")
    return types.SimpleNamespace(exit_code=0, directory="runs", metrics={})
sys.exit(main.run_task("train", []))
"""
    environment = {**os.environ, **locale, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=CODE, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-2000:]
    lines = done.stdout.partition(b"next: ")[0].splitlines()
    train, test = load_sources("folder", data_dir=str(folder))
    assert len(lines) == 3 + train.num_examples + test.num_examples + len(train.notes)
    assert [train.fingerprint.encode(), test.fingerprint.encode()] == [line for line in lines if len(line) == 64]
    with_table = [line for line in lines if line.startswith(b"table ")]
    assert with_table == [b"table 2"]


def test_text_of_a_path():
    assert as_text("plain ü 日本.png") == "plain ü 日本.png"
    assert as_text(os.fsdecode(b"\xff\n\t.png")) == "\\xff\\n\\t.png"


# ---- What is no file ----


def test_pipes_sockets_and_devices_are_counted_and_never_opened(folder, tmp_path, monkeypatch):
    os.mkfifo(folder / "a" / "pipe.png")
    (folder / "a" / "device.png").symlink_to("/dev/zero")
    monkeypatch.chdir(folder / "b")  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.jpg")
        notes = notes_of(folder)
    assert "ignored 3 special files (pipe, socket or device)" in notes
    assert all(name in notes for name in ("pipe.png", "device.png", "socket.jpg"))


def test_a_file_that_becomes_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert recognise(str(tmp_path / "x.png")).reason == NO_IMAGE


def test_empty_and_damaged_files_are_named(folder):
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "a" / "text.png").write_text("no image")
    (folder / "a" / "notes").write_text("no image either")
    (folder / "a" / "list.txt").write_text("BMW, a car and no bitmap")
    notes = notes_of(folder)
    assert "ignored 2 images that cannot be read" in notes
    assert "empty.jpg (empty)" in notes and "text.png (no image)" in notes
    assert "ignored 2 files that are not images: .txt, no extension" in notes


# ---- Links ----


def test_links(folder, tmp_path):
    (folder / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "a" / "self.png").symlink_to(folder / "a" / "self.png")
    (folder / "a" / "circle").symlink_to(folder / "a")
    (folder / "b" / "up").symlink_to(folder)
    make_images(tmp_path / "elsewhere", ["x.png"])
    (folder / "b" / "outside.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    train, test = load_sources("folder", data_dir=str(folder))
    assert train.num_examples + test.num_examples == 21


def test_a_circle_is_said(folder):
    (folder / "a" / "circle").symlink_to(folder / "a")
    (folder / "a" / "gone.png").symlink_to("nowhere.png")
    notes = notes_of(folder)
    assert "ignored 1 link to a folder that was read already, or that" in notes and "a/circle" in notes
    assert "ignored 1 link to a file that is not there" in notes and "a/gone.png" in notes


def test_folders_deeper_than_the_interpreter_can_call(tmp_path):
    """And paths longer than the system takes."""
    before = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(2500):
            os.mkdir("d")
            os.chdir("d")
        files = Files()
        assert list_files(str(tmp_path), files, recursive=True) == []
        assert len(files.closed) == 1 and "too long" in next(iter(files.closed.values()))
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", "d"], cwd=tmp_path, check=True)  # shutil.rmtree, and with it pytest, cannot


# ---- What may not be read ----

SCAN = """
import sys
from tf_simclr.data.datasets import load_sources
from tf_simclr.errors import InputError
for path in sys.argv[1:]:
    try:
        train, test = load_sources("folder", data_dir=path)
        print("found:", train.num_examples + test.num_examples, "; ".join(train.notes))
    except InputError as error:
        print("error:", error)
"""


def scanned_as_nobody(paths):
    """What the scans of folders say to a user who is not root, for whom permissions count."""
    prefix = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("as root every file can be read, and setpriv is not there to become another user")
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environment = {**os.environ, "HOME": "/tmp", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(CODE)}
    words = [*prefix, sys.executable, "-c", SCAN, *map(str, paths)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and ("No module named" in done.stderr or "Permission denied" in done.stderr):
        pytest.skip(f"another user cannot run this interpreter: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_what_may_not_be_read():
    """A file and a folder deep down are counted; a class, or the data set itself, is an error of one line."""
    with tempfile.TemporaryDirectory() as path:  # pytest's own folders are closed to others
        os.chmod(path, 0o755)
        inner, closed_class, closed_root = (
            make_images(Path(path) / name, class_folders({"a": 10, "b": 10, "b/inner": 3})) for name in "xyz"
        )
        os.chmod(inner / "a" / "003.png", 0)
        os.chmod(inner / "b" / "inner", 0)
        os.chmod(closed_class / "a", 0o311)
        os.chmod(closed_root, 0o311)
        first, second, third = scanned_as_nobody([inner, closed_class, closed_root])
    assert first.startswith("found: 19 ")
    assert "ignored 1 image that cannot be read" in first and "003.png (Permission denied)" in first
    assert "ignored 1 folder that cannot be listed" in first and "b/inner (Permission denied)" in first
    for line in (second, third):
        assert line.startswith("error:") and "cannot be listed: Permission denied" in line


# ---- Content decides ----


@pytest.mark.parametrize("name", ["x", "x.jfif", "x.jpe", "x.dat", "x.txt", "x.JPEG", "x.jpg.part"])
def test_images_are_recognised_by_content(tmp_path, name):
    make_images(tmp_path, class_folders({"a": 1, "b": 1}))
    make_images(tmp_path, [f"a/{name}"])
    assert [Path(f.path).name for f in find_images(str(tmp_path / "a"), recursive=True).images] == ["000.png", name]


def test_the_order_is_that_of_the_paths(tmp_path):
    """The files of a folder, then its folders: positions, and with them augmentations, stay those of earlier runs."""
    names = ["b.png", "a/z.png", "a/b/c.png", "c/a.png", "a.png", "a.d/x.png", "A.png"]
    make_images(tmp_path, names)
    found = [os.path.relpath(file.path, tmp_path) for file in find_images(str(tmp_path), recursive=True).images]
    walked = [
        os.path.relpath(os.path.join(parent, name), tmp_path)
        for parent, folders, files in os.walk(tmp_path)
        for name in [folders.sort(), *sorted(files)][1:]
    ]
    assert found == walked


def test_a_file_that_is_gone_when_all_are_read(tmp_path):
    with pytest.raises(InputError, match=r"was there when the folder was listed.*No such file.*gone\.png"):
        read_all([os.fsencode(tmp_path / "gone.png")])

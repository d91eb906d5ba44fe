"""Headers that are remembered between runs."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from tests.data.folders import class_folders, make_images
from tf_simclr.data import headers
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.headers import Headers, cache_directory, remembered_headers
from tf_simclr.data.image_files import NO_IMAGE, Look, Reading
from tf_simclr.data.scan import Files, find_images, list_files
from tf_simclr.errors import InputError

PAST = 1_600_000_000
IMAGES = 12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Twelve images that were written long ago; a memory is made from five files on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "REMEMBERED_FROM", 5)
    root = make_images(tmp_path / "data", class_folders({"a": 6, "b": 6}))
    for path in root.rglob("*.png"):
        os.utime(path, (PAST, PAST))
    return root


def looked_at(folder, reading=None):
    """(looks, number of headers that were read) of one command."""
    counts = [0]
    token = headers.WATCH.set(counts.append)
    try:
        with remembered_headers(str(folder), reading or Reading()) as memory:
            return memory.look(list_files(str(folder), Files(), recursive=True)), counts[-1]
    finally:
        headers.WATCH.reset(token)


def memories():
    return sorted(cache_directory().glob("*"))


def test_what_has_not_changed_is_not_read_again(folder):
    assert looked_at(folder) == ([Look(None)] * IMAGES, IMAGES)
    assert looked_at(folder) == ([Look(None)] * IMAGES, 0)
    # Eight bytes a file, and no name.
    assert [path.stat().st_size for path in memories()] == [8 * IMAGES]
    # Proof that the answer is a memory: the content is another one by now, of the same size and time.
    path = folder / "a" / "003.png"
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, (PAST, PAST))
    assert looked_at(folder) == ([Look(None)] * IMAGES, 0)
    os.utime(path, (PAST, PAST + 1))
    assert looked_at(folder) == ([Look(None)] * 3 + [Look(NO_IMAGE)] + [Look(None)] * 8, 1)


def test_new_files_are_read_and_removed_ones_are_forgotten(folder):
    looked_at(folder)
    (folder / "b" / "005.png").unlink()
    make_images(folder, ["c/new.png", "c/newer.png"])
    for name, when in (("new", PAST), ("newer", time.time())):
        os.utime(folder / "c" / f"{name}.png", (when, when))
    assert looked_at(folder)[1] == 2
    assert [path.stat().st_size for path in memories()] == [8 * IMAGES]
    # A file that has just been written may still be written to.
    assert looked_at(folder)[1] == 1


def test_only_plain_images_are_remembered(folder):
    (folder / "a" / "text.png").write_text("no image at all")
    os.utime(folder / "a" / "text.png", (PAST, PAST))
    small = Reading(most=8)
    assert looked_at(folder, small)[1] == IMAGES + 1
    looks, read = looked_at(folder, small)
    # 4 x 4 pixels are more than 8: all are refused, with the same words each time.
    assert read == IMAGES + 1 and all("16" in look.refused for look in looks if look.reason is None)
    assert memories() == []
    # Another way of reading has a memory of its own.
    assert looked_at(folder)[1] == IMAGES + 1 and looked_at(folder)[1] == 1
    assert looked_at(folder, Reading(decoder="pillow"))[1] == IMAGES + 1


def test_few_files_leave_nothing_behind(folder, monkeypatch):
    monkeypatch.setattr(headers, "REMEMBERED_FROM", IMAGES + 1)
    assert looked_at(folder)[1] == looked_at(folder)[1] == IMAGES and not cache_directory().exists()


def test_a_stop_loses_nothing(folder):
    with pytest.raises(KeyboardInterrupt), remembered_headers(str(folder)) as memory:
        find_images(str(folder / "a"), recursive=True, headers=memory)
        raise KeyboardInterrupt
    assert looked_at(folder)[1] == IMAGES - 6


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 16, bytes(range(64, 0, -1))])
def test_a_damaged_memory_is_none(folder, content):
    looked_at(folder)
    memories()[0].write_bytes(content)
    assert looked_at(folder) == ([Look(None)] * IMAGES, IMAGES)
    assert looked_at(folder)[1] == 0


def test_without_a_place_everything_is_read(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert looked_at(folder) == looked_at(folder) == ([Look(None)] * IMAGES, IMAGES)


def test_memories_that_nobody_uses_are_removed(folder, tmp_path):
    looked_at(folder)
    old, recent = (cache_directory() / f"{name}.headers" for name in ("old", "recent"))
    for path, days in ((old, 100), (recent, 10)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - days * 86400,) * 2)
    other = make_images(tmp_path / "other", class_folders({"a": 6}))
    for path in other.rglob("*.png"):
        os.utime(path, (PAST, PAST))
    looked_at(other)
    assert not old.exists() and recent.exists() and len(memories()) == 3


def test_a_run_s_folder_is_one_memory_whatever_its_layout(folder):
    counts = [0]
    token = headers.WATCH.set(counts.append)
    try:
        first = load_sources("folder", data_dir=str(folder))
        assert counts[-1] == IMAGES and len(memories()) == 1
        counts.append(0)
        again = load_sources("folder", data_dir=str(folder))
    finally:
        headers.WATCH.reset(token)
    assert counts[-1] == 0
    assert [source.fingerprint for source in again] == [source.fingerprint for source in first]


def test_an_error_about_an_image_stays(folder):
    """What cannot be decoded is named at every start, by the same line."""
    path = folder / "a" / "wide.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0")
    os.utime(path, (PAST, PAST))
    for _ in range(2):
        with pytest.raises(InputError, match=r"wide\.png"):
            load_sources("folder", data_dir=str(folder))


def test_digests_are_of_place_size_and_time(folder):
    files = list_files(str(folder), Files(), recursive=True)
    memory = Headers()
    memory.look(files)
    assert len(memory.plain()) == IMAGES
    for change in ({"size": 1}, {"changed": 5}, {"key": "elsewhere"}):
        other = Headers()
        other.look([file._replace(**change) for file in files[:1]])
        assert not np.isin(other.plain(), memory.plain()).any()

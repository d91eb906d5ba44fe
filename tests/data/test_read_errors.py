"""Images that are damaged, gone or closed when they are read: one line with the path, whatever is in it."""

from __future__ import annotations

import os

import pytest
import tensorflow as tf

from tests.data.folders import make_images
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.read_errors import named
from tf_simclr.escape import as_text

NAMES = [b"plain.png", b'it\'s a "q" [1] x].png', b"new\nline; [x].png", b"\xff[\xe9].png", "dög 日.png".encode()]


def first_error(source):
    with pytest.raises((tf.errors.OpError, UnicodeDecodeError)) as caught:
        list(source.records(None).map(lambda record: source.decode(record["data"])))
    return named(caught.value)


@pytest.fixture(params=NAMES, ids=repr)
def one_image(request, tmp_path):
    make_images(tmp_path, ["x.png"], side=64)
    path = os.fsencode(tmp_path) + b"/" + request.param
    os.rename(tmp_path / "x.png", path)
    return path


def test_a_damaged_image(one_image):
    os.truncate(one_image, 60)
    source, _ = load_sources("folder", data_dir=os.path.dirname(os.fsdecode(one_image)))
    for variant in (source, source.load()):
        message = str(first_error(variant))
        assert message.startswith("This image is damaged, remove or replace it: ")
        assert f"{as_text(os.fsdecode(one_image))}. Run the same" in message and "\n" not in message


def test_an_image_that_is_gone(one_image):
    source, _ = load_sources("folder", data_dir=os.path.dirname(os.fsdecode(one_image)))
    os.remove(one_image)
    message = str(first_error(source))
    assert "was there when the folder was listed and cannot be read now: No such file or directory" in message
    assert f"{as_text(os.fsdecode(one_image))}. Run the same" in message and "\n" not in message


def test_an_image_that_became_a_folder(one_image):
    source, _ = load_sources("folder", data_dir=os.path.dirname(os.fsdecode(one_image)))
    os.remove(one_image)
    os.mkdir(one_image)
    assert "Is a directory" in str(first_error(source))


def test_the_error_of_a_whole_graph():
    """As a training step shows it, with the errors of two threads."""
    text = (
        "Graph execution error:\n\nDetected at node ReadFile defined at (most recent call last):\n<stack>\n"
        "2 root error(s) found.\n  (0) NOT_FOUND: /data/a; x.png; No such file or directory\n\t [[{{node ReadFile}}]]\n"
        "  (1) CANCELLED:  Function was cancelled\n  (2) NOT_FOUND: /data/b.png; No such file or directory\n"
    )
    assert "Received: /data/a; x.png. Run" in str(named(tf.errors.NotFoundError(None, None, text)))


def test_other_errors_are_left_alone():
    for error in (
        tf.errors.NotFoundError(None, None, "checkpoint"),
        ValueError("x"),
        tf.errors.AbortedError(None, None, ""),
    ):
        assert named(error) is None
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    assert named(caught.value) is None

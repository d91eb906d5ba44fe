"""TensorFlow Lite: what its interpreter computes, in three kinds of numbers, and the example."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from tests.interop.exports import a_run, assert_example_works, convert, images
from tf_simclr.data.image_files import EXTENSIONS
from tf_simclr.errors import InputError
from tf_simclr.interop.formats.calibration import calibration_images
from tf_simclr.interop.formats.tflite_converter import convert_apart


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("tflite") / "run")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    for number, image in enumerate(images(6)):
        place = tmp_path / "photos" / ("deeper" if number % 2 else "") / f"{number}.png"
        Image.fromarray((image * 255).astype(np.uint8)).save(place)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def said_difference(capsys):
    return float(
        re.search(r"largest difference by the interpreter[^:]*: final_avg_pool (\S+),", capsys.readouterr().out)[1]
    )


@pytest.mark.parametrize(("numbers", "most"), [("float32", 1e-5), ("float16", 5e-3)])
def test_float(numbers, most, run, tmp_path, capsys):
    assert convert(run, "tflite", tmp_path / "out", f"--tflite_type={numbers}") == 0
    assert said_difference(capsys) < most
    batch = images(3, 40, 37) if numbers == "float32" else images(1)
    assert_example_works(run, tmp_path / "out", tmp_path, most, batch)


def test_int8_by_a_folder(run, folder, tmp_path, capsys):
    words = ("--tflite_type=int8", f"--calibration_dir={folder}")
    assert convert(run, "tflite", tmp_path / "out", *words) == 0
    assert 0 < said_difference(capsys) < 0.2
    assert convert(run, "tflite", tmp_path / "float") == 0
    sizes = [(tmp_path / name / "model.tflite").stat().st_size for name in ("out", "float")]
    assert sizes[0] < sizes[1]


def test_the_images_of_a_folder(folder):
    found = calibration_images(str(folder), 32, 1.0)
    assert found.shape == (6, 32, 32, 3) and found.dtype == np.float32
    order = [0, 2, 4, 1, 3, 5]  # by path
    np.testing.assert_allclose(found, images(6)[order], atol=1 / 255)
    assert ".png" in EXTENSIONS


def test_folders_that_cannot_work(run, folder, tmp_path, capsys):
    def refused(*words):
        capsys.readouterr()
        assert convert(run, "tflite", tmp_path / "out", *words) == 2
        return capsys.readouterr().err

    assert "`calibration_dir` must be given" in refused("--tflite_type=int8")
    assert "and for nothing else" in refused(f"--calibration_dir={folder}")
    (tmp_path / "empty").mkdir()
    assert "without any" in refused("--tflite_type=int8", f"--calibration_dir={tmp_path / 'empty'}")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    assert "broken.png" in refused("--tflite_type=int8", f"--calibration_dir={folder}")
    assert not list(tmp_path.glob("out*"))


def test_a_converter_that_fails_is_one_line(tmp_path):
    with pytest.raises(InputError, match="TensorFlow's converter ended by exit code 1, and said last: ") as error:
        convert_apart(str(tmp_path / "nothing"), str(tmp_path / "model.tflite"), "float32", "")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())

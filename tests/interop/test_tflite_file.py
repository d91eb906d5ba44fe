"""TensorFlow Lite: what its interpreter computes, in three kinds of numbers, and the example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tf_simclr
from tests.interop.exports import a_run, assert_example_works, convert, images
from tf_simclr.cli import convert_tflite
from tf_simclr.data.image_files import EXTENSIONS
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.interop.formats.apart import run_apart
from tf_simclr.interop.formats.calibration import calibration_images
from tf_simclr.interop.formats.tflite_converter import convert_apart
from tf_simclr.processes import exists
from tf_simclr.train.interrupts import StopRequest

ROOT = Path(__file__).parents[2]


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


def said_difference(lines):
    found = [re.match(r"largest difference by the interpreter[^:]*: final_avg_pool (\S+),", line) for line in lines]
    return next(float(match[1]) for match in found if match)


@pytest.fixture(scope="module")
def float32(run, tmp_path_factory):
    """The export in float32, by the function, and the lines that it returns."""
    return tf_simclr.convert(checkpoint=str(run), to="tflite", output=str(tmp_path_factory.mktemp("float32") / "out"))


def test_float32(float32, run, tmp_path):
    assert said_difference(float32.lines) < 1e-5
    assert sorted(os.listdir(float32.directory)) == ["example.py", "model.tflite", "simclr.json"]
    card = json.loads(Path(float32.directory, "simclr.json").read_text())
    assert card["export"] == {"format": "tflite", "notes": list(float32.lines)}
    assert_example_works(run, float32.directory, tmp_path, 1e-5, images(3, 40, 37))


WITHOUT_TENSORFLOW = """
import sys
from tf_simclr.cli.main import main
code = main(sys.argv[1:])
sys.exit(code or ("TensorFlow was imported" if "tensorflow" in sys.modules else 0))
"""


def test_float16_by_a_command_that_imports_no_tensorflow(run, tmp_path):
    words = ("convert", f"--checkpoint={run}", f"--output={tmp_path / 'out'}", "--to=tflite", "--tflite_type=float16")
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert said_difference(done.stdout.splitlines()) < 5e-3
    assert_example_works(run, tmp_path / "out", tmp_path, 5e-3, images(1))


def test_int8_by_a_folder(run, folder, float32, tmp_path, capsys):
    words = ("--tflite_type=int8", f"--calibration_dir={folder}")
    assert convert(run, "tflite", tmp_path / "out", *words) == 0
    assert 0 < said_difference(capsys.readouterr().out.splitlines()) < 0.2
    sizes = [Path(directory, "model.tflite").stat().st_size for directory in (tmp_path / "out", float32.directory)]
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


def test_a_request_to_stop_ends_the_program_that_is_waited_for(tmp_path):
    place = tmp_path / "number"
    keep = f"import os, pathlib, signal; pathlib.Path({str(place)!r}).write_text(str(os.getpid()))"
    stop = StopRequest()
    with pytest.raises(StoppedError), stop.watch(), stop.at_once():
        run_apart("timeit", ["-n1", "-r1", f"{keep}; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"])
    assert not exists(int(place.read_text()))


def test_a_reader_that_was_killed_is_one_line(run, tmp_path, monkeypatch):
    killed = ["-n1", "-r1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    monkeypatch.setattr(convert_tflite, "run_apart", lambda module, words: run_apart("timeit", killed))
    with pytest.raises(InputError, match="ended by SIGKILL") as error:
        tf_simclr.convert(checkpoint=str(run), to="tflite", output=str(tmp_path / "out"))
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())

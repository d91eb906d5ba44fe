"""What the projector task writes, read by TensorBoard's own plugin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from tests.index.indexes import an_index, random_features
from tf_simclr.cli.main import main


@pytest.fixture
def index(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):  # of ten: the others are gone
        Image.new("RGB", (40, 20), (50 * number, 0, 0)).save(images / f"{number:04d}.png")
    labels = ["a", "b\tc"] * 5
    return an_index(tmp_path / "index", random_features(10), labels, data_dir=str(images))


def fetched(out, what, name):
    # What the plugin takes of the flags of TensorBoard is the folder alone.
    plugin = ProjectorPlugin(TBContext(logdir=str(out), flags=None, multiplexer=None, data_provider=None))
    client = Client(plugin.get_plugin_apps()[what])
    answer = client.get(f"{what}?run=.&name={name}")
    assert answer.status_code == 200, answer.data
    return answer.data


def test_tensorboard_reads_it(index, tmp_path, capsys):
    out = tmp_path / "projector"
    assert main(["projector", f"--index={index.directory}", f"--out={out}"]) == 0
    assert f"tensorboard --logdir {out}" in capsys.readouterr().out
    name = index.identity.endpoint
    (described,) = json.loads(fetched(out, "/info", name))["embeddings"]
    assert described["tensorShape"] == [10, 8] and described["sprite"]["singleImageDim"] == [64, 64]
    features = np.frombuffer(fetched(out, "/tensor", name), np.float32).reshape(10, 8)
    np.testing.assert_array_equal(features, index.normalised(np.arange(10)))
    lines = fetched(out, "/metadata", name).decode().splitlines()
    assert lines[:3] == ["path\tclass\tsplit", "0000.png\ta\t", "0001.png\tb\\tc\t"] and len(lines) == 11
    (out / "fetched.jpg").write_bytes(fetched(out, "/sprite_image", name))
    sprite = np.asarray(Image.open(out / "fetched.jpg").convert("RGB"))
    assert sprite.shape == (4 * 64, 4 * 64, 3)
    centres = [sprite[64 * (place // 4) + 32, 64 * (place % 4) + 32].tolist() for place in range(11)]
    for number in range(5):
        np.testing.assert_allclose(centres[number], [50 * number, 0, 0], atol=8)
    assert np.allclose(centres[5], 211, atol=8) and np.allclose(centres[10], 255, atol=8)


def test_a_random_choice_of_many_and_the_same_command_again(index, tmp_path, capsys):
    out = tmp_path / "projector"
    for _ in range(2):
        assert main(["projector", f"--index={index.directory}", f"--out={out}", "--n=3"]) == 0
    assert "note: 3 of 10 images" in capsys.readouterr().out
    assert len((out / "metadata.tsv").read_text().splitlines()) == 4
    assert (out / "features.bytes").stat().st_size == 3 * 8 * 4


def test_a_directory_with_other_files_is_left_alone(index, tmp_path, capsys):
    assert main(["projector", f"--index={index.directory}", f"--out={tmp_path}"]) == 2
    assert "has other files" in capsys.readouterr().err
    assert main(["projector", f"--index={index.directory}"]) == 2
    assert "`out` must name a directory" in capsys.readouterr().err

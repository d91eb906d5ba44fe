"""Files of torch.save: read without running what is pickled in them. PyTorch itself is the oracle where it is there."""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys

import numpy as np
import pytest

from tests.weights.foreign_files import MEAN, STD, Spec, torchvision_values
from tests.weights.same import assert_same_as_torchvision, images, needs_torchvision
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained
from tf_simclr.train import checkpoints

torch = pytest.importorskip("torch")


def tensors(values):
    return {name: torch.from_numpy(np.array(value)) for name, value in values.items()}


SPEC = Spec(18, width=4)
STATE = tensors(torchvision_values(SPEC))


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".pth", STATE),
        (".pt", {"state_dict": {f"module.{n}": v for n, v in STATE.items()}, "epoch": 3}),
        (".ckpt", {"state_dict": {f"backbone.{n}": v for n, v in STATE.items()}, "optimizer_states": [], "epoch": 3}),
        (".pth", {"model": {f"module.{n}": v for n, v in STATE.items()}, "optimizer": {}, "args": None}),
    ],
    ids=["plain", "state_dict", "lightning", "distributed"],
)
def test_files_of_torch_save(suffix, content, tmp_path):
    torch.save(content, tmp_path / f"m{suffix}")
    assert_same_as_torchvision(str(tmp_path / f"m{suffix}"), torchvision_values(SPEC), SPEC, 32)


def test_other_values_of_the_same_weights_are_said_to_be_left_out(tmp_path):
    averages = {name: value + 1 for name, value in STATE.items()}
    for others, lines in (({"state_dict_ema": averages, "epoch": 3, "optimizer": {"state": {}}}, 1), ({}, 0)):
        place = tmp_path / f"{len(others)}.pth"
        torch.save({"state_dict": STATE, **others}, place)
        said = checkpoints.foreign_at(str(place)).describe()
        assert sum("left out: state_dict_ema, which has other values" in line for line in said) == lines
        assert_same_as_torchvision(str(place), torchvision_values(SPEC), SPEC, 32)


def test_a_file_of_the_format_before_zip(tmp_path):
    torch.save(STATE, tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    assert_same_as_torchvision(str(tmp_path / "m.pth"), torchvision_values(SPEC), SPEC, 32)


def test_half_precision_is_read_exactly(tmp_path):
    torch.save({n: v.bfloat16() if v.is_floating_point() else v for n, v in STATE.items()}, tmp_path / "m.pth")
    read = checkpoints.read_values(str(tmp_path / "m.pth"), ["encoder/stem_norm/gamma"])["encoder/stem_norm/gamma"]
    np.testing.assert_array_equal(read, STATE["bn1.weight"].bfloat16().float().numpy())


class Opens:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickled_module_is_refused_and_not_run(tmp_path):
    torch.save({"model": Opens(tmp_path / "ran")}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"nothing was run.*state_dict"):
        load_trained(str(tmp_path / "m.pth"))
    torch.save(torch.nn.Linear(2, 2), tmp_path / "n.pth")
    with pytest.raises(InputError, match=r"nothing was run"):
        load_trained(str(tmp_path / "n.pth"))
    torch.save({"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}, tmp_path / "n.pth")
    with pytest.raises(InputError, match=r"of other kinds \(argparse\.Namespace\)"):
        load_trained(str(tmp_path / "n.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_another_program_is_refused_without_a_word_of_torchs(tmp_path, recwarn):
    (tmp_path / "m.pth").write_bytes(pickle.dumps(Opens(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"torch\.save did not write it"):
        load_trained(str(tmp_path / "m.pth"))
    assert not recwarn.list and not (tmp_path / "ran").exists()


def test_damaged_and_empty_files_of_torch_are_refused(tmp_path):
    torch.save(STATE, tmp_path / "m.pth")
    content = (tmp_path / "m.pth").read_bytes()
    for broken in (content[:-500], content[: len(content) // 2], b"", b"no weights at all"):
        (tmp_path / "n.pth").write_bytes(broken)
        with pytest.raises(InputError, match="cannot be read") as error:
            load_trained(str(tmp_path / "n.pth"))
        assert "\n" not in str(error.value) and "miniz" not in str(error.value)
    torch.save({"epoch": 3}, tmp_path / "n.pth")
    with pytest.raises(InputError, match="without any where one is looked for; it has epoch"):
        load_trained(str(tmp_path / "n.pth"))


TORCHVISION = """
import sys
import numpy as np
import torch
from torchvision import models

torch.manual_seed(0)
place = sys.argv[1]
for name, size in zip(sys.argv[2::2], map(int, sys.argv[3::2])):
    network = getattr(models, name)()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2.0)):
                tensor.uniform_(low, high)
            torch.nn.init.uniform_(module.weight, 0.3, 0.9)
    torch.save(network.state_dict(), f"{place}/{name}-{size}.pth")
    network.eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(np.load(f"{place}/{size}.npy")).permute(0, 3, 1, 2)).numpy()
    np.save(f"{place}/{name}-{size}.npy", logits)
"""


@needs_torchvision
def test_torchvision_itself(tmp_path):
    networks = (("resnet18", 64), ("resnet34", 65), ("resnet50", 64), ("resnet50", 65))
    for size in (64, 65):
        np.save(tmp_path / f"{size}.npy", (images(size) - MEAN) / STD)
    words = [str(word) for network in networks for word in network]
    subprocess.run([sys.executable, "-c", TORCHVISION, str(tmp_path), *words], check=True)
    for name, size in networks:
        expected = np.load(tmp_path / f"{name}-{size}.npy")
        model = load_trained(str(tmp_path / f"{name}-{size}.pth")).model
        found = model.endpoints(images(size), training=False)["logits_sup"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
